package proofs

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// NextBindings returns the bindings in force when the epoch after in begins,
// ascending by UUID: accepted devices stay or become bound to their worker, idle
// bindings end, released ones end. FORMAT.md, section 7.
func NextBindings(in *Inputs, verdicts []Verdict) ([]Binding, error) {
	policy, err := emissions.ParsePolicy(in.Policy)
	if err != nil {
		return nil, fmt.Errorf("derive bindings after epoch %d: %w", in.Epoch, err)
	}
	next := map[ionet.UUID]Binding{}
	for _, b := range in.Bindings {
		next[b.UUID] = b
	}
	providers := map[ionet.UUID]map[ionet.Key]ionet.Key{} // device -> worker -> provider
	for _, v := range verdicts {
		if v.Rule == Accepted {
			b, bound := next[v.UUID]
			if !bound || b.Worker != v.Worker {
				b = Binding{UUID: v.UUID, Worker: v.Worker, Since: in.Epoch}
			}
			b.Last = in.Epoch
			next[v.UUID] = b
		}
		if providers[v.UUID] == nil {
			providers[v.UUID] = map[ionet.Key]ionet.Key{}
		}
		providers[v.UUID][v.Worker] = v.Provider
	}
	for uuid, b := range next {
		if b.Last <= in.Epoch && in.Epoch-b.Last >= uint64(policy.BindingIdleEpochs) {
			delete(next, uuid)
		}
	}
	if err := release(in, providers, next); err != nil {
		return nil, fmt.Errorf("derive bindings after epoch %d: %w", in.Epoch, err)
	}
	out := make([]Binding, 0, len(next))
	for _, b := range next {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Binding) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	return out, nil
}

// release ends the bindings that their provider let go.
func release(in *Inputs, providers map[ionet.UUID]map[ionet.Key]ionet.Key, next map[ionet.UUID]Binding) error {
	named, err := namedProviders(in)
	if err != nil {
		return err
	}
	for i := range in.Statements {
		s := &in.Statements[i]
		if s.Envelope.Kind != KindRelease || s.Arrival.Epoch > in.Epoch {
			continue
		}
		r, err := ParseRelease(in.Network, s.Envelope.Signer, s.Envelope.Body)
		if err != nil {
			return err
		}
		b, bound := next[r.Device]
		if bound && b.Worker == r.Worker && mayRelease(r, providers[r.Device], named) {
			delete(next, r.Device)
		}
	}
	return nil
}

// pair is a worker and a provider.
type pair struct{ worker, provider ionet.Key }

// namedProviders returns the providers whom workers themselves name: by the
// delegation of an inventory that the worker signed. A delegation alone proves
// nothing, for anyone can delegate anyone's worker.
func namedProviders(in *Inputs) (map[pair]bool, error) {
	delegations, named := map[ionet.Hash]Delegation{}, map[pair]bool{}
	for i := range in.Statements { // delegations come before inventories
		switch e := &in.Statements[i].Envelope; e.Kind {
		case KindDelegation:
			d, err := ParseDelegation(in.Network, e.Signer, e.Body)
			if err != nil {
				return nil, err
			}
			delegations[e.ID()] = d
		case KindInventory:
			v, err := ParseInventory(e.Body)
			if err != nil {
				return nil, err
			}
			if d, ok := delegations[v.Delegation]; ok && d.Has(e.Signer) {
				named[pair{e.Signer, d.Provider}] = true
			}
		}
	}
	return named, nil
}

// mayRelease reports whether the signer is the provider of the bound worker: of
// its verdict or, without one, one whom the worker names.
func mayRelease(r Release, byWorker map[ionet.Key]ionet.Key, named map[pair]bool) bool {
	if provider, judged := byWorker[r.Worker]; judged {
		return provider == r.Provider
	}
	return named[pair{r.Worker, r.Provider}]
}
