package audit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// readPolicy parses the policy that a book carries; nil, with a finding, where it
// is none. The genesis policy is known by its hash alone until a book has it.
func (a *auditor) readPolicy(k uint64, memo proofs.EpochMemo, in *proofs.Inputs) *emissions.Policy {
	hash := ionet.HashOf(in.Policy)
	same(a.r, k, "policy", "policy", memo.Policy, hash)
	policy, err := emissions.ParsePolicy(in.Policy)
	if err != nil {
		a.r.find(k, "policy", "policy", "a policy file", err)
		return nil
	}
	if hash == a.firstPolicy.Policy {
		a.firstPolicy.Version = policy.Version
	}
	a.policies[hash] = policy
	return policy
}

// checkPolicy holds the policy that the seal of epoch k names against the one
// that is in force by genesis and by what earlier books announced (FORMAT.md,
// section 6), and the file's own numbers against the announcement's. policy is
// the book's, nil where there is none to read.
func (a *auditor) checkPolicy(k uint64, w winner, memo proofs.EpochMemo, policy *emissions.Policy) {
	due := proofs.PolicyInForce(a.firstPolicy, a.announced, a.network.Clock(), k)
	if k > 1 && due.Policy != a.inForce.Policy {
		a.r.note("from epoch %d on policy version %d is in force, %s", k, due.Version, due.Policy)
	}
	a.inForce = due
	used := proofs.PolicyChange{Version: math.MaxUint32, FirstEpoch: k, Policy: memo.Policy} // what could be, unless the file tells
	readable := policy != nil && policy.Hash() == memo.Policy
	if readable {
		used.Version, used.FirstEpoch = policy.Version, policy.FirstEpoch
	}
	object := "seal " + w.tx.signature
	switch {
	case memo.Policy != due.Policy && a.lostAnnouncement(k, due, used):
		a.r.skip(k, object, "policy", describe(due), memo.Policy)
	case memo.Policy != due.Policy:
		a.r.find(k, object, "policy", describe(due), memo.Policy)
	case readable:
		same(a.r, k, "policy", "policy", describe(due), describe(used))
	}
}

func describe(c proofs.PolicyChange) string {
	return fmt.Sprintf("version %d from epoch %d on, %s", c.Version, c.FirstEpoch, c.Policy)
}

// lostAnnouncement reports whether a book that can't be read might explain that
// epoch k used another policy than the one that seems due: it may announce the
// used one in time, or a version that the due one, announced later, does not pass.
func (a *auditor) lostAnnouncement(k uint64, due, used proofs.PolicyChange) bool {
	var dueIn uint64 // 0: at genesis
	told := false
	for _, s := range a.announced {
		if s.PolicyChange == due && dueIn == 0 {
			dueIn = s.Epoch
		}
		told = told || s.Policy == used.Policy
	}
	later := !told && used.Version > due.Version && used.FirstEpoch <= k
	return slices.ContainsFunc(a.lost, func(w winner) bool {
		return w.content.N < dueIn || later && w.tx.time < a.network.Clock().EpochStart(used.FirstEpoch)
	})
}

// announce takes up the policies that the book of epoch k announces: its seal
// says from when on they are known to all.
func (a *auditor) announce(ctx context.Context, k uint64, w winner, announcements *proofs.Inputs) error {
	changes, err := announcements.PolicyChanges()
	if err != nil {
		return err // of none that holds
	}
	for _, c := range changes {
		s := proofs.SealedPolicy{PolicyChange: c, Epoch: k, SealedAt: w.tx.time}
		if why := a.neverCounts(s); why != "" {
			a.r.note("the policy announced in epoch %d never counts, %s: %s", k, describe(c), why)
		}
		a.announced, a.newestPolicy = append(a.announced, s), max(a.newestPolicy, c.Version)
		if err := a.checkPolicyFile(ctx, k, c); err != nil {
			return err
		}
	}
	return nil
}

// neverCounts says why an announcement will never be in force, or "".
func (a *auditor) neverCounts(s proofs.SealedPolicy) string {
	if clock := a.network.Clock(); !s.InTime(clock) {
		return fmt.Sprintf("sealed at %d, its first epoch began at %d", s.SealedAt, clock.EpochStart(s.FirstEpoch))
	}
	if newest := max(a.firstPolicy.Version, a.newestPolicy); s.Version <= newest {
		return fmt.Sprintf("version %d was there before", newest)
	}
	return ""
}

// checkPolicyFile holds an announcement against the file that it names: whoever
// is ruled by a policy must have been able to read it before.
func (a *auditor) checkPolicyFile(ctx context.Context, k uint64, c proofs.PolicyChange) error {
	name := publish.PolicyName(c.Policy)
	file, err := a.Store.Get(ctx, name)
	if err != nil {
		a.r.skip(k, name, "published", "the announced policy", err)
		return ctx.Err()
	}
	policy, err := emissions.ParsePolicy(file)
	if err == nil {
		err = policy.CheckSamples(a.network.Samples)
	}
	if err != nil {
		a.r.find(k, name, "policy", "a policy file for this network", err)
		return nil
	}
	same(a.r, k, name, "policy", describe(c), describe(proofs.PolicyChange{Version: policy.Version, FirstEpoch: policy.FirstEpoch, Policy: policy.Hash()}))
	return nil
}

// policyAt returns the policy in force in epoch k, also in one that is not sealed yet: a
// policy counts only when it was sealed before. It returns nil, which is told once, where
// its file can't be had.
func (a *auditor) policyAt(ctx context.Context, k uint64) *emissions.Policy {
	before := slices.IndexFunc(a.announced, func(s proofs.SealedPolicy) bool { return s.Epoch >= k })
	if before < 0 {
		before = len(a.announced)
	}
	due := proofs.PolicyInForce(a.firstPolicy, a.announced[:before], a.network.Clock(), k)
	if p, known := a.policies[due.Policy]; known {
		return p
	}
	name := publish.PolicyName(due.Policy)
	file, err := a.Store.Get(ctx, name)
	var policy *emissions.Policy
	if err == nil && ionet.HashOf(file) == due.Policy {
		policy, err = emissions.ParsePolicy(file)
	} else if err == nil {
		err = fmt.Errorf("a file of hash %s", ionet.HashOf(file))
	}
	if err != nil {
		a.r.skip(k, name, "published", "the policy in force, which says how fees are divided", err)
		policy = nil
	}
	a.policies[due.Policy] = policy
	return policy
}
