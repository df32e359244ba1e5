package settlement

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
)

const selectAnyDue = `
SELECT EXISTS (SELECT FROM channels WHERE state = 'closing' AND closing_at <= $1)
    OR EXISTS (SELECT FROM channels WHERE state <> 'over' AND expires <= $1)
    OR EXISTS (SELECT FROM sessions WHERE state = 'closing' AND closing_at <= $1)
    OR EXISTS (SELECT FROM sessions WHERE state <> 'over' AND expires <= $1)`

// maxOver is how many channels, and how many sessions, end in one transaction; overTurns is
// how many such there are in one pass, which has other work.
const (
	maxOver   = 1024
	overTurns = 32
)

// What is due: a grace after it was asked to close, by itself or with its session, or after
// it expired. A session waits for its channels. Each part is read by an index of its own,
// and no further than this transaction goes.
const selectDueChannels = `
SELECT channel, session FROM (
    (SELECT channel, session FROM channels WHERE state = 'closing' AND closing_at <= $1 ORDER BY closing_at LIMIT $2)
    UNION
    (SELECT channel, session FROM channels WHERE state <> 'over' AND expires <= $1 ORDER BY expires LIMIT $2)
    UNION
    (SELECT c.channel, c.session FROM sessions s JOIN channels c ON c.session = s.id AND c.state <> 'over'
        WHERE s.state = 'closing' AND s.closing_at <= $1 LIMIT $2)) d
ORDER BY channel LIMIT $2`

const selectDueSessions = `
SELECT id FROM (
    (SELECT id FROM sessions s WHERE state = 'closing' AND closing_at <= $1
        AND NOT EXISTS (SELECT FROM channels c WHERE c.session = s.id AND c.state <> 'over') ORDER BY closing_at LIMIT $2)
    UNION
    (SELECT id FROM sessions s WHERE state <> 'over' AND expires <= $1
        AND NOT EXISTS (SELECT FROM channels c WHERE c.session = s.id AND c.state <> 'over') ORDER BY expires LIMIT $2)) d
ORDER BY id LIMIT $2`

// endFees ends channels and sessions whose grace is over, and gives what is left back.
// The leader does it; where two believe they are, the second finds nothing to do.
func (s *Service) endFees(ctx context.Context) error {
	if err := s.mayAppend(ctx); err != nil {
		return nil // it is told where it is found out
	}
	policy, err := s.feePolicy(ctx, s.pool, s.currentEpoch())
	if isOutsiders(err) {
		return nil // whose grace counts is not known yet
	}
	if err != nil {
		return fmt.Errorf("end channels and sessions: %w", err)
	}
	for range overTurns {
		// Most passes find nothing, and are in the way of nobody who appends.
		var due bool
		if err := s.pool.QueryRow(ctx, selectAnyDue, s.now().Unix()-int64(policy.Fees.GraceSeconds)).Scan(&due); err != nil {
			return fmt.Errorf("look for channels and sessions that end: %w", err)
		}
		if !due {
			return s.moveOn(ctx)
		}
		var n int
		err := s.appendOwn(ctx, func(j *journal) error {
			var err error
			n, err = j.endDue(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("end channels and sessions: %w", err)
		}
		if n == 0 { // a session that waited for its channels ended, too
			break
		}
	}
	return s.moveOn(ctx)
}

// selectMovable finds channels in which a job that waits is next. That is so where records
// were imported: all else lets follow what is next in the transaction that moves a channel.
const selectMovable = `
SELECT c.channel FROM channels c
WHERE c.waiting > 0 AND EXISTS (SELECT FROM waiting_jobs w WHERE w.channel = c.channel AND w.before = c.spent)
ORDER BY c.channel LIMIT 64`

// moveOn lets jobs that wait follow where nothing else does.
func (s *Service) moveOn(ctx context.Context) error {
	var waiting int64
	if err := s.pool.QueryRow(ctx, countWaiting).Scan(&waiting); err != nil {
		return fmt.Errorf("count jobs that wait: %w", err)
	}
	s.metrics.waitingJobs.Set(float64(waiting))
	if waiting == 0 {
		return nil
	}
	movable, err := readMovable(ctx, s.pool)
	if err != nil || len(movable) == 0 {
		return err
	}
	err = s.appendOwn(ctx, func(j *journal) error {
		channels, err := readMovable(ctx, j.tx)
		if err != nil || len(channels) == 0 {
			return err
		}
		if err := j.loadFor(ctx, journalNames{channels: channels}); err != nil {
			return err
		}
		return j.follow(ctx, inOrder(channels))
	})
	if err != nil {
		return fmt.Errorf("let jobs follow that waited: %w", err)
	}
	return nil
}

func readMovable(ctx context.Context, q querier) (channels set[ionet.Key], err error) {
	rows, err := q.Query(ctx, selectMovable)
	if err != nil {
		return nil, fmt.Errorf("look for jobs that are next: %w", err)
	}
	var channel []byte
	_, err = pgx.ForEachRow(rows, []any{&channel}, func() error {
		channels.add(ionet.Key(channel))
		return nil
	})
	return channels, err
}

// appendOwn appends what f decides once the head is locked.
func (s *Service) appendOwn(ctx context.Context, f func(j *journal) error) error {
	var j *journal
	err := inTxOn(ctx, s.pool, func(tx pgx.Tx) error {
		j = s.newJournal(tx, false)
		var b pgx.Batch
		j.queueLocks(&b)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		if err := j.begin(ctx); err != nil {
			return err
		}
		if err := f(j); err != nil {
			return err
		}
		return j.write(ctx)
		// Records, ledger and head are one. If we stop before, the next pass finds them due.
	})
	if err == nil {
		j.committed()
	}
	return err
}

// endDue ends what is due and returns how many channels and sessions that were.
func (j *journal) endDue(ctx context.Context) (int, error) {
	if j.policy == nil { // whose grace counts is not known yet
		return 0, nil
	}
	until := j.head.accepted - j.grace()
	var channels set[ionet.Key]
	var sessions set[ionet.Hash]
	rows, err := j.tx.Query(ctx, selectDueChannels, until, maxOver)
	if err != nil {
		return 0, err
	}
	var channel, session []byte
	_, err = pgx.ForEachRow(rows, []any{&channel, &session}, func() error {
		channels.add(ionet.Key(channel))
		sessions.add(ionet.Hash(session))
		return nil
	})
	if err != nil {
		return 0, err
	}
	due, err := j.dueSessions(ctx, until)
	if err != nil || len(channels)+len(due) == 0 {
		return 0, err
	}
	for _, id := range due {
		sessions.add(id)
	}
	if err := j.loadFor(ctx, journalNames{channels: channels, sessions: sessions}); err != nil {
		return 0, err
	}
	for _, c := range inOrder(channels) {
		row := j.channels[c]
		if row == nil || j.sessions[row.session] == nil {
			return 0, fmt.Errorf("channel %s is of a session that is not there: the database was changed", c)
		}
		if err := j.addChannelOver(row, j.sessions[row.session]); err != nil {
			return 0, err
		}
	}
	for _, id := range due {
		if err := j.addSessionOver(j.sessions[id]); err != nil {
			return 0, err
		}
	}
	return len(channels) + len(due), nil
}

func (j *journal) dueSessions(ctx context.Context, until int64) ([]ionet.Hash, error) {
	rows, err := j.tx.Query(ctx, selectDueSessions, until, maxOver)
	if err != nil {
		return nil, err
	}
	var due []ionet.Hash
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		due = append(due, ionet.Hash(id))
		return nil
	})
	return due, err
}

// loadFor reads the rows of what is named, and of the sessions and renters that these
// are of, under the lock.
func (j *journal) loadFor(ctx context.Context, n journalNames) error {
	if err := j.s.readFees(ctx, j.tx, wanted{sessions: n.sessions, channels: n.channels}); err != nil {
		return err
	}
	f := j.s.intake.fees
	for k := range n.channels {
		if fact := f.channel(k); fact != nil {
			n.sessions.add(fact.session.id)
		}
	}
	for id := range n.sessions {
		if fact := f.session(id); fact != nil {
			n.renters.add(fact.Renter)
		}
	}
	var b pgx.Batch
	if j.queueRows(&b, n); b.Len() == 0 {
		return nil
	}
	if err := j.tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	for id, row := range j.sessions {
		row.fact = f.session(id)
	}
	for k, row := range j.channels {
		row.fact = f.channel(k)
	}
	return nil
}

// inOrder returns the members of a set of keys in one order for all.
func inOrder(s set[ionet.Key]) []ionet.Key {
	out := make([]ionet.Key, 0, len(s))
	for k := range s {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b ionet.Key) int { return bytes.Compare(a[:], b[:]) })
	return out
}

const countWaiting = `SELECT coalesce(sum(waiting), 0) FROM channels WHERE waiting > 0`
