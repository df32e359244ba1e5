package proofs

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Envelope is a signed statement as it travels:
//
//	kind u8 ‖ signer [32] ‖ signature [64] ‖ length u16 ‖ body
type Envelope struct {
	Kind      Kind
	Signer    ionet.Key
	Signature [64]byte
	Body      []byte // at most MaxBody bytes
}

const (
	envelopeHead = 1 + 32 + 64 + 2
	// MaxBody is the largest body in bytes.
	MaxBody = 1<<16 - 1
)

// ErrShort reports a stream that ends inside an envelope.
var ErrShort = errors.New("envelope ends too early")

// ID names the statement: H(kind ‖ signer ‖ body). The signature is left out,
// for one body may have many valid ones.
func (e *Envelope) ID() ionet.Hash {
	return ionet.HashOf([]byte{byte(e.Kind)}, e.Signer[:], e.Body)
}

// Append appends the envelope's bytes to b.
func (e *Envelope) Append(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = append(b, e.Signer[:]...)
	b = append(b, e.Signature[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Body)))
	return append(b, e.Body...)
}

// ParseEnvelope takes one envelope from the front of b and returns what
// follows it. The body shares b's memory. It checks neither kind nor body.
func ParseEnvelope(b []byte) (e Envelope, rest []byte, err error) {
	if len(b) < envelopeHead {
		return e, nil, fmt.Errorf("parse envelope: %d bytes: %w", len(b), ErrShort)
	}
	e.Kind = Kind(b[0])
	copy(e.Signer[:], b[1:33])
	copy(e.Signature[:], b[33:97])
	size := int(binary.LittleEndian.Uint16(b[97:envelopeHead]))
	b = b[envelopeHead:]
	if len(b) < size {
		return Envelope{}, nil, fmt.Errorf("parse envelope: body has %d of %d bytes: %w", len(b), size, ErrShort)
	}
	e.Body = b[:size:size]
	return e, b[size:], nil
}

// SignedBytes returns what is signed: for text kinds and vouchers the body, for
// all others "io-settlement/v1/" ‖ name ‖ "\n" ‖ network id ‖ body, where an ack
// has in place of the body what its path leads to. An ack whose body does not
// parse has none: nil.
func SignedBytes(network ionet.Hash, kind Kind, body []byte) []byte {
	b, ok := appendSignedBytes(nil, network, kind, body)
	if !ok {
		return nil
	}
	return b
}

func appendSignedBytes(b []byte, network ionet.Hash, kind Kind, body []byte) (_ []byte, ok bool) {
	if kind.prefixed() {
		b = append(b, signPrefix...)
		b = append(b, kind.String()...)
		b = append(b, '\n')
		b = append(b, network[:]...)
	}
	if kind != KindAck {
		return append(b, body...), true
	}
	a, err := ParseAck(body)
	if err != nil {
		return b, false
	}
	w := writer{b: b}
	w.promise(a.Arrival, a.Size, a.Root())
	return w.b, true
}

const signPrefix = "io-settlement/v1/"

// Sign makes the envelope of body, signed by key. What has no signed bytes gets no
// signature.
func Sign(network ionet.Hash, kind Kind, key ed25519.PrivateKey, body []byte) Envelope {
	e := Envelope{Kind: kind, Signer: ionet.Key(key.Public().(ed25519.PublicKey)), Body: body}
	if b, ok := appendSignedBytes(nil, network, kind, body); ok {
		copy(e.Signature[:], ed25519.Sign(key, b))
	}
	return e
}
