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
	s := &split{weights: weights, amounts: amounts, divider: newDivider(total.Base(), sum)}
	if len(weights) <= short {
		err = s.divideFew(total.Base())
	} else {
		err = s.divideMany(total.Base())
	}
	if err != nil {
		return nil, err
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

// A split is one call of Split at work. It first sets each amount to its share
// rounded down. The remainders sum to the number of units left times the sum of
// the weights, and each is below that sum, so fewer units are left than there are
// weights with a remainder.
type split struct {
	weights []Weight
	amounts []ionet.Amount
	divider divider
	ranks   []rank // of all weights, then of those that still compete
	tally   *tally
}

// divideFew is a split whose weights are a short queue.
func (s *split) divideFew(total uint64) error {
	q := queue{weights: s.weights, remainders: make([]uint64, len(s.weights)), at: make([]int, len(s.weights))}
	for i := range q.at {
		q.at[i] = i
	}
	given, err := s.divider.shareAll(s.weights, s.amounts, q.remainders)
	if err != nil {
		return err
	}
	q.sort()
	return s.addUnits(q.at[:total-given])
}

// block is the number of weights that a loop takes at a time: two short loops over
// what stays in the nearest cache are faster than one that needs more registers
// than there are.
const block = 512

// divideMany is a split of more weights.
func (s *split) divideMany(total uint64) error {
	s.ranks, s.tally = make([]rank, len(s.weights)), new(tally)
	pivot := s.guess()
	var remainders [block]uint64
	left := total
	for from := 0; from < len(s.weights); from += block {
		to := min(from+block, len(s.weights))
		given, err := s.divider.shareAll(s.weights[from:to], s.amounts[from:to], remainders[:to-from])
		if err != nil {
			return err
		}
		left -= given
		s.tally.add(pivot, s.weights[from:to], remainders[:to-from], s.ranks[from:to])
	}
	if left == 0 {
		return nil
	}
	return s.serve(left)
}

// guess returns the common key of at most a block of weights from everywhere, as
// the first pivot. Where most weights have one remainder and one start of their
// UUIDs, as those of one model may, it has the same.
func (s *split) guess() key {
	var weights [block]Weight
	var remainders [block]uint64
	n := min(block, len(s.weights))
	for i := range n {
		weights[i] = s.weights[i*len(s.weights)/n]
		_, remainders[i] = s.divider.share(weights[i].Weight)
	}
	return s.tally.common(weights[:n], remainders[:n], 1)
}

// A divider divides total*w by sum for many w: by multiplication, which the
// compiler does alone only where sum is a constant. The algorithm is number 4 in
// N. Moeller, T. Granlund, "Improved division by invariant integers", IEEE
// Transactions on Computers 60 (2011); share tells why it is exact.
//
// A processor without a fast division of 128 by 64 bits takes several times as
// long for each; the others about as long as this.
type divider struct {
	total   uint64
	scale   uint64 // the power of two that takes sum to the top of its word
	divisor uint64 // d = sum*scale, at least 2^63
	inverse uint64 // v = floor((2^128 - 1)/d) - 2^64
}

// newDivider returns the divider of a sum above zero.
func newDivider(total, sum uint64) divider {
	shift := bits.LeadingZeros64(sum)
	d := sum << shift
	v, _ := bits.Div64(^d, ^uint64(0), d) // 2^128 - 1 - 2^64*d, over d
	return divider{total: total, scale: 1 << shift, divisor: d, inverse: v}
}

// share returns q = floor(total*w/sum) and r = (total*w mod sum)*scale, for w <=
// sum. The scale is common to all remainders and leaves their order alone.
//
// With B = 2^64 and u = total*w*scale = u1*B + u0 (u1 < d, for total < B and
// w*scale <= d), the first guess is q = q1 + 1, where q1*B + q0 = (B+v)*u1 + u0.
// By the choice of v, (B+v)*d = B*B - k with 1 <= k <= d, and so
//
//	u - q*d = (u1*k + u0*(B-d) + q0*d)/B - d
//
// which is at least q0*d/B - d and, since u1*k < d*d, below a mean of B-d and q0
// with the parts (B-d)/B and d/B: below the larger of the two. Of u - q*d only
// the low word, r, is computed:
//
//   - Where u - q*d is negative, r is B more, at least B-d + q0*d/B > q0: the guess
//     was one too large, and the first correction mends it.
//   - Where it is not and r > q0, it is below B-d, so that the first correction
//     does not overflow; the second takes it back.
//   - Else 0 <= r <= q0 < B <= 2d: the guess is right or one too small, which
//     the second correction mends.
func (d *divider) share(weight uint64) (q, r uint64) {
	u1, u0 := bits.Mul64(d.total, weight*d.scale)
	q1, q0 := bits.Mul64(d.inverse, u1)
	q0, carry := bits.Add64(q0, u0, 0)
	q = q1 + u1 + carry + 1
	r = u0 - q*d.divisor
	if r > q0 {
		q--
		r += d.divisor
	}
	if r >= d.divisor {
		q++
		r -= d.divisor
	}
	return q, r
}

// shareAll sets amounts and remainders of weights and returns the amounts' sum. It
// works on a copy of the divider, which the compiler can keep in registers.
func (d divider) shareAll(weights []Weight, amounts []ionet.Amount, remainders []uint64) (given uint64, err error) {
	amounts, remainders = amounts[:len(weights)], remainders[:len(weights)]
	for i := range weights {
		q, r := d.share(weights[i].Weight)
		if amounts[i], err = ionet.NewAmount(q); err != nil {
			return 0, err
		}
		remainders[i] = r
		given += q
	}
	return given, nil
}
