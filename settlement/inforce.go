package settlement

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// policyRow is a row of policies.
type policyRow struct {
	proofs.PolicyChange
	id       ionet.Hash
	arrival  uint64 // epoch
	epoch    uint64 // whose sealed book has it; 0: none yet
	sealedAt int64  // block time of that seal; 0: not read yet
}

// isOpen reports whether it is not known yet if the policy counts; next is the first
// epoch without a final seal.
func (r policyRow) isOpen(next uint64) bool {
	return r.epoch == 0 && r.arrival >= next || r.epoch > 0 && r.sealedAt == 0
}

// In the order of the books, and within one by version, as proofs.PolicyInForce
// takes them; what is in none yet comes last.
const selectPolicies = `
SELECT id, version, first_epoch, hash, arrival_epoch, coalesce(epoch, 0), coalesce(sealed_at, 0)
FROM policies ORDER BY epoch NULLS LAST, arrival_epoch, version, id`

// readPolicies returns all policies that were announced.
func readPolicies(ctx context.Context, q querier) ([]policyRow, error) {
	rows, err := q.Query(ctx, selectPolicies)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (policyRow, error) {
		var id, hash []byte
		var version, first, arrival, epoch int64
		var r policyRow
		if err := row.Scan(&id, &version, &first, &hash, &arrival, &epoch, &r.sealedAt); err != nil {
			return r, err
		}
		r.PolicyChange = proofs.PolicyChange{Version: uint32(version), FirstEpoch: uint64(first), Policy: ionet.Hash(hash)}
		r.id, r.arrival, r.epoch = ionet.Hash(id), uint64(arrival), uint64(epoch)
		return r, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	return list, nil
}

// readOpenPolicies returns all policies and the first epoch without a final seal. That is
// read first: what is sealed between the two reads is open by both, never forgotten.
func readOpenPolicies(ctx context.Context, q querier) (next uint64, list []policyRow, err error) {
	var position int64
	if err := q.QueryRow(ctx, selectEpochLane).Scan(&position); err != nil {
		return 0, nil, fmt.Errorf("read the epoch lane: %w", err)
	}
	list, err = readPolicies(ctx, q)
	return uint64(position), list, err
}

// genesisPolicy is the policy of the genesis as a change from nothing.
func (s *Service) genesisPolicy() proofs.PolicyChange {
	p := s.cfg.Policy
	return proofs.PolicyChange{Version: p.Version, FirstEpoch: p.FirstEpoch, Policy: p.Hash()}
}

// inForce returns the policy in force at epoch k by what the sealed books say. One
// whose seal's time is not known counts for nothing yet.
func (s *Service) inForce(list []policyRow, k uint64) proofs.PolicyChange {
	var sealed []proofs.SealedPolicy
	for _, r := range list {
		if r.epoch == 0 {
			continue
		}
		at := r.sealedAt
		if at == 0 {
			at = math.MaxInt64
		}
		sealed = append(sealed, proofs.SealedPolicy{PolicyChange: r.PolicyChange, Epoch: r.epoch, SealedAt: at})
	}
	return proofs.PolicyInForce(s.genesisPolicy(), sealed, s.clock, k)
}

// currentEpoch is the epoch of now; 1 before the first.
func (s *Service) currentEpoch() uint64 { return s.arrival().Epoch }

// rules is a policy and the bytes that it was parsed from.
type rules struct {
	*emissions.Policy
	file []byte
}

const selectPolicyFile = `SELECT file FROM policies WHERE hash = $1 LIMIT 1`

// rulesOf returns the policy with that hash, which the database must hold; one that was
// imported without its file is read from the published store, where it must be back.
// What was parsed once is kept.
func (s *Service) rulesOf(ctx context.Context, q querier, policy ionet.Hash) (*rules, error) {
	if policy == s.cfg.Policy.Hash() {
		return &rules{s.cfg.Policy, s.cfg.PolicyFile}, nil
	}
	if r, ok := s.parsed.Load(policy); ok {
		return r.(*rules), nil
	}
	rows, err := q.Query(ctx, selectPolicyFile, policy[:])
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policy, err)
	}
	file, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err == nil && len(file) == 0 {
		file, err = s.fetchPolicy(ctx, policy)
	}
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policy, err)
	}
	p, err := emissions.ParsePolicy(file)
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policy, err)
	}
	if p.Hash() != policy {
		return nil, fmt.Errorf("read policy %s: its file has hash %s: the row was changed", policy, p.Hash())
	}
	r := &rules{p, file}
	s.parsed.Store(policy, r)
	return r, nil
}

// rulesNow returns the policy in force at the current epoch, as far as the sealed
// books tell. What an epoch is judged by is rulesAt's to say.
func (s *Service) rulesNow(ctx context.Context, q querier) (*rules, error) {
	list, err := readPolicies(ctx, q)
	if err != nil {
		return nil, err
	}
	return s.rulesOf(ctx, q, s.inForce(list, s.currentEpoch()).Policy)
}

// policyAt returns the policy in force at epoch k, which has begun, to those who may
// not guess: what is acked by its rules must be what the epoch is judged by. While a
// change that may hold at k has no final seal yet it is a busy Problem.
func (s *Service) policyAt(ctx context.Context, k uint64) (*emissions.Policy, error) {
	return s.policyFrom(ctx, s.front, k)
}

// policyFrom is policyAt by what q reads.
func (s *Service) policyFrom(ctx context.Context, q querier, k uint64) (*emissions.Policy, error) {
	next, list, err := readOpenPolicies(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.FirstEpoch <= k && r.isOpen(next) {
			return nil, NewProblem(ProblemBusy, "", "whether policy version %d is in force at epoch %d is known once the seal of epoch %d is final: ask again in a moment", r.Version, k, r.arrival).after(beaconRetry)
		}
	}
	r, err := s.rulesOf(ctx, q, s.inForce(list, k).Policy)
	if err != nil {
		return nil, err
	}
	return r.Policy, nil
}

// rulesAt returns the policy that epoch k is judged by, for the leader, once all
// epochs before k are sealed. The times of their seals are read from the chain where
// a book announces a policy; without one that k depends on it is an error: the policy
// is not known, and nothing is guessed.
func (s *Service) rulesAt(ctx context.Context, k uint64) (*rules, error) {
	list, err := readPolicies(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		if r.epoch == 0 || r.sealedAt != 0 {
			continue
		}
		if i > 0 && list[i-1].epoch == r.epoch {
			r.sealedAt = list[i-1].sealedAt // of the same book
		} else if r.sealedAt, err = s.noteSealTime(ctx, r.epoch); err != nil {
			s.warnUntimed(r.epoch, err)
		}
		switch {
		case r.sealedAt != 0:
			s.emit(Event{Kind: EventPolicy, Epoch: r.epoch, Detail: s.becameOf(list[:i+1])})
		case r.FirstEpoch <= k:
			return nil, fmt.Errorf("the policy of epoch %d depends on when epoch %d was sealed: %w", k, r.epoch, err)
		}
	}
	return s.rulesOf(ctx, s.pool, s.inForce(list, k).Policy)
}

// becameOf tells what became of the last policy of list.
func (s *Service) becameOf(list []policyRow) string {
	last := list[len(list)-1]
	if s.counts(list) {
		return fmt.Sprintf("version %d: it rules from epoch %d on", last.Version, last.FirstEpoch)
	}
	return fmt.Sprintf("version %d for epoch %d: it never counts, because it was sealed too late or a version as high was announced before", last.Version, last.FirstEpoch)
}

// dueTimes returns when an epoch may close at the earliest, by the policies that are
// known. It wakes passes, which decide; so where the database does not answer, the
// genesis policy will do.
func (s *Service) dueTimes(ctx context.Context) func(k uint64) time.Time {
	list, err := readPolicies(ctx, s.pool)
	if err != nil && ctx.Err() == nil {
		s.log.Debug("closings are told by the genesis policy", "error", err)
	}
	return func(k uint64) time.Time {
		grace := s.cfg.Policy.Close.GraceSeconds
		if r, err := s.rulesOf(ctx, s.pool, s.inForce(list, k).Policy); err == nil {
			grace = r.Close.GraceSeconds
		}
		return time.Unix(s.clock.EpochEnd(k)+int64(grace), 0)
	}
}

// Policy returns the policy in force at the current epoch; it must not be changed.
func (s *Service) Policy(ctx context.Context) (*emissions.Policy, error) {
	r, err := s.rulesNow(ctx, s.front)
	if err != nil {
		return nil, err
	}
	return r.Policy, nil
}

// PolicyFile returns the exact bytes of the policy in force at the current epoch.
func (s *Service) PolicyFile(ctx context.Context) ([]byte, error) {
	r, err := s.rulesNow(ctx, s.front)
	if err != nil {
		return nil, err
	}
	return r.file, nil
}
