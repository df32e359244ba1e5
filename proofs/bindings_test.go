package proofs

import (
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

func TestNextBindings(t *testing.T) {
	bound := func(n int, worker string, since, last uint64) Binding {
		return Binding{UUID: device(n), Worker: public(worker), Since: since, Last: last}
	}
	for _, c := range []struct {
		name  string
		build func(w *world)
		want  []Binding
	}{
		{"first accepted epoch binds", func(w *world) { w.honest("p", "w", gpu{1, h100 + "?"}, gpu{2, h100}).work(0, 1, 2) },
			[]Binding{bound(2, "w", worldEpoch, worldEpoch)}},
		{"accepted again", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 5)}
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
		}, []Binding{bound(1, "w", 2, worldEpoch)}},
		{"idle but not long enough", func(w *world) { w.in.Bindings = []Binding{bound(1, "w", 2, worldEpoch-2)} },
			[]Binding{bound(1, "w", 2, worldEpoch-2)}},
		{"idle for three epochs", func(w *world) { w.in.Bindings = []Binding{bound(1, "w", 2, worldEpoch-3)} }, []Binding{}},
		{"a stranger changes nothing", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			w.honest("q", "v", gpu{1, h100}).work(0, 1, 2)
		}, []Binding{bound(1, "w", 2, 6)}},
		{"two first claims bind nobody", func(w *world) {
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			w.honest("q", "v", gpu{1, h100}).work(0, 1, 2)
		}, []Binding{}},
		{"released by its provider", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			w.release("p", "w", device(1), Arrival{worldEpoch, 4})
		}, []Binding{}},
		{"released by a stranger", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			w.release("q", "w", device(1), Arrival{worldEpoch, 4})
		}, []Binding{bound(1, "w", 2, worldEpoch)}},
		{"a release of another worker", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			issued, expires := always()
			w.delegate("p", issued, expires, "w", "v")
			w.release("p", "v", device(1), Arrival{worldEpoch, 4})
		}, []Binding{bound(1, "w", 2, 6)}},
		{"a release that arrived later", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			w.release("p", "w", device(1), Arrival{worldEpoch + 1, 0})
		}, []Binding{bound(1, "w", 2, worldEpoch)}},
		{"released without a verdict", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6), bound(2, "w", 2, 6)}
			w.honest("p", "w", gpu{3, h100})
			w.release("p", "w", device(1), Arrival{worldEpoch - 1, 4})
		}, []Binding{bound(2, "w", 2, 6)}},
		{"a delegation alone may not release", func(w *world) {
			w.in.Bindings = []Binding{bound(1, "w", 2, 6)}
			issued, expires := always()
			w.delegate("thief", issued, expires, "w")
			w.honest("p", "w", gpu{3, h100})
			w.release("thief", "w", device(1), Arrival{worldEpoch, 4})
		}, []Binding{bound(1, "w", 2, 6)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.build(w)
			j := w.judge()
			got, err := NextBindings(w.in, j.Verdicts)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNextBindingsRefuses(t *testing.T) {
	w := newWorld(t)
	w.in.Policy = nil
	if _, err := NextBindings(w.in, nil); err == nil {
		t.Error("bindings without a policy")
	}
	w = newWorld(t)
	w.add(KindRelease, "p", []byte("no release"), Arrival{1, 0})
	if _, err := NextBindings(w.in, nil); err == nil {
		t.Error("bindings from a release that does not parse")
	}
	if (Verdict{Rule: 99}).Rule.Known() || Rule(99).Name() != "unknown" || ionet.Hash(evidenceOf(nil)) != ionet.HashOf() {
		t.Error("an unknown rule has a name")
	}
}
