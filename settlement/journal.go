package settlement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// headRow is the row that orders everything: whoever appends has it locked.
type headRow struct {
	size, fees, jobs uint64
	accepted         int64
	channels         int32 // the last number that a channel was given
	frontier         proofs.Frontier
}

// logEntry is a row of log_entries; its index is its place after the former head.
type logEntry struct {
	tag     proofs.Tag
	key     [16]byte
	channel int32 // number; 0: none
	arrival proofs.Arrival
	record  []byte
}

// sessionRow is a session under the lock.
type sessionRow struct {
	fact    *sessionFact
	state   string
	closing int64
	index   uint64
	left    ionet.Amount // on its account
	arrival proofs.Arrival

	channels int    // that it ever had
	opening  uint64 // epoch of its last opening or top-up
	openings int    // of that epoch

	envelope []byte // of one that is new
	changed  bool   // its state, or a count, is to be written
}

// channelRow is a channel under the lock.
type channelRow struct {
	fact    *channelFact // nil where only its row was needed
	number  int32
	channel ionet.Key
	session ionet.Hash
	worker  ionet.Key
	renter  ionet.Key
	payee   ionet.Key
	limit   ionet.Amount
	spent   ionet.Amount
	jobs    uint64
	waiting int
	expires int64
	state   string // its own: see status
	closing int64  // its own: see closedAt
	ending  int64  // when its session was asked to close; 0: it was not

	key, provider  ionet.Key // of one that is new or topped up
	open           ionet.Hash
	envelope       []byte
	index          uint64
	fresh, changed bool
	shut           bool         // its state is to be written
	moved          bool         // spent, jobs or waiting
	joined         int          // jobs that wait from now on
	paying         bool         // it is among the journal's
	toProvider     ionet.Amount // of this transaction's receipts, not posted yet
	toNetwork      ionet.Amount
}

// States of sessions and channels as the tables have them.
const (
	stateOpen    = "open"
	stateClosing = "closing"
	stateOver    = "over"
)

// status is the channel's state: one that is open closes with its session.
func (c *channelRow) status() string {
	if c.state == stateOpen && c.ending != 0 {
		return stateClosing
	}
	return c.state
}

// closedAt is when the channel was asked to close, by itself or with its session; 0: it was not.
func (c *channelRow) closedAt() int64 {
	if c.closing != 0 {
		return c.closing
	}
	return c.ending
}

// offerRow is an offer under the lock.
type offerRow struct {
	fact    *offerFact
	stored  bool // the row is there
	logged  bool
	index   uint64 // of its record
	arrival proofs.Arrival
	fresh   bool // this transaction stores it
	named   bool // this transaction logs it
}

// journal is one transaction's work on the log: what it locked and read, what it
// decided, and what is to be written. A transaction that is run again has a new one.
type journal struct {
	s          *Service
	tx         pgx.Tx
	careful    bool // look for job ids that were used, rather than trust the index to refuse them
	now        int64
	first      uint64 // size of the log before
	formerFees uint64
	head       headRow
	epoch      uint64 // of head.accepted
	policy     *emissions.Policy
	barrier    uint64 // last epoch that takes no statement any more
	sessions   map[ionet.Hash]*sessionRow
	channels   map[ionet.Key]*channelRow
	offers     map[ionet.Hash]*offerRow
	renters    map[ionet.Key]ionet.Amount
	workers    map[ionet.Key]*delegationInForce
	counted    map[ionet.Key]offersOf
	begun      map[ionet.Key]int           // sessions of renters that came in this epoch
	known      map[[16]byte]proofs.Arrival // statements that opened or closed, by the first half of their ids

	entries   []logEntry
	transfers []ledger.Transfer
	network   ledger.Account // who has the network's part of receipts
	paying    []*channelRow  // whose receipts are not posted yet
	opened    []*sessionRow
	waits     []waitingRow
	dropped   []waitingRow
	passed    int64 // jobs that wait no more
	followed  int64 // of those, the ones that are paid
	following int   // about how many of those that waited this transaction reads
	served    map[workerEpoch]*servedRow
	receipts  int
	jobs      int // of the receipts
}

func (s *Service) newJournal(tx pgx.Tx, careful bool) *journal {
	return &journal{
		s: s, tx: tx, careful: careful, now: s.now().Unix(),
		sessions: map[ionet.Hash]*sessionRow{}, channels: map[ionet.Key]*channelRow{}, offers: map[ionet.Hash]*offerRow{},
		renters: map[ionet.Key]ionet.Amount{}, workers: map[ionet.Key]*delegationInForce{}, counted: map[ionet.Key]offersOf{}, begun: map[ionet.Key]int{},
		known: map[[16]byte]proofs.Arrival{}, served: map[workerEpoch]*servedRow{},
	}
}

// The row of the last record that this instance remembers tells whether the log is still the
// one that it was: a row before it can't have changed.
const lockHead = `
SELECT h.size, h.fees, h.jobs, h.accepted, h.channels, h.frontier, (SELECT e.root FROM log_entries e WHERE e.index = $1)
FROM log_head h FOR UPDATE OF h`

// While a freeze is announced there is no row.
const lockOpenIntake = `
SELECT i.frozen_through FROM intake i
WHERE NOT EXISTS (SELECT FROM closing c WHERE c.epoch > i.frozen_through AND c.ends_at > clock_timestamp())
FOR SHARE OF i`

const selectClosingEpoch = `SELECT c.epoch FROM closing c`

// errPutBack reports a log that is not the one that this instance knows.
var errPutBack = errors.New("the receipt log is not the one that was there: the database was put back")

// queueLocks locks the head, and keeps a freeze out, before anything else is read. What a
// freeze waits for must be short: while one is announced its epoch counts as frozen.
func (j *journal) queueLocks(b *pgx.Batch) {
	seen := j.s.lastSeen()
	b.Queue(lockHead, int64(seen.size)-1).QueryRow(func(row pgx.Row) error {
		var size, fees, jobs int64
		var frontier, root []byte
		if err := row.Scan(&size, &fees, &jobs, &j.head.accepted, &j.head.channels, &frontier, &root); err != nil {
			return err
		}
		j.head.size, j.head.fees, j.head.jobs, j.first = uint64(size), uint64(fees), uint64(jobs), uint64(size)
		j.formerFees = uint64(fees)
		if uint64(size) < seen.size || seen.size > 0 && (len(root) != 32 || ionet.Hash(root) != seen.root) {
			return errPutBack
		}
		var err error
		j.head.frontier, err = parseFrontier(j.head.size, frontier)
		return err
	})
	open := false
	b.Queue(lockOpenIntake).Query(func(rows pgx.Rows) error {
		var frozen int64
		_, err := pgx.ForEachRow(rows, []any{&frozen}, func() error {
			open, j.barrier = true, uint64(frozen)
			return nil
		})
		return err
	})
	b.Queue(selectClosingEpoch).Query(func(rows pgx.Rows) error {
		var closing int64
		_, err := pgx.ForEachRow(rows, []any{&closing}, func() error {
			if !open {
				j.barrier = uint64(closing)
			}
			return nil
		})
		return err
	})
}

// begin is called once the head is locked: it fixes the time of all records, and what
// the fees of receipts are split by.
func (j *journal) begin(ctx context.Context) error {
	j.head.accepted = max(j.now, j.head.accepted)
	return j.enter(ctx)
}

// enter finds the epoch and the policy of the records that follow.
func (j *journal) enter(ctx context.Context) error {
	epoch, _, ok := j.s.clock.At(time.Unix(j.head.accepted, 0))
	if !ok {
		epoch = 1
	}
	if j.policy != nil && j.epoch == epoch {
		return nil
	}
	j.epoch = epoch
	policy, err := j.s.feePolicy(ctx, j.tx, epoch)
	if err != nil && !isOutsiders(err) {
		return err
	}
	j.payAll()                            // by the former policy
	if j.policy = policy; policy != nil { // else jobs are told to come again
		j.network = networkAccount(policy)
	}
	return nil
}

// isOutsiders reports whether an error is a Problem.
func isOutsiders(err error) bool {
	p := (*Problem)(nil)
	return errors.As(err, &p)
}

// take decides what came in. Kinds are taken in an order in which what one names comes
// before it.
func (j *journal) take(ctx context.Context, items []*item) error {
	var jobs []*item
	for _, it := range inFeeOrder(items) {
		if !it.acked && it.arrival.Epoch <= j.barrier {
			it.arrival = proofs.Arrival{Epoch: j.barrier + 1} // as with other statements: see insert
		}
		var err error
		switch b := it.body.(type) {
		case proofs.Session:
			err = j.takeSession(it, b)
		case proofs.Offer:
			err = j.takeOffer(it, b)
		case proofs.ChannelOpen:
			err = j.takeChannel(it, b)
		case *proofs.Bill:
			jobs = append(jobs, it)
		}
		if err != nil {
			return err
		}
	}
	if err := j.takeJobs(ctx, jobs); err != nil {
		return err
	}
	for _, it := range items {
		var err error
		switch b := it.body.(type) {
		case proofs.ChannelClose:
			err = j.takeChannelClose(it, b)
		case proofs.SessionClose:
			err = j.takeSessionClose(it, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inFeeOrder returns sessions, offers, openings by their limits, and the rest.
func inFeeOrder(items []*item) []*item {
	rank := func(it *item) (int, uint64) {
		switch b := it.body.(type) {
		case proofs.Session:
			return 0, 0
		case proofs.Offer:
			return 1, b.Sequence
		case proofs.ChannelOpen:
			return 2, b.Limit.Base()
		}
		return 3, 0
	}
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b *item) int {
		i, n := rank(a)
		k, m := rank(b)
		return cmp.Or(cmp.Compare(i, k), cmp.Compare(n, m))
	})
	return sorted
}

// appendItems decides items and appends what follows, in one transaction. On return each
// has a problem, or is to be taken later, or is in the database with its arrival.
func (s *Service) appendItems(ctx context.Context, items []*item) error {
	if err := s.mayAppend(ctx); err != nil {
		p := (*Problem)(nil)
		if !errors.As(err, &p) {
			return err
		}
		for _, it := range items {
			it.problem = p
		}
		return nil
	}
	if s.logbook.conflicts.Load() > 0 {
		s.logbook.conflicts.Add(-1)
	}
	careful := s.logbook.conflicts.Load() > 0
	var err error
	for range maxTries {
		var j *journal
		j, err = s.appendOnce(ctx, items, careful)
		switch {
		case err == nil:
			j.committed()
			return nil
		case errors.Is(err, errPutBack):
			s.putBack()
			return s.appendItems(ctx, items)
		case isTaken(err):
			// Some job id was used before: which, tells a look.
			careful = true
			s.logbook.conflicts.Store(afterConflict)
		case isOverdrawn(err), isContention(err):
			// A withdrawal took what a session was to take, or another lock was in the way.
		default:
			return s.appendApart(ctx, items, err)
		}
	}
	return s.appendApart(ctx, items, fmt.Errorf("give up after %d tries: %w", maxTries, err))
}

// appendApart is for what the database refuses though it was decided to be good: one
// statement that does this must not take the others with it.
func (s *Service) appendApart(ctx context.Context, items []*item, err error) error {
	var pg *pgconn.PgError
	if len(items) == 1 || !errors.As(err, &pg) {
		return fmt.Errorf("append %d statements: %w", len(items), err)
	}
	s.log.Warn("statements are appended in two parts: the database refused them together", "statements", len(items), "error", err)
	for _, half := range [][]*item{items[:len(items)/2], items[len(items)/2:]} {
		if err := s.appendItems(ctx, half); err != nil {
			for _, it := range half {
				it.err, it.inserted, it.later = err, false, false
			}
		}
	}
	return nil
}

func (s *Service) appendOnce(ctx context.Context, items []*item, careful bool) (j *journal, err error) {
	err = pgx.BeginFunc(ctx, s.front, func(tx pgx.Tx) error {
		j = s.newJournal(tx, careful)
		for _, it := range items {
			it.problem, it.inserted, it.stored, it.later, it.arrival = nil, false, false, false, it.came
		}
		if err := j.load(ctx, items); err != nil {
			return err
		}
		if err := j.begin(ctx); err != nil {
			return err
		}
		if err := j.take(ctx, items); err != nil {
			return err
		}
		return j.write(ctx)
		// After the commit leaves, ledger and head are one. If we stop before the acks
		// are out, the statements come again and are found.
	})
	return j, err
}
