package proofs

import (
	"sync"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/ionet-settlement/ionet"
)

// strictRule is the standard library's rule in the words of the batching library, whose
// cached keys make it faster. What holds by it holds by ZIP-215 too: both hash the same
// bytes, this one wants the equation without the cofactor, and R in its canonical form.
// So a voucher is decided by it alone, and a batch by ZIP-215 would only add to that.
var strictRule = &ed25519.Options{Verify: ed25519.VerifyOptionsStdLib}

// VerifyVouchers returns one error or nil for each voucher, in their order, as
// VerifyVoucher does. It remembers the vouchers that held, for one may pay for many
// jobs, and the keys.
func (v *Verifier) VerifyVouchers(vouchers []SignedVoucher) []error {
	errs := make([]error, len(vouchers))
	var buf [voucherSize]byte
	for i := range vouchers {
		x := &vouchers[i]
		if v.held.has(x) {
			continue
		}
		if !v.isStrict(x.Key, x.append(buf[:0]), x.Signature[:]) {
			errs[i] = x.badSignature()
			continue
		}
		v.held.add(x)
	}
	return errs
}

// isStrict verifies by the standard library's rule.
func (v *Verifier) isStrict(key ionet.Key, message, signature []byte) bool {
	return v.keys.VerifyWithOptions(key[:], message, signature, strictRule)
}

// heldVouchers is how many vouchers a half of the memory holds: of 136 bytes each.
const heldVouchers = 1 << 13

// memoryOfVouchers remembers the latest vouchers that held: at least heldVouchers, at
// most twice as many. What was not asked for while as many others came is forgotten.
type memoryOfVouchers struct {
	mu       sync.Mutex
	new, old map[SignedVoucher]struct{}
}

func (m *memoryOfVouchers) has(v *SignedVoucher) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.new[*v]; ok {
		return true
	}
	_, ok := m.old[*v]
	if ok {
		m.put(v)
	}
	return ok
}

func (m *memoryOfVouchers) add(v *SignedVoucher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(v)
}

func (m *memoryOfVouchers) put(v *SignedVoucher) {
	if m.new == nil || len(m.new) >= heldVouchers {
		m.new, m.old = make(map[SignedVoucher]struct{}, heldVouchers), m.new
	}
	m.new[*v] = struct{}{}
}
