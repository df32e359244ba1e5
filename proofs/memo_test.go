package proofs

import (
	"math"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

type memoCase struct {
	name string
	memo Memo
}

func memoCases() []memoCase {
	hash := func(s string) ionet.Hash { return ionet.HashOf([]byte(s)) }
	id := [16]byte{0xca, 0xfe, 15: 0x01}
	return []memoCase{
		{"genesis", GenesisMemo{Network: testNetwork, Emission: hash("emissions")}},
		{"epoch", EpochMemo{Epoch: 7, Inputs: hash("inputs"), Verdicts: hash("verdicts"), Count: 6, Sum: ionet.MustAmount(456_621_004_566_210), Policy: hash("policy"), Prev: hash("prev")}},
		{"epoch-empty", EpochMemo{Epoch: math.MaxUint64}},
		{"fence", FenceMemo{Instance: id}},
		{"skip", SkipMemo{Instance: id}},
		{"payout", PayoutMemo{Batch: id, Count: 57, Sum: ionet.MustAmount(math.MaxInt64)}},
		{"claim", ClaimMemo{Wallet: public("provider"), Sum: ionet.MustAmount(1)}},
		{"seal", SealMemo{Size: 12, Root: hash("root"), Fees: ionet.MustAmount(99), Prev: hash("prev")}},
		{"withdrawal", WithdrawalMemo{ID: id, Sum: ionet.MustAmount(5)}},
		{"unlock", UnlockMemo{Category: "series_a", Tranche: 13, Sum: ionet.MustAmount(5)}},
		{"retire", RetireMemo{Epoch: 175_319, Supply: ionet.MustAmount(799_999_999_999_999_999)}},
		{"fees", FeesMemo{Batch: [16]byte{7}, Count: 57, Sum: ionet.MustAmount(900)}},
		{"receipts", ReceiptsMemo{First: 100, Count: 2, Data: Compact{Index: 101, ID: hash("offer")}.Append(Compact{Index: 100, ID: hash("job"), Fee: ionet.MustAmount(1851), After: ionet.MustAmount(math.MaxInt64)}.Append(nil))}},
	}
}

func TestMemosRoundTrip(t *testing.T) {
	words := map[string]bool{}
	for _, c := range memoCases() {
		s := c.memo.String()
		words[strings.Fields(s)[1]] = true
		got, err := ParseMemo(s)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.String() != s {
			t.Errorf("%s: got %q, want %q", c.name, got, s)
		}
		if _, isReceipts := c.memo.(ReceiptsMemo); !isReceipts && got != c.memo {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.memo)
		}
		for i := range s {
			if _, err := ParseMemo(s[:i]); err == nil && !strings.HasPrefix(c.name, "receipts") && isWhole(s, i) {
				t.Errorf("%s: parses when cut to %q", c.name, s[:i])
			}
		}
	}
	if len(words) != 12 {
		t.Errorf("%d kinds of memos have a case, FORMAT.md has 12", len(words))
	}
}

// isWhole reports whether a cut at i could only be a memo by mistake: inside
// the last number a shorter one is a memo too.
func isWhole(s string, i int) bool {
	last := s[strings.LastIndexByte(s, '=')+1:]
	return i <= len(s)-len(last) || strings.Trim(last, "0123456789") != ""
}

func TestMemoRefuses(t *testing.T) {
	claim := ClaimMemo{Wallet: public("p"), Sum: ionet.MustAmount(10)}.String()
	skip := SkipMemo{Instance: [16]byte{0xab}}.String()
	receipts := must[ReceiptsMemo](t)(NewReceiptsMemo([]Compact{{Index: 1}})).String()
	if _, err := ParseMemo(receipts); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "io1", "io1 ", "io1 dance", "io2 " + claim[4:], " " + claim, claim + " ", claim + "\n", strings.Replace(claim, " ", "  ", 1),
		strings.Replace(claim, "sum=10", "sum=010", 1), strings.Replace(claim, "sum=10", "sum=+10", 1), strings.Replace(claim, "sum=10", "sum=", 1),
		strings.Replace(claim, "sum=10", "sum=9223372036854775808", 1), strings.Replace(claim, "sum", "Sum", 1),
		strings.Replace(claim, "claim", "payout", 1), claim + " sum=10", strings.Replace(claim, "wallet=", "wallet=1", 1),
		strings.ToUpper(skip), strings.Replace(skip, "ab", "AB", 1), skip + "00", skip[:len(skip)-2],
		// Of 56 bytes the last sextet has four bits to spare.
		strings.Replace(receipts, "data=", "data=+", 1)[:len(receipts)], receipts + "=", receipts[:len(receipts)-1] + "B", receipts + "AAAA", receipts[:len(receipts)-2],
		strings.Replace(receipts, "first=1 ", "first=2 ", 1), strings.Replace(receipts, "count=1", "count=0", 1), strings.Replace(receipts, "count=1", "count=2", 1),
		strings.Replace(receipts, "count=1", "count=2305843009213693953", 1), // times 56 is 56 more than 2^64
		"io1 receipts first=1 count=0 data=",
		"io1 unlock category=Seed tranche=1 sum=1", "io1 unlock category= tranche=1 sum=1",
		"io1 unlock category=seed tranche=18446744073709551616 sum=1",
		"io1 retire epoch=1", "io1 retire epoch=1 supply=-1", "io1 retire supply=1 epoch=1", "io1 retire last=1 supply=1",
	} {
		if m, err := ParseMemo(s); err == nil {
			t.Errorf("%q parses as %+v", s, m)
		}
	}
}

func FuzzMemo(f *testing.F) {
	for _, c := range memoCases() {
		f.Add(c.memo.String())
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMemo(s); err == nil && m.String() != s {
			t.Errorf("%q renders as %q", s, m)
		}
	})
}
