package proofs

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// A published reference is that of its bytes: whatever byte of it is changed, it is
// another one's.
func TestDepositReference(t *testing.T) {
	d := Deposit{Network: ionet.HashOf([]byte("net")), Wallet: ionet.Key{1, 2}, Nonce: [16]byte{3}}
	if got, err := ParseDeposit(d.Network, d.Reference(), d.Encode()); err != nil || got != d {
		t.Fatalf("parsed %+v, %v", got, err)
	}
	good := d.Encode()
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, err := ParseDeposit(d.Network, d.Reference(), bad); err == nil {
			t.Errorf("byte %d is changed and it parses", i)
		}
	}
	for _, bad := range [][]byte{nil, good[:79], append(slices.Clone(good), 0)} {
		if _, err := ParseDeposit(d.Network, d.Reference(), bad); err == nil {
			t.Errorf("%d bytes parse", len(bad))
		}
	}
	if _, err := ParseDeposit(ionet.HashOf([]byte("other")), d.Reference(), good); err == nil {
		t.Error("a reference of another network parses")
	}
}

// A published withdrawal is a statement that its renter signed, named by its id.
func TestPublishedWithdrawal(t *testing.T) {
	network := ionet.HashOf([]byte("net"))
	seed := sha256.Sum256([]byte("renter"))
	key := ed25519.NewKeyFromSeed(seed[:])
	w := Withdrawal{Renter: ionet.Key(key.Public().(ed25519.PublicKey)), ID: [16]byte{7}, Amount: ionet.MustAmount(12), To: ionet.Key{9}, Expires: 1_800_000_000}
	text, err := w.Text(network)
	if err != nil {
		t.Fatal(err)
	}
	e := Sign(network, KindWithdrawal, key, []byte(text))
	id, good := PaymentID(e.ID()), e.Append(nil)
	if got, err := ParsePublishedWithdrawal(network, id, good); err != nil || got != w {
		t.Fatalf("parsed %+v, %v", got, err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, err := ParsePublishedWithdrawal(network, id, bad); err == nil {
			t.Errorf("byte %d is changed and it parses", i)
		}
	}
	if _, err := ParsePublishedWithdrawal(network, id, append(slices.Clone(good), 0)); err == nil {
		t.Error("a trailing byte is taken")
	}
	if _, err := ParsePublishedWithdrawal(network, [16]byte{1}, good); err == nil {
		t.Error("it goes under another name")
	}
	other := Sign(network, KindDispute, key, []byte(text))
	if _, err := ParsePublishedWithdrawal(network, PaymentID(other.ID()), other.Append(nil)); err == nil {
		t.Error("another kind is taken")
	}
}
