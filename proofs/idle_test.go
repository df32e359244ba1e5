package proofs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// at has the host say a sample in which its devices show that load.
func (h *host) at(sample uint16, late int, utilization uint8) ionet.Hash {
	u := h.statement(sample)
	for i := range u.Devices {
		u.Devices[i].Utilization = utilization
	}
	return h.say(u, late)
}

var noon = testClock.EpochStart(worldEpoch) + 25

// idleCases are judged by policies that ask for jobs.
var idleCases = []ruleCase{
	{"idle", Idle, 4, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		h := w.honest("p", "w", gpu{1, h100})
		busy := []ionet.Hash{h.at(0, 0, 51), h.at(1, 0, 100)}
		h.at(2, 0, 50)
		return append(busy, h.at(4, 0, 97))
	}},
	{"idle-nothing-is-allowed", Idle, 5, func(w *world) []ionet.Hash {
		w.askForJobs(0, 0)
		h := w.honest("p", "w", gpu{1, h100})
		for s := range uint16(4) {
			h.at(s, 0, 0)
		}
		return []ionet.Hash{h.at(4, 0, 1)}
	}},
	{"idle-by-one-device-of-two", Idle, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		h := w.honest("p", "w", gpu{1, h100}, gpu{2, h100})
		var ids []ionet.Hash
		for s := range uint16(3) {
			u := h.statement(s)
			u.Devices[1].Utilization = 3
			ids = append(ids, h.say(u, 0))
		}
		return ids
	}},
	{"idle-with-the-job-of-another-worker", Idle, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		w.honest("q", "other", gpu{2, h100}).work(0, 1, 2)
		w.job("other", noon)
		return w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
	}},
	{"idle-is-no-party-to-two-first-claims", Idle, 4, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		w.honest("q", "rival", gpu{1, h100}).work(1, 2, 3)
		w.job("rival", noon)
		return w.honest("p", "w", gpu{1, h100}).work(0, 1, 2, 3)
	}},
	{"idle-allowed-samples", Accepted, 5, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		h := w.honest("p", "w", gpu{1, h100})
		return []ionet.Hash{h.at(0, 0, 51), h.at(1, 0, 100), h.at(2, 0, 50), h.at(3, 0, 0), h.at(4, 0, 50)}
	}},
	{"idle-untold-utilization", Accepted, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 0)
		h := w.honest("p", "w", gpu{1, h100})
		return []ionet.Hash{h.at(0, 0, NoUtilization), h.at(1, 0, NoUtilization), h.at(2, 0, NoUtilization)}
	}},
	{"idle-but-for-what-does-not-count", Accepted, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		h := w.honest("p", "w", gpu{1, h100})
		ids := []ionet.Hash{h.at(0, 0, 99), h.at(1, 2, 99)}
		h.at(2, 2, 99) // the second late one
		h.at(3, -1, 99)
		return append(ids, h.at(4, 0, 50))
	}},
	{"idle-with-a-job", Accepted, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		ids := w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
		w.job("w", testClock.EpochStart(worldEpoch))
		return ids
	}},
	{"idle-with-a-batch-of-jobs", Accepted, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 2)
		ids := w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
		w.batch("w", testClock.EpochEnd(worldEpoch)-1)
		return ids
	}},
	{"idle-yields-to-too-few-samples", TooFewSamples, 2, func(w *world) []ionet.Hash {
		w.askForJobs(50, 1)
		return w.honest("p", "w", gpu{1, h100}).work(0, 1)
	}},
	{"idle-yields-to-bound-elsewhere", BoundElsewhere, 3, func(w *world) []ionet.Hash {
		w.askForJobs(50, 1)
		w.in.Bindings = []Binding{{UUID: device(1), Worker: public("owner"), Since: 2, Last: 6}}
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
}

// Jobs that can't be inputs of the epoch.
func TestJudgeRefusesJobs(t *testing.T) {
	start, end := testClock.EpochStart(worldEpoch), testClock.EpochEnd(worldEpoch)
	for name, c := range map[string]struct {
		add  func(w *world)
		want string
	}{
		"as they must be":       {func(w *world) { w.job("w", start); w.batch("v", end-1) }, ""},
		"served before":         {func(w *world) { w.job("w", start-1) }, "not in the epoch"},
		"served after":          {func(w *world) { w.batch("w", end) }, "not in the epoch"},
		"served before 1970":    {func(w *world) { w.job("w", -1<<62) }, "not in the epoch"},
		"two":                   {func(w *world) { w.job("w", start); w.job("w", start+1) }, "second job"},
		"a job and a batch":     {func(w *world) { w.job("w", start); w.batch("w", start) }, "second job"},
		"of a stranger":         {func(w *world) { w.job("stranger", start) }, "no uptime statement"},
		"of a worker that idle": {func(w *world) { w.honest("q", "sleeper", gpu{7, h100}); w.batch("sleeper", start) }, "no uptime statement"},
		"that are none":         {func(w *world) { w.add(KindJob, "w", []byte("job"), Arrival{worldEpoch, 0}) }, "parse job"},
		"unasked for":           {func(w *world) { w.job("w", start); w.in.Policy = []byte(testPolicy) }, "asks for no jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.askForJobs(50, 2)
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			w.honest("o", "v", gpu{2, h100}).work(0, 1, 2)
			c.add(w)
			if err := w.in.Sort(); err != nil {
				t.Fatal(err)
			}
			_, err := Judge(w.in, testTerms)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Asking for jobs only ever turns accepted devices, and first claims, into idle
// ones, and who has a job loses nothing by it.
func TestIdleProperties(t *testing.T) {
	idle, won := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		w := drawLoads(r, t)
		before := w.judge()
		drawIdle(r, w)
		after := w.judge()
		checkTotals(r, after)
		served := map[ionet.Key]bool{}
		for _, s := range w.in.Statements {
			served[s.Envelope.Signer] = served[s.Envelope.Signer] || s.Envelope.Kind == KindJob || s.Envelope.Kind == KindJobBatch
		}
		for i, v := range after.Verdicts {
			old := before.Verdicts[i]
			switch {
			case v.Rule == Idle:
				idle++
				if served[v.Worker] || old.Rule != Accepted && old.Rule != TwoFirstClaims {
					r.Errorf("%s of %x with jobs %t was %s and is idle", v.UUID, v.Worker, served[v.Worker], old.Rule.Name())
				}
				if v.Weight != 0 || !v.Amount.IsZero() || v.Samples != old.Samples {
					r.Errorf("an idle device has %+v", v)
				}
			case v.Rule == Accepted && old.Rule == TwoFirstClaims:
				won++ // its rivals are idle
			case v.Rule != old.Rule || v.Evidence != old.Evidence || v.Weight != old.Weight:
				// Of three claims one may have gone.
				if v.Rule != TwoFirstClaims || old.Rule != TwoFirstClaims {
					r.Errorf("%s was %s and is %s", v.UUID, old.Rule.Name(), v.Rule.Name())
				}
			}
		}
	})
	if idle < 10 || won == 0 {
		t.Errorf("%d devices were idle, %d won for it: this tests little", idle, won)
	}
}

// drawLoads makes a world of honest hosts that claim some devices of each other, with
// any load.
func drawLoads(r *rapid.T, t *testing.T) *world {
	w := newWorld(t)
	for i, name := range []string{"a", "b", "c"} {
		gpus := []gpu{{i, h100}}
		if rapid.Bool().Draw(r, "claims another") {
			gpus = append(gpus, gpu{9, rtx4090})
		}
		h := w.honest("p", name, gpus...)
		for s := range rapid.Uint16Range(3, 5).Draw(r, "samples") {
			u := h.statement(s)
			for j := range u.Devices {
				u.Devices[j].Utilization = rapid.SampledFrom([]uint8{0, 49, 50, 51, 97, 100, NoUtilization}).Draw(r, "utilization")
			}
			h.say(u, 0)
		}
	}
	return w
}

// A device that was idle keeps its binding, as one refused for anything else, and
// makes none.
func TestIdleMakesNoBinding(t *testing.T) {
	w := newWorld(t)
	w.askForJobs(50, 2)
	w.in.Bindings = []Binding{{UUID: device(1), Worker: public("w"), Since: 2, Last: worldEpoch - 1}}
	w.honest("p", "w", gpu{1, h100}, gpu{2, h100}).work(0, 1, 2)
	j := w.judge()
	if got := summary([]string{"w"}, j.Verdicts); got != "1 w idle 3 0\n2 w idle 3 0\n" {
		t.Fatalf("verdicts are\n%s", got)
	}
	next := must[[]Binding](t)(NextBindings(w.in, j.Verdicts))
	if want := w.in.Bindings; !slices.Equal(next, want) {
		t.Errorf("got %v, want %v", next, want)
	}
}

// FORMAT.md's table of rules is the code's: number, name, evidence and the text for
// a person, each rule once, and those of one number nowhere else.
func TestFormatHasTheRules(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(format), "| rule | name | applies when | evidence: H of the ids of | text for a person |\n|---|---|---|---|---|\n")
	if !found {
		t.Fatal("FORMAT.md has no table of rules")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) != len(Rules()) {
		t.Errorf("FORMAT.md has %d rules, the code %d", len(rows), len(Rules()))
	}
	got := map[string]string{}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		if len(cells) != 5 {
			t.Fatalf("%q has %d cells, want 5", row, len(cells))
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		got[cells[0]] = strings.Join([]string{cells[1], cells[3], cells[4]}, "|")
	}
	for _, r := range Rules() {
		if want := strings.Join([]string{r.Name(), r.Evidence(), r.Text()}, "|"); got[fmt.Sprint(r)] != want {
			t.Errorf("rule %d:\ngot  %s\nwant %s", r, got[fmt.Sprint(r)], want)
		}
	}
	if r := Rule(len(Rules())); r.Known() || r.Evidence() != "unknown" {
		t.Errorf("rule %d has evidence %q", r, r.Evidence())
	}
}
