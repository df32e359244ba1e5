package main

import (
	"fmt"
	"math/big"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

func TestUSD(t *testing.T) {
	for text, want := range map[string]usd{
		"0.0731": 73_100, "12": 12_000_000, "0.000001": 1, "1.5": 1_500_000, "9223372036854.775807": 1<<63 - 1,
		"": 0, "0": 0, "0.0": 0, ".5": 0, "5.": 0, "01": 0, "+1": 0, "-1": 0, "1,5": 0, "1e3": 0, "0.0000001": 0, " 1": 0, "9223372036854.775808": 0,
	} {
		var u usd
		err := u.UnmarshalText([]byte(text))
		if u != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d (%v), want %d", text, u, err, want)
		}
		var again usd
		if want > 0 && (again.UnmarshalText([]byte(u.String())) != nil || again != u) {
			t.Errorf("%q is printed as %q, which is %d", text, u, again)
		}
	}
}

// dollarTarget is the micro-dollars for a multiplier of 1 in TestObserver.
const dollarTarget = 2_000_000

// TestObserver: an observer's epoch, by commands alone. The command tells time by
// this machine's clock, so the epoch is an hour of which half is over.
func TestObserver(t *testing.T) {
	policy := strings.Replace(string(townPolicy()), `draw = "schedule"`, `draw = "target"`, 1) +
		fmt.Sprintf("\n[target]\nkey = %q\nmicro_usd = %d\n", public("oracle"), dollarTarget)
	w := openTownAt(t, 3, 600, []byte(policy))
	oracle, thief := filepath.Join(w.dir, "oracle.json"), filepath.Join(w.dir, "thief.json")
	w.check(chain.WriteKeypair(oracle, key("oracle")))
	w.check(chain.WriteKeypair(thief, key("thief")))
	price := func(keypair, usd string) []string {
		return []string{"price", "--server", w.server, "--keypair", keypair, "--usd", usd}
	}
	// The thief comes before the service has looked at the chain, and waits.
	refused := make(chan error, 1)
	go func() {
		_, err := w.do(price(thief, "0.0731")...)
		refused <- err
	}()
	time.Sleep(100 * time.Millisecond)
	w.settle()
	if err := <-refused; !client.IsProblem(err, client.ForeignPrice) {
		t.Error(err)
	}
	w.refuses(price(thief, "0.0731"), public("oracle").String())
	w.says(price(oracle, "0.0731"), `^epoch 1: one token is observed at 0\.073100 US dollars$`,
		`^statement [0-9a-f]{64} accepted, arrived in sample 3 of epoch 1$`, `^ack [0-9a-f]{306}$`)
	first, err := w.do(price(oracle, "0.0731")...)
	w.check(err)
	again, err := w.do(price(oracle, "0.07310")...)
	w.check(err)
	if first != again || !regexp.MustCompile(`(?m)^epoch 1: one token was observed at 0\.073100 US dollars at 2.*Z$`).MatchString(again) {
		t.Errorf("the same price again: %s and then %s", first, again)
	}
	w.says(price(oracle, "0.0732"), `^epoch 1: one token was observed at 0\.073100 US dollars at 2`,
		`^that one stands: one price is taken an epoch, and 0\.073200 was not handed in$`, `^ack [0-9a-f]{306}$`)
	w.refuses(append(price(oracle, "0.0732"), "--strict"), "epoch 1 has 0.073100 US dollars")
	w.says(append(price(oracle, "0.0731"), "--strict"), `^epoch 1: one token was observed at 0\.073100 US dollars at 2`)

	w.prove(w.delegation("provider", "worker"), 3, 4, 5)
	w.waitSealed(1)
	w.says([]string{"epochs", "--server", w.server}, `^1 +sealed .* target at \$0\.073100 +1 +\S{60,}`)
	api, err := client.New(client.Config{Server: w.server})
	w.check(err)
	e, err := api.Epoch(t.Context(), 1)
	w.check(err)
	// An H100 has a multiplier of 10 and proved 3 of 6 samples.
	need := new(big.Int).Mul(big.NewInt(10_000*3), new(big.Int).Mul(big.NewInt(dollarTarget), big.NewInt(100_000_000)))
	need.Quo(need, big.NewInt(1000*townSamples*73_100))
	if e.Draw != "target" || e.Price == nil || *e.Price != (client.UsedPrice{Epoch: 1, MicroUSD: 73_100}) || e.Sum.String() != need.String() || e.Unissued.IsZero() {
		t.Errorf("epoch is %+v with price %+v, want the sum %s", e, e.Price, need)
	}
	w.refuses(append(price(oracle, "0.08"), "--strict"), "epoch 1 has 0.073100") // the command's clock is still there
	w.says([]string{"why", "--server", w.server, "--device", gpu.String(), "--epoch", "1"},
		`^epoch 1 drew by target at \$0\.073100: no more was issued than the target needed$`, `^proven against [0-9a-f]{64}, sealed by transaction \S{60,}$`)
}

// delegation is one that the provider signs for a worker.
func (w *town) delegation(provider, worker string) proofs.Envelope {
	w.t.Helper()
	now := time.Now().Unix()
	d := proofs.Delegation{Provider: public(provider), Payout: public(provider), Issued: now - backdate, Expires: now + 24*3600}
	d.Workers = append(d.Workers, public(worker))
	text, err := d.Text(w.network.ID())
	w.check(err)
	return proofs.Sign(w.network.ID(), proofs.KindDelegation, key(provider), []byte(text))
}

func TestDrawn(t *testing.T) {
	for want, e := range map[string]client.Epoch{
		"schedule":                        {Epoch: 9, Draw: "schedule"},
		"target, no price":                {Epoch: 9, Draw: "target"},
		"target at $0.073100":             {Epoch: 9, Draw: "target", Price: &client.UsedPrice{Epoch: 9, MicroUSD: 73_100}},
		"target at $12.000001 of epoch 8": {Epoch: 9, Draw: "target", Price: &client.UsedPrice{Epoch: 8, MicroUSD: 12_000_001}},
	} {
		if got := drawn(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
