package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNotLeader reports that another instance holds the lease, or that the
// database is not the one that this instance renewed it in.
var errNotLeader = errors.New("this instance does not hold the lease")

// lease is what this instance knows of the lease row: a number, and the
// expiry that its own last renewal left there. Both are compared in every SQL
// transaction that signs or settles. The number tells of a take-over; the
// expiry also tells of a database that was put back to an older copy under a
// running service: no copy holds the latest expiry.
type lease struct {
	mu      sync.RWMutex // held for reading by every settle write, for writing by a renewal
	number  int64        // 0: not held
	known   []time.Time  // what the row's expires_at may be: more than one after a commit of unknown outcome
	renewed time.Time
}

// leaseName is the key of the one lease row.
const leaseName = "settle"

// hold takes or renews the lease and reports whether this instance has it. A
// lease that was taken anew has another number: the fence starts over.
func (s *Service) hold(ctx context.Context) (bool, error) {
	l := &s.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	now := s.now().UTC().Truncate(time.Microsecond)
	if l.number != 0 && now.Before(l.renewed.Add(s.cfg.LeaseTime/3)) {
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
		l.number = 0
		s.log.Warn("lease lost")
		s.emit(Event{Kind: EventLease, Detail: "lost: another instance took it, or the database was put back"})
	}
	if err := s.take(ctx, now); err != nil {
		return false, fmt.Errorf("take the lease: %w", err)
	}
	return l.number != 0, nil
}

// renew moves the row's expiry; l.mu is held.
func (s *Service) renew(ctx context.Context, now time.Time) (bool, error) {
	l, until := &s.lease, now.Add(s.cfg.LeaseTime)
	tag, err := s.pool.Exec(ctx, renewLease, leaseName, s.cfg.Instance[:], l.number, l.known, until)
	if err != nil {
		// It may have been committed: from now on both values are ours.
		l.known = append(l.known, until)
		return false, err
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	l.known, l.renewed = []time.Time{until}, now
	return true, nil
}

const renewLease = `
UPDATE lease SET expires_at = $5
WHERE name = $1 AND instance = $2 AND number = $3 AND expires_at = ANY ($4::timestamptz[])`

// take makes this instance the leader where the former lease expired, or was
// its own; l.mu is held.
func (s *Service) take(ctx context.Context, now time.Time) error {
	l, until := &s.lease, now.Add(s.cfg.LeaseTime)
	var number int64
	err := s.pool.QueryRow(ctx, takeLease, leaseName, s.cfg.Instance[:], until, now).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	l.number, l.known, l.renewed = number, []time.Time{until}, now
	s.view.reset()
	s.log.Info("lease taken", "number", number)
	s.emit(Event{Kind: EventLease, Detail: fmt.Sprintf("taken, number %d", number)})
	return nil
}

const takeLease = `
INSERT INTO lease (name, instance, number, expires_at) VALUES ($1, $2, 1, $3)
ON CONFLICT (name) DO UPDATE SET instance = $2, number = lease.number + 1, expires_at = $3
WHERE lease.expires_at <= $4 OR lease.instance = $2
RETURNING number`

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

// number returns the number of the lease, 0 where it is not held.
func (s *Service) leaseNumber() int64 {
	s.lease.mu.RLock()
	defer s.lease.mu.RUnlock()
	return s.lease.number
}

// asLeader is inTx for everything that signs or settles: f runs only while
// the lease row is ours, and the row can't change hands before the commit.
func (s *Service) asLeader(ctx context.Context, f func(tx pgx.Tx, number int64) error) error {
	l := &s.lease
	l.mu.RLock()
	number, known := l.number, l.known
	defer l.mu.RUnlock()
	if number == 0 {
		return errNotLeader
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var held bool
		err := tx.QueryRow(ctx, checkLease, leaseName, s.cfg.Instance[:], number, known).Scan(&held)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNotLeader
		}
		if err != nil {
			return fmt.Errorf("check the lease: %w", err)
		}
		return f(tx, number)
	})
}

const checkLease = `
SELECT true FROM lease
WHERE name = $1 AND instance = $2 AND number = $3 AND expires_at = ANY ($4::timestamptz[]) FOR SHARE`

// suspect makes the next hold ask the database, however fresh the lease seems.
func (l *lease) suspect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = time.Time{}
}
