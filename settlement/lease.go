package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNotLeader reports that another instance holds the lease, or that the
// database is not the one that this instance renewed it in.
var errNotLeader = errors.New("this instance does not hold the lease")

// lease is what this instance knows of the lease row: a number, the expiry that
// its own last renewal left there, and how many transactions were signed under
// all leases. All are compared in every SQL transaction that signs or settles.
// The number tells of a take-over; expiry and serial tell of a database that was
// put back to an older copy under a running service. An older copy of the row
// has another expiry or, where it lost less than one renewal, a lower serial if
// it forgot anything that was signed.
type lease struct {
	mu      sync.RWMutex // held for reading by every settle write, for writing by a renewal and by what signs
	number  int64        // 0: not held
	token   [16]byte     // drawn anew whenever the lease is taken: fences carry it
	until   span[time.Time]
	serial  span[int64]
	renewed time.Time
	seen    leaseAge    // of a row that is another instance's
	suspect atomic.Bool // a write found another row: the next hold asks, however fresh the lease seems
}

// span is what a column of the row may hold: all from least to most, which
// differ after a commit of unknown outcome only.
type span[T any] struct{ least, most T }

func exactly[T any](v T) span[T] { return span[T]{v, v} }

// leaseName is the key of the one lease row.
const leaseName = "settle"

// hold takes or renews the lease and reports whether this instance has it. A
// lease that was taken anew has another number: the fence starts over.
func (s *Service) hold(ctx context.Context) (bool, error) {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	now := s.now().UTC().Truncate(time.Microsecond)
	// While the serial is not certain nothing is sent: the renewal reads it.
	certain := l.serial.least == l.serial.most
	if l.number != 0 && certain && !l.suspect.Load() && now.Before(l.renewed.Add(s.cfg.LeaseTime/3)) {
		return true, nil
	}
	if l.number != 0 {
		held, err := s.renew(ctx, now)
		if err != nil {
			return false, fmt.Errorf("renew the lease: %w", err)
		}
		if held {
			return true, nil
		}
		s.lose()
	}
	if err := s.follow(ctx); err != nil {
		return false, fmt.Errorf("look at the lease: %w", err)
	}
	if err := s.take(ctx, now); err != nil {
		return false, fmt.Errorf("take the lease: %w", err)
	}
	return l.number != 0, nil
}

// leaseAge is how far the leases of a database have come. It falls where the database
// was put back, and where a lease was given up before its time.
type leaseAge struct {
	number, signings int64
	expires          time.Time
}

func (a leaseAge) before(b leaseAge) bool {
	return a.number < b.number || a.signings < b.signings || a.number == b.number && a.expires.Before(b.expires)
}

// follow looks at another instance's lease, by which one that doesn't lead notices that
// the database was put back under it; l.mu is held.
func (s *Service) follow(ctx context.Context) error {
	l := &s.lease
	var now leaseAge
	err := s.pool.QueryRow(ctx, selectLeaseAge, leaseName).Scan(&now.number, &now.signings, &now.expires)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if now.before(l.seen) {
		s.begin(draw(s.cfg.Rand))
		s.log.Info("the lease is older than it was: the database was put back, or its holder has let go")
	}
	l.seen = now
	return nil
}

const selectLeaseAge = `SELECT number, signings, expires_at FROM lease WHERE name = $1`

// keep renews the lease while it is held, until ctx ends: a pass may take longer
// than the lease does. It never takes it; that is the pass's, which begins anew
// with it. And it looks whether the database still has what was acked.
func (s *Service) keep(ctx context.Context) {
	for sleep(ctx, s.cfg.LeaseTime/6) == nil {
		if err := s.keepOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the lease was not renewed", "error", err)
		}
		if _, err := s.recollect(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("what was acked was not looked for", "error", err)
		}
	}
}

func (s *Service) keepOnce(ctx context.Context) error {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	now := s.now().UTC().Truncate(time.Microsecond)
	if l.number == 0 || now.Before(l.renewed.Add(s.cfg.LeaseTime/3)) {
		return nil
	}
	held, err := s.renew(ctx, now)
	if err == nil && !held {
		s.lose()
	}
	return err
}

// lose ends the lease; l.mu is held.
func (s *Service) lose() {
	s.lease.number = 0
	s.begin(draw(s.cfg.Rand)) // perhaps another database is there now
	s.log.Warn("lease lost")
	s.emit(Event{Kind: EventLease, Detail: "lost: another instance took it, or the database was put back"})
}

// renew moves the row's expiry; l.mu is held.
func (s *Service) renew(ctx context.Context, now time.Time) (bool, error) {
	l, until := &s.lease, now.Add(s.cfg.LeaseTime)
	var serial int64
	err := s.pool.QueryRow(ctx, renewLease, leaseName, s.cfg.Instance[:], l.number, l.until.least, l.until.most, l.serial.least, l.serial.most, until).Scan(&serial)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		// It may have been committed: from now on both values are ours.
		if until.After(l.until.most) {
			l.until.most = until
		}
		return false, err
	}
	l.until, l.serial, l.renewed = exactly(until), exactly(serial), now
	l.suspect.Store(false)
	return true, nil
}

const renewLease = `
UPDATE lease SET expires_at = $8
WHERE name = $1 AND instance = $2 AND number = $3 AND expires_at BETWEEN $4 AND $5 AND signings BETWEEN $6 AND $7
RETURNING signings`

// take makes this instance the leader where the former lease expired, or was
// its own; l.mu is held, and Service.pass.
func (s *Service) take(ctx context.Context, now time.Time) error {
	l, until := &s.lease, now.Add(s.cfg.LeaseTime)
	var number, serial int64
	err := s.pool.QueryRow(ctx, takeLease, leaseName, s.cfg.Instance[:], until, now).Scan(&number, &serial)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	l.number, l.until, l.serial, l.renewed = number, exactly(until), exactly(serial), now
	l.suspect.Store(false)
	l.token = draw(s.cfg.Rand)
	s.view.reset()
	s.scanner, s.comparer = scanner{}, comparer{} // perhaps this is an older copy, which forgot credits that were read
	s.log.Info("lease taken", "number", number)
	s.emit(Event{Kind: EventLease, Detail: fmt.Sprintf("taken, number %d", number)})
	return nil
}

const takeLease = `
INSERT INTO lease (name, instance, number, expires_at) VALUES ($1, $2, 1, $3)
ON CONFLICT (name) DO UPDATE SET instance = $2, number = lease.number + 1, expires_at = $3
WHERE lease.expires_at <= $4 OR lease.instance = $2
RETURNING number, signings`

// Release gives the lease up, so that another instance need not wait for it
// to expire. What this instance signed stays as it is: the next one finds it.
func (s *Service) Release(ctx context.Context) error {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.number == 0 {
		return nil
	}
	if _, err := s.pool.Exec(ctx, releaseLease, leaseName, s.cfg.Instance[:], l.number, s.now().Add(-time.Second)); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	l.number = 0
	return nil
}

const releaseLease = `UPDATE lease SET expires_at = $4 WHERE name = $1 AND instance = $2 AND number = $3`

// leaseNumber returns the number of the lease, 0 where it is not held.
func (s *Service) leaseNumber() int64 {
	s.lease.mu.RLock()
	defer s.lease.mu.RUnlock()
	return s.lease.number
}

// leaseToken returns what the fences of the lease carry.
func (s *Service) leaseToken() [16]byte {
	s.lease.mu.RLock()
	defer s.lease.mu.RUnlock()
	return s.lease.token
}

// asLeader is inTx for everything that settles: f runs only while the lease row
// is ours, and the row can't change hands before the commit.
func (s *Service) asLeader(ctx context.Context, f func(tx pgx.Tx, number int64) error) error {
	l := &s.lease
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.number == 0 {
		return errNotLeader
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var serial int64
		if err := s.checkLease(ctx, tx, selectMine, &serial); err != nil {
			return err
		}
		return f(tx, l.number)
	})
}

// asSigner is asLeader for everything that is signed: it counts, so that a
// database that forgets the transaction is not taken for the one that this
// lease was renewed in. Nothing is signed while a halt is open.
func (s *Service) asSigner(ctx context.Context, f func(tx pgx.Tx, number int64) error) error {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.number == 0 {
		return errNotLeader
	}
	var serial int64
	complete := false
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		complete = false
		if err := s.checkLease(ctx, tx, countSigned, &serial); err != nil {
			return err
		}
		if err := checkMaySign(ctx, tx); err != nil {
			return err
		}
		err := f(tx, l.number)
		complete = err == nil
		return err
	})
	switch {
	case err == nil:
		l.serial = exactly(serial)
	case complete:
		// It may have been committed: from now on both values are ours.
		l.serial = span[int64]{serial - 1, serial}
	}
	return err
}

// checkLease runs sql, which finds the lease row if it is as this instance left
// it, and gives its serial; l.mu is held.
func (s *Service) checkLease(ctx context.Context, tx pgx.Tx, sql string, serial *int64) error {
	l := &s.lease
	err := tx.QueryRow(ctx, sql, leaseName, s.cfg.Instance[:], l.number, l.until.least, l.until.most, l.serial.least, l.serial.most).Scan(serial)
	if errors.Is(err, pgx.ErrNoRows) {
		l.suspect.Store(true)
		return errNotLeader
	}
	if err != nil {
		return fmt.Errorf("check the lease: %w", err)
	}
	return nil
}

const selectMine = `
SELECT signings FROM lease
WHERE name = $1 AND instance = $2 AND number = $3 AND expires_at BETWEEN $4 AND $5 AND signings BETWEEN $6 AND $7 FOR SHARE`

const countSigned = `
UPDATE lease SET signings = signings + 1
WHERE name = $1 AND instance = $2 AND number = $3 AND expires_at BETWEEN $4 AND $5 AND signings BETWEEN $6 AND $7
RETURNING signings`
