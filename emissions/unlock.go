package emissions

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
)

// maxMonth bounds the months of an unlock: as many as MaxEpochs holds.
const maxMonth = MaxEpochs / EpochsPerMonth

// ErrUnlock reports a text that is no unlock.
var ErrUnlock = fmt.Errorf(`an unlock is "immediate", "cliff:M" (1 <= M), "tranches:A..B" (1 <= A <= B) or "linear:A..B" (0 <= A < B), in months up to %d`, maxMonth)

// UnlockKind says how a category's tokens become free.
type UnlockKind string

// The kinds of an Unlock.
const (
	UnlockImmediate UnlockKind = "immediate" // all at genesis
	UnlockCliff     UnlockKind = "cliff"     // all at the end of month To
	UnlockTranches  UnlockKind = "tranches"  // equal parts at the end of each of months From to To
	UnlockLinear    UnlockKind = "linear"    // epoch by epoch from the end of month From to that of month To
)

// Unlock says when the tokens of a genesis category may be used. Month m ends
// with epoch 730*m; month 0 is genesis. See FORMAT.md, section 2.
type Unlock struct {
	Kind     UnlockKind
	From, To uint64 // months; zero where the kind has none
}

// ParseUnlock parses the text form of an unlock, such as "tranches:13..36".
func ParseUnlock(text string) (Unlock, error) {
	kind, months, timed := strings.Cut(text, ":")
	u := Unlock{Kind: UnlockKind(kind)}
	ok := true
	switch u.Kind {
	case UnlockImmediate:
		ok = !timed
	case UnlockCliff:
		u.To, ok = parseMonth(months)
		ok = ok && u.To >= 1
	case UnlockTranches, UnlockLinear:
		from, to, _ := strings.Cut(months, "..")
		var fromOK, toOK bool
		u.From, fromOK = parseMonth(from)
		u.To, toOK = parseMonth(to)
		ok = fromOK && toOK && u.isRange()
	default:
		ok = false
	}
	if !ok {
		return Unlock{}, fmt.Errorf("unlock %q: %w", text, ErrUnlock)
	}
	return u, nil
}

// isRange reports whether the months are in order: a single tranche is one
// month, a line needs two ends.
func (u Unlock) isRange() bool {
	if u.Kind == UnlockTranches {
		return 1 <= u.From && u.From <= u.To
	}
	return u.From < u.To
}

// parseMonth parses digits without a leading zero.
func parseMonth(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= maxMonth && strconv.FormatUint(n, 10) == s
}

// String returns the text that ParseUnlock reads.
func (u Unlock) String() string {
	switch u.Kind {
	case UnlockCliff:
		return fmt.Sprintf("%s:%d", u.Kind, u.To)
	case UnlockTranches, UnlockLinear:
		return fmt.Sprintf("%s:%d..%d", u.Kind, u.From, u.To)
	}
	return string(u.Kind)
}

// By returns how much of total is unlocked by the end of an epoch, 0 being
// genesis: floor(total * parts that have passed / all parts), so that tranches
// sum to total exactly. It never decreases. Only Unlocks of ParseUnlock have a
// meaning.
func (u Unlock) By(total ionet.Amount, epoch uint64) ionet.Amount {
	passed, all := u.parts(epoch)
	hi, lo := bits.Mul64(total.Base(), passed)
	q, _ := bits.Div64(hi, lo, all) // passed <= all: the quotient is at most total
	return ionet.MustAmount(q)
}

// parts returns how many of an unlock's equal parts have passed by the end of
// an epoch: tranches, epochs of a line, or the whole as one.
func (u Unlock) parts(epoch uint64) (passed, all uint64) {
	month := epoch / EpochsPerMonth
	switch u.Kind {
	case UnlockCliff:
		return min(month/u.To, 1), 1
	case UnlockTranches:
		all = u.To - u.From + 1
		return min(month-min(month, u.From-1), all), all
	case UnlockLinear:
		from := u.From * EpochsPerMonth
		all = (u.To - u.From) * EpochsPerMonth
		return min(epoch-min(epoch, from), all), all
	}
	return 1, 1
}

// Last returns the epoch by whose end everything is unlocked.
func (u Unlock) Last() uint64 { return u.To * EpochsPerMonth }

// Passed returns how many epochs have ended by a Unix second; 0 before the
// first ends.
func Passed(c ionet.Clock, unix int64) uint64 {
	return uint64(max(unix-c.Start, 0)) / uint64(c.Length)
}

// Month returns the month of an unlock that is over once so many epochs have
// passed; 0 is genesis.
func Month(passed uint64) uint64 { return passed / EpochsPerMonth }

// ByMonth returns how much of total is unlocked by the end of a month: what may
// have been released when all releases up to that of the month are made.
func (u Unlock) ByMonth(total ionet.Amount, month uint64) ionet.Amount {
	return u.By(total, min(month, maxMonth)*EpochsPerMonth)
}

// Divide splits what is released over beneficiaries by their parts, in their
// order. With B(i) the sum of the first i parts,
//
//	share(i) = floor(sum*B(i)/B) - floor(sum*B(i-1)/B)             FORMAT.md 2.4
//
// so that the shares sum to sum exactly. Parts that are none, zero or beyond
// 2^32 are an error.
func Divide(sum ionet.Amount, beneficiaries []ionet.Beneficiary) ([]ionet.Amount, error) {
	var whole uint64
	for _, b := range beneficiaries {
		if b.Parts == 0 || b.Parts > 1<<32 {
			return nil, fmt.Errorf("beneficiary %s has %d parts, not 1..2^32", b.Wallet, b.Parts)
		}
		whole += b.Parts
	}
	if len(beneficiaries) == 0 {
		return nil, errors.New("divide a release: nobody is named")
	}
	shares := make([]ionet.Amount, len(beneficiaries))
	var parts uint64
	for i, b := range beneficiaries {
		share, err := slice(sum, parts, parts+b.Parts, whole)
		if err != nil {
			return nil, err
		}
		shares[i], parts = share, parts+b.Parts
	}
	return shares, nil
}
