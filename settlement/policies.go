package settlement

import (
	"context"
	"errors"
	"fmt"

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
		return nil
	}
	var frozen int64
	if err := tx.QueryRow(ctx, lockIntake).Scan(&frozen); err != nil {
		return fmt.Errorf("lock intake: %w", err)
	}
	list, err := readPolicies(ctx, tx)
	if err != nil {
		return err
	}
	// An instance whose clock is ahead may have announced one before: versions arrive
	// in their order, or the books would have a lower one after a higher.
	earliest := uint64(frozen) + 1
	for _, r := range list {
		earliest = max(earliest, r.arrival)
	}
	if it.arrival.Epoch < earliest {
		it.arrival = proofs.Arrival{Epoch: earliest}
	}
	if p := s.judgePolicy(it, list); p != nil {
		return p
	}
	// The file is durable before anything refers to it. If we stop here, it is one
	// that nothing refers to.
	if err := s.cfg.Store.Put(ctx, publish.PolicyName(it.body.(proofs.PolicyChange).Policy), it.file); err != nil {
		return fmt.Errorf("publish the policy: %w", err)
	}
	if err := s.insert(ctx, tx, []*item{it}); err != nil {
		return err
	}
	if it.problem != nil {
		return it.problem
	}
	return nil
}

// judgePolicy holds a new announcement against those before it, under the lock that
// keeps others out.
func (s *Service) judgePolicy(it *item, list []policyRow) *Problem {
	change, at := it.body.(proofs.PolicyChange), it.arrival.Epoch
	newest := s.genesisPolicy()
	for _, r := range list {
		if r.Version > newest.Version {
			newest = r.PolicyChange
		}
	}
	if change.Version <= newest.Version {
		return NewProblem(ProblemPolicyVersion, "version", "version is %d, it must be greater than that of every policy announced before, which is %d: give the file a higher one", change.Version, newest.Version)
	}
	if change.FirstEpoch < at+2 {
		return NewProblem(ProblemPolicyEpoch, "first_epoch", "first_epoch is %d, it must be %d or later: a policy counts only if the book of this epoch, %d, is sealed before its first epoch begins", change.FirstEpoch, at+2, at)
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
	list, err := readPolicies(ctx, s.front)
	if err != nil {
		return nil, err
	}
	var next int64
	if err := s.front.QueryRow(ctx, selectEpochLane).Scan(&next); err != nil {
		return nil, fmt.Errorf("read the epoch lane: %w", err)
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
		case r.isOpen(uint64(next)):
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
