package emissions

import (
	"errors"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// By hand, in the reading of_cap: seed 1,000M, series_a 816M and core 904M tokens
// unlock by tranches, research 1,280M and community 1,000M were never locked.
func TestSupplyAt(t *testing.T) {
	s := hourly(t, 8)
	p := s.Params()
	shares, err := Allocate(OfCap, p.Genesis, p.Cap)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		epoch    uint64
		unlocked string
	}{
		{0, "2280000000"},
		{13*EpochsPerMonth - 1, "2280000000"},
		// 1,000M/24 + 816M/24 + 904M/36, each floored to the base unit
		{13 * EpochsPerMonth, "2380777777.77777777"},
		{36 * EpochsPerMonth, "4698666666.66666666"}, // all of 1,816M, and 24/36 of 904M
		{48 * EpochsPerMonth, "5000000000"},
		{175_319, "5000000000"},
	} {
		got, err := SupplyAt(s, shares, c.epoch)
		if err != nil {
			t.Fatal(err)
		}
		emitted, err := s.Cumulative(c.epoch)
		if err != nil {
			t.Fatal(err)
		}
		unlocked := tokens(t, c.unlocked)
		want := Supply{
			Epoch: c.epoch, Unlocked: unlocked, Locked: ionet.MustAmount(p.Genesis.Base() - unlocked.Base()), Emitted: emitted,
			Remaining: ionet.MustAmount(3e17 - emitted.Base()), Circulating: ionet.MustAmount(unlocked.Base() + emitted.Base()),
		}
		if got != want {
			t.Errorf("epoch %d:\ngot  %+v\nwant %+v", c.epoch, got, want)
		}
	}
	if _, err := SupplyAt(s, shares, 175_320); !errors.Is(err, ErrEpochRange) {
		t.Errorf("after the last epoch: got %v, want ErrEpochRange", err)
	}
	if _, err := SupplyAt(s, shares[1:], 1); err == nil || !strings.Contains(err.Error(), "shares sum to 400000000000000000, the genesis supply is 500000000000000000") {
		t.Errorf("with a share missing: got %v", err)
	}
}

// Defaults are the published tables, and where none is, nothing is locked.
func TestDefaultUnlocks(t *testing.T) {
	shares, err := Allocate(OfGenesis, tokens(t, "5"), tokens(t, "8"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"seed": "tranches:13..36", "series_a": "tranches:13..36", "core": "tranches:13..48", "research": "immediate", "community": "immediate"}
	for _, share := range shares {
		if got := share.Unlock.String(); got != want[share.Category] {
			t.Errorf("%s: got %q, want %q", share.Category, got, want[share.Category])
		}
	}
}
