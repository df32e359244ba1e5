package proofs

import (
	stdlib "crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/mr-tron/base58"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// x402Vector is a channel and a voucher by the code of the npm package @x402/svm; see
// testdata/x402/generate.mjs.
type x402Vector struct {
	Payer      ionet.Key    `json:"payer"`
	Payee      ionet.Key    `json:"payee"`
	Mint       ionet.Key    `json:"mint"`
	Authorized ionet.Key    `json:"authorized_signer"`
	Seed       string       `json:"authorized_seed"`
	Salt       uint64       `json:"salt,string"`
	OpenSlot   uint64       `json:"open_slot,string"`
	Channel    ionet.Key    `json:"channel"`
	Cumulative ionet.Amount `json:"cumulative"`
	Expiry     int64        `json:"expiry"`
	Message    string       `json:"message"`
	Signature  string       `json:"signature"`
}

// A voucher of an x402 client's code verifies here, on the channel that it derives, and
// ours are its bytes.
func TestVouchersOfX402(t *testing.T) {
	var all []x402Vector
	if err := json.Unmarshal(must[[]byte](t)(os.ReadFile(filepath.Join("testdata", "x402", "vouchers.json"))), &all); err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(testNetwork, 8)
	plain := 0
	for i, c := range all {
		address, err := ChannelAddress(c.Payer, c.Payee, c.Mint, c.Authorized, c.Salt, c.OpenSlot)
		if err != nil || address != c.Channel {
			t.Errorf("%d: channel is %s, want %s (%v)", i, address, c.Channel, err)
		}
		sig := [64]byte(must[[]byte](t)(base58.Decode(c.Signature)))
		voucher := Voucher{Channel: c.Channel, Cumulative: c.Cumulative, Expiry: c.Expiry}
		if got := hex.EncodeToString(body(t, voucher)); got != c.Message {
			t.Errorf("%d: voucher is %s, want %s", i, got, c.Message)
		}
		e := Envelope{Kind: KindVoucher, Signer: c.Authorized, Signature: sig, Body: body(t, voucher)}
		if err := e.Verify(testNetwork); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if c.Expiry != 0 {
			// Under the same signature the voucher without expiry is another one.
			if VerifyVoucher(c.Authorized, c.Channel, c.Cumulative, sig) == nil {
				t.Errorf("%d: an expiring voucher passes for one without expiry", i)
			}
			continue
		}
		plain++
		if err := VerifyVoucher(c.Authorized, c.Channel, c.Cumulative, sig); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if err := v.VerifyVouchers([]SignedVoucher{{c.Authorized, c.Channel, c.Cumulative, sig}})[0]; err != nil {
			t.Errorf("%d: %v", i, err)
		}
		secret := stdlib.NewKeyFromSeed(must[[]byte](t)(hex.DecodeString(c.Seed)))
		if got := SignVoucher(secret, c.Channel, c.Cumulative); got != sig {
			t.Errorf("%d: signature is %x, want %x", i, got, sig)
		}
		b := Bill{Channel: c.Channel, Cumulative: c.Cumulative}
		if got := hex.EncodeToString(b.VoucherBytes()); got != c.Message {
			t.Errorf("%d: a bill's voucher is %s, want %s", i, got, c.Message)
		}
	}
	if plain < 10 || plain == len(all) {
		t.Errorf("%d of %d vouchers are without expiry", plain, len(all))
	}
}

// The address is what solana-go finds, for any seeds.
func TestChannelAddress(t *testing.T) {
	program := solana.MustPublicKeyFromBase58("CHNLxYvVA28MJP9PrFuDXccuoGXAx7jBacfLEkahyGsX")
	bumps := map[uint8]int{}
	rapid.Check(t, func(t *rapid.T) {
		var k [4]ionet.Key
		for i := range k {
			k[i] = ionet.Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		}
		salt, slot := rapid.Uint64().Draw(t, "salt"), rapid.Uint64().Draw(t, "slot")
		number := func(n uint64) []byte { w := writer{}; w.u64(n); return w.b }
		want, bump, err := solana.FindProgramAddress([][]byte{[]byte("channel"), k[0][:], k[1][:], k[2][:], k[3][:], number(salt), number(slot)}, program)
		if err != nil {
			t.Fatal(err)
		}
		bumps[bump]++
		if got, err := ChannelAddress(k[0], k[1], k[2], k[3], salt, slot); err != nil || got != ionet.Key(want) {
			t.Errorf("got %s (%v), want %s with bump %d", got, err, want, bump)
		}
	})
	if len(bumps) < 3 {
		t.Errorf("bumps are %v: this test sees no hash on the curve", bumps)
	}
}

// onCurve decides as Solana does where decoders differ: it asks neither for a canonical
// y nor for a positive zero.
func TestOnCurve(t *testing.T) {
	points := torsion(t)
	points = append(points, public("a"), public("b"))
	for i := range 200 {
		points = append(points, ionet.Key(ionet.HashOf([]byte{byte(i)})))
	}
	on := 0
	for _, p := range points {
		got := onCurve(p)
		if got {
			on++
		}
		if want := solana.IsOnCurve(p[:]); got != want {
			t.Errorf("%x: got %v, want %v", p, got, want)
		}
	}
	if on < 80 || on > len(points)-80 {
		t.Errorf("%d of %d are on the curve", on, len(points))
	}
	for _, p := range torsion(t) {
		if !onCurve(p) {
			t.Errorf("%x is a point in some encoding", p)
		}
	}
}

func TestChannelSalt(t *testing.T) {
	// The first bytes of SHA-256, worked out by hand once more.
	w := writer{b: []byte("io/channel/1")}
	session := ionet.HashOf([]byte("session"))
	w.raw(testNetwork[:])
	w.raw(session[:])
	w.u64(5)
	h := ionet.HashOf(w.b)
	var want uint64
	for i := range 8 {
		want |= uint64(h[i]) << (8 * i)
	}
	if got := ChannelSalt(testNetwork, session, 5); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if ChannelSalt(testNetwork, session, 6) == want || ChannelSalt(session, session, 5) == want {
		t.Error("the salt depends on less than network, session and nonce")
	}
}

// Every public vector has the standard library's verdict from the fast verifier too, and
// what is valid by that rule is so by ZIP-215: so one of them is enough for a voucher.
func TestStrictIsTheStandardLibrary(t *testing.T) {
	strict, loose := 0, 0
	for _, set := range edgeSets(t) {
		v := NewVerifier(testNetwork, 1000)
		for round := range 2 { // the second with cached keys
			for _, c := range set.cases {
				want := stdlib.Verify(c.e.Signer[:], c.e.Body, c.e.Signature[:])
				if got := v.isStrict(c.e.Signer, c.e.Body, c.e.Signature[:]); got != want {
					t.Errorf("%s %s (%s), round %d: got %v, want %v", set.name, c.id, c.comment, round, got, want)
				}
				switch zip := c.e.Verify(testNetwork) == nil; {
				case want && !zip:
					t.Errorf("%s %s (%s): strictly valid, and not by ZIP-215", set.name, c.id, c.comment)
				case want:
					strict++
				case zip:
					loose++
				}
			}
		}
	}
	if strict < 100 || loose < 100 {
		t.Errorf("%d strictly valid, %d only by ZIP-215: these vectors tell nothing", strict, loose)
	}
}

// vouchersFor makes n vouchers of keys keys.
func vouchersFor(n, keys int) []SignedVoucher {
	all := make([]SignedVoucher, n)
	for i := range all {
		k := key(fmt.Sprint("session ", i%keys))
		v := SignedVoucher{Key: public(fmt.Sprint("session ", i%keys)), Channel: public("channel"), Cumulative: ionet.MustAmount(uint64(i))}
		v.Signature = SignVoucher(k, v.Channel, v.Cumulative)
		all[i] = v
	}
	return all
}

func TestVerifyVouchers(t *testing.T) {
	v := NewVerifier(testNetwork, 8)
	all := vouchersFor(64, 5)
	for i := range all {
		switch i % 8 {
		case 1:
			all[i].Cumulative = ionet.MustAmount(all[i].Cumulative.Base() + 1)
		case 2:
			all[i].Key = public("somebody")
		case 3:
			all[i].Channel[0] ^= 1
		case 4:
			all[i].Signature[63] |= 0xe0
		case 5:
			all[i].Key = torsion(t)[i%14]
			all[i].Signature = [64]byte{}
			copy(all[i].Signature[:], all[i].Key[:])
		case 6:
			all[i].Key = ionet.Key{2} // no point of the curve
		}
	}
	for round := range 3 { // the later ones from memory
		for i, err := range v.VerifyVouchers(all) {
			x := all[i]
			alone := VerifyVoucher(x.Key, x.Channel, x.Cumulative, x.Signature)
			if (err == nil) != (alone == nil) || err != nil && !errors.Is(err, ErrSignature) {
				t.Errorf("round %d, %d: got %v, alone %v", round, i, err, alone)
			}
			if wantGood := i%8 == 0 || i%8 == 7; wantGood != (err == nil) && i%8 != 5 {
				t.Errorf("round %d, %d: %v", round, i, err)
			}
		}
	}
}

// The memory stays bounded, forgets the oldest, and keeps what is asked for.
func TestMemoryOfVouchers(t *testing.T) {
	var m memoryOfVouchers
	kept := SignedVoucher{Cumulative: ionet.MustAmount(1 << 40)}
	first := SignedVoucher{Cumulative: ionet.MustAmount(1 << 41)}
	m.add(&kept)
	m.add(&first)
	for i := range uint64(5 * heldVouchers) {
		m.add(&SignedVoucher{Cumulative: ionet.MustAmount(i)})
		if i%(heldVouchers/2) == 0 && !m.has(&kept) {
			t.Fatalf("after %d others the voucher in use is forgotten", i+1)
		}
		if n := len(m.new) + len(m.old); n > 2*heldVouchers {
			t.Fatalf("it holds %d vouchers", n)
		}
	}
	if m.has(&first) {
		t.Error("it remembers a voucher that nobody asked for")
	}
	last := SignedVoucher{Cumulative: ionet.MustAmount(5*heldVouchers - 1)}
	if !m.has(&last) {
		t.Error("it forgot the last")
	}
}

func TestVerifyVouchersConcurrently(t *testing.T) {
	v := NewVerifier(testNetwork, 4)
	all := vouchersFor(40, 8)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, err := range v.VerifyVouchers(all) {
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkVouchers compares strict verification with cached keys to the standard
// library, and to vouchers that were seen before; metrics are per voucher.
func BenchmarkVouchers(b *testing.B) {
	const n = 1024
	all := vouchersFor(n, 64)
	b.Run("cached-keys", func(b *testing.B) {
		v := NewVerifier(testNetwork, 64)
		var buf [voucherSize]byte
		for b.Loop() {
			for i := range all {
				if !v.isStrict(all[i].Key, all[i].append(buf[:0]), all[i].Signature[:]) {
					b.Fatal("voucher does not verify")
				}
			}
		}
		perItem(b, n)
	})
	b.Run("seen", func(b *testing.B) {
		v := NewVerifier(testNetwork, 64)
		for b.Loop() {
			for _, err := range v.VerifyVouchers(all) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		perItem(b, n)
	})
	b.Run("stdlib", func(b *testing.B) {
		for b.Loop() {
			for _, x := range all {
				if err := VerifyVoucher(x.Key, x.Channel, x.Cumulative, x.Signature); err != nil {
					b.Fatal(err)
				}
			}
		}
		perItem(b, n)
	})
}
