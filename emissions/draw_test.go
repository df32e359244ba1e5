package emissions

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// An H100 of multiplier 10 that was up for all 60 samples, and a target of 8
// cents for a multiplier of 1: at 10 cents a token it needs 8 tokens.
func TestNeed(t *testing.T) {
	target := Target{MicroUSD: 80_000}
	h100 := Weight{UUID: ionet.UUID{1}, Weight: 10_000 * 60}
	half := Weight{UUID: ionet.UUID{2}, Weight: 10_000 * 30}
	for _, c := range []struct {
		weights []Weight
		o       Observation
		want    uint64
	}{
		{[]Weight{h100}, Observation{100_000, 60, 8}, 8_00000000},
		{[]Weight{half}, Observation{100_000, 60, 8}, 4_00000000},
		{[]Weight{h100, half}, Observation{100_000, 60, 8}, 12_00000000},
		{[]Weight{h100}, Observation{100_000, 60, 0}, 8},
		{[]Weight{h100}, Observation{300_000, 60, 8}, 2_66666666}, // floor(8/3)
		{[]Weight{h100}, Observation{800_001, 60, 0}, 0},
		{[]Weight{h100}, Observation{1, 60, 8}, 800_000_00000000},
		{nil, Observation{1, 60, 8}, 0},
		{[]Weight{{Weight: math.MaxUint64}}, Observation{1, 1, 8}, math.MaxInt64}, // more than an amount holds
	} {
		if got, err := target.Need(c.weights, c.o); err != nil || got.Base() != c.want {
			t.Errorf("%v at %+v: got %s, %v, want %d", c.weights, c.o, got, err, c.want)
		}
	}
	if _, err := target.Need([]Weight{{Weight: math.MaxUint64}, {Weight: 1}}, Observation{1, 1, 0}); !errors.Is(err, ErrWeights) {
		t.Errorf("weights of 2^64: got %v, want ErrWeights", err)
	}
	for _, o := range []Observation{{0, 60, 8}, {1, 0, 8}, {1, 60, -1}, {1, 60, 9}} {
		if got, err := target.Need([]Weight{h100}, o); err == nil {
			t.Errorf("%+v: got %s, want an error", o, got)
		}
	}
}

// Against one fraction of big integers.
func TestNeedAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := Target{MicroUSD: rapid.Uint64Range(1, maxTarget).Draw(t, "target")}
		o := Observation{
			MicroUSD: rapid.OneOf(rapid.Uint64Range(1, 1e9), rapid.Uint64Range(1, math.MaxUint64)).Draw(t, "price"),
			Samples:  rapid.Uint16Range(1, math.MaxUint16).Draw(t, "samples"),
			Decimals: rapid.IntRange(0, 8).Draw(t, "decimals"),
		}
		var weights []Weight
		sum := new(big.Int)
		for range rapid.IntRange(0, 4).Draw(t, "devices") {
			w := rapid.OneOf(rapid.Uint64Range(0, 1e9), rapid.Uint64Range(0, math.MaxUint64/4)).Draw(t, "weight")
			weights = append(weights, Weight{Weight: w})
			sum.Add(sum, new(big.Int).SetUint64(w))
		}
		scale := new(big.Int).SetUint64([]uint64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}[o.Decimals])
		over := sum.Mul(sum, scale).Mul(sum, new(big.Int).SetUint64(target.MicroUSD))
		under := new(big.Int).SetUint64(o.MicroUSD)
		under.Mul(under, big.NewInt(1000)).Mul(under, big.NewInt(int64(o.Samples)))
		want := over.Quo(over, under)
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if got, err := target.Need(weights, o); err != nil || got.Base() != want.Uint64() {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	})
}

func TestTargetPolicy(t *testing.T) {
	key := ionet.Key{31: 7}
	table := "draw = \"target\"\ntarget = { key = \"" + key.String() + "\", micro_usd = 80000, max_age_epochs = 3 }"
	file := strings.Replace(small, `draw = "schedule"`, table, 1)
	p := parse(t, file)
	if want := (Target{key, 80_000, 3}); p.Draw != DrawTarget || p.Target == nil || *p.Target != want {
		t.Errorf("got %q, %+v, want %+v", p.Draw, p.Target, want)
	}
	if p := parse(t, strings.Replace(file, ", max_age_epochs = 3", "", 1)); p.Target.MaxAgeEpochs != 24 {
		t.Errorf("max_age_epochs: got %d, want 24", p.Target.MaxAgeEpochs)
	}
	for _, c := range []struct{ old, new, want string }{
		{"key = \"" + key.String() + "\", ", "", "target.key: missing"},
		{key.String(), "0x7", `target.key: "0x7" is not a string with a public key in base58`},
		{key.String(), ionet.Key{}.String(), "is not a string with a public key in base58"},
		{"micro_usd = 80000", "micro_usd = 0", "target.micro_usd: 0 is not a whole number in 1..1000000000000"},
		{"micro_usd = 80000", "micro_usd = 0.08", "target.micro_usd: 0.08 is not a whole number in"},
		{"max_age_epochs = 3", "max_age_epochs = 25", "target.max_age_epochs: 25 is not a whole number in 1..24"},
		{"max_age_epochs = 3", "max_age = 3", "target.max_age: unknown key; allowed here are key, max_age_epochs, micro_usd"},
		{`draw = "target"`, `draw = "schedule"`, `target: only allowed where draw is "target"`},
	} {
		bad := strings.Replace(file, c.old, c.new, 1)
		if bad == file {
			t.Fatalf("%q does not stand in the policy", c.old)
		}
		if _, err := ParsePolicy([]byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q:\ngot  %v\nwant %s", c.new, c.old, err, c.want)
		}
	}
}
