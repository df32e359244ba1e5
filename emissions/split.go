package emissions

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// ErrWeights reports weights whose sum is 2^64 or more.
var ErrWeights = errors.New("sum of the weights is out of range")

// Weight is one device's claim on its pool.
type Weight struct {
	UUID   ionet.UUID
	Weight uint64
}

// Split divides total over weights by largest remainder; amounts[i] belongs to
// weights[i]. With W the sum of the weights,
//
//	q(i) = floor(total*w(i)/W), r(i) = total*w(i) mod W             FORMAT.md 4
//	amount(i) = q(i), and one more for the (total - sum of q) largest r,
//	            among equal r the smaller UUID first
//
// so the amounts sum to total, a weight of zero gets nothing, and the order of
// weights does not matter. Where W is zero (or there are no weights) every
// amount is zero and all of total is left to the caller.
//
// The caller guarantees that no UUID stands twice. If one does, the sum is
// still exact, and among equal remainders the smaller weight goes first, so
// that even then only indistinguishable entries could change places.
//
// Weights that sum to 2^64 or more are ErrWeights. Time is linear in the number
// of weights whatever their values.
func Split(total ionet.Amount, weights []Weight) (amounts []ionet.Amount, err error) {
	sum, err := sumOf(weights)
	if err != nil {
		return nil, err
	}
	amounts = make([]ionet.Amount, len(weights))
	if sum == 0 || total.IsZero() {
		return amounts, nil
	}
	left := total.Base()
	remainders := make([]uint64, len(weights))
	for i, w := range weights {
		hi, lo := bits.Mul64(total.Base(), w.Weight)
		q, r := bits.Div64(hi, lo, sum) // w <= sum, so hi < sum: the quotient fits
		if amounts[i], err = ionet.NewAmount(q); err != nil {
			return nil, err
		}
		remainders[i] = r
		left -= q
	}
	// The remainders sum to left*sum and each is below sum: fewer units are
	// left than there are weights with a remainder.
	served := candidates(weights, remainders, sum)
	selectFirst(served, int(left), weights)
	one := ionet.MustAmount(1)
	for _, c := range served[:left] {
		if amounts[c.index], err = amounts[c.index].Add(one); err != nil {
			return nil, err
		}
	}
	return amounts, nil
}

// sumOf returns the sum of the weights.
func sumOf(weights []Weight) (uint64, error) {
	var sum, carry uint64
	for _, w := range weights {
		if sum, carry = bits.Add64(sum, w.Weight, 0); carry != 0 {
			return 0, fmt.Errorf("%d weights: %w", len(weights), ErrWeights)
		}
	}
	return sum, nil
}
