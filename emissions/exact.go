package emissions

import (
	"fmt"
	"math/big"
	"sort"
	"strings"
)

// maxDigits bounds the digits of a rate: more than any published one has, few
// enough that 128 guard bits separate the rates' fractions.
const maxDigits = 40

// settleExactly is the last step whose sums firstAbove computes in full. For a sum
// at or after step j to be an integer, the j-th power of d's reduced denominator
// (of 2 at the least) must divide a numerator of less than 2^512, so none lies
// beyond.
const settleExactly = 512

// exact holds the schedule's numbers as they are: A = G*r/d, q = 1-d, and
// Cap - Genesis.
type exact struct {
	a, q  *big.Rat
	limit *big.Int
	per   uint64 // epochs of a step
}

// exact checks p and returns its numbers.
func (p Params) exact() (exact, error) {
	switch {
	case p.Genesis.IsZero():
		return exact{}, fmt.Errorf("genesis supply is 0")
	case p.Cap.Cmp(p.Genesis) < 0:
		return exact{}, fmt.Errorf("cap %s is below the genesis supply %s", p.Cap, p.Genesis)
	case p.Epochs == 0 || p.Epochs > MaxEpochs:
		return exact{}, fmt.Errorf("epochs %d is not in 1..%d", p.Epochs, MaxEpochs)
	case p.StepsPerYear == 0 || p.StepsPerYear > MaxEpochs:
		return exact{}, fmt.Errorf("steps per year %d is not in 1..%d", p.StepsPerYear, MaxEpochs)
	case p.EpochsPerStep == 0 || p.Epochs%p.EpochsPerStep != 0:
		return exact{}, fmt.Errorf("epochs per step %d does not divide the %d epochs", p.EpochsPerStep, p.Epochs)
	}
	rate, err := parseDecimal("first year rate", p.FirstYearRate)
	if err != nil {
		return exact{}, err
	}
	d, err := parseDecimal("decay", p.Decay)
	if err != nil {
		return exact{}, err
	}
	one := big.NewRat(1, 1)
	if d.Sign() == 0 || d.Cmp(one) >= 0 {
		return exact{}, fmt.Errorf("decay %s is not between 0 and 1", p.Decay)
	}
	a := new(big.Rat).SetInt(new(big.Int).SetUint64(p.Genesis.Base()))
	a.Mul(a, rate)
	a.Quo(a, new(big.Rat).SetInt(new(big.Int).SetUint64(p.StepsPerYear)))
	a.Quo(a, d)
	if floor(a).BitLen() > 128 {
		return exact{}, fmt.Errorf("first year rate %s over decay %s is too large for 128 bits", p.FirstYearRate, p.Decay)
	}
	limit := new(big.Int).SetUint64(p.Cap.Base() - p.Genesis.Base())
	return exact{a: a, q: new(big.Rat).Sub(one, d), limit: limit, per: p.EpochsPerStep}, nil
}

// scale returns A with 128 integer and 128 fractional bits, rounded down.
func (e exact) scale() fixed { return toFixed(e.a, 128) }

// ratio returns q = 1-d as a fraction of 256 bits, rounded down.
func (e exact) ratio() fixed { return toFixed(e.q, 256) }

// firstAbove returns the first of these epochs, by its index, whose running sum
// is n+1 or more, len(open) where none is; of each it is known that the floor is n
// or n+1. Epochs beyond settleExactly are decided by those before them or not at all.
func (e exact) firstAbove(open []openFloor, n uint64) (int, error) {
	next := new(big.Int).SetUint64(n + 1)
	if new(big.Rat).SetInt(next).Cmp(e.a) >= 0 {
		return len(open), nil // C(j) < A for every j
	}
	near := sort.Search(len(open), func(i int) bool { return open[i].k/e.per > settleExactly })
	first := sort.Search(near, func(i int) bool { return e.reaches(open[i].k, next) })
	if first == near && near < len(open) {
		return 0, fmt.Errorf("epoch %d: floor of the running sum is not certain with these rates", open[near].k)
	}
	return first, nil
}

// reaches reports whether the sum at epoch k = j*L + h, which is
// (K(j)*(L-h) + K(j+1)*h)/L, is at least n. With A = a/b and q = m/d every K
// is multiplied by b*d^(j+1), which makes it an integer: reducing such fractions
// is slow.
func (e exact) reaches(k uint64, n *big.Int) bool {
	j, h := k/e.per, new(big.Int).SetUint64(k%e.per)
	step := new(big.Int).SetUint64(e.per)
	sum := e.knot(j, j+1)
	sum.Mul(sum, new(big.Int).Sub(step, h))
	later := e.knot(j+1, j+1)
	sum.Add(sum, later.Mul(later, h))
	want := new(big.Int).Exp(e.q.Denom(), new(big.Int).SetUint64(j+1), nil)
	want.Mul(want, e.a.Denom()).Mul(want, n).Mul(want, step)
	return sum.Cmp(want) >= 0
}

// knot returns K(j) * b * d^scale, scale >= j: min(a*(d^j-m^j)*d^(scale-j), limit*b*d^scale).
func (e exact) knot(j, scale uint64) *big.Int {
	m, d := e.q.Num(), e.q.Denom()
	exp := new(big.Int).SetUint64(j)
	power := new(big.Int).Exp(d, exp, nil)
	left := new(big.Int).Exp(m, exp, nil)
	left.Sub(power, left).Mul(left, e.a.Num())
	most := power.Mul(power, e.a.Denom())
	most.Mul(most, e.limit)
	if left.Cmp(most) > 0 {
		left = most
	}
	return left.Mul(left, new(big.Int).Exp(d, new(big.Int).SetUint64(scale-j), nil))
}

// parseDecimal parses digits with an optional point: no sign, no exponent, no
// leading zero but the one before the point.
func parseDecimal(name, s string) (*big.Rat, error) {
	whole, frac, dotted := strings.Cut(s, ".")
	isDigits := strings.Trim(whole+frac, "0123456789") == ""
	if whole == "" || dotted && frac == "" || len(whole) > 1 && whole[0] == '0' || !isDigits || len(s) > maxDigits {
		return nil, fmt.Errorf("%s %q is not an exact decimal of at most %d characters", name, s, maxDigits)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, fmt.Errorf("%s %q is not an exact decimal", name, s)
	}
	return r, nil
}

// floor returns the integer part of r >= 0.
func floor(r *big.Rat) *big.Int { return new(big.Int).Quo(r.Num(), r.Denom()) }

// toFixed returns floor(r * 2^fraction), which must fit 256 bits.
func toFixed(r *big.Rat, fraction uint) fixed {
	n := new(big.Int).Lsh(r.Num(), fraction)
	n.Quo(n, r.Denom())
	var b [32]byte
	n.FillBytes(b[:])
	var f fixed
	for i := range b {
		word := (len(b) - 1 - i) / 8
		f[word] = f[word]<<8 | uint64(b[i])
	}
	return f
}
