package proofs

import (
	stdlib "crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"

	"github.com/ionet-settlement/ionet"
)

// ErrSignature reports a signature that does not verify.
var ErrSignature = errors.New("signature does not verify")

// zip215 is the one signature rule: cofactored, non-canonical points accepted,
// so that batch and single verification agree on every input.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// CheckKey returns an error for a key that may not be registered, though
// ZIP-215 would verify with it: one that is no point of the curve, is not
// canonically encoded, or has small order (whose signatures fit any message).
func CheckKey(k ionet.Key) error {
	y := curve.CompressedEdwardsY(k)
	var p curve.EdwardsPoint
	if _, err := p.SetCompressedY(&y); err != nil {
		return fmt.Errorf("key %s is not a point of the curve", k)
	}
	if !y.IsCanonicalVartime() {
		return fmt.Errorf("key %s is not canonically encoded", k)
	}
	if p.IsSmallOrder() {
		return fmt.Errorf("key %s has small order", k)
	}
	return nil
}

// Verify checks the signature by the rule of FORMAT.md, section 3.
func (e *Envelope) Verify(network ionet.Hash) error {
	b, ok := appendSignedBytes(nil, network, e.Kind, e.Body)
	if !ok || !ed25519.VerifyWithOptions(e.Signer[:], b, e.Signature[:], zip215) || !e.strict() {
		return e.badSignature()
	}
	return nil
}

// strict holds vouchers against the standard library's rule as well: the
// payment-channels program, which must accept them too, knows no other.
func (e *Envelope) strict() bool {
	return e.Kind != KindVoucher || stdlib.Verify(e.Signer[:], e.Body, e.Signature[:])
}

func (e *Envelope) badSignature() error {
	return fmt.Errorf("%s %s by %s: %w", e.Kind, e.ID(), e.Signer, ErrSignature)
}

// Verifier verifies many envelopes of one network at once. It remembers the
// expanded form of the keys it saw last. It is safe for concurrent use.
type Verifier struct {
	network ionet.Hash
	keys    *cache.Verifier
	held    memoryOfVouchers
}

// NewVerifier returns a verifier that remembers up to keys expanded public
// keys (about 1.3 kB each).
func NewVerifier(network ionet.Hash, keys int) *Verifier {
	return &Verifier{network: network, keys: cache.NewVerifier(cache.NewLRUCache(keys))}
}

// Verify returns one error or nil for each envelope, in their order. A batch
// verdict alone never refuses anyone: when a batch fails, each signature is
// decided by itself, by the same rule.
func (v *Verifier) Verify(envelopes []Envelope) []error {
	errs := make([]error, len(envelopes))
	const chunk = 1024 // beyond it a batch gains nothing
	for start := 0; start < len(envelopes); start += chunk {
		end := min(start+chunk, len(envelopes))
		v.verify(envelopes[start:end], errs[start:end])
	}
	return errs
}

func (v *Verifier) verify(envelopes []Envelope, errs []error) {
	batch := ed25519.NewBatchVerifierWithCapacity(len(envelopes))
	added := make([]int, 0, len(envelopes))
	var scratch []byte // the batch hashes a message when it is added
	for i := range envelopes {
		e := &envelopes[i]
		var ok bool
		if scratch, ok = appendSignedBytes(scratch[:0], v.network, e.Kind, e.Body); !ok {
			errs[i] = e.badSignature()
			continue
		}
		v.keys.AddWithOptions(batch, e.Signer[:], scratch, e.Signature[:], zip215)
		added = append(added, i)
	}
	_, each := batch.Verify(rand.Reader)
	for j, i := range added {
		if e := &envelopes[i]; !each[j] || !e.strict() {
			errs[i] = e.badSignature()
		}
	}
}

// verifyZIP215 verifies one signature by the rule of FORMAT.md, section 3.
func verifyZIP215(key ionet.Key, message, signature []byte) bool {
	return ed25519.VerifyWithOptions(key[:], message, signature, zip215)
}
