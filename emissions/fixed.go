package emissions

import "math/bits"

// fixed is an unsigned 256-bit number, least significant word first. It stands
// for a fraction of 256 bits, or for 128 integer and 128 fractional bits; which
// one is said where it is used.
type fixed [4]uint64

// multiply returns the upper 256 bits of the 512-bit product: for a fraction f,
// a.multiply(f) is a*f rounded down in a's own scale.
func (a fixed) multiply(f fixed) fixed {
	var t [8]uint64
	for i, x := range a {
		var carry uint64
		for j, y := range f {
			hi, lo := bits.Mul64(x, y)
			var c uint64
			lo, c = bits.Add64(lo, t[i+j], 0)
			hi += c // x*y + t + carry <= 2^128-1: hi never overflows
			lo, c = bits.Add64(lo, carry, 0)
			hi += c
			t[i+j], carry = lo, hi
		}
		t[i+4] = carry
	}
	return fixed{t[4], t[5], t[6], t[7]}
}

// complement returns 1 - 2^-256 - f.
func (f fixed) complement() fixed { return fixed{^f[0], ^f[1], ^f[2], ^f[3]} }

// subtract returns f - n units of the last place, or zero where f is smaller.
func (f fixed) subtract(n uint64) fixed {
	var r fixed
	var borrow uint64
	r[0], borrow = bits.Sub64(f[0], n, 0)
	for i := 1; i < len(f); i++ {
		r[i], borrow = bits.Sub64(f[i], 0, borrow)
	}
	if borrow != 0 {
		return fixed{}
	}
	return r
}

// between returns a + (b-a)*h/n = (a*(n-h) + b*h)/n, rounded down, for h < n. Both
// are below 2^191 and n is at most MaxEpochs: nothing overflows.
func between(a, b fixed, h, n uint64) fixed {
	a, b = a.times(n-h), b.times(h)
	var sum, quotient fixed
	var carry, rest uint64
	for i := range a {
		sum[i], carry = bits.Add64(a[i], b[i], carry)
	}
	for i := len(sum) - 1; i >= 0; i-- {
		quotient[i], rest = bits.Div64(rest, sum[i], n)
	}
	return quotient
}

// times returns f*n, which must fit.
func (f fixed) times(n uint64) fixed {
	var r fixed
	var carry uint64
	for i, word := range f {
		hi, lo := bits.Mul64(word, n)
		var c uint64
		r[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	return r
}

// powerStep is the number of small powers; a k-th power is one of them times a
// power of q^powerStep.
const (
	powerShift = 9
	powerStep  = 1 << powerShift
)

// powers holds lower bounds of q^k for 0 < q < 1 as 256-bit fractions:
//
//	baby[i]  <= q^i          lacks at most 2i-1 units of 2^-256   (i >= 1; baby[0] lacks 1)
//	giant[j] <= q^(512*j)    lacks at most 1024j-1 units          (j >= 1; giant[0] lacks 1)
//
// by induction: the product of two fractions that lack a and b lacks at most
// a+b, and rounding it down less than one more.
type powers struct {
	baby  [powerStep]fixed
	giant []fixed
}

// newPowers prepares powers up to q^last. q is a fraction rounded down.
func newPowers(q fixed, last uint64) powers {
	one := fixed{}.complement() // 1 - 2^-256: one itself has no place in a fraction
	p := powers{giant: make([]fixed, last>>powerShift+1)}
	p.baby[0], p.baby[1] = one, q
	for i := 2; i < powerStep; i++ {
		p.baby[i] = p.baby[i-1].multiply(q)
	}
	step := p.baby[powerStep-1].multiply(q)
	for j := range p.giant {
		switch j {
		case 0:
			p.giant[j] = one
		case 1:
			p.giant[j] = step
		default:
			p.giant[j] = p.giant[j-1].multiply(step)
		}
	}
	return p
}

// at returns a lower bound of q^k that lacks at most 2k+1 units of 2^-256.
func (p *powers) at(k uint64) fixed {
	return p.giant[k>>powerShift].multiply(p.baby[k&(powerStep-1)])
}
