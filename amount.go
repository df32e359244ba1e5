package ionet

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// MaxDecimals is the largest number of decimals a token may have: with the cap
// of 8 billion tokens, nine would still fit a u64 but not a signed SQL bigint
// with room for sums of debits and credits.
const MaxDecimals = 8

// maxBase keeps every Amount inside a signed 64-bit column.
const maxBase = 1<<63 - 1

// ErrAmountRange reports a sum above 2^63-1 base units or a difference below zero.
var ErrAmountRange = errors.New("amount out of range")

// Amount is a non-negative count of base units, at most 2^63-1. The zero value
// is zero. Every operation that could leave the range returns an error.
type Amount struct{ n uint64 }

// NewAmount returns n base units.
func NewAmount(n uint64) (Amount, error) {
	if n > maxBase {
		return Amount{}, beyondRange(n)
	}
	return Amount{n}, nil
}

// beyondRange is apart from NewAmount so that the compiler can inline the latter:
// a split calls it for each of a million devices.
func beyondRange(n uint64) error {
	return fmt.Errorf("%d base units: %w", n, ErrAmountRange)
}

// MustAmount is NewAmount for constants and tests; it panics above 2^63-1.
func MustAmount(n uint64) Amount {
	a, err := NewAmount(n)
	if err != nil {
		panic(err)
	}
	return a
}

// Base returns the number of base units.
func (a Amount) Base() uint64 { return a.n }

// Int64 returns the number of base units as SQL stores it; it cannot overflow.
func (a Amount) Int64() int64 { return int64(a.n) }

// IsZero reports whether a is zero.
func (a Amount) IsZero() bool { return a.n == 0 }

// Cmp returns -1, 0 or 1 as a is smaller than, equal to or larger than b.
func (a Amount) Cmp(b Amount) int {
	switch {
	case a.n < b.n:
		return -1
	case a.n > b.n:
		return 1
	}
	return 0
}

// Add returns a + b, or ErrAmountRange.
func (a Amount) Add(b Amount) (Amount, error) {
	sum, carry := bits.Add64(a.n, b.n, 0)
	if carry != 0 || sum > maxBase {
		return Amount{}, fmt.Errorf("%d + %d base units: %w", a.n, b.n, ErrAmountRange)
	}
	return Amount{sum}, nil
}

// Sub returns a - b, or ErrAmountRange where b is larger.
func (a Amount) Sub(b Amount) (Amount, error) {
	if b.n > a.n {
		return Amount{}, fmt.Errorf("%d - %d base units: %w", a.n, b.n, ErrAmountRange)
	}
	return Amount{a.n - b.n}, nil
}

// Sum adds all amounts, or returns ErrAmountRange.
func Sum(amounts ...Amount) (Amount, error) {
	var total Amount
	var err error
	for _, a := range amounts {
		if total, err = total.Add(a); err != nil {
			return Amount{}, err
		}
	}
	return total, nil
}

// ParseBase parses a canonical decimal count of base units: digits only, no
// sign, no leading zero but "0" itself.
func ParseBase(s string) (Amount, error) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return Amount{}, fmt.Errorf("amount %q is not a canonical decimal number of base units", s)
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return Amount{}, fmt.Errorf("amount %q is not a canonical decimal number of base units", s)
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return Amount{}, fmt.Errorf("amount %q: %w", s, ErrAmountRange)
	}
	return NewAmount(n)
}

// ParseTokens parses a decimal number of whole tokens such as "12.5" for a
// token of the given decimals; more digits than decimals are refused.
func ParseTokens(s string, decimals int) (Amount, error) {
	if decimals < 0 || decimals > MaxDecimals {
		return Amount{}, fmt.Errorf("decimals %d is not in 0..%d", decimals, MaxDecimals)
	}
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || dotted && frac == "" || len(frac) > decimals {
		return Amount{}, fmt.Errorf("amount %q is not a token amount with at most %d decimals", s, decimals)
	}
	if len(whole) > 1 && whole[0] == '0' {
		return Amount{}, fmt.Errorf("amount %q has a leading zero", s)
	}
	digits := strings.TrimLeft(whole+frac+strings.Repeat("0", decimals-len(frac)), "0")
	if digits == "" {
		digits = "0"
	}
	if strings.Trim(digits, "0123456789") != "" {
		return Amount{}, fmt.Errorf("amount %q is not a token amount with at most %d decimals", s, decimals)
	}
	a, err := ParseBase(digits)
	if err != nil {
		return Amount{}, fmt.Errorf("amount %q: %w", s, ErrAmountRange)
	}
	return a, nil
}

// Tokens formats a as whole tokens with all decimals, such as "12.50000000".
func (a Amount) Tokens(decimals int) string {
	s := strconv.FormatUint(a.n, 10)
	if decimals <= 0 {
		return s
	}
	if len(s) <= decimals {
		s = strings.Repeat("0", decimals-len(s)+1) + s
	}
	return s[:len(s)-decimals] + "." + s[len(s)-decimals:]
}

// String returns the number of base units in decimal.
func (a Amount) String() string { return strconv.FormatUint(a.n, 10) }

// MarshalText makes JSON and TOML carry a as a string of base units.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseBase.
func (a *Amount) UnmarshalText(text []byte) error {
	v, err := ParseBase(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
