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
	if err := s.mayAnnounce(ctx); err != nil {
		return Announcement{}, outward("announce policy", err)
	}
	if err := s.inTx(ctx, func(tx pgx.Tx) error { return s.announce(ctx, tx, it) }); err != nil {
		return Announcement{}, outward("announce policy", err)
	}
	// Statement and file are in the database. If we stop before anybody has the
	// answer, the same file gives it again.
	return Announcement{
		PolicyChange: it.body.(proofs.PolicyChange), ID: it.id, Arrival: it.arrival, New: it.inserted,
		Ack: s.ackOf(it.id, it.arrival),
	}, nil
}

// PolicyCheck is what announcing a policy now would come to.
type PolicyCheck struct {
	proofs.PolicyChange
	Announced uint64 // epoch in which it was announced before; 0: it was not
	Earliest  uint64 // first epoch that a policy announced now can name; 0: not asked, because this one was announced before
}

// CheckPolicy tells whether AnnouncePolicy would take file now: its error is the one
// that AnnouncePolicy would give, and the check says as much as is known beside it.
// Nothing is announced.
func (s *Service) CheckPolicy(ctx context.Context, file []byte) (PolicyCheck, error) {
	it, p := s.announcement(file)
	if p != nil {
		return PolicyCheck{}, p
	}
	c := PolicyCheck{PolicyChange: it.body.(proofs.PolicyChange)}
	if err := s.mayAnnounce(ctx); err != nil {
		return c, outward("check policy", err)
	}
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		c.Earliest, err = s.judgeAnnouncement(ctx, tx, it)
		return err
	})
	if err != nil {
		return c, outward("check policy", err)
	}
	if it.stored {
		c.Announced = it.arrival.Epoch
	}
	return c, nil
}

// outward returns a Problem as it is, and any other error with what was done.
func outward(doing string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// mayAnnounce returns an error where no announcement is taken now.
func (s *Service) mayAnnounce(ctx context.Context) error {
	current, err := s.isCurrent(ctx)
	if err != nil {
		return fmt.Errorf("compare the epoch lane with the chain: %w", err)
	}
	if !current {
		return NewProblem(ProblemBusy, "", "this database does not know yet which epochs the chain has sealed, and so not which policies were announced: try again once the service has caught up").after(beaconRetry)
	}
	if p, err := s.checkClock(ctx); err != nil {
		return err
	} else if p != nil {
		return p
	}
	open, err := s.awaitFreeze(ctx)
	if err == nil && !open {
		return NewProblem(ProblemBusy, "", "an epoch is being closed: announce the policy again in a moment").after(closingWait)
	}
	return err
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
	if _, err := s.judgeAnnouncement(ctx, tx, it); err != nil {
		return err
	}
	// The file is durable before anything refers to it. If we stop here, it is one
	// that nothing refers to. One of an announcement that is stored may have been lost.
	if err := s.putPolicy(ctx, tx, it); err != nil || it.stored {
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

// judgeAnnouncement finds an announcement in tx, or gives it its arrival and judges it.
// It returns the first epoch that a new one can rule, and keeps others out until tx
// ends.
func (s *Service) judgeAnnouncement(ctx context.Context, tx pgx.Tx, it *item) (first uint64, err error) {
	it.arrival, it.stored, it.inserted = s.arrival(), false, false
	if _, err := tx.Exec(ctx, lockPolicies); err != nil {
		return 0, fmt.Errorf("lock the policies: %w", err)
	}
	found := map[ionet.Hash]proofs.Arrival{}
	rows, err := tx.Query(ctx, selectStored, []int64{int64(it.epoch())}, [][]byte{it.id[:]})
	if err == nil {
		err = scanArrivals(found)(rows)
	}
	if err != nil {
		return 0, fmt.Errorf("look for the announcement: %w", err)
	}
	if at, ok := found[it.id]; ok { // the policies before it may be what is lost
		it.arrival, it.stored = at, true
		return 0, nil
	}
	var frozen int64
	if err := tx.QueryRow(ctx, lockIntake).Scan(&frozen); err != nil {
		return 0, fmt.Errorf("lock intake: %w", err)
	}
	next, list, err := readOpenPolicies(ctx, tx)
	if err != nil {
		return 0, err
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
		return 0, err
	}
	first = s.earliestFirst(it.arrival.Epoch, grace)
	if p := s.judgePolicy(it, list, next, grace); p != nil {
		return first, p
	}
	return first, nil
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
