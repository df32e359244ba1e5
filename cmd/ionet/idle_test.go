package main

import (
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// A device that was busy without jobs of the network is refused by rule 15; why says so,
// with a proof, and earnings list it.
func TestWhyIdle(t *testing.T) {
	policy := regexp.MustCompile(`(?m)^\[samples\]`).ReplaceAll(townPolicy(), []byte("[idle]\nutilization = 20\nsamples = 2\n\n[samples]"))
	w := openTownAt(t, -1, townSample, policy)
	wallet := filepath.Join(w.dir, "wallet.json")
	server := []string{"--server", w.server}
	with := func(args ...string) []string { return append(args, server...) }
	w.says([]string{"keygen", "--out", wallet}, `^wallet `)
	secret, err := chain.ReadKeypair(wallet)
	w.check(err)
	payee := chain.PublicOf(secret).String()
	file := filepath.Join(w.dir, "delegation")
	w.says(with("delegate", "--keypair", wallet, "--worker", public("worker").String(), "--out", file), `accepted$`)
	delegation := w.envelopeIn(file)
	w.settle()
	w.prove(delegation, 0, 1, 2) // at 90 percent
	w.waitSealed(1)
	w.says(with("why", "--device", gpu.String(), "--epoch", "1"), `rule 15 idle: `+regexp.QuoteMeta(proofs.Idle.Text())+`$`,
		`^  evidence [0-9a-f]{64}: hash of the ids of the device's samples with such a utilization$`, `3 samples, weight 0, 0\.00000000 IO to `+payee, `^proven against [0-9a-f]{64}, sealed by transaction `)
	w.says(with("earnings", "--provider", payee), `^1 +\S+Z +1 +0 +0\.00000000$`, `^15 idle +1 +0 +0\.00000000$`, `^earned 0\.00000000 IO$`)
	w.says([]string{"rules"}, `^0 +accepted +The device earned its share\.$`, `^15 +idle +`+regexp.QuoteMeta(proofs.Idle.Text())+`$`)
}
