package emissions

import (
	"fmt"
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// The two readings of the published percentages.
const (
	// OfCap reads them as shares of the cap: 50% community is what the genesis
	// hands out and what all epochs emit together.
	OfCap = "of_cap"
	// OfGenesis reads them as shares of the genesis supply.
	OfGenesis = "of_genesis"
)

// Share is one category's part of the genesis supply.
type Share struct {
	Category string // "seed", "series_a", "core", "research" or "community"
	Amount   ionet.Amount
	Unlock   Unlock
}

// allocation lists the fixed categories in tenths of a percent; community takes
// what they leave of the genesis supply. Investors unlock in 24 tranches, core
// contributors in 36, both from the end of month 13 on. For the other two no
// table was published, and nothing is taken for locked.
var allocation = []struct {
	category string
	permille uint64
	unlock   Unlock
}{
	{"seed", 125, Unlock{UnlockTranches, 13, 36}},
	{"series_a", 102, Unlock{UnlockTranches, 13, 36}},
	{"core", 113, Unlock{UnlockTranches, 13, 48}},
	{"research", 160, Unlock{Kind: UnlockImmediate}},
}

// Allocate divides the genesis supply over five categories, always in the order
// seed, series_a, core, research, community, and to the base unit. With base
// the cap or the genesis supply as the reading says, and P(i) the sum of the
// first i categories' permille,
//
//	amount(i) = floor(base*P(i)/1000) - floor(base*P(i-1)/1000)     FORMAT.md 2
//	community = genesis - the four
//
// Each share has the category's default unlock, which a caller may replace. An unknown reading is an error, and so is a genesis supply that is too small
// for the shares of its cap.
func Allocate(reading string, genesis, limit ionet.Amount) ([]Share, error) {
	base := genesis
	switch reading {
	case OfGenesis:
	case OfCap:
		base = limit
	default:
		return nil, fmt.Errorf("allocation reading %q is neither %q nor %q", reading, OfGenesis, OfCap)
	}
	if limit.Cmp(genesis) < 0 {
		return nil, fmt.Errorf("cap %s is below the genesis supply %s", limit, genesis)
	}
	shares := make([]Share, 0, len(allocation)+1)
	rest := genesis
	var permille uint64
	for _, c := range allocation {
		amount, err := slice(base, permille, permille+c.permille, 1000)
		if err != nil {
			return nil, err
		}
		permille += c.permille
		if rest, err = rest.Sub(amount); err != nil {
			return nil, fmt.Errorf("genesis supply %s does not cover the shares of the cap %s down to %s: choose reading %q, or another genesis supply or cap", genesis, limit, c.category, OfGenesis)
		}
		shares = append(shares, Share{Category: c.category, Amount: amount, Unlock: c.unlock})
	}
	return append(shares, Share{Category: "community", Amount: rest, Unlock: Unlock{Kind: UnlockImmediate}}), nil
}

// PoolShares divides total over pools in their order; shares[i] belongs to
// pools[i]. With B(i) the sum of the first i pools' basis points,
//
//	share(i) = floor(total*B(i)/10000) - floor(total*B(i-1)/10000)  FORMAT.md 3
//
// so the shares sum to total exactly. Basis points that do not sum to 10,000
// are an error.
func PoolShares(total ionet.Amount, pools []Pool) ([]ionet.Amount, error) {
	shares := make([]ionet.Amount, len(pools))
	var points uint64
	for i, p := range pools {
		upTo := points + uint64(p.BasisPoints)
		if upTo > wholePool {
			return nil, fmt.Errorf("basis points of the pools sum to more than %d", wholePool)
		}
		share, err := slice(total, points, upTo, wholePool)
		if err != nil {
			return nil, err
		}
		shares[i], points = share, upTo
	}
	if points != wholePool {
		return nil, fmt.Errorf("basis points of the pools sum to %d, not %d", points, wholePool)
	}
	return shares, nil
}

// slice returns floor(total*to/whole) - floor(total*from/whole) for
// from <= to <= whole, whole > 0.
func slice(total ionet.Amount, from, to, whole uint64) (ionet.Amount, error) {
	part := func(n uint64) uint64 {
		hi, lo := bits.Mul64(total.Base(), n)
		q, _ := bits.Div64(hi, lo, whole) // hi < n <= whole: the quotient fits
		return q
	}
	return ionet.NewAmount(part(to) - part(from))
}
