package emissions

import (
	"fmt"
	"math"
	"math/big"

	"github.com/ionet-settlement/ionet"
)

// maxTarget bounds target.micro_usd: a million dollars an epoch.
const maxTarget = 1_000_000_000_000

// maxPriceAge bounds target.max_age_epochs.
const maxPriceAge = 24

// Target is a dollar target below the schedule's ceiling: an epoch draws what
// its devices' targets cost at the observed price, and no more.
type Target struct {
	Key          ionet.Key // signs the price observations
	MicroUSD     uint64    // 10^-6 US dollar for a multiplier of 1 over all samples of an epoch, 1..10^12
	MaxAgeEpochs uint32    // epochs for which an observation stands in for later ones, 1..24
}

// Observation is what a target is converted into tokens by.
type Observation struct {
	MicroUSD uint64 // price of one whole token in 10^-6 US dollar, at least 1
	Samples  uint16 // of an epoch, at least 1
	Decimals int    // of the token, 0..8
}

// Need returns what devices of these weights (multiplier_milli * samples) ask
// for, W being their sum,
//
//	floor(W * target * 10^decimals / (1000 * samples * price))      FORMAT.md 3.2
//
// in base units, at most 2^63-1. Weights that sum to 2^64 or more are ErrWeights.
func (t Target) Need(weights []Weight, o Observation) (ionet.Amount, error) {
	if o.MicroUSD == 0 || o.Samples == 0 || o.Decimals < 0 || o.Decimals > ionet.MaxDecimals {
		return ionet.Amount{}, fmt.Errorf("price %d, samples %d or decimals %d is out of range", o.MicroUSD, o.Samples, o.Decimals)
	}
	sum, err := sumOf(weights)
	if err != nil {
		return ionet.Amount{}, err
	}
	n := new(big.Int).SetUint64(sum)
	n.Mul(n, new(big.Int).SetUint64(t.MicroUSD))
	n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(o.Decimals)), nil))
	n.Quo(n, new(big.Int).SetUint64(1000*uint64(o.Samples)))
	n.Quo(n, new(big.Int).SetUint64(o.MicroUSD)) // floor(floor(a/b)/c) = floor(a/(b*c))
	if !n.IsInt64() {
		return ionet.MustAmount(math.MaxInt64), nil
	}
	return ionet.MustAmount(n.Uint64()), nil
}
