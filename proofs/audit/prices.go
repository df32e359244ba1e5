package audit

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// observation is a price statement of a book.
type observation struct {
	id     ionet.Hash
	signer ionet.Key
	proofs.Price
}

// observed names an observation: of each key and epoch there is one at most.
type observed struct {
	signer ionet.Key
	epoch  uint64
}

// checkPrice holds the price that epoch k uses against those that earlier books
// used. An observation of epoch p is taken until p's books close and p's book
// has it; so k has one of its own or the newest that earlier books have, in
// reach and by the key that the policy names (FORMAT.md, section 6). What
// proofs.Judge refuses by itself is not repeated here.
func (a *auditor) checkPrice(k uint64, policy *emissions.Policy, list []observation) {
	if policy == nil || policy.Target == nil {
		return
	}
	key := policy.Target.Key
	clock, newest := a.network.Clock(), a.newestPrice(key, k, uint64(policy.Target.MaxAgeEpochs))
	want := fmt.Sprintf("one of epoch %d or later by %s", newest, key)
	used := false
	for _, o := range list {
		if proofs.CheckPrice(o.Price, o.signer, policy, clock, k) != nil {
			continue // Judge says why
		}
		used = true
		at := observed{key, o.Epoch}
		first, known := a.prices[at]
		switch {
		case o.Epoch < newest:
			a.r.find(k, o.object(), "price", want, fmt.Sprintf("one of epoch %d", o.Epoch))
		case known:
			same(a.r, k, o.object(), "price", first, o.id)
		case o.Epoch < k:
			a.lateObservation(k, o)
		}
		if !known {
			a.prices[at] = o.id
		}
	}
	if !used && newest > 0 {
		a.r.find(k, "price", "price", want, "none")
	}
}

func (o observation) object() string { return fmt.Sprintf("price %s by %s", o.id, o.signer) }

// newestPrice returns the last epoch before k, at most age back, whose price by
// that key an earlier book has; 0 for none.
func (a *auditor) newestPrice(key ionet.Key, k, age uint64) uint64 {
	for p := k - 1; p > 0 && k-p <= age; p-- {
		if _, known := a.prices[observed{key, p}]; known {
			return p
		}
	}
	return 0
}

// lateObservation is about an observation of an earlier epoch that appears now
// for the first time: it was not there when that epoch's books closed, unless
// its book is lost.
func (a *auditor) lateObservation(k uint64, o observation) {
	report := a.r.find
	if a.isLost(o.Epoch) {
		report = a.r.skip
	}
	report(k, o.object(), "price", fmt.Sprintf("an observation that the book of epoch %d has", o.Epoch), "one that it does not have")
}
