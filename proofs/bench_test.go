package proofs

import (
	stdlib "crypto/ed25519"
	"fmt"
	"testing"
)

func signed(n, keys int) []Envelope {
	all := make([]Envelope, n)
	body := make([]byte, 180)
	for i := range all {
		body[0] = byte(i)
		all[i] = Sign(testNetwork, KindUptime, key(fmt.Sprint(i%keys)), append([]byte(nil), body...))
	}
	return all
}

// BenchmarkVerify compares the batch verifier with cached keys to the standard
// library; metrics are per signature.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{64, 1024} {
		all := signed(n, 64)
		b.Run(fmt.Sprintf("batch-%d", n), func(b *testing.B) {
			v := NewVerifier(testNetwork, 64)
			for b.Loop() {
				if err := v.Verify(all)[0]; err != nil {
					b.Fatal(err)
				}
			}
			perItem(b, n)
		})
	}
	all := signed(64, 64)
	b.Run("stdlib", func(b *testing.B) {
		for b.Loop() {
			for i := range all {
				e := &all[i]
				if !stdlib.Verify(e.Signer[:], SignedBytes(testNetwork, e.Kind, e.Body), e.Signature[:]) {
					b.Fatal("signature does not verify")
				}
			}
		}
		perItem(b, len(all))
	})
}

// BenchmarkVerifyBad has bad signatures among 1,024; metrics are per signature.
// "single" is what deciding each by itself costs, with cached keys.
func BenchmarkVerifyBad(b *testing.B) {
	const n = 1024
	for _, c := range []struct {
		name  string
		every int // n-th of the signatures is bad
		spoil func(e *Envelope)
	}{
		{"none", 2*n + 2, forge}, {"one", n, forge}, {"one-malformed", n, malform}, {"two", n / 2, forge}, {"eight", n / 8, forge},
		{"eighth", 8, forge}, {"half", 2, forge}, {"all", 1, forge}, {"all-malformed", 1, malform},
	} {
		all := signed(n, 64)
		bad := 0
		for i := range all {
			if i%c.every == c.every/2 {
				c.spoil(&all[i])
				bad++
			}
		}
		b.Run(c.name, func(b *testing.B) {
			v := NewVerifier(testNetwork, 64)
			v.Verify(all)
			for b.Loop() {
				found := 0
				for _, err := range v.Verify(all) {
					if err != nil {
						found++
					}
				}
				if found != bad {
					b.Fatalf("%d bad, want %d", found, bad)
				}
			}
			perItem(b, n)
		})
	}
	all := signed(n, 64)
	b.Run("single", func(b *testing.B) {
		v := NewVerifier(testNetwork, 64)
		for b.Loop() {
			for i := range all {
				if v.Verify(all[i : i+1])[0] != nil {
					b.Fatal("signature does not verify")
				}
			}
		}
		perItem(b, n)
	})
}

// forge makes a signature of the right form that does not verify.
func forge(e *Envelope) { e.Body[len(e.Body)-1] ^= 1 }

// malform makes a signature whose s is not reduced.
func malform(e *Envelope) { e.Signature[63] |= 0xf0 }

func perItem(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/item")
}

// BenchmarkRoot hashes 100,000 records of the size of a verdict.
func BenchmarkRoot(b *testing.B) {
	const n = 100_000
	records := make([][]byte, n)
	for i := range records {
		records[i] = make([]byte, VerdictSize)
		records[i][0] = byte(i)
	}
	for b.Loop() {
		Root(records)
	}
	perItem(b, n)
}

// BenchmarkJudge judges 1,000 workers of two devices.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		w.honest(fmt.Sprint("p", i), fmt.Sprint("w", i), gpu{2 * i, h100}, gpu{2*i + 1, rtx4090}).work(0, 1, 2, 3, 4)
	}
	if err := w.in.Sort(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Judge(w.in, testTerms); err != nil {
			b.Fatal(err)
		}
	}
	perItem(b, 2000)
}
