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

// rationalSum is the exact running sum at epoch k, from the definition in
// rationals: the sum of G*r*(1-d)^(i-1) by Horner's rule, clamped at the end of
// each step, and a straight line inside one.
func rationalSum(t interface{ Fatalf(string, ...any) }, p Params, k uint64) *big.Rat {
	parse := func(s string) *big.Rat {
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("parse %q", s)
		}
		return r
	}
	first := parse(p.Genesis.String())
	first.Mul(first, parse(p.FirstYearRate))
	first.Quo(first, parse(fmt.Sprint(p.StepsPerYear)))
	keep := new(big.Rat).Sub(big.NewRat(1, 1), parse(p.Decay))
	limit := parse(fmt.Sprint(p.Cap.Base() - p.Genesis.Base()))
	clamped := func(r *big.Rat) *big.Rat {
		if r.Cmp(limit) > 0 {
			return limit
		}
		return r
	}
	sum, steps := new(big.Rat), k/p.EpochsPerStep
	if steps > 130 { // where Horner's fractions grow too long, the closed form
		exp := new(big.Int).SetUint64(steps)
		sum.SetFrac(new(big.Int).Exp(keep.Num(), exp, nil), new(big.Int).Exp(keep.Denom(), exp, nil))
		sum.Sub(big.NewRat(1, 1), sum)
		sum.Mul(sum, first).Quo(sum, parse(p.Decay))
		steps = 0
	}
	for range steps {
		sum.Add(sum.Mul(sum, keep), first)
	}
	from := clamped(sum)
	next := new(big.Rat).Mul(sum, keep)
	to := clamped(next.Add(next, first))
	line := new(big.Rat).Sub(to, from)
	line.Mul(line, big.NewRat(int64(k%p.EpochsPerStep), int64(p.EpochsPerStep)))
	return line.Add(line, from)
}

func rationalFloor(t interface{ Fatalf(string, ...any) }, p Params, k uint64) uint64 {
	sum := rationalSum(t, p, k)
	return new(big.Int).Quo(sum.Num(), sum.Denom()).Uint64()
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
	per := rapid.SampledFrom([]uint64{1, 1, 2, 7, 30, 730}).Draw(t, "epochs per step")
	return Params{
		Genesis:       ionet.MustAmount(genesis),
		Cap:           ionet.MustAmount(genesis + rapid.Uint64Range(0, 1<<62-1).Draw(t, "emission")),
		Epochs:        per * rapid.Uint64Range(1, max(600/per, 2)).Draw(t, "steps"),
		FirstYearRate: rate.Draw(t, "rate"),
		StepsPerYear:  rapid.SampledFrom([]uint64{1, 12, 8760, 524_288}).Draw(t, "per year"),
		Decay:         decay.Draw(t, "decay"),
		EpochsPerStep: per,
	}
}

func TestRandomProfilesAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		s, err := prepare(p)
		if err != nil {
			t.Fatal(err)
		}
		k := rapid.Uint64Range(1, min(p.Epochs, 120*p.EpochsPerStep)).Draw(t, "epoch")
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
	s, err := prepare(Params{
		Genesis: ionet.MustAmount(1 << 20), Cap: ionet.MustAmount(1 << 40), Epochs: 5000,
		FirstYearRate: "1", StepsPerYear: 1, Decay: "0.5", EpochsPerStep: 1,
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

// barelyAbove returns a profile of 2,000 epochs whose running sum rises to no more
// than about 2^-140 above 1: R is y*10^-37 with a first digit of about lead.
func barelyAbove(lead int64) Params {
	const genesis, perYear = 500_009, 999_983
	g, m := big.NewInt(genesis), big.NewInt(perYear)
	// y*G = 1 mod m, x = (y*G-1)/m: A = G*y/(m*x) = 1 + 1/(m*x).
	y := new(big.Int).Exp(big.NewInt(10), big.NewInt(36), nil)
	y.Mul(y, big.NewInt(lead))
	y.Sub(y, new(big.Int).Mod(y, m))
	y.Add(y, new(big.Int).ModInverse(g, m))
	x := new(big.Int).Mul(y, g)
	x.Sub(x, big.NewInt(1)).Quo(x, m)
	rate := fmt.Sprintf("%038s", y) // 37 decimals
	return Params{
		Genesis: ionet.MustAmount(genesis), Cap: ionet.MustAmount(2 * genesis), Epochs: 2000,
		FirstYearRate: rate[:1] + "." + rate[1:], StepsPerYear: perYear, Decay: fmt.Sprintf("0.%037s", x), EpochsPerStep: 1,
	}
}

// Where the sum passes 1 within the steps that are computed in full, all epochs
// after that one are known too: it never falls again.
func TestBarelyAboveIsDecided(t *testing.T) {
	p := barelyAbove(11)
	s, err := prepare(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.decided) < 1500 {
		t.Fatalf("only %d floors were left open: this test tests nothing", len(s.decided))
	}
	for k := uint64(1); k <= 600; k += min(k, 37) {
		if got, want := s.floor(k), rationalFloor(t, p, k); got != want {
			t.Fatalf("epoch %d: got %d, want %d", k, got, want)
		}
	}
	if got := s.floor(2000); got != 1 {
		t.Errorf("epoch 2000: got %d, want 1", got)
	}
}

// Where it would pass 1 after them nobody can tell, and New says so instead of
// guessing.
func TestUncertainFloorIsRefused(t *testing.T) {
	p := barelyAbove(2)
	if _, err := prepare(p); err == nil || !strings.Contains(err.Error(), "floor of the running sum is not certain") {
		t.Errorf("got %v, want a refusal", err)
	}
	p.Epochs = settleExactly
	if _, err := prepare(p); err != nil {
		t.Errorf("the first %d steps: %v", settleExactly, err)
	}
}

// A million open floors of numbers with 68,000 bits: halving leaves a few dozen to
// be computed. One by one they took minutes.
func TestManyOpenFloors(t *testing.T) {
	p := Params{
		Genesis: ionet.MustAmount(1), Cap: ionet.MustAmount(2), Epochs: MaxEpochs, EpochsPerStep: MaxEpochs / 512, StepsPerYear: 7,
		FirstYearRate: "6.93000000000000000000000000000000000008", Decay: "0.99000000000000000000000000000000000001",
	}
	s, err := prepare(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.decided) < MaxEpochs/2 {
		t.Fatalf("only %d floors were left open: this test tests nothing", len(s.decided))
	}
	for _, k := range []uint64{1, 2048, 2049, 30_000, 60_000, 100_000} {
		if got, want := s.floor(k), rationalFloor(t, p, k); got != want {
			t.Errorf("epoch %d: got %d, want %d", k, got, want)
		}
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
// lower(k) <= the exact sum <= lower(k) + slack(k)*2^-128.
func TestSumBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		if rapid.Bool().Draw(t, "large scale") {
			p.Genesis, p.StepsPerYear = ionet.MustAmount(1<<62), 1
			p.FirstYearRate, p.Decay = "9.7", rapid.StringMatching(`0\.0{17}[1-9]{6}`).Draw(t, "small decay")
		}
		p.Cap = ionet.MustAmount(p.Genesis.Base() + rapid.Uint64Range(0, 1<<62-1).Draw(t, "emission"))
		p.Epochs = 1400 * p.EpochsPerStep
		e, err := p.exact()
		if err != nil {
			t.Fatal(err)
		}
		s := &Schedule{params: p, limit: p.Cap.Base() - p.Genesis.Base(), scale: e.scale(), powers: newPowers(e.ratio(), 1401)}
		j := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Uint64Range(500, 530), rapid.Uint64Range(0, 1398)).Draw(t, "step")
		k := j*p.EpochsPerStep + rapid.Uint64Range(0, p.EpochsPerStep-1).Draw(t, "epoch")
		above := rationalSum(t, p, k)
		above.Sub(above, new(big.Rat).Mul(toRat(s.lower(k)), new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 128))))
		most := new(big.Rat).SetFrac(new(big.Int).SetUint64(s.slack(k)), new(big.Int).Lsh(big.NewInt(1), 128))
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
	f.Add(uint64(5e17), uint64(3e17), "0.08", "0.0000138869523959793", uint64(8760), uint64(100), uint64(1))
	f.Add(uint64(5e17), uint64(3e17), "0.08", "0.010150801", uint64(12), uint64(1000), uint64(730))
	f.Add(uint64(1<<20), uint64(1<<40), "1", "0.5", uint64(1), uint64(300), uint64(3))
	f.Fuzz(func(t *testing.T, genesis, emission uint64, rate, decay string, perYear, k, per uint64) {
		genesis, emission, per = genesis%(1<<62), emission%(1<<62), per%2000
		k %= 128*per + 1
		p := Params{
			Genesis: ionet.MustAmount(genesis), Cap: ionet.MustAmount(genesis + emission), Epochs: 129 * per,
			FirstYearRate: rate, StepsPerYear: perYear, Decay: decay, EpochsPerStep: per,
		}
		s, err := prepare(p)
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
		if s, err := New(p); err == nil {
			if all, err := s.Cumulative(p.Epochs); err != nil || all.Base() != emission {
				t.Errorf("%+v: all epochs emit %s (%v), want cap - genesis", p, all, err)
			}
		} else if reach, rerr := p.Reach(); rerr != nil || reach.Cmp(p.Cap) >= 0 {
			t.Errorf("%+v: refused (%v), yet it reaches %s (%v)", p, err, reach, rerr)
		}
	})
}
