package emissions

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// referenceSplit is Split from its definition: big integers and a full sort.
func referenceSplit(total ionet.Amount, weights []Weight) []uint64 {
	amounts := make([]uint64, len(weights))
	sum := new(big.Int)
	for _, w := range weights {
		sum.Add(sum, new(big.Int).SetUint64(w.Weight))
	}
	if sum.Sign() == 0 {
		return amounts
	}
	left := total.Base()
	remainders := make([]*big.Int, len(weights))
	order := make([]int, len(weights))
	for i, w := range weights {
		product := new(big.Int).Mul(new(big.Int).SetUint64(total.Base()), new(big.Int).SetUint64(w.Weight))
		q, r := product.QuoRem(product, sum, new(big.Int))
		amounts[i], remainders[i], order[i] = q.Uint64(), r, i
		left -= q.Uint64()
	}
	slices.SortFunc(order, func(a, b int) int {
		if c := remainders[b].Cmp(remainders[a]); c != 0 {
			return c
		}
		return bytes.Compare(weights[a].UUID[:], weights[b].UUID[:])
	})
	for _, i := range order[:left] {
		amounts[i]++
	}
	return amounts
}

func checkSplit(t interface{ Fatalf(string, ...any) }, total ionet.Amount, weights []Weight) []ionet.Amount {
	got, err := Split(total, weights)
	if err != nil {
		t.Fatalf("split: %v", err)
	}
	want := referenceSplit(total, weights)
	for i := range want {
		if got[i].Base() != want[i] {
			t.Fatalf("amount %d of %s over %v: got %s, want %d", i, total, weights, got[i], want[i])
		}
	}
	return got
}

func id(n byte) ionet.UUID { return ionet.UUID{15: n} }

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name    string
		total   uint64
		weights []Weight
		want    []uint64
	}{
		{"nobody", 10, nil, nil},
		{"all weights zero", 10, []Weight{{id(1), 0}, {id(2), 0}}, []uint64{0, 0}},
		{"nothing to split", 0, []Weight{{id(1), 5}}, []uint64{0}},
		{"one takes all", 10, []Weight{{id(1), 3}}, []uint64{10}},
		{"even", 10, []Weight{{id(1), 1}, {id(2), 1}}, []uint64{5, 5}},
		{"tie to the smaller UUID", 11, []Weight{{id(2), 1}, {id(1), 1}}, []uint64{5, 6}},
		{"two ties of three", 5, []Weight{{id(9), 1}, {id(3), 1}, {id(5), 1}}, []uint64{1, 2, 2}},
		{"largest remainder before UUID", 10, []Weight{{id(1), 4}, {id(2), 5}}, []uint64{4, 6}},
		{"zero weight gets no odd unit", 1, []Weight{{id(1), 0}, {id(2), 1}, {id(3), 1}}, []uint64{0, 1, 0}},
		{"tie decided by the first byte", 1, []Weight{{ionet.UUID{0: 2}, 1}, {ionet.UUID{0: 1, 15: 9}, 1}}, []uint64{0, 1}},
		{"widest numbers", 1<<63 - 1, []Weight{{id(1), 1<<64 - 2}, {id(2), 1}}, []uint64{1<<63 - 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := checkSplit(t, ionet.MustAmount(c.total), c.weights)
			for i := range c.want {
				if got[i].Base() != c.want[i] {
					t.Errorf("amount %d: got %s, want %d", i, got[i], c.want[i])
				}
			}
		})
	}
	_, err := Split(ionet.MustAmount(1), []Weight{{id(1), 1 << 63}, {id(2), 1 << 63}})
	if !errors.Is(err, ErrWeights) {
		t.Errorf("weights of 2^64: got %v, want ErrWeights", err)
	}
}

// drawWeights draws unique UUIDs with long common parts, and weights that repeat.
func drawWeights(t *rapid.T) []Weight {
	part := rapid.SampledFrom([]byte{0, 1, 127, 128, 255})
	ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) ionet.UUID {
		var u ionet.UUID
		if rapid.Bool().Draw(t, "random") {
			binary.BigEndian.PutUint64(u[:], rapid.Uint64().Draw(t, "high"))
		}
		u[rapid.IntRange(0, 15).Draw(t, "at")] = part.Draw(t, "byte")
		u[rapid.IntRange(0, 15).Draw(t, "at")] = part.Draw(t, "byte")
		return u
	}), 0, 60, rapid.ID[ionet.UUID]).Draw(t, "ids")
	weight := rapid.OneOf(
		rapid.SampledFrom([]uint64{0, 1, 54_000, 60_000, 600_000, 720_000}),
		rapid.Uint64Range(0, 5),
		rapid.Uint64Range(0, 1<<58),
	)
	weights := make([]Weight, len(ids))
	for i, u := range ids {
		weights[i] = Weight{UUID: u, Weight: weight.Draw(t, "weight")}
	}
	return weights
}

func drawAmount(t *rapid.T) ionet.Amount {
	return ionet.MustAmount(rapid.OneOf(
		rapid.Uint64Range(0, 100),
		rapid.Uint64Range(0, 1<<63-1),
		rapid.Just[uint64](4_566_210_045_662),
	).Draw(t, "amount"))
}

// Split agrees with its definition, sums to the total, and does not care about
// the order of its input.
func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total, weights := drawAmount(t), drawWeights(t)
		amounts := checkSplit(t, total, weights)
		sum, err := ionet.Sum(amounts...)
		if err != nil {
			t.Fatal(err)
		}
		if sum != total && !(sum.IsZero() && !slices.ContainsFunc(weights, func(w Weight) bool { return w.Weight > 0 })) {
			t.Fatalf("sum: got %s, want %s", sum, total)
		}
		paid := map[ionet.UUID]ionet.Amount{}
		for i, w := range weights {
			paid[w.UUID] = amounts[i]
		}
		shuffled := rapid.Permutation(weights).Draw(t, "order")
		again := checkSplit(t, total, shuffled)
		for i, w := range shuffled {
			if again[i] != paid[w.UUID] {
				t.Fatalf("%s: got %s in one order, %s in another", w.UUID, paid[w.UUID], again[i])
			}
		}
	})
}

// Broken input, UUIDs that stand twice, still sums exactly, and whoever is
// served is served in every order.
func TestSplitWithRepeatedUUIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Weight {
			return Weight{UUID: id(rapid.Byte().Draw(t, "id") % 2), Weight: rapid.Uint64Range(0, 6).Draw(t, "weight")}
		}), 1, 12).Draw(t, "weights")
		total := ionet.MustAmount(rapid.Uint64Range(0, 30).Draw(t, "total"))
		type paid struct {
			Weight
			ionet.Amount
		}
		count := func(weights []Weight) map[paid]int {
			amounts, err := Split(total, weights)
			if err != nil {
				t.Fatal(err)
			}
			got := map[paid]int{}
			for i, w := range weights {
				got[paid{w, amounts[i]}]++
			}
			return got
		}
		a, b := count(weights), count(rapid.Permutation(weights).Draw(t, "order"))
		for p, n := range a {
			if b[p] != n {
				t.Fatalf("%v: %d times in one order, %d in another", p, n, b[p])
			}
		}
	})
}

// A hundred thousand devices of one model: one remainder, decided by UUID.
func TestSplitManyTies(t *testing.T) {
	for _, weights := range [][]Weight{crowd(100_000, 1), crowd(100_000, 20), adversary(100_000)} {
		checkSplit(t, ionet.MustAmount(4_566_210_045_662), weights)
	}
}

// crowd returns n devices of the given number of models, each with 54..60 samples.
func crowd(n, models int) []Weight {
	r := rand.New(rand.NewPCG(1, 2))
	weights := make([]Weight, n)
	for i := range weights {
		binary.LittleEndian.PutUint64(weights[i].UUID[:], r.Uint64())
		binary.LittleEndian.PutUint64(weights[i].UUID[8:], r.Uint64())
		weights[i].Weight = 60_000
		if models > 1 {
			weights[i].Weight = uint64(1+r.IntN(models)) * 250 * uint64(54+r.IntN(7))
		}
	}
	return weights
}

// adversary returns n devices of one weight whose UUIDs differ as late as they
// can: each byte splits off one device from all others.
func adversary(n int) []Weight {
	weights := make([]Weight, n)
	for i := range weights {
		weights[i].Weight = 60_000
		u := &weights[i].UUID
		if i < 14 {
			u[i] = 1
			continue
		}
		binary.BigEndian.PutUint32(u[12:], uint32(i))
	}
	return weights
}

func FuzzSplit(f *testing.F) {
	f.Add(uint64(11), []byte("\x01\x01\x02\x01"))
	f.Add(uint64(1<<62), []byte{9, 255, 8, 255, 7, 0, 6, 3})
	f.Fuzz(func(t *testing.T, total uint64, spec []byte) {
		seen, weights := map[byte]bool{}, []Weight{}
		for i := 0; i+1 < len(spec); i += 2 {
			if !seen[spec[i]] {
				seen[spec[i]] = true
				w := Weight{Weight: uint64(spec[i+1]) << (spec[i] % 48)}
				w.UUID[spec[i]%16], w.UUID[15] = 1, spec[i]
				weights = append(weights, w)
			}
		}
		checkSplit(t, ionet.MustAmount(total>>1), weights)
	})
}

func TestPoolShares(t *testing.T) {
	for _, c := range []struct {
		total  uint64
		points []uint32
		want   []uint64
	}{
		{4_566_210_045_662, []uint32{500, 9500}, []uint64{228_310_502_283, 4_337_899_543_379}},
		{1, []uint32{500, 9500}, []uint64{0, 1}},
		{3, []uint32{3333, 3333, 3334}, []uint64{0, 1, 2}},
		{1<<63 - 1, []uint32{10_000}, []uint64{1<<63 - 1}},
		{7, []uint32{0, 10_000, 0}, []uint64{0, 7, 0}},
	} {
		pools := make([]Pool, len(c.points))
		for i, p := range c.points {
			pools[i].BasisPoints = p
		}
		got, err := PoolShares(ionet.MustAmount(c.total), pools)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if got[i].Base() != want {
				t.Errorf("%d over %v, pool %d: got %s, want %d", c.total, c.points, i, got[i], want)
			}
		}
	}
	for _, points := range [][]uint32{nil, {9999}, {10_000, 1}, {1<<32 - 1, 1<<32 - 1}} {
		pools := make([]Pool, len(points))
		for i, p := range points {
			pools[i].BasisPoints = p
		}
		if got, err := PoolShares(ionet.MustAmount(5), pools); err == nil {
			t.Errorf("basis points %v: got %v, want an error", points, got)
		}
	}
}

// Shares sum to the total, each within a unit of its exact part.
func TestPoolSharesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := drawAmount(t)
		pools, left := []Pool{}, uint32(wholePool)
		for left > 0 {
			p := rapid.Uint32Range(0, left).Draw(t, "points")
			if len(pools) == 8 {
				p = left
			}
			pools, left = append(pools, Pool{BasisPoints: p}), left-p
		}
		shares, err := PoolShares(total, pools)
		if err != nil {
			t.Fatal(err)
		}
		if sum, err := ionet.Sum(shares...); err != nil || sum != total {
			t.Fatalf("sum: got %s, %v, want %s", sum, err, total)
		}
		for i, share := range shares {
			exact := new(big.Int).Mul(new(big.Int).SetUint64(total.Base()), big.NewInt(int64(pools[i].BasisPoints)))
			got := new(big.Int).Mul(new(big.Int).SetUint64(share.Base()), big.NewInt(wholePool))
			if got.Sub(got, exact).CmpAbs(big.NewInt(wholePool)) >= 0 {
				t.Fatalf("pool %d of %v: %s of %s is off by a unit or more", i, pools, share, total)
			}
		}
	})
}

// distinct returns n devices whose weights are random numbers of 40 bits.
func distinct(n int) []Weight {
	weights := crowd(n, 1)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range weights {
		weights[i].Weight = r.Uint64() >> 24
	}
	return weights
}
