package emissions

import (
	"math"
	"math/bits"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
)

// BenchmarkSplit divides one emission over a million devices, beside the
// definition in big integers and one pass over the same memory.
//
// "passes" is the fastest split over the fastest pass, taken by turns so that what
// else the machine does in that time hits both.
func BenchmarkSplit(b *testing.B) {
	const devices = 1_000_000
	total := ionet.MustAmount(4_566_210_045_662)
	amounts := make([]uint64, devices)
	split := func(weights []Weight) func(*testing.B) {
		return func(b *testing.B) {
			ours, pass := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				start := time.Now()
				if _, err := Split(total, weights); err != nil {
					b.Fatal(err)
				}
				ours = min(ours, time.Since(start))
				b.StopTimer()
				for range 2 { // the second finds its memory in the cache, as in reference=memory
					start = time.Now()
					passOver(weights, amounts)
					pass = min(pass, time.Since(start))
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(ours)/float64(pass), "passes")
		}
	}
	weights := crowd(devices, 20)
	b.Run("models=20", split(weights))
	b.Run("models=1", split(crowd(devices, 1)))
	b.Run("adversary", split(adversary(devices)))
	b.Run("distinct", split(distinct(devices)))
	b.Run("insider", split(insider(devices, false)))
	b.Run("insiders", split(insider(devices, true)))
	b.Run("reference=divisions", func(b *testing.B) {
		sum, err := sumOf(weights)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for i := range weights {
				hi, lo := bits.Mul64(total.Base(), weights[i].Weight)
				amounts[i], _ = bits.Div64(hi, lo, sum)
			}
		}
	})
	b.Run("reference=memory", func(b *testing.B) {
		for b.Loop() {
			passOver(weights, amounts)
		}
	})
	b.Run("reference=big.Int", func(b *testing.B) {
		for b.Loop() {
			referenceSplit(total, weights)
		}
	})
}

// passOver reads each weight and writes each amount once.
func passOver(weights []Weight, amounts []uint64) {
	for i := range weights {
		amounts[i] = weights[i].Weight
	}
}
