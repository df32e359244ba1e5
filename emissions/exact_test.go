package emissions

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// The whole hourly schedule once more, another way: not the closed form but the
// published recurrence, r(k) = r(k-1)*(1-d), summed in decimals of 220 digits.
func TestHourlyAgainstRecurrence(t *testing.T) {
	const digits = 220
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
	// E(1) = 5e17 * 8% / 8760; 1-d = 0.9999861130476040207.
	emission := new(big.Int).Mul(big.NewInt(5e17*8/100), unit)
	emission.Quo(emission, big.NewInt(8760))
	keep, ok := new(big.Int).SetString("9999861130476040207", 10)
	if !ok {
		t.Fatal("parse 1-d")
	}
	keepScale := new(big.Int).Exp(big.NewInt(10), big.NewInt(19), nil)

	// Rounding down errs by less than one unit of 10^-220 an epoch, and an error
	// in r is carried on: less than k^2 < 10^11 units in the sum.
	slack := new(big.Int).Exp(big.NewInt(10), big.NewInt(11), nil)
	limit := big.NewInt(3e17)
	s, sum, low, high := hourly(t, 8), new(big.Int), new(big.Int), new(big.Int)
	for k := uint64(1); k <= s.Epochs(); k++ {
		sum.Add(sum, emission)
		emission.Quo(emission.Mul(emission, keep), keepScale)
		low.Quo(sum, unit)
		high.Quo(high.Add(sum, slack), unit)
		if low.Cmp(high) != 0 {
			t.Fatalf("epoch %d: the reference itself is not certain", k)
		}
		if low.Cmp(limit) > 0 {
			low.Set(limit)
		}
		got, err := s.Cumulative(k)
		if err != nil {
			t.Fatal(err)
		}
		if got.Base() != low.Uint64() {
			t.Fatalf("epoch %d: got %s, want %s", k, got, low)
		}
	}
}

// rationalFloor is floor(C(k)), clamped, from the definition in rationals: the
// sum of G*r*(1-d)^(i-1) by Horner's rule.
func rationalFloor(t interface{ Fatalf(string, ...any) }, p Params, k uint64) uint64 {
	parse := func(s string) *big.Rat {
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("parse %q", s)
		}
		return r
	}
	perYear := p.EpochsPerYear
	if perYear == 0 {
		perYear = 8760
	}
	first := parse(p.Genesis.String())
	first.Mul(first, parse(p.FirstYearRate))
	first.Quo(first, parse(fmt.Sprint(perYear)))
	keep := new(big.Rat).Sub(big.NewRat(1, 1), parse(p.Decay))
	sum := new(big.Rat)
	for range k {
		sum.Add(sum.Mul(sum, keep), first)
	}
	n := new(big.Int).Quo(sum.Num(), sum.Denom())
	limit := p.Cap.Base() - p.Genesis.Base()
	if !n.IsUint64() || n.Uint64() > limit {
		return limit
	}
	return n.Uint64()
}

// drawParams draws profiles that mix wild rates with round ones, whose running
// sums hit integers exactly.
func drawParams(t *rapid.T) Params {
	rate := rapid.OneOf(
		rapid.SampledFrom([]string{"1", "0.5", "0.25", "0.08", "8.76", "58.4", "0"}),
		rapid.StringMatching(`(0|[1-9][0-9]{0,3})\.[0-9]{1,18}`),
	)
	decay := rapid.OneOf(
		rapid.SampledFrom([]string{"0.5", "0.1", "0.9", "0.25", "0.75", "0.010150801", "0.0000138869523959793"}),
		rapid.StringMatching(`0\.[0-9]{0,17}[1-9]`),
	)
	genesis := rapid.OneOf(
		rapid.Uint64Range(1, 1<<62),
		rapid.SampledFrom([]uint64{1, 2, 1 << 20, 1 << 62, 8760, 8760 << 30, 5e17}),
	).Draw(t, "genesis")
	return Params{
		Genesis:       ionet.MustAmount(genesis),
		Cap:           ionet.MustAmount(genesis + rapid.Uint64Range(0, 1<<62-1).Draw(t, "emission")),
		Epochs:        rapid.Uint64Range(1, 600).Draw(t, "epochs"),
		FirstYearRate: rate.Draw(t, "rate"),
		EpochsPerYear: rapid.SampledFrom([]uint64{0, 1, 12, 8760, 524_288}).Draw(t, "per year"),
		Decay:         decay.Draw(t, "decay"),
	}
}

func TestRandomProfilesAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		k := rapid.Uint64Range(1, min(p.Epochs, 120)).Draw(t, "epoch")
		got, err := s.Cumulative(k)
		if err != nil {
			t.Fatal(err)
		}
		if want := rationalFloor(t, p, k); got.Base() != want {
			t.Errorf("cumulative %d: got %s, want %d", k, got, want)
		}
		var last, sum ionet.Amount
		for i := uint64(1); i <= p.Epochs; i++ {
			e, err := s.Emission(i)
			if err != nil {
				t.Fatal(err)
			}
			if i > 1 && e.Base() > last.Base()+1 {
				t.Fatalf("emission %d: %s after %s", i, e, last)
			}
			if sum, err = sum.Add(e); err != nil || sum.Base() > s.limit {
				t.Fatalf("sum %d: %s is above %d (%v)", i, sum, s.limit, err)
			}
			last = e
		}
	})
}

// With d = 1/2 and round numbers C(k) is an integer at first, then stays below
// the integer A for ever, nearer than any fixed number of bits can tell.
func TestIntegerSums(t *testing.T) {
	s, err := New(Params{
		Genesis: ionet.MustAmount(1 << 20), Cap: ionet.MustAmount(1 << 40), Epochs: 5000,
		FirstYearRate: "1", EpochsPerYear: 1, Decay: "0.5",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.decided) == 0 {
		t.Error("no floor was left open: this test tests nothing")
	}
	for k, want := range map[uint64]uint64{
		1: 1 << 20, 2: 3 << 19, 20: 1<<21 - 2, 21: 1<<21 - 1, 22: 1<<21 - 1, 256: 1<<21 - 1, 257: 1<<21 - 1, 5000: 1<<21 - 1,
	} {
		if got, err := s.Cumulative(k); err != nil || got.Base() != want {
			t.Errorf("cumulative %d: got %s, %v, want %d", k, got, err, want)
		}
	}
}

// The limit of the running sum lies 2^-142 above 1: no epoch beyond those that
// are computed in full can be told, and New says so instead of guessing.
func TestUncertainFloorIsRefused(t *testing.T) {
	const genesis, perYear = 500_009, 999_983
	g, m := big.NewInt(genesis), big.NewInt(perYear)
	// y*G = 1 mod m, x = (y*G-1)/m: A = G*y/(m*x) = 1 + 1/(m*x).
	y := new(big.Int).Exp(big.NewInt(10), big.NewInt(36), nil)
	y.Mul(y, big.NewInt(11))
	y.Sub(y, new(big.Int).Mod(y, m))
	y.Add(y, new(big.Int).ModInverse(g, m))
	x := new(big.Int).Mul(y, g)
	x.Sub(x, big.NewInt(1)).Quo(x, m)
	p := Params{
		Genesis: ionet.MustAmount(genesis), Cap: ionet.MustAmount(2 * genesis), Epochs: settleExactly,
		FirstYearRate: "1." + y.String()[1:], EpochsPerYear: perYear, Decay: fmt.Sprintf("0.%037s", x),
	}
	if _, err := New(p); err != nil {
		t.Fatal(err)
	}
	p.Epochs++
	if _, err := New(p); err == nil || !strings.Contains(err.Error(), "epoch 401: floor of the running sum is not certain") {
		t.Errorf("got %v, want a refusal of epoch 401", err)
	}
}

func toRat(f fixed) *big.Rat {
	n := new(big.Int)
	for i := len(f) - 1; i >= 0; i-- {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(f[i]))
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Lsh(big.NewInt(1), 256))
}

func TestFixedMultiply(t *testing.T) {
	word := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<64 - 1, 1 << 63}))
	rapid.Check(t, func(t *rapid.T) {
		var a, b fixed
		for i := range a {
			a[i], b[i] = word.Draw(t, "a"), word.Draw(t, "b")
		}
		product := new(big.Rat).Mul(toRat(a), toRat(b))
		if got, want := a.multiply(b), toFixed(product, 256); got != want {
			t.Errorf("%x * %x: got %x, want %x", a, b, got, want)
		}
		n := word.Draw(t, "n")
		want := new(big.Rat).Sub(toRat(a), toRat(fixed{n}))
		if want.Sign() < 0 {
			want.SetInt64(0)
		}
		if got := toRat(a.subtract(n)); got.Cmp(want) != 0 {
			t.Errorf("%x - %x: got %s, want %s", a, n, got, want)
		}
	})
}

// The claim on which every floor rests, for scales from next to nothing to 2^127:
// low(k) <= C(k) <= low(k) + (2k+3)*2^-128.
func TestSumBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		if rapid.Bool().Draw(t, "large scale") {
			p.Genesis, p.Cap, p.EpochsPerYear = ionet.MustAmount(1<<62), ionet.MustAmount(1<<62), 1
			p.FirstYearRate, p.Decay = "9.7", rapid.StringMatching(`0\.0{17}[1-9]{6}`).Draw(t, "small decay")
		}
		e, err := p.exact()
		if err != nil {
			t.Fatal(err)
		}
		s := &Schedule{scale: e.scale(), powers: newPowers(e.ratio(), 2000)}
		k := rapid.OneOf(rapid.Uint64Range(1, 40), rapid.Uint64Range(500, 530), rapid.Uint64Range(1, 2000)).Draw(t, "epoch")
		exp := new(big.Int).SetUint64(k)
		power := new(big.Rat).SetFrac(new(big.Int).Exp(e.q.Num(), exp, nil), new(big.Int).Exp(e.q.Denom(), exp, nil))
		above := power.Mul(power.Sub(big.NewRat(1, 1), power), e.a)
		above.Sub(above, new(big.Rat).Mul(toRat(s.lower(k)), new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 128))))
		most := new(big.Rat).SetFrac(new(big.Int).SetUint64(2*k+3), new(big.Int).Lsh(big.NewInt(1), 128))
		if above.Sign() < 0 || above.Cmp(most) > 0 {
			t.Fatalf("epoch %d of %+v: the sum is %s above its lower bound, at most %s is promised", k, p, above.FloatString(50), most.FloatString(50))
		}
	})
}

// The claim below that: a power lacks at most 2k+1 units.
func TestPowerBounds(t *testing.T) {
	unit := toRat(fixed{1})
	for _, d := range []string{"0.0000138869523959793", "0.5", "0.9999", "0.000001"} {
		decay, err := parseDecimal("decay", d)
		if err != nil {
			t.Fatal(err)
		}
		q := new(big.Rat).Sub(big.NewRat(1, 1), decay)
		p := newPowers(toFixed(q, 256), 3000)
		for _, k := range []uint64{1, 2, 3, 511, 512, 513, 1023, 1024, 1025, 1536, 2047, 3000} {
			exp := new(big.Int).SetUint64(k)
			want := new(big.Rat).SetFrac(new(big.Int).Exp(q.Num(), exp, nil), new(big.Int).Exp(q.Denom(), exp, nil))
			lack := want.Sub(want, toRat(p.at(k)))
			most := new(big.Rat).Mul(unit, new(big.Rat).SetInt64(int64(2*k+1)))
			if lack.Sign() < 0 || lack.Cmp(most) > 0 {
				t.Errorf("%s, power %d: lacks %s, more than %s or less than 0", d, k, lack.FloatString(90), most.FloatString(90))
			}
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add(uint64(5e17), uint64(3e17), "0.08", "0.0000138869523959793", uint64(8760), uint64(100))
	f.Add(uint64(1<<20), uint64(1<<40), "1", "0.5", uint64(1), uint64(300))
	f.Fuzz(func(t *testing.T, genesis, emission uint64, rate, decay string, perYear, k uint64) {
		genesis, emission, k = genesis%(1<<62), emission%(1<<62), k%128
		p := Params{
			Genesis: ionet.MustAmount(genesis), Cap: ionet.MustAmount(genesis + emission), Epochs: k + 1,
			FirstYearRate: rate, EpochsPerYear: perYear, Decay: decay,
		}
		s, err := New(p)
		if err != nil {
			return
		}
		got, err := s.Cumulative(k)
		if err != nil {
			t.Fatal(err)
		}
		if want := rationalFloor(t, p, k); got.Base() != want {
			t.Errorf("%+v, epoch %d: got %s, want %d", p, k, got, want)
		}
	})
}
