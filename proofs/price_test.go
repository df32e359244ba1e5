package proofs

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// Device 1 and 2 are H100s that were up for all 5 samples, device 3 an RTX 4090
// for 3 of them: 10 and 10, and 0.75 multipliers at 8 cents, so 1.6 and 0.06
// dollars.
func TestDrawByTarget(t *testing.T) {
	for _, c := range []struct {
		name     string
		observed uint64 // epoch of the observation; 0: none
		microUSD uint64
		want     string
		unissued uint64
	}{
		{"no observation", 0, 0, "1 w accepted 5 0\n2 w accepted 5 0\n3 v accepted 3 0\n", 1_000_003},
		{"far above the ceiling", worldEpoch, 1, "1 w accepted 5 475002\n2 w accepted 5 475001\n3 v accepted 3 50000\n", 0},
		// 1.6 and 0.06 dollars at 200 dollars a token: 0.008 and 0.0003 tokens of 8 decimals
		{"below in both pools", worldEpoch, 200_000_000, "1 w accepted 5 400000\n2 w accepted 5 400000\n3 v accepted 3 30000\n", 170_003},
		// at 170 dollars: floor(941176.47), floor(35294.1)
		{"rounded down", worldEpoch, 170_000_000, "1 w accepted 5 470588\n2 w accepted 5 470588\n3 v accepted 3 35294\n", 23_533},
		// at 100 dollars the enterprise pool needs 1.6M units and has 950,003, the other 60,000 and has 50,000
		{"above in both pools", worldEpoch, 100_000_000, "1 w accepted 5 475002\n2 w accepted 5 475001\n3 v accepted 3 50000\n", 0},
		// at 130: 1,230,769 above 950,003, and 46,153 below 50,000
		{"above in one pool", worldEpoch, 130_000_000, "1 w accepted 5 475002\n2 w accepted 5 475001\n3 v accepted 3 46153\n", 3_847},
		{"the oldest that may stand in", worldEpoch - 2, 200_000_000, "1 w accepted 5 400000\n2 w accepted 5 400000\n3 v accepted 3 30000\n", 170_003},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.in.Policy = []byte(targetPolicy)
			w.honest("p", "w", gpu{1, h100}, gpu{2, h100}).work(0, 1, 2, 3, 4)
			w.honest("q", "v", gpu{3, rtx4090}).work(0, 1, 2)
			if c.observed > 0 {
				w.price("oracle", c.observed, c.microUSD)
			}
			j := w.judge()
			if got := summary([]string{"w", "v"}, j.Verdicts); got != c.want || j.Unissued.Base() != c.unissued {
				t.Errorf("got\n%sunissued %s\nwant\n%sunissued %d", got, j.Unissued, c.want, c.unissued)
			}
			checkTotals(t, j)
		})
	}
}

func TestPricesThatCantBe(t *testing.T) {
	body := func(w *world, p Price) []byte { return must[[]byte](w.t)(p.Encode()) }
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  string
	}{
		"two":           {func(w *world) { w.price("oracle", worldEpoch, 5); w.price("oracle", worldEpoch-1, 5) }, "second price"},
		"a foreign key": {func(w *world) { w.price("w", worldEpoch, 5) }, "the policy names " + public("oracle").String()},
		"too old":       {func(w *world) { w.price("oracle", worldEpoch-3, 5) }, "epoch is 4, not in the 2 epochs up to 7"},
		"to come":       {func(w *world) { w.price("oracle", worldEpoch+1, 5) }, "epoch is 8"},
		"observed before its epoch": {func(w *world) {
			w.add(KindPrice, "oracle", body(w, Price{worldEpoch, testClock.EpochStart(worldEpoch) - 1, 5}), Arrival{worldEpoch, 0})
		}, "observed is"},
		"observed after its epoch": {func(w *world) {
			w.add(KindPrice, "oracle", body(w, Price{worldEpoch, testClock.EpochEnd(worldEpoch), 5}), Arrival{worldEpoch, 0})
		}, "observed is"},
		"under draw schedule": {func(w *world) { w.in.Policy = []byte(testPolicy); w.price("oracle", worldEpoch, 5) }, "draws by schedule"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.in.Policy = []byte(targetPolicy)
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			c.spoil(w)
			if err := w.in.Sort(); err != nil {
				t.Fatal(err)
			}
			if _, err := Judge(w.in, testTerms); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, p := range []Price{{Epoch: 0, MicroUSD: 1}, {Epoch: 1}, {Epoch: maxEpoch + 1, MicroUSD: 1}, {Epoch: 1, MicroUSD: 1 << 63}} {
		if _, err := p.Encode(); err == nil {
			t.Errorf("%+v: encoded", p)
		}
		var w writer
		w.u64(p.Epoch)
		w.i64(0)
		w.u64(p.MicroUSD)
		if _, err := ParsePrice(w.b); err == nil {
			t.Errorf("%+v: parsed", p)
		}
	}
}

// A policy statement stands in the book of the epoch in which it arrived.
func TestPolicyStatementArrives(t *testing.T) {
	for epoch, ok := range map[uint64]bool{worldEpoch: true, worldEpoch - 1: false, worldEpoch + 1: false} {
		w := newWorld(t)
		change := PolicyChange{Version: 2, FirstEpoch: 9, Policy: ionet.Hash{1}}
		w.add(KindPolicy, "service", must[[]byte](t)(change.Encode()), Arrival{epoch, 0})
		if _, err := Judge(w.in, testTerms); (err == nil) != ok {
			t.Errorf("arrived in epoch %d: got %v", epoch, err)
		}
		if got, err := w.in.PolicyChanges(); err != nil || len(got) != 1 || got[0] != change {
			t.Errorf("got %+v, %v, want %+v", got, err, change)
		}
	}
}
