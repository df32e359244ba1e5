package emissions

import (
	"math/bits"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// BenchmarkSplit divides one emission over a million devices, beside the
// definition in big integers and one pass over the same memory.
func BenchmarkSplit(b *testing.B) {
	const devices = 1_000_000
	total := ionet.MustAmount(4_566_210_045_662)
	split := func(weights []Weight) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				if _, err := Split(total, weights); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	weights := crowd(devices, 20)
	b.Run("models=20", split(weights))
	b.Run("models=1", split(crowd(devices, 1)))
	b.Run("adversary", split(adversary(devices)))
	b.Run("insider", split(insider(devices, false)))
	b.Run("insiders", split(insider(devices, true)))
	b.Run("distinct", split(distinct(devices)))
	b.Run("reference=divisions", func(b *testing.B) {
		sum, err := sumOf(weights)
		if err != nil {
			b.Fatal(err)
		}
		amounts := make([]uint64, devices)
		for b.Loop() {
			for i := range weights {
				hi, lo := bits.Mul64(total.Base(), weights[i].Weight)
				amounts[i], _ = bits.Div64(hi, lo, sum)
			}
		}
	})
	b.Run("reference=memory", func(b *testing.B) {
		amounts := make([]uint64, devices)
		for b.Loop() {
			for i := range weights {
				amounts[i] = weights[i].Weight
			}
		}
	})
	b.Run("reference=big.Int", func(b *testing.B) {
		for b.Loop() {
			referenceSplit(total, weights)
		}
	})
}
