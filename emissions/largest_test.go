package emissions

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// checkShare compares a divider with the processor's division.
func checkShare(t interface{ Fatalf(string, ...any) }, total, sum, weight uint64) {
	d := newDivider(total, sum)
	q, r := d.share(weight)
	hi, lo := bits.Mul64(total, weight)
	if hi >= sum {
		t.Fatalf("%d*%d / %d: the quotient does not fit", total, weight, sum)
	}
	wantQ, wantR := bits.Div64(hi, lo, sum)
	if q != wantQ || r != wantR*d.scale {
		t.Fatalf("%d*%d / %d: got %d, remainder %d/%d, want %d, remainder %d", total, weight, sum, q, r, d.scale, wantQ, wantR)
	}
}

// edges are the numbers around powers of two, and around the thirds of 2^64.
func edges() []uint64 {
	list := []uint64{0, math.MaxUint64 / 3, math.MaxUint64/3 + 1, math.MaxUint64 / 3 * 2, 4_566_210_045_662}
	for shift := range 64 {
		list = append(list, 1<<shift-1, 1<<shift, 1<<shift+1)
	}
	return append(list, math.MaxUint64-1, math.MaxUint64)
}

func TestShareAtTheEdges(t *testing.T) {
	for _, sum := range edges() {
		for _, weight := range edges() {
			if weight > sum || sum == 0 {
				continue
			}
			for _, total := range edges() {
				if total > 0 { // a split of nothing does not divide
					checkShare(t, total, sum, weight)
				}
			}
		}
	}
}

func drawWord(t *rapid.T, name string) uint64 {
	return rapid.OneOf(rapid.Uint64(), rapid.SampledFrom(edges()), rapid.Custom(func(t *rapid.T) uint64 {
		return rapid.Uint64().Draw(t, "bits") << rapid.IntRange(0, 63).Draw(t, "shift")
	})).Draw(t, name)
}

func TestShareProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum := max(drawWord(t, "sum"), 1)
		weight := min(drawWord(t, "weight"), sum)
		checkShare(t, max(drawWord(t, "total"), 1), sum, weight)
	})
}

func FuzzShare(f *testing.F) {
	f.Add(uint64(4_566_210_045_662), uint64(54_000_000_000), uint64(60_000))
	f.Add(uint64(1<<63-1), uint64(math.MaxUint64), uint64(math.MaxUint64))
	f.Add(uint64(math.MaxUint64), uint64(1<<63+1), uint64(1<<63))
	f.Fuzz(func(t *testing.T, total, sum, weight uint64) {
		if total > 0 && sum > 0 {
			checkShare(t, total, sum, min(weight, sum))
		}
	})
}

// drawKeys draws weights and remainders whose keys share digits, and some keys.
func drawKeys(t *rapid.T) (weights []Weight, remainders []uint64) {
	word := rapid.OneOf(rapid.SampledFrom([]uint64{0, 0, 1, 1 << 56}), rapid.Custom(func(t *rapid.T) uint64 {
		var b [8]byte
		for i := range b {
			b[i] = rapid.SampledFrom([]byte{0, 0, 0, 0, 1, 127, 128, 255}).Draw(t, "digit")
		}
		return binary.BigEndian.Uint64(b[:])
	}))
	n := rapid.IntRange(1, 40).Draw(t, "n")
	for range n {
		w := Weight{Weight: word.Draw(t, "weight")}
		binary.BigEndian.PutUint64(w.UUID[:8], word.Draw(t, "high"))
		binary.BigEndian.PutUint64(w.UUID[8:], word.Draw(t, "low"))
		weights, remainders = append(weights, w), append(remainders, word.Draw(t, "remainder"))
	}
	return weights, remainders
}

// Ranks are in the order of keys, and those of single ranks are of one key.
func TestRanksAreInTheOrderOfKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights, remainders := drawKeys(t)
		i := rapid.IntRange(0, len(weights)-1).Draw(t, "pivot")
		next := Weight{UUID: weights[i].UUID, Weight: weights[i].Weight ^ 1} // differs in the last digit only
		weights, remainders = append(weights, next), append(remainders, remainders[i])
		of, count := make([]rank, len(weights)), new(tally)
		count.add(keyOf(&weights[i], remainders[i]), weights, remainders, of)
		keys := make([]key, len(weights))
		for i := range keys {
			keys[i] = keyOf(&weights[i], remainders[i])
		}
		for a := range keys {
			for b := range keys {
				switch c := slices.Compare(keys[a][:], keys[b][:]); {
				case of[a] < of[b] && c >= 0:
					t.Fatalf("%x has rank %d, %x rank %d", keys[a], of[a], keys[b], of[b])
				case of[a] == of[b] && c != 0 && of[a].single():
					t.Fatalf("%x and %x are both of the single rank %d", keys[a], keys[b], of[a])
				}
			}
		}
		if next := of[len(of)-1]; !of[i].single() || !next.single() {
			t.Fatalf("ranks %d and %d, of the pivot and the key beside it, are not both single", of[i], next)
		}
		u := rapid.Uint64Range(1, uint64(len(keys))).Draw(t, "u")
		slices.Sort(of)
		if r, nth := count.find(u); r != of[u-1] || nth != u-uint64(slices.Index(of, r)) {
			t.Fatalf("find %d in %v: got rank %d, number %d of it", u, of, r, nth)
		}
	})
}

// Around the common key no rank that is not single has more than half of the keys.
func TestTheCommonKeyHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights, remainders := drawKeys(t)
		of, count := make([]rank, len(weights)), new(tally)
		pivot := count.common(weights, remainders, 1)
		if *count != (tally{}) {
			t.Fatal("the tally is not zero after common")
		}
		count.add(pivot, weights, remainders, of)
		for _, r := range of {
			if n := count[r]; n > uint64(len(weights)/2) && !r.single() {
				t.Fatalf("%d of %d keys are of rank %d around %x", n, len(weights), r, pivot)
			}
		}
	})
}

// drawMany draws up to thousands of devices: what weights and UUIDs have in
// common is drawn, the rest follows from a seed.
func drawMany(t *rapid.T) []Weight {
	n := rapid.OneOf(rapid.IntRange(1, 5), rapid.SampledFrom([]int{block - 1, block, block + 1, 2 * block, 3000})).Draw(t, "n")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	distinct := rapid.SampledFrom([]int{1, 2, 3, 20, n}).Draw(t, "distinct weights")
	values := make([]uint64, distinct)
	top := math.MaxUint64 / uint64(n) // so that even the sum of n is in range
	mask := rapid.SampledFrom([]uint64{1, 0xff, math.MaxUint64, 0xff0000ff, math.MaxUint32 << 32}).Draw(t, "mask")
	for i := range values {
		values[i] = min(r.Uint64()&mask, top)
	}
	values[0] = rapid.SampledFrom([]uint64{0, 1, 60_000, top}).Draw(t, "first value")
	digit := rapid.IntRange(0, 13).Draw(t, "digit")
	weights := make([]Weight, n)
	for i := range weights {
		weights[i].Weight = values[r.IntN(distinct)]
		binary.BigEndian.PutUint16(weights[i].UUID[14:], uint16(i))
		weights[i].UUID[digit] = byte(r.IntN(1 + r.IntN(256)))
	}
	r.Shuffle(n, func(i, j int) { weights[i], weights[j] = weights[j], weights[i] })
	return weights
}

// With a total of few units the weights themselves are the remainders, so every
// shape of weights is one of remainders too.
func TestSplitOfManyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.OneOf(
			rapid.Uint64Range(1, 3000),
			rapid.Uint64Range(0, math.MaxInt64),
			rapid.Just[uint64](math.MaxInt64),
		).Draw(t, "total")
		checkSplit(t, ionet.MustAmount(total), drawMany(t))
	})
}

// The widest sum there is, over as many devices as there are shapes of the last one.
func TestSplitOfTheWidestSum(t *testing.T) {
	for n := 1; n <= 5; n++ {
		weights := make([]Weight, n)
		left := uint64(math.MaxUint64)
		for i := range weights {
			weights[i] = Weight{UUID: id(byte(i)), Weight: left / 2}
			left -= weights[i].Weight
		}
		weights[n-1].Weight += left
		for _, total := range []uint64{1, 2, 1<<62 + 1, math.MaxInt64} {
			checkSplit(t, ionet.MustAmount(total), weights)
		}
	}
}

// insider returns n devices of one weight that know how pivots are chosen: what
// the first guess looks at starts with another byte than all others. If thorough,
// so does the next byte of the part that the second looks at, and after that
// each byte splits off one device.
func insider(n int, thorough bool) []Weight {
	weights, rest := make([]Weight, n), []int{}
	for i := range weights {
		weights[i].Weight = 60_000
		binary.BigEndian.PutUint32(weights[i].UUID[12:], uint32(i))
	}
	for i := range block {
		weights[i*n/block].UUID[0] = 255
	}
	for i, w := range weights {
		if w.UUID[0] == 0 {
			rest = append(rest, i)
		}
	}
	for j := 0; thorough && j < len(rest); j += part {
		weights[rest[j]].UUID[1] = 255
	}
	for digit := 2; digit < 12; digit++ {
		weights[rest[part*digit+1]].UUID[digit] = 255
	}
	return weights
}

func TestSplitAgainstAnInsider(t *testing.T) {
	for _, weights := range [][]Weight{insider(50_000, false), insider(50_000, true)} {
		for _, total := range []uint64{1, 30_000, 49_999, 4_566_210_045_662} {
			checkSplit(t, ionet.MustAmount(total), weights)
		}
	}
}

// Broken input at length: with one remainder for all, the units go to the smallest
// UUID, and of those that have it to the smaller weights.
func TestSplitWithManyRepeatedUUIDs(t *testing.T) {
	weights, given := make([]Weight, 30_000), map[Weight]uint64{}
	for i := range weights {
		weights[i] = Weight{UUID: id(byte(i % 3)), Weight: uint64(1 + i%5*10)}
	}
	// The weights sum to 630,000, so q = floor(w/10) and r = 63,000.
	amounts, err := Split(ionet.MustAmount(63_000), weights)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range weights {
		given[w] += amounts[i].Base() - w.Weight/10
	}
	for w, got := range given {
		want := map[Weight]uint64{{id(0), 1}: 2000, {id(0), 11}: 1000}[w]
		if got != want {
			t.Errorf("2000 of %v: got %d odd units, want %d", w, got, want)
		}
	}
}
