package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Announcement is a policy change as it was announced, with the service's answer.
type Announcement struct {
	proofs.PolicyChange
	ID      ionet.Hash // of the statement
	Arrival proofs.Arrival
	Ack     proofs.Envelope
	New     bool // this call announced it; false: it was announced before
}

// AnnouncePolicy announces the policy of file, which names its version and the first
// epoch that it rules itself: it publishes the file, and stores the statement of it,
// signed with the service key, as one that arrived now. The same file again gives
// the same answer. A file that is not fit is a *Problem that names key and rule.
//
// The change counts once the book of the epoch in which it arrived is sealed, if
// that is before its first epoch begins; Policies tells what became of it.
func (s *Service) AnnouncePolicy(ctx context.Context, file []byte) (Announcement, error) {
	it, p := s.announcement(file)
	if p != nil {
		return Announcement{}, p
	}
	current, err := s.isCurrent(ctx)
	if err != nil {
		return Announcement{}, fmt.Errorf("announce policy: compare the epoch lane with the chain: %w", err)
	}
	if !current {
		return Announcement{}, NewProblem(ProblemBusy, "", "this database does not know yet which epochs the chain has sealed, and so not which policies were announced: try again once the service has caught up").after(beaconRetry)
	}
	if p, err := s.checkClock(ctx); err != nil {
		return Announcement{}, fmt.Errorf("announce policy: %w", err)
	} else if p != nil {
		return Announcement{}, p
	}
	open, err := s.awaitFreeze(ctx)
	if err != nil {
		return Announcement{}, fmt.Errorf("announce policy: %w", err)
	}
	if !open {
		return Announcement{}, NewProblem(ProblemBusy, "", "an epoch is being closed: announce the policy again in a moment").after(closingWait)
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error { return s.announce(ctx, tx, it) })
	if err != nil {
		var p *Problem
		if errors.As(err, &p) {
			return Announcement{}, p
		}
		return Announcement{}, fmt.Errorf("announce policy: %w", err)
	}
	// Statement and file are in the database. If we stop before anybody has the
	// answer, the same file gives it again.
	ack := proofs.Ack{Statement: it.id, Arrival: it.arrival}
	return Announcement{
		PolicyChange: it.body.(proofs.PolicyChange), ID: it.id, Arrival: it.arrival, New: it.inserted,
		Ack: proofs.Sign(s.cfg.Network.ID(), proofs.KindAck, s.cfg.Keys.Service, ack.Encode()),
	}, nil
}

// announcement makes the statement of a policy file and checks what needs no database.
func (s *Service) announcement(file []byte) (*item, *Problem) {
	policy, err := emissions.ParsePolicy(file)
	if err == nil {
		err = policy.CheckSamples(s.cfg.Network.Samples)
	}
	if err != nil {
		return nil, NewProblem(ProblemMalformedPolicy, "file", "%v", err)
	}
	if policy.Target != nil {
		if err := proofs.CheckKey(policy.Target.Key); err != nil {
			return nil, NewProblem(ProblemWeakKey, "target.key", "target.key: no statement by it would be accepted: %v", err)
		}
	}
	if last := s.intake.schedule.Epochs(); policy.FirstEpoch > last {
		return nil, NewProblem(ProblemPolicyEpoch, "first_epoch", "first_epoch is %d, the schedule's last epoch is %d", policy.FirstEpoch, last)
	}
	change := proofs.PolicyChange{Version: policy.Version, FirstEpoch: policy.FirstEpoch, Policy: policy.Hash()}
	body, err := change.Encode()
	if err != nil {
		return nil, NewProblem(ProblemMalformedPolicy, "file", "%v", err)
	}
	e := proofs.Sign(s.cfg.Network.ID(), proofs.KindPolicy, s.cfg.Keys.Service, body)
	return &item{envelope: e, id: e.ID(), body: change, file: file}, nil
}

// clockSlack is how far our clock and the chain's may always be apart, however short
// an epoch is: what is finalized is behind by some seconds.
const clockSlack = time.Minute

// checkClock compares our clock with the chain's newest finalized block: it gives an
// announcement its epoch, and versions arrive in order. One that was acked far ahead
// of the chain would keep all others out until then.
func (s *Service) checkClock(ctx context.Context) (*Problem, error) {
	newest, err := s.cfg.Chain.Newest(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the chain's time: %w", err)
	}
	apart, most := s.now().Sub(time.Unix(newest.Time, 0)), max(clockSlack, time.Duration(s.clock.Length)*time.Second)
	if apart.Abs() <= most {
		return nil, nil
	}
	return NewProblem(ProblemWrongClock, "", "this machine's clock and the time of the newest finalized block, %s, are %s apart, at most %s are allowed: set the clock, or wait until the chain and the endpoint have caught up",
		time.Unix(newest.Time, 0).UTC().Format(time.RFC3339), apart.Abs().Truncate(time.Second), most), nil
}

// lockPolicies lets one announcement after another be checked and stored: the row
// is there always, and nobody else locks it.
const lockPolicies = `SELECT one FROM network FOR UPDATE`

// announce stores an announcement in tx, or finds it there.
func (s *Service) announce(ctx context.Context, tx pgx.Tx, it *item) error {
	it.arrival, it.stored, it.inserted = s.arrival(), false, false
	if _, err := tx.Exec(ctx, lockPolicies); err != nil {
		return fmt.Errorf("lock the policies: %w", err)
	}
	found := map[ionet.Hash]proofs.Arrival{}
	rows, err := tx.Query(ctx, selectStored, []int64{int64(it.epoch())}, [][]byte{it.id[:]})
	if err == nil {
		err = scanArrivals(found)(rows)
	}
	if err != nil {
		return fmt.Errorf("look for the announcement: %w", err)
	}
	if at, ok := found[it.id]; ok {
		it.arrival, it.stored = at, true
		return s.putPolicy(ctx, tx, it) // it may have been lost
	}
	var frozen int64
	if err := tx.QueryRow(ctx, lockIntake).Scan(&frozen); err != nil {
		return fmt.Errorf("lock intake: %w", err)
	}
	next, list, err := readOpenPolicies(ctx, tx)
	if err != nil {
		return err
	}
	// An instance whose clock is a little ahead may have announced one before: versions arrive
	// in their order, or the books would have a lower one after a higher.
	earliest := uint64(frozen) + 1
	for _, r := range list {
		earliest = max(earliest, r.arrival)
	}
	if it.arrival.Epoch < earliest {
		it.arrival = proofs.Arrival{Epoch: earliest}
	}
	grace, err := s.graceOf(ctx, tx, list, it.arrival.Epoch)
	if err != nil {
		return err
	}
	if p := s.judgePolicy(it, list, next, grace); p != nil {
		return p
	}
	// The file is durable before anything refers to it. If we stop here, it is one
	// that nothing refers to.
	if err := s.putPolicy(ctx, tx, it); err != nil {
		return err
	}
	if err := s.insert(ctx, tx, []*item{it}); err != nil {
		return err
	}
	if it.problem != nil {
		return it.problem
	}
	return nil
}

// putPolicy publishes an announcement's file, and keeps it where it was imported
// without.
func (s *Service) putPolicy(ctx context.Context, tx pgx.Tx, it *item) error {
	policy := it.body.(proofs.PolicyChange).Policy
	if err := s.cfg.Store.Put(ctx, publish.PolicyName(policy), it.file); err != nil {
		return fmt.Errorf("publish the policy: %w", err)
	}
	if _, err := tx.Exec(ctx, findPolicyFile, policy[:], it.file); err != nil {
		return fmt.Errorf("keep the policy: %w", err)
	}
	return nil
}

// graceOf returns the seconds between the end of epoch k and its closing, as far as
// sealed books tell.
func (s *Service) graceOf(ctx context.Context, q querier, list []policyRow, k uint64) (uint64, error) {
	r, err := s.rulesOf(ctx, q, s.inForce(list, k).Policy)
	if err != nil {
		return 0, err
	}
	return uint64(r.Close.GraceSeconds), nil
}

// earliestFirst returns the first epoch that a policy announced in epoch at can rule:
// at's book is not sealed before its end and the grace, and that must be before the
// policy's first epoch begins.
func (s *Service) earliestFirst(at, grace uint64) uint64 {
	return at + 2 + grace/uint64(s.clock.Length)
}

// What one announcement may do to those after it: versions rise for ever, and each
// book has all of its epoch.
const (
	maxVersionStep  = 1000 // above the newest version
	maxOpenPolicies = 16   // that no final book has yet
)

// judgePolicy holds a new announcement against those before it, under the lock that
// keeps others out. next is the first epoch without a final seal, grace that of the
// epoch of its arrival.
func (s *Service) judgePolicy(it *item, list []policyRow, next, grace uint64) *Problem {
	change, at := it.body.(proofs.PolicyChange), it.arrival.Epoch
	newest, open := s.genesisPolicy(), 0
	for _, r := range list {
		if r.Version > newest.Version {
			newest = r.PolicyChange
		}
		if r.epoch == 0 && r.isOpen(next) {
			open++
		}
	}
	earliest := s.earliestFirst(at, grace)
	switch {
	case change.Version <= newest.Version:
		return NewProblem(ProblemPolicyVersion, "version", "version is %d, it must be greater than that of every policy announced before, which is %d: give the file a higher one", change.Version, newest.Version)
	case uint64(change.Version) > uint64(newest.Version)+maxVersionStep:
		return NewProblem(ProblemPolicyVersion, "version", "version is %d, it may be at most %d above the newest policy's, %d: versions never go back", change.Version, maxVersionStep, newest.Version)
	case change.FirstEpoch < earliest:
		return NewProblem(ProblemPolicyEpoch, "first_epoch", "first_epoch is %d, it must be %d or later: a policy counts only if the book of this epoch, %d, is sealed before its first epoch begins, and that is %d seconds after its end at the earliest", change.FirstEpoch, earliest, at, grace)
	case open >= maxOpenPolicies:
		return NewProblem(ProblemTooManyStatements, "", "%d announced policies are in no final book yet: announce more once epoch %d is sealed", open, next)
	}
	return nil
}

// PolicyState says what became of a policy.
type PolicyState string

// The states of a policy. One that was in force and was followed by another counts.
const (
	PolicyAnnounced PolicyState = "announced" // no final book has it yet
	PolicyCounts    PolicyState = "counts"    // it was sealed before its first epoch
	PolicyMissed    PolicyState = "missed"    // it was not, and never counts
	PolicyInForce   PolicyState = "in force"  // in the current epoch
)

// PolicyStatus is a policy that was announced, or that of the genesis.
type PolicyStatus struct {
	proofs.PolicyChange
	Statement ionet.Hash // zero for the genesis
	Announced uint64     // epoch of its arrival; 0 for the genesis
	Sealed    uint64     // epoch whose final book has it, 0 for none and for the genesis
	State     PolicyState
}

// Policies returns the genesis policy and all that were announced since, in that order.
func (s *Service) Policies(ctx context.Context) ([]PolicyStatus, error) {
	next, list, err := readOpenPolicies(ctx, s.front)
	if err != nil {
		return nil, err
	}
	now := s.currentEpoch()
	force := s.inForce(list, now)
	stateOf := func(c proofs.PolicyChange, state PolicyState) PolicyState {
		if c == force {
			return PolicyInForce
		}
		return state
	}
	out := []PolicyStatus{{PolicyChange: s.genesisPolicy(), State: stateOf(s.genesisPolicy(), PolicyCounts)}}
	for i, r := range list {
		state := PolicyMissed
		switch {
		case s.counts(list[:i+1]):
			state = stateOf(r.PolicyChange, PolicyCounts)
		case r.isOpen(next):
			state = PolicyAnnounced
		}
		out = append(out, PolicyStatus{PolicyChange: r.PolicyChange, Statement: r.id, Announced: r.arrival, Sealed: r.epoch, State: state})
	}
	return out, nil
}

// counts reports whether the last policy of list counts, after the others.
func (s *Service) counts(list []policyRow) bool {
	last := list[len(list)-1]
	return last.epoch > 0 && s.inForce(list, last.FirstEpoch) == last.PolicyChange
}
