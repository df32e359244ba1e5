package emissions

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

func TestPassedAndMonth(t *testing.T) {
	c := ionet.Clock{Start: 1000, Length: 20, Samples: 5}
	for unix, want := range map[int64]uint64{
		math.MinInt64 + 1000: 0, 0: 0, 999: 0, 1000: 0, 1019: 0, 1020: 1, 1039: 1, 1040: 2, 1000 + 20*730: 730,
	} {
		if got := Passed(c, unix); got != want {
			t.Errorf("passed at %d: got %d, want %d", unix, got, want)
		}
	}
	for passed, want := range map[uint64]uint64{0: 0, 729: 0, 730: 1, 1459: 1, 1460: 2} {
		if got := Month(passed); got != want {
			t.Errorf("month after %d epochs: got %d, want %d", passed, got, want)
		}
	}
}

func TestByMonth(t *testing.T) {
	u := Unlock{UnlockTranches, 13, 36}
	total := ionet.MustAmount(25)
	for month, want := range map[uint64]uint64{0: 0, 12: 0, 13: 1, 14: 2, 36: 25, 1436: 25, math.MaxUint64: 25} {
		if got := u.ByMonth(total, month); got.Base() != want {
			t.Errorf("by month %d: got %s, want %d", month, got, want)
		}
	}
}

func beneficiaries(parts ...uint64) []ionet.Beneficiary {
	list := make([]ionet.Beneficiary, len(parts))
	for i, p := range parts {
		list[i] = ionet.Beneficiary{Wallet: ionet.Key{byte(i + 1)}, Parts: p}
	}
	return list
}

func TestDivide(t *testing.T) {
	for _, c := range []struct {
		sum   uint64
		parts []uint64
		want  []uint64
	}{
		{100, []uint64{1}, []uint64{100}},
		{0, []uint64{1, 2}, []uint64{0, 0}},
		{10, []uint64{1, 1, 1}, []uint64{3, 3, 4}},
		{1, []uint64{1, 1, 1}, []uint64{0, 0, 1}},
		{7, []uint64{3, 1}, []uint64{5, 2}},
		{math.MaxInt64, []uint64{1_000_000, 1}, []uint64{9223362813491962315, 9223362813492}},
	} {
		got, err := Divide(ionet.MustAmount(c.sum), beneficiaries(c.parts...))
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("%d over %v: %v, %v", c.sum, c.parts, got, err)
		}
		for i := range got {
			if got[i].Base() != c.want[i] {
				t.Errorf("%d over %v: got %v, want %v", c.sum, c.parts, got, c.want)
			}
		}
	}
	for _, parts := range [][]uint64{{}, {0}, {1, 0}, {1<<32 + 1}} {
		if got, err := Divide(ionet.MustAmount(5), beneficiaries(parts...)); err == nil {
			t.Errorf("parts %v are divided: %v", parts, got)
		}
	}
}

// Shares sum to what is released, each within one base unit of its exact part.
func TestDivideProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.Uint64Range(1, 1_000_000), 1, 8).Draw(t, "parts")
		sum := drawAmount(t)
		got, err := Divide(sum, beneficiaries(parts...))
		if err != nil {
			t.Fatal(err)
		}
		total, err := ionet.Sum(got...)
		if err != nil || total != sum {
			t.Fatalf("shares %v sum to %s, %v, want %s", got, total, err, sum)
		}
		var whole uint64
		for _, p := range parts {
			whole += p
		}
		for i, p := range parts {
			low, err := slice(sum, 0, p, whole)
			if err != nil || got[i].Base() < low.Base() || got[i].Base() > low.Base()+1 {
				t.Errorf("share %d of %v is %s, its floor %s, %v", i, parts, got[i], low, err)
			}
		}
	})
}
