package proofs

import (
	"errors"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// TestSignedRequest: a request's signature is for one network, channel, job, body and
// greatest fee.
func TestSignedRequest(t *testing.T) {
	channel, job, request, most := ionet.Key{5}, [16]byte{6}, ionet.Hash{7}, ionet.MustAmount(1000)
	sig := SignRequest(testNetwork, key("session"), channel, job, request, most)
	if err := VerifyRequest(testNetwork, public("session"), channel, job, request, most, sig); err != nil {
		t.Error(err)
	}
	bent := sig
	bent[40] ^= 1
	voucher := SignVoucher(key("session"), channel, most)
	for name, err := range map[string]error{
		"another network":  VerifyRequest(ionet.Hash{1}, public("session"), channel, job, request, most, sig),
		"another signer":   VerifyRequest(testNetwork, public("thief"), channel, job, request, most, sig),
		"another channel":  VerifyRequest(testNetwork, public("session"), ionet.Key{6}, job, request, most, sig),
		"another job":      VerifyRequest(testNetwork, public("session"), channel, [16]byte{7}, request, most, sig),
		"another request":  VerifyRequest(testNetwork, public("session"), channel, job, ionet.Hash{8}, most, sig),
		"a greater most":   VerifyRequest(testNetwork, public("session"), channel, job, request, ionet.MustAmount(1001), sig),
		"a bent signature": VerifyRequest(testNetwork, public("session"), channel, job, request, most, bent),
		"a voucher":        VerifyRequest(testNetwork, public("session"), channel, job, request, most, voucher),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A key of small order has a signature that fits any message.
	if err := VerifyRequest(testNetwork, torsion(t)[0], channel, job, request, most, [64]byte{}); err == nil {
		t.Error("a key of small order signs")
	}
}

// FuzzRequestSignature: a header has one form.
func FuzzRequestSignature(f *testing.F) {
	good := EncodeRequestSignature(SignRequest(testNetwork, key("session"), ionet.Key{5}, [16]byte{6}, ionet.Hash{7}, ionet.MustAmount(1)))
	for _, s := range []string{good, good + "=", good[:85], good[:40] + "\n" + good[40:], strings.Repeat("A", 85) + "B", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := ParseRequestSignature(s)
		if err == nil && EncodeRequestSignature(sig) != s {
			t.Errorf("%q parses, and is written %q", s, EncodeRequestSignature(sig))
		}
	})
}
