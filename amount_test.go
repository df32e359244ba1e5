package ionet

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAmountRange(t *testing.T) {
	most := MustAmount(math.MaxInt64)
	if most.Base() != math.MaxInt64 || most.Int64() != math.MaxInt64 {
		t.Errorf("got %d, %d, want 2^63-1", most.Base(), most.Int64())
	}
	one := MustAmount(1)
	for name, f := range map[string]func() (Amount, error){
		"new 2^63":     func() (Amount, error) { return NewAmount(1 << 63) },
		"new 2^64-1":   func() (Amount, error) { return NewAmount(math.MaxUint64) },
		"2^63-1 + 1":   func() (Amount, error) { return most.Add(one) },
		"2^63-1 twice": func() (Amount, error) { return most.Add(most) },
		"0 - 1":        func() (Amount, error) { return Amount{}.Sub(one) },
		"sum of many":  func() (Amount, error) { return Sum(most, Amount{}, one) },
		"parsed 2^63":  func() (Amount, error) { return ParseBase("9223372036854775808") },
		"parsed 2^64":  func() (Amount, error) { return ParseBase("18446744073709551616") },
	} {
		if got, err := f(); !errors.Is(err, ErrAmountRange) || !got.IsZero() {
			t.Errorf("%s: got %s, %v, want 0, ErrAmountRange", name, got, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustAmount(2^63) did not panic")
		}
	}()
	MustAmount(1 << 63)
}

func drawAmount(t *rapid.T, label string) Amount {
	return MustAmount(rapid.Uint64Range(0, math.MaxInt64).Draw(t, label))
}

// Add and Sub agree with unbounded integers, or refuse.
func TestAmountArithmetic(t *testing.T) {
	most := big.NewInt(math.MaxInt64)
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawAmount(t, "a"), drawAmount(t, "b")
		x, y := big.NewInt(a.Int64()), big.NewInt(b.Int64())
		if a.Cmp(b) != x.Cmp(y) {
			t.Errorf("compare %s, %s: got %d", a, b, a.Cmp(b))
		}
		compare := func(op string, got Amount, err error, want *big.Int) {
			inRange := want.Sign() >= 0 && want.Cmp(most) <= 0
			switch {
			case inRange != (err == nil):
				t.Errorf("%s %s %s: got %v, want in range %t", a, op, b, err, inRange)
			case err == nil && got.Int64() != want.Int64():
				t.Errorf("%s %s %s: got %s, want %s", a, op, b, got, want)
			}
		}
		sum, err := a.Add(b)
		compare("+", sum, err, new(big.Int).Add(x, y))
		total, totalErr := Sum(a, b)
		if total != sum || (err == nil) != (totalErr == nil) {
			t.Errorf("sum of %s, %s: got %s, %v, want %s, %v", a, b, total, totalErr, sum, err)
		}
		difference, err := a.Sub(b)
		compare("-", difference, err, new(big.Int).Sub(x, y))
	})
}

func TestParseTokens(t *testing.T) {
	for _, c := range []struct {
		text     string
		decimals int
		want     uint64
	}{
		{"0", 8, 0},
		{"0.00000001", 8, 1},
		{"12.5", 8, 12_5000_0000},
		{"12.50000000", 8, 12_5000_0000},
		{"5000000000", 8, 5e17},
		{"7", 0, 7},
		{"0.0", 1, 0},
		{"92233720368.54775807", 8, math.MaxInt64},
	} {
		if got, err := ParseTokens(c.text, c.decimals); err != nil || got.Base() != c.want {
			t.Errorf("%q: got %s, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct {
		text     string
		decimals int
		want     string
	}{
		{"", 8, "is not a token amount"}, {".", 8, "is not a token amount"}, {".5", 8, "is not a token amount"},
		{"5.", 8, "is not a token amount"}, {"1.123456789", 8, "with at most 8 decimals"}, {"1.0", 0, "with at most 0 decimals"},
		{"01", 8, "leading zero"}, {"00", 8, "leading zero"}, {"-1", 8, "is not a token amount"}, {"+1", 8, "is not a token amount"}, {"-0", 8, "is not a token amount"},
		{"1e3", 8, "is not a token amount"}, {"1_0", 8, "is not a token amount"}, {" 1", 8, "is not a token amount"}, {"0x1", 8, "leading zero"}, {"1x1", 8, "is not a token amount"}, {"1.2.3", 8, "is not a token amount"},
		{"1,5", 8, "is not a token amount"}, {"0.-1", 8, "is not a token amount"}, {"\u0661", 8, "is not a token amount"},
		{"92233720368.54775808", 8, "out of range"}, {strings.Repeat("9", 1000), 8, "out of range"},
		{"1", 9, "decimals 9 is not in 0..8"}, {"1", -1, "decimals -1 is not in 0..8"},
	} {
		if got, err := ParseTokens(c.text, c.decimals); err == nil || !strings.Contains(err.Error(), c.want) || !got.IsZero() {
			t.Errorf("%.40q: got %s, %v, want an error with %q", c.text, got, err, c.want)
		}
	}
}

// Every amount survives each of its texts.
func TestAmountTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, decimals := drawAmount(t, "amount"), rapid.IntRange(0, MaxDecimals).Draw(t, "decimals")
		if got, err := ParseBase(a.String()); err != nil || got != a {
			t.Errorf("%s: got %s, %v", a, got, err)
		}
		if got, err := ParseTokens(a.Tokens(decimals), decimals); err != nil || got != a {
			t.Errorf("%s: got %s, %v", a.Tokens(decimals), got, err)
		}
		text, err := json.Marshal(a)
		if err != nil || string(text) != `"`+a.String()+`"` {
			t.Errorf("%s: got JSON %s, %v", a, text, err)
		}
		var back Amount
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Errorf("%s: got %s, %v", text, back, err)
		}
	})
}

func TestAmountRefusesJSONNumbers(t *testing.T) {
	for _, text := range []string{`1`, `1.5`, `"1.5"`, `"01"`, `""`, `"-1"`, `true`, `{}`} {
		var a Amount
		if err := json.Unmarshal([]byte(text), &a); err == nil || !a.IsZero() {
			t.Errorf("%s: got %s, %v, want an error", text, a, err)
		}
	}
}

func FuzzParseBase(f *testing.F) {
	for _, s := range []string{"0", "1", "01", "9223372036854775807", "9223372036854775808", "-1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseBase(s)
		n, ok := new(big.Int).SetString(s, 10)
		if err != nil {
			if ok && n.String() == s && n.Sign() >= 0 && n.IsInt64() {
				t.Errorf("%q is an amount, got %v", s, err)
			}
			return
		}
		if a.String() != s || !ok || n.Int64() != a.Int64() {
			t.Errorf("%q: got %s", s, a)
		}
	})
}

func FuzzParseTokens(f *testing.F) {
	for _, s := range []string{"0", "12.5", "0.00000001", ".5", "5.", "92233720368.54775807", "1.2.3", "-0.1"} {
		f.Add(s, uint8(8))
	}
	f.Fuzz(func(t *testing.T, s string, d uint8) {
		decimals := int(d % (MaxDecimals + 1))
		a, err := ParseTokens(s, decimals)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%q was accepted", s)
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
		want.Mul(want, new(big.Rat).SetInt(scale))
		if want.Cmp(new(big.Rat).SetInt64(a.Int64())) != 0 {
			t.Errorf("%q with %d decimals: got %s base units, want %s", s, decimals, a, want)
		}
		if whole := a.Tokens(decimals); !strings.HasPrefix(whole, s) {
			t.Errorf("%q came back as %q", s, whole)
		}
	})
}
