package proofs

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

func TestPolicyInForce(t *testing.T) {
	policy := func(version uint32, first uint64) PolicyChange {
		return PolicyChange{Version: version, FirstEpoch: first, Policy: ionet.Hash{byte(version), byte(first)}}
	}
	genesis := policy(1, 1)
	// sealed, at that second before the start of its first epoch
	sealed := func(version uint32, first uint64, before int64) SealedPolicy {
		return SealedPolicy{policy(version, first), first - 2, testClock.EpochStart(first) - before}
	}
	for _, c := range []struct {
		name    string
		changes []SealedPolicy
		want    map[uint64]uint32 // version by epoch
	}{
		{"none", nil, map[uint64]uint32{1: 1, 1 << 20: 1}},
		{"one", []SealedPolicy{sealed(2, 10, 1)}, map[uint64]uint32{9: 1, 10: 2, 11: 2, 1 << 20: 2}},
		{"sealed as its epoch begins", []SealedPolicy{sealed(2, 10, 0)}, map[uint64]uint32{10: 1, 11: 1, 1 << 20: 1}},
		{"versions may leave gaps", []SealedPolicy{sealed(7, 10, 1)}, map[uint64]uint32{9: 1, 10: 7}},
		{"two in turn", []SealedPolicy{sealed(2, 10, 30), sealed(3, 20, 30)}, map[uint64]uint32{9: 1, 10: 2, 19: 2, 20: 3}},
		{"the later one rules first", []SealedPolicy{sealed(2, 20, 600), sealed(3, 10, 30)}, map[uint64]uint32{9: 1, 10: 3, 19: 3, 20: 3, 30: 3}},
		{"the same epoch", []SealedPolicy{sealed(2, 10, 60), sealed(3, 10, 30)}, map[uint64]uint32{9: 1, 10: 3}},
		{"genesis's version again", []SealedPolicy{sealed(1, 10, 30)}, map[uint64]uint32{10: 1}},
		{"a version again", []SealedPolicy{sealed(2, 10, 60), sealed(2, 11, 60)}, map[uint64]uint32{10: 2, 11: 2}},
		{"one that came too late holds its version", []SealedPolicy{sealed(3, 10, 0), sealed(2, 20, 60), sealed(3, 21, 60), sealed(4, 22, 60)},
			map[uint64]uint32{10: 1, 20: 1, 21: 1, 22: 4}},
	} {
		for k, version := range c.want {
			got := PolicyInForce(genesis, c.changes, testClock, k)
			if got.Version != version {
				t.Errorf("%s, epoch %d: got version %d, want %d", c.name, k, got.Version, version)
			}
			if again := PolicyInForce(genesis, slices.Clone(c.changes), testClock, k); again != got {
				t.Errorf("%s, epoch %d: %+v, then %+v", c.name, k, got, again)
			}
		}
	}
	// The first of two with one version counts, whatever the second says.
	first := PolicyInForce(genesis, []SealedPolicy{sealed(2, 10, 60), sealed(2, 5, 60)}, testClock, 7)
	if first != genesis {
		t.Errorf("got %+v, want the genesis policy", first)
	}
}

// Nothing announced later changes what was in force before its first epoch, and
// whatever is in force was announced for that epoch or an earlier one.
func TestPolicyInForceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		genesis := PolicyChange{Version: 1, FirstEpoch: 1, Policy: ionet.Hash{1}}
		var changes []SealedPolicy
		for i := range rapid.IntRange(0, 6).Draw(t, "changes") {
			first := rapid.Uint64Range(2, 30).Draw(t, "first")
			changes = append(changes, SealedPolicy{
				PolicyChange{rapid.Uint32Range(1, 8).Draw(t, "version"), first, ionet.Hash{2, byte(i)}},
				uint64(i + 1), testClock.EpochStart(first) + rapid.Int64Range(-60, 20).Draw(t, "sealed"),
			})
		}
		for k := uint64(1); k <= 32; k++ {
			got := PolicyInForce(genesis, changes, testClock, k)
			if got.FirstEpoch > k {
				t.Fatalf("epoch %d is ruled by %+v", k, got)
			}
			if n := len(changes); n > 0 && changes[n-1].FirstEpoch > k && PolicyInForce(genesis, changes[:n-1], testClock, k) != got {
				t.Fatalf("epoch %d: the last of %+v changed it to %+v", k, changes, got)
			}
		}
	})
}

// Within one book the order is by version, whatever the order of the statements.
func TestPolicyChangesAreByVersion(t *testing.T) {
	w := newWorld(t)
	for _, version := range []uint32{5, 2, 9, 2, 3} {
		c := PolicyChange{Version: version, FirstEpoch: 9 + uint64(len(w.in.Statements)), Policy: ionet.Hash{byte(version)}}
		w.add(KindPolicy, "service", must[[]byte](t)(c.Encode()), Arrival{worldEpoch, 0})
	}
	w.judge()
	got, err := w.in.PolicyChanges()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got, func(a, b PolicyChange) int { return int(a.Version) - int(b.Version) }) || len(got) != 5 {
		t.Errorf("got %+v, want 5 by version", got)
	}
}
