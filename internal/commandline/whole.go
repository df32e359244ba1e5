package commandline

import (
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// decodeWhole reads a whole number, decimal, within the field's type and its range
// tag.
func decodeWhole(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("whole number")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	low, high := "", ""
	if tag := ctx.Value.Tag.Get("range"); tag != "" {
		var ok bool
		if low, high, ok = strings.Cut(tag, ".."); !ok {
			return fmt.Errorf("range %q is not LOW..HIGH", tag)
		}
	} else if target.CanUint() {
		low = "0"
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !atLeast(n, low) || high != "" && !atLeast(whole(high), n.String()) || !fits(target, n) {
		return fmt.Errorf("want a whole number%s, not %q", limits(low, high), text)
	}
	if target.CanUint() {
		target.SetUint(n.Uint64())
	} else {
		target.SetInt(n.Int64())
	}
	return nil
}

// decodeDuration reads a duration with its unit.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("duration")
	if err != nil {
		return err
	}
	text := fmt.Sprint(token.Value)
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("want a duration such as 90s, 10m or 24h, not %q", text)
	}
	target.SetInt(int64(d))
	return nil
}

// limits words a range for an error.
func limits(low, high string) string {
	switch {
	case high != "":
		return ", " + low + ".." + high
	case low != "":
		return " from " + low + " on"
	}
	return ""
}

func whole(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

// atLeast reports whether n is low or more; any number is where low is "".
func atLeast(n *big.Int, low string) bool { return low == "" || n.Cmp(whole(low)) >= 0 }

func fits(target reflect.Value, n *big.Int) bool {
	if target.CanUint() {
		return n.IsUint64() && !target.OverflowUint(n.Uint64())
	}
	return n.IsInt64() && !target.OverflowInt(n.Int64())
}
