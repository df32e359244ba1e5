package proofs

import (
	stdlib "crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"

	"github.com/ionet-settlement/ionet"
)

// torsion returns the 14 encodings of points of small order: the 8 canonical
// ones and the 6 that ZIP-215 accepts beside them (y = p or p+1, or x = 0 with
// the sign bit set).
func torsion(t testing.TB) []ionet.Key {
	var all []ionet.Key
	for _, p := range curve.EIGHT_TORSION {
		var y curve.CompressedEdwardsY
		all = append(all, ionet.Key(*y.SetEdwardsPoint(p)))
	}
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000080", // y = 1, x = -0
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // y = -1, x = -0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p+1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // y = p+1, x = -0
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // y = p, the other x
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ionet.Key(b))
	}
	return all
}

// The 196 combinations of A and R of small order with s = 0 that ZIP-215's own
// test vectors are made of: all must verify, alone and in a batch.
func TestSmallOrderSignatures(t *testing.T) {
	points := torsion(t)
	var all []Envelope
	strict := 0
	for _, a := range points {
		for _, r := range points {
			e := Envelope{Kind: KindInventory, Signer: a, Body: []byte("Zcash")}
			copy(e.Signature[:], r[:])
			all = append(all, e)
			if stdlib.Verify(a[:], SignedBytes(testNetwork, e.Kind, e.Body), e.Signature[:]) {
				strict++
			}
		}
	}
	if len(all) != 196 || strict == len(all) {
		t.Fatalf("%d signatures, %d of them strictly valid: not the edge that this test is about", len(all), strict)
	}
	for i, err := range NewVerifier(testNetwork, 16).Verify(all) {
		if alone := all[i].Verify(testNetwork); err != nil || alone != nil {
			t.Errorf("A %x, R %x: batch %v, alone %v", all[i].Signer, all[i].Signature[:32], err, alone)
		}
	}
}

// The same signatures, each with its s made 1, and some with s not reduced:
// whatever the verdict is, batch and single agree, and a bad neighbour changes
// nobody's verdict.
func TestBatchAgreesWithSingle(t *testing.T) {
	var all []Envelope
	for i, a := range torsion(t) {
		for j, r := range torsion(t) {
			e := Envelope{Kind: KindUptime, Signer: a, Body: fmt.Append(nil, i, j)}
			copy(e.Signature[:], r[:])
			switch (i + j) % 3 {
			case 1:
				e.Signature[32] = 1
			case 2: // s = the group order
				order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
				copy(e.Signature[32:], order)
			}
			all = append(all, e)
		}
	}
	for i := range 40 {
		e := Sign(testNetwork, KindUptime, key(fmt.Sprint(i)), []byte("body"))
		switch i % 8 {
		case 3:
			e.Body = []byte("Body")
		case 5:
			e.Signer = ionet.Key{2} // no point of the curve
		case 7:
			e.Signature[40] ^= 1
		}
		all = append(all, e)
	}
	good := 0
	v := NewVerifier(testNetwork, 8)
	for i, err := range v.Verify(all) {
		alone := all[i].Verify(testNetwork)
		if (err == nil) != (alone == nil) {
			t.Errorf("envelope %d: batch %v, alone %v", i, err, alone)
		}
		if err == nil {
			good++
		} else if !errors.Is(err, ErrSignature) {
			t.Errorf("envelope %d: %v is not ErrSignature", i, err)
		}
	}
	if good < 25 || good == len(all) {
		t.Errorf("%d of %d verify: this test tests nothing", good, len(all))
	}
}

func TestVerifyMany(t *testing.T) {
	v := NewVerifier(testNetwork, 64)
	if errs := v.Verify(nil); len(errs) != 0 {
		t.Errorf("nothing: %v", errs)
	}
	all := make([]Envelope, 1500) // more than one chunk
	for i := range all {
		all[i] = Sign(testNetwork, KindUptime, key(fmt.Sprint(i%50)), fmt.Append(nil, i))
	}
	all[1024].Signature[3] ^= 0x10
	for i, err := range v.Verify(all) {
		if (err != nil) != (i == 1024) {
			t.Errorf("envelope %d: %v", i, err)
		}
	}
}

// Batches of several goroutines share the cache of keys.
func TestVerifyConcurrently(t *testing.T) {
	v := NewVerifier(testNetwork, 4) // fewer than there are keys
	var all []Envelope
	for i := range 64 {
		all = append(all, Sign(testNetwork, KindUptime, key(fmt.Sprint(i%16)), fmt.Append(nil, i)))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, err := range v.Verify(all) {
				if err != nil {
					t.Errorf("envelope %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSignatureBindsNetworkAndKind(t *testing.T) {
	for kind := range Kind(64) {
		if !kind.Known() {
			continue
		}
		e := Sign(testNetwork, kind, key("w"), []byte("body"))
		if kind == KindAck {
			e = SignAcks(testNetwork, key("w"), Arrival{}, []ionet.Hash{{}})[0]
		}
		if err := e.Verify(testNetwork); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		// Text kinds name their network inside, vouchers their channel.
		bound := !kind.Text() && kind != KindVoucher && kind != KindCheckpoint
		if err := e.Verify(ionet.HashOf([]byte("another"))); (err != nil) != bound {
			t.Errorf("%s on another network: %v", kind, err)
		}
		if bound {
			e.Kind = kind%2 + KindInventory
			if e.Kind == kind {
				e.Kind = KindOffer
			}
			if err := e.Verify(testNetwork); err == nil {
				t.Errorf("%s verifies as %s", kind, e.Kind)
			}
		}
	}
}

// What is signed with the prefix could never be a Solana message: its first
// byte would announce 105 signatures.
func TestPrefixIsNoTransaction(t *testing.T) {
	if b := SignedBytes(testNetwork, KindUptime, nil); b[0] != 105 {
		t.Errorf("first byte is %d, want 105", b[0])
	}
	if got, want := string(SignedBytes(testNetwork, KindPrice, []byte("x"))), "io-settlement/v1/price\n"+string(testNetwork[:])+"x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A voucher must pass both rules.
func TestVoucherIsStrict(t *testing.T) {
	body := must[[]byte](t)(Voucher{Channel: public("channel"), Cumulative: ionet.MustAmount(5)}.Encode())
	good := Sign(testNetwork, KindVoucher, key("session"), body)
	weak := good
	weak.Signer = torsion(t)[13] // ZIP-215 accepts, the standard library does not
	weak.Signature = [64]byte{}
	copy(weak.Signature[:], weak.Signer[:])
	loose := weak
	loose.Kind = KindDelegation
	for i, want := range []bool{true, false, true} {
		e := []Envelope{good, weak, loose}[i]
		if got := e.Verify(testNetwork) == nil; got != want {
			t.Errorf("envelope %d verifies: %t, want %t", i, got, want)
		}
		if got := NewVerifier(testNetwork, 2).Verify([]Envelope{e})[0] == nil; got != want {
			t.Errorf("envelope %d in a batch verifies: %t, want %t", i, got, want)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for i := range 20 {
		if err := CheckKey(public(fmt.Sprint(i))); err != nil {
			t.Errorf("an honest key: %v", err)
		}
	}
	for _, k := range torsion(t) {
		if err := CheckKey(k); err == nil {
			t.Errorf("small order key %x passes", k)
		}
	}
	if err := CheckKey(ionet.Key{2}); err == nil {
		t.Error("a key that is no point passes")
	}
	// y = p + 3 encodes the same point as y = 3, which has large order.
	three, big := ionet.Key{3}, ionet.Key{0xf0}
	for i := 1; i < 32; i++ {
		big[i] = 0xff
	}
	big[31] = 0x7f
	if err := CheckKey(three); err != nil {
		t.Errorf("y = 3: %v", err)
	}
	if err := CheckKey(big); err == nil {
		t.Error("y = p+3 passes")
	}
}
