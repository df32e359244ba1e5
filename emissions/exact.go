package emissions

import (
	"fmt"
	"math/big"
	"strings"
)

// maxDigits bounds the digits of a rate: more than any published one has, few
// enough that 128 guard bits separate the rates' fractions.
const maxDigits = 40

// settleExactly is the last epoch whose C(k) settle computes in full. An exact
// integer C(k) needs the k-th power of d's reduced denominator (of 2 at the
// least) to divide a numerator of less than 2^400, so none lies beyond.
const settleExactly = 400

// exact holds the schedule's numbers as they are: A = G*r/d and q = 1-d.
type exact struct {
	a, q *big.Rat
}

// exact checks p and returns its numbers.
func (p Params) exact() (exact, error) {
	perYear := p.EpochsPerYear
	if perYear == 0 {
		perYear = hourlyPerYear
	}
	switch {
	case p.Genesis.IsZero():
		return exact{}, fmt.Errorf("genesis supply is 0")
	case p.Cap.Cmp(p.Genesis) < 0:
		return exact{}, fmt.Errorf("cap %s is below the genesis supply %s", p.Cap, p.Genesis)
	case p.Epochs == 0 || p.Epochs > MaxEpochs:
		return exact{}, fmt.Errorf("epochs %d is not in 1..%d", p.Epochs, MaxEpochs)
	case perYear > MaxEpochs:
		return exact{}, fmt.Errorf("epochs per year %d is not in 1..%d", perYear, MaxEpochs)
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
	a.Quo(a, new(big.Rat).SetInt(new(big.Int).SetUint64(perYear)))
	a.Quo(a, d)
	if floor(a).BitLen() > 128 {
		return exact{}, fmt.Errorf("first year rate %s over decay %s is too large for 128 bits", p.FirstYearRate, p.Decay)
	}
	return exact{a: a, q: new(big.Rat).Sub(one, d)}, nil
}

// scale returns A with 128 integer and 128 fractional bits, rounded down.
func (e exact) scale() fixed { return toFixed(e.a, 128) }

// ratio returns q = 1-d as a fraction of 256 bits, rounded down.
func (e exact) ratio() fixed { return toFixed(e.q, 256) }

// settle returns floor(C(k)) where all that is known is that it is n or n+1.
func (e exact) settle(k, n uint64) (uint64, error) {
	next := new(big.Rat).SetInt(new(big.Int).SetUint64(n))
	next.Add(next, big.NewRat(1, 1))
	if next.Cmp(e.a) >= 0 {
		return n, nil // C(k) < A for every k
	}
	if k > settleExactly {
		return 0, fmt.Errorf("epoch %d: floor of the running sum is not certain with these rates", k)
	}
	if e.reaches(k, next.Num()) {
		n++
	}
	return n, nil
}

// reaches reports whether C(k) = A*(1-q^k) >= n. With A = a/b and q = m/d it
// multiplies out, a*(d^k-m^k) >= n*b*d^k: reducing such fractions is slow.
func (e exact) reaches(k uint64, n *big.Int) bool {
	exp := new(big.Int).SetUint64(k)
	power := new(big.Int).Exp(e.q.Denom(), exp, nil)
	left := new(big.Int).Exp(e.q.Num(), exp, nil)
	left.Sub(power, left).Mul(left, e.a.Num())
	return left.Cmp(power.Mul(power, e.a.Denom()).Mul(power, n)) >= 0
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
