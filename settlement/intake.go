package settlement

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// cachedKeys is how many expanded public keys intake keeps, 1.3 kB each.
const cachedKeys = 1 << 14

// intake is what Submit and the epochs' closing hold in memory.
type intake struct {
	verifier  *proofs.Verifier
	schedule  *emissions.Schedule
	beacons   beaconCache
	facts     *facts
	verifying stage // batch.go
	storing   stage
	appending stage // feeintake.go
	fees      *feeFacts
	admission admission    // limits.go
	conflicts atomic.Int32 // batches that will find out what is new; batch.go
	opened    atomic.Int64 // Unix nanoseconds: since when workers can present what this database lacks
	budget    int64        // registryBudget
	current   atomic.Bool  // the epoch lane, as last read, is where the database has it
}

// openIntake prepares verification and the emission schedule of the network.
func (s *Service) openIntake(context.Context) error {
	n := s.cfg.Network
	schedule, err := emissions.New(emissions.ParamsOf(n.Schedule))
	if err != nil {
		return fmt.Errorf("prepare the emission schedule: %w", err)
	}
	if n.Samples > math.MaxInt16 {
		return fmt.Errorf("an epoch of this network has %d samples, more than %d", n.Samples, math.MaxInt16)
	}
	s.intake = &intake{verifier: proofs.NewVerifier(n.ID(), cachedKeys), schedule: schedule, facts: newFacts(), fees: newFeeFacts(), budget: registryBudget}
	s.openStages()
	s.intake.opened.Store(s.now().UnixNano())
	s.intake.beacons.reading = make(chan struct{}, maxReading)
	return nil
}

// Submitted is a statement as it came in. Ack is an earlier ack of it that the
// worker presents, such as after this service was restored from a backup; nil
// where there is none.
type Submitted struct {
	Envelope proofs.Envelope
	Ack      *proofs.Envelope
}

// Status says what became of a submitted statement.
type Status string

// The outcomes of a statement. A duplicate gets the ack that it got before.
const (
	Accepted  Status = "accepted"
	Duplicate Status = "duplicate"
	Refused   Status = "refused"
)

// Result is the answer to one submitted statement: an ack, or why it is refused.
type Result struct {
	ID      ionet.Hash
	Status  Status
	Ack     proofs.Envelope // unless Refused
	Problem *Problem        // when Refused
}

// MaxSubmitted is the largest number of statements of one Submit.
const MaxSubmitted = 1000

// Submit checks statements, stores those that pass, and returns one result for
// each, in their order. Kinds are taken in their order, so that one request may
// bring a delegation, the inventory under it and uptime statements of that.
//
// An accepted statement is committed before its ack is made. It is then in its
// epoch's book: intake holds the row that a freeze changes. Where an error is
// returned nothing may have been stored, or a part, or all of it; the caller submits
// again. A Problem as error is of the request as a whole: nothing of it was looked at.
// Submit may be called by very many at once: they share batches. It goes on for a while
// when ctx ends, because submitted is in use until it returns.
func (s *Service) Submit(ctx context.Context, submitted []Submitted) ([]Result, error) {
	if len(submitted) > MaxSubmitted {
		return nil, NewProblem(ProblemTooManyStatements, "", "a request holds at most %d statements, this one %d", MaxSubmitted, len(submitted))
	}
	hand, p := s.intake.admission.enter(submitted)
	if p != nil {
		s.metrics.statements.WithLabelValues(p.Type).Add(float64(len(submitted)))
		return nil, p
	}
	defer hand.leave()
	items := s.open(submitted)
	fresh := distinct(items)
	hand.keep(len(fresh))
	fees, others := splitFees(fresh)
	if err := s.storeTogether(s.quick(others)); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	left := slices.DeleteFunc(slices.Clone(others), func(it *item) bool { return it.ack != nil || it.problem != nil })
	hand.keep(len(left) + len(fees))
	if err := s.submitAlone(ctx, left); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if err := s.submitFees(ctx, fees); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	s.report(fresh)
	return s.answers(items), nil
}

// quick returns those uptime statements that may go the short way: none where another
// kind that comes with them may change what they are held against, nor before it is
// known which epochs are sealed.
func (s *Service) quick(fresh []*item) []*item {
	if !s.intake.current.Load() || slices.ContainsFunc(fresh, func(it *item) bool { return !it.isUptime() }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(fresh), func(it *item) bool { return it.acked })
}

// submitAlone takes the statements of one request the long way, on which each reason to
// refuse one is found.
func (s *Service) submitAlone(ctx context.Context, fresh []*item) error {
	if len(fresh) == 0 {
		return nil
	}
	known, err := s.lookUp(ctx, fresh)
	if err != nil {
		return err
	}
	// Which key a price must have depends on what the chain sealed before.
	if err := s.checkCurrent(ctx, pricesIn(fresh), false); err != nil {
		return err
	}
	for _, it := range inKindOrder(fresh) {
		if !it.stored && it.problem == nil {
			it.problem = s.judge(it, known)
		}
		if it.problem == nil {
			known.learn(it)
		}
	}
	// What was current once may be an older copy now. A price draws for later epochs
	// too: each that its observer's key brings makes us look again.
	if err := s.checkCurrent(ctx, pricesIn(fresh), true); err != nil {
		return err
	}
	if err := s.checkCurrent(ctx, fresh, false); err != nil {
		return err
	}
	if err := s.checkBeacons(ctx, fresh); err != nil {
		return err
	}
	if err := s.store(ctx, fresh); err != nil {
		return err
	}
	s.forgetRevoked(fresh)
	return nil
}

// forgetRevoked forgets what a revocation changes at once: one that was acked in an
// earlier epoch, and came again. Any other counts from the next epoch on, for which
// everything is read anew.
func (s *Service) forgetRevoked(items []*item) {
	for _, it := range items {
		if it.envelope.Kind == proofs.KindRevocation && it.inserted && it.acked {
			s.intake.facts.forget()
			return
		}
	}
}

// isFresh reports whether an item passed so far and is not stored yet.
func isFresh(it *item) bool { return it.problem == nil && !it.stored }

// checkCurrent takes no new statement of an epoch until the chain's epoch lane was read
// and the database explains it: started on an older copy, this service does
// not know yet which epochs are sealed, and would ack what is in no book. Once that is
// known it reads again only where it is told to.
func (s *Service) checkCurrent(ctx context.Context, items []*item, again bool) error {
	if s.intake.current.Load() && !again {
		return nil
	}
	var fresh []*item
	for _, it := range items {
		if it.ofEpoch() && isFresh(it) {
			fresh = append(fresh, it)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	current, err := s.isCurrent(ctx)
	if err != nil {
		return fmt.Errorf("compare the epoch lane with the chain: %w", err)
	}
	s.intake.current.Store(current)
	if current {
		return nil
	}
	for _, it := range fresh {
		it.problem = NewProblem(ProblemBusy, "", "this service is finding out which epochs the chain has sealed: send the statement again in a moment").after(beaconRetry)
	}
	return nil
}

// isCurrent reports whether the epoch lane is on chain where the database has it,
// or one stored content further. An empty database is so only before the genesis.
func (s *Service) isCurrent(ctx context.Context) (bool, error) {
	lanes, err := s.loadLanes(ctx)
	if err != nil {
		return false, err
	}
	l := laneNamed(lanes, epochLane)
	accounts, err := s.accountsOf(ctx, l)
	if err != nil {
		return false, err
	}
	for _, a := range accounts {
		if known, err := s.explains(ctx, l, a); err != nil || !known {
			return false, err
		}
	}
	return true, nil
}

// accountsOf returns the lane's account as the chain has it: as one endpoint tells it,
// or, for a lane that has not begun, as each does. There no endpoint may be missing: to
// an empty database a broken one looks like the chain before the genesis.
func (s *Service) accountsOf(ctx context.Context, l lane) ([]rpc.Account, error) {
	keys := []ionet.Key{l.address}
	if l.position > 0 {
		accounts, _, err := s.cfg.Chain.Accounts(ctx, keys, rpc.Finalized, l.slot)
		return accounts, err
	}
	views, err := s.cfg.Chain.Everywhere(ctx, keys)
	if err != nil {
		return nil, err
	}
	var accounts []rpc.Account
	for _, v := range views {
		accounts = append(accounts, v.Accounts...)
	}
	return accounts, nil
}

// explains reports whether the database knows how the lane came to be as that account is.
func (s *Service) explains(ctx context.Context, l lane, a rpc.Account) (bool, error) {
	if !a.Exists() {
		return l.position == 0, nil // the genesis is not final: nothing is sealed
	}
	state, err := chain.ParseLane(a.Owner, a.Data)
	if err != nil {
		return false, err
	}
	if key, err := s.public(ctx, l.c); err != nil || state == key {
		return err == nil, err
	}
	contents, err := s.signedAt(ctx, l)
	if err != nil {
		return false, err
	}
	_, known := winnerOf(contents[l.address], state)
	return known, nil
}

// store commits what passed. On return each item without a problem is in the
// database, with the arrival that its ack must show.
func (s *Service) store(ctx context.Context, items []*item) error {
	passed := make([]*item, 0, len(items))
	for _, it := range items {
		if isFresh(it) {
			passed = append(passed, it)
		}
	}
	if len(passed) == 0 {
		return nil
	}
	open, err := s.awaitFreeze(ctx)
	if err != nil {
		return err
	}
	if !open {
		for _, it := range passed {
			it.problem = beingClosed()
		}
		return nil
	}
	// One order for all requests: two that bring the same statements wait for
	// each other once, never in a ring.
	slices.SortFunc(passed, compareItems)
	// After the commit the statements are in the book. If we stop before their
	// senders have an ack, they send them again and get it then.
	if err := inTxOn(ctx, s.front, func(tx pgx.Tx) error { return s.insert(ctx, tx, passed) }); err != nil {
		return fmt.Errorf("store %d statements: %w", len(passed), err)
	}
	return nil
}
