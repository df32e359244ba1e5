package settlement

import (
	"maps"
	"sync"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// waiting is the messages that signers were asked for and that are not persisted yet:
// a signer did not answer, or the commit did not come off. The next pass asks for the
// same bytes, and only those who have not signed them: a co-signer counts each message
// (signer/DESIGN.md), the same one once. Nothing depends on it: a message that is
// forgotten is made anew, for the same position, and of the two one lands at most.
//
// What waits is no attempt: its signatures have left to nobody, it is simulated again
// each time, and nothing of it is sent before it is persisted like any other.
type waiting struct {
	mu   sync.Mutex
	list map[ionet.Hash]unsigned // by purpose
}

const (
	maxWaiting = 1024  // far more than a pass has purposes; more than that is forgotten
	baseFee    = 5_000 // what a signature costs in any case, in lamports
)

// terms are what a message is made under, beside what it does. It waits as long as they
// are about the same.
type terms struct {
	lease    int64
	instance [16]byte // another one after the database was put back
	newest   rpc.Blockhash
	priority uint64 // what the chain asks for now, in lamports
}

// termsOf are those of p if it is made now.
func (s *Service) termsOf(p chain.Plan, newest rpc.Blockhash, price uint64) terms {
	return terms{s.leaseNumber(), s.Instance(), newest, s.priorityLamports(price, p.DefaultBudget().ComputeUnits)}
}

// isOver reports whether u is not to be asked for under t any more, whatever it is for:
// it has to have time to land once it is signed.
func (t terms) isOver(u unsigned) bool {
	return u.terms.lease != t.lease || u.terms.instance != t.instance || int64(u.blockhash.LastValidHeight) < freshHeight(t.newest)
}

// outbids reports whether a transaction that is made now pays more than twice what u does.
func (t terms) outbids(u unsigned) bool {
	return t.priority+baseFee > 2*(u.terms.priority+baseFee)
}

// purposeOf names what a message is for: what its steps do, and who signs.
func purposeOf(p chain.Plan, steps []step) ionet.Hash {
	parts := [][]byte{[]byte("io/purpose/1")}
	for _, st := range steps {
		h := st.content.Hash()
		parts = append(parts, h[:])
	}
	for _, list := range p.Cosigners { // of the one multisig that signs for the source
		for _, k := range list {
			parts = append(parts, k[:])
		}
	}
	return ionet.HashOf(parts...)
}

// find returns the message that waits for that purpose and is worth asking for again.
func (w *waiting) find(purpose ionet.Hash, now terms) (unsigned, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.list, func(_ ionet.Hash, u unsigned) bool { return now.isOver(u) })
	u, ok := w.list[purpose]
	return u, ok && !now.outbids(u)
}

// replace puts the message that waits for u's purpose, if it is worth asking for again,
// in place of u's.
func (w *waiting) replace(u *unsigned) (again bool) {
	old, again := w.find(u.purpose, u.terms)
	if again {
		u.message, u.blockhash, u.tx, u.terms = old.message, old.blockhash, old.tx, old.terms
	}
	return again
}

// keep remembers a message that was asked for, with the signatures that it has.
func (w *waiting) keep(u unsigned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil || len(w.list) >= maxWaiting {
		w.list = map[ionet.Hash]unsigned{}
	}
	w.list[u.purpose] = u
}

// forget drops a message: it is persisted, or of no use.
func (w *waiting) forget(purpose ionet.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.list, purpose)
}
