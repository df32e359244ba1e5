package emissions

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

func TestAllocate(t *testing.T) {
	categories := []string{"seed", "series_a", "core", "research", "community"}
	for _, c := range []struct {
		reading        string
		genesis, limit string // tokens of 8 decimals
		want           []string
	}{
		{OfGenesis, "5000000000", "8000000000", []string{"625000000", "510000000", "565000000", "800000000", "2500000000"}},
		{OfCap, "5000000000", "8000000000", []string{"1000000000", "816000000", "904000000", "1280000000", "1000000000"}},
		// The published amounts of the smaller scale, in millions: 100, 81.6, 90.4, 128 and 100.
		{OfCap, "500000000", "800000000", []string{"100000000", "81600000", "90400000", "128000000", "100000000"}},
		{OfGenesis, "0.00000007", "0.00000007", []string{"0", "0.00000001", "0.00000001", "0.00000001", "0.00000004"}},
		{OfCap, "4", "8", []string{"1", "0.816", "0.904", "1.28", "0"}},
	} {
		genesis, limit := tokens(t, c.genesis), tokens(t, c.limit)
		got, err := Allocate(c.reading, genesis, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(categories) {
			t.Fatalf("%s: got %d shares, want %d", c.reading, len(got), len(categories))
		}
		for i, share := range got {
			if want := tokens(t, c.want[i]); share.Category != categories[i] || share.Amount != want {
				t.Errorf("%s of %s: got %s %s, want %s %s", c.reading, c.genesis, share.Category, share.Amount, categories[i], want)
			}
		}
	}
}

func tokens(t testing.TB, s string) ionet.Amount {
	t.Helper()
	a, err := ionet.ParseTokens(s, 8)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAllocateRefuses(t *testing.T) {
	for _, c := range []struct{ reading, genesis, limit, want string }{
		{"of_supply", "5", "8", `allocation reading "of_supply" is neither "of_genesis" nor "of_cap"`},
		{"", "5", "8", "allocation reading"},
		{OfGenesis, "8", "5", "is below the genesis supply"},
		{OfCap, "3", "8", `genesis supply 300000000 does not cover the shares of the cap 800000000 down to research`},
	} {
		if got, err := Allocate(c.reading, tokens(t, c.genesis), tokens(t, c.limit)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

// Shares always sum to the genesis supply, each within a unit of its percentage.
func TestAllocateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := drawAmount(t)
		reading := rapid.SampledFrom([]string{OfGenesis, OfCap}).Draw(t, "reading")
		base := limit
		genesis := ionet.MustAmount(limit.Base() - rapid.Uint64Range(0, limit.Base()/2).Draw(t, "emission"))
		if reading == OfGenesis {
			base = genesis
		}
		shares, err := Allocate(reading, genesis, limit)
		if err != nil {
			t.Fatal(err)
		}
		var sum ionet.Amount
		for i, share := range shares {
			if sum, err = sum.Add(share.Amount); err != nil {
				t.Fatal(err)
			}
			permille := []uint64{125, 102, 113, 160}
			if i < len(permille) {
				// base = 1000*q + r, so permille of it is permille*q + permille*r/1000.
				low := permille[i]*(base.Base()/1000) + permille[i]*(base.Base()%1000)/1000
				if got := share.Amount.Base(); got != low && got != low+1 {
					t.Errorf("%s of %s: got %d, want %d or one more", share.Category, base, got, low)
				}
			}
		}
		if sum != genesis {
			t.Errorf("sum: got %s, want %s", sum, genesis)
		}
	})
}
