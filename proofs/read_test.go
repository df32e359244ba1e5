package proofs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
)

func TestSignedRead(t *testing.T) {
	at := time.Unix(1_763_888_400, 999)
	const method, target = "GET", "/v1/renters/abc/receipts?after=5&limit=10"
	header := SignRead(testNetwork, key("renter"), at, method, target)
	for _, late := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		if got, err := VerifyRead(testNetwork, header, at.Add(late), method, target); err != nil || got != public("renter") {
			t.Errorf("after %s: got %s (%v)", late, got, err)
		}
	}
	for _, late := range []time.Duration{301 * time.Second, -301 * time.Second, 1000 * time.Hour} {
		if _, err := VerifyRead(testNetwork, header, at.Add(late), method, target); !errors.Is(err, ErrReadTime) {
			t.Errorf("after %s: got %v", late, err)
		}
	}
	for name, verify := range map[string]func() (ionet.Key, error){
		"another network": func() (ionet.Key, error) { return VerifyRead(ionet.HashOf(), header, at, method, target) },
		"another method":  func() (ionet.Key, error) { return VerifyRead(testNetwork, header, at, "POST", target) },
		"another query":   func() (ionet.Key, error) { return VerifyRead(testNetwork, header, at, method, target+"0") },
		"another time": func() (ionet.Key, error) {
			return VerifyRead(testNetwork, strings.Replace(header, ".1763888400.", ".1763888401.", 1), at, method, target)
		},
		"another signer": func() (ionet.Key, error) {
			return VerifyRead(testNetwork, strings.Replace(header, public("renter").String(), public("thief").String(), 1), at, method, target)
		},
	} {
		if got, err := verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %s (%v)", name, got, err)
		}
	}
	// A key of small order has a signature that fits any message.
	weak := torsion(t)[0].String() + ".1763888400." + strings.Repeat("A", 86)
	if got, err := VerifyRead(testNetwork, weak, at, method, target); err == nil {
		t.Errorf("a key of small order reads as %s", got)
	}
}

func TestSignedReadRefuses(t *testing.T) {
	at := time.Unix(1_763_888_400, 0)
	good := SignRead(testNetwork, key("renter"), at, "GET", "/x")
	words := strings.Split(good, ".")
	for _, bad := range []string{
		"", ".", "..", good + ".", "." + good, good + "=", good[:len(good)-1], words[0] + "." + words[2], words[0] + "..01" + words[2],
		words[0] + ".+1763888400." + words[2], words[0] + ".01763888400." + words[2], words[0] + ".-1." + words[2], words[0] + ".253402300800." + words[2],
		words[0] + ".9223372036854775808." + words[2], words[0][1:] + "." + words[1] + "." + words[2], "1" + good, strings.Replace(good, ".", " ", 1),
		words[0] + "." + words[1] + "." + words[2][:len(words[2])-1] + "B", strings.Repeat("x", 1<<20), words[0] + "." + words[1] + "." + words[2][:20] + "\n" + words[2][20:],
	} {
		if _, err := VerifyRead(testNetwork, bad, at, "GET", "/x"); err == nil {
			t.Errorf("%.100q is taken", bad)
		}
	}
}

func FuzzSignedRead(f *testing.F) {
	f.Add(SignRead(testNetwork, key("renter"), time.Unix(1_763_888_400, 0), "GET", "/x"))
	f.Fuzz(func(t *testing.T, header string) {
		signer, at, signature, err := parseRead(header)
		if err != nil {
			return
		}
		if len(signature) != 64 || at < 0 || !strings.HasPrefix(header, signer.String()+".") {
			t.Errorf("%q parses as %s, %d and %d bytes", header, signer, at, len(signature))
		}
	})
}
