package chain

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// Signatures that are made elsewhere give the transaction that signing here gives.
func TestAttach(t *testing.T) {
	f := newFixture()
	at := f.first("pay-0")
	plan := f.payout(t, at, 3)
	message, err := plan.Message()
	if err != nil {
		t.Fatal(err)
	}
	lane := f.secret.Key(at.c)
	want, _, err := SignMessage(message, f.operator, lane)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, missing, err := SignMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ParseRaw(unsigned, nil, nil)
	if err != nil || len(raw.Missing()) != 2 || raw.Missing()[0] != missing[0] {
		t.Errorf("missing are %v, want %v; %v", raw.Missing(), missing, err)
	}
	by := func(key ed25519.PrivateKey) map[ionet.Key]Signature {
		return map[ionet.Key]Signature{PublicOf(key): Signature(ed25519.Sign(key, message))}
	}
	half, missing, err := Attach(unsigned, by(lane))
	if err != nil || len(missing) != 1 || missing[0] != PublicOf(f.operator) {
		t.Errorf("missing are %v, %v; want the operator", missing, err)
	}
	got, missing, err := Attach(half, by(f.operator))
	if err != nil || len(missing) != 0 || !bytes.Equal(got, want) {
		t.Errorf("got %x, missing %v, %v; want %x", got, missing, err, want)
	}
	if _, _, err := Attach(unsigned, by(f.fees)); err == nil {
		t.Error("the signature of a stranger is attached")
	}
	if _, _, err := Attach([]byte{1}, nil); err == nil {
		t.Error("no transaction is taken")
	}
}
