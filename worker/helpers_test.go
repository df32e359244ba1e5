package worker

import (
	"crypto/ed25519"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// testKey returns a key that follows from a number.
func testKey(n byte) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte("worker test key"), []byte{n})
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(key ed25519.PrivateKey) ionet.Key { return ionet.Key(key.Public().(ed25519.PublicKey)) }

var testNetwork = ionet.HashOf([]byte("worker test network"))

// delegationFor is a wallet's delegation of that worker.
func delegationFor(t testing.TB, network ionet.Hash, wallet, worker ed25519.PrivateKey, issued int64) proofs.Envelope {
	t.Helper()
	d := proofs.Delegation{Provider: public(wallet), Payout: public(wallet), Workers: []ionet.Key{public(worker)}, Issued: issued, Expires: issued + 86400}
	text, err := d.Text(network)
	must(t, err)
	return proofs.Sign(network, proofs.KindDelegation, wallet, []byte(text))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
