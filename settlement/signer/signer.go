package signer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Signer makes signatures with the keys it holds. It is safe for concurrent use.
type Signer interface {
	// Keys returns the money keys that it can sign with. Lane keys are not among
	// them.
	Keys(ctx context.Context) ([]ionet.Key, error)

	// LaneKeys returns the public half of K(n) for each C(n), in order; ErrNoSecret
	// where the signer does not hold the lane secret.
	LaneKeys(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error)

	// Sign answers each request in order: with all signatures that its keys owe the
	// message, or with a refusal. An error means that nothing is known to be signed;
	// what was signed nevertheless is harmless, and asking again is right.
	Sign(ctx context.Context, list []Request) ([]Signed, error)
}

// Bounds of one call.
const (
	MaxRequests = 64
	MaxLaneKeys = 1024
)

// Request is one message to sign.
type Request struct {
	Message []byte     // a version 0 or 1 message, final but for its signatures
	Lanes   []Position // one for each lane step of the message; none where it opens lanes
}

// Position is where the asker sees a lane: at position N, whose content begins
// with C.
type Position struct {
	Lane ionet.Key  `json:"lane"`
	N    uint64     `json:"n"`
	C    ionet.Hash `json:"c"`
}

// Signed answers a request: signatures, or why there are none.
type Signed struct {
	Signatures map[ionet.Key]chain.Signature
	Refused    *Refusal
}

// Refusal says which rule refused a request, and which part of the request broke it.
type Refusal struct {
	Rule   string `json:"rule"`   // a name of DESIGN.md's table
	Field  string `json:"field"`  // message, lanes, movements, memo, budget or signers
	Detail string `json:"detail"` // a sentence, never a secret
}

// Error renders the refusal in one line.
func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s): %s", r.Rule, r.Field, r.Detail) }

func refuse(rule, field, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// ErrNoSecret reports a signer that can't derive lane keys: a co-signer.
var ErrNoSecret = errors.New("this signer does not hold the lane secret")

// Ring is a set of private keys. It prints as a constant under every fmt verb.
type Ring struct {
	money  map[ionet.Key]ed25519.PrivateKey
	secret *chain.Secret
}

// NewRing returns a ring of keys; secret is nil for a co-signer.
func NewRing(secret *chain.Secret, keys ...ed25519.PrivateKey) *Ring {
	r := &Ring{money: make(map[ionet.Key]ed25519.PrivateKey, len(keys)), secret: secret}
	for _, k := range keys {
		r.money[chain.PublicOf(k)] = k
	}
	return r
}

// Format implements fmt.Formatter: no verb shows a key.
func (r *Ring) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[keys]") }

// MarshalText keeps keys out of JSON and logs.
func (r *Ring) MarshalText() ([]byte, error) { return []byte("[keys]"), nil }

// Keys returns the public halves of the money keys, ascending.
func (r *Ring) Keys() []ionet.Key {
	return slices.SortedFunc(maps.Keys(r.money), func(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) })
}

// HasSecret reports whether the ring can derive lane keys.
func (r *Ring) HasSecret() bool { return r.secret != nil }

func (r *Ring) laneKeys(cs []ionet.Hash) ([]ionet.Key, error) {
	if r.secret == nil {
		return nil, ErrNoSecret
	}
	keys := make([]ionet.Key, len(cs))
	for i, c := range cs {
		keys[i] = r.secret.Public(c)
	}
	return keys, nil
}

// sign signs message for each of its signers that the ring holds, or that is the
// key of one of the positions.
func (r *Ring) sign(message []byte, signers []ionet.Key, lanes []Position) map[ionet.Key]chain.Signature {
	made := map[ionet.Key]chain.Signature{}
	add := func(key ed25519.PrivateKey) {
		if public := chain.PublicOf(key); slices.Contains(signers, public) {
			made[public] = chain.Signature(ed25519.Sign(key, message))
		}
	}
	for _, s := range signers {
		if key, ok := r.money[s]; ok {
			add(key)
		}
	}
	if r.secret != nil {
		for _, l := range lanes {
			add(r.secret.Key(l.C))
		}
	}
	return made
}

// Local signs whatever it is asked to: the keys lie in the asker's own memory, so a
// policy would protect nothing. It is for a demo, for tests, and for a service
// whose host is its own vault.
type Local struct{ ring *Ring }

// NewLocal returns a signer by the keys of ring.
func NewLocal(ring *Ring) *Local { return &Local{ring} }

// Keys implements Signer.
func (l *Local) Keys(context.Context) ([]ionet.Key, error) { return l.ring.Keys(), nil }

// LaneKeys implements Signer.
func (l *Local) LaneKeys(_ context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	return l.ring.laneKeys(cs)
}

// Sign implements Signer; it refuses only what is no message.
func (l *Local) Sign(_ context.Context, list []Request) ([]Signed, error) {
	answers := make([]Signed, len(list))
	for i, r := range list {
		signers, err := signersOf(r.Message)
		if err != nil {
			answers[i].Refused = refuse("form", "message", "%v", err)
			continue
		}
		answers[i].Signatures = l.ring.sign(r.Message, signers, r.Lanes)
	}
	return answers, nil
}

// signersOf returns who has to sign message, the fee payer first.
func signersOf(message []byte) ([]ionet.Key, error) {
	_, missing, err := chain.SignMessage(message)
	return missing, err
}
