package emissions

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

func TestUnlockTexts(t *testing.T) {
	for text, want := range map[string]Unlock{
		"immediate":         {Kind: UnlockImmediate},
		"cliff:1":           {Kind: UnlockCliff, To: 1},
		"cliff:1436":        {Kind: UnlockCliff, To: 1436},
		"tranches:13..36":   {UnlockTranches, 13, 36},
		"tranches:1..1":     {UnlockTranches, 1, 1},
		"linear:0..48":      {UnlockLinear, 0, 48},
		"linear:1435..1436": {UnlockLinear, 1435, 1436},
	} {
		got, err := ParseUnlock(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "Immediate", "immediate:", "immediate:3", "cliff", "cliff:0", "cliff:01", "cliff:+1", "cliff:-1", "cliff:1437", "cliff:1..2",
		"tranches:0..3", "tranches:4..3", "tranches:1...3", "tranches:1..3..5", "tranches:1", "tranches:1..", "tranches:..3", "tranches: 1..3",
		"linear:3..3", "linear:4..3", "linear:0..1437", "linear:0..99999999999999999999", "steps:1..2",
	} {
		if got, err := ParseUnlock(text); !errors.Is(err, ErrUnlock) {
			t.Errorf("%q: got %+v, %v, want ErrUnlock", text, got, err)
		}
	}
}

// What facts are published: 24 and 36 equal parts from the end of month 13 on.
func TestUnlockBy(t *testing.T) {
	const month = EpochsPerMonth
	for _, c := range []struct {
		text        string
		total       uint64
		epoch, want uint64
	}{
		{"immediate", 7, 0, 7},
		{"cliff:12", 7, 12*month - 1, 0},
		{"cliff:12", 7, 12 * month, 7},
		{"tranches:13..36", 24, 0, 0},
		{"tranches:13..36", 24, 13*month - 1, 0},
		{"tranches:13..36", 24, 13 * month, 1},
		{"tranches:13..36", 24, 14*month - 1, 1},
		{"tranches:13..36", 24, 35 * month, 23},
		{"tranches:13..36", 24, 36*month - 1, 23},
		{"tranches:13..36", 24, 36 * month, 24},
		{"tranches:13..36", 25, 14 * month, 2}, // floor(25*2/24)
		{"tranches:13..36", 25, 35 * month, 23},
		{"tranches:13..36", 25, 1 << 20, 25},
		{"tranches:13..48", 37, 47 * month, 35}, // floor(37*35/36)
		{"tranches:1..1", 5, month, 5},
		{"linear:0..2", 2 * month, 0, 0},
		{"linear:0..2", 2 * month, 1, 1},
		{"linear:0..2", 3 * month, 3, 4}, // floor(4.5)
		{"linear:1..2", month, month, 0},
		{"linear:1..2", month, month + 1, 1},
		{"linear:1..2", month, 1 << 62, month},
		{"linear:0..1436", 1<<63 - 1, 1 << 62, 1<<63 - 1},
	} {
		u, err := ParseUnlock(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.By(ionet.MustAmount(c.total), c.epoch); got.Base() != c.want {
			t.Errorf("%s of %d by epoch %d: got %s, want %d", c.text, c.total, c.epoch, got, c.want)
		}
	}
}

// Every unlock grows from at most everything to exactly everything, and its
// months' tranches sum to the whole.
func TestUnlockProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, 60).Draw(t, "from")
		u := Unlock{From: from, To: from + rapid.Uint64Range(1, 60).Draw(t, "months")}
		switch u.Kind = rapid.SampledFrom([]UnlockKind{UnlockImmediate, UnlockCliff, UnlockTranches, UnlockLinear}).Draw(t, "kind"); u.Kind {
		case UnlockImmediate:
			u.From, u.To = 0, 0
		case UnlockCliff:
			u.From = 0
		case UnlockTranches:
			u.From = max(u.From, 1)
		}
		if again, err := ParseUnlock(u.String()); err != nil || again != u {
			t.Fatalf("%s: got %+v, %v, want %+v", u, again, err, u)
		}
		total := drawAmount(t)
		var sum, last uint64
		for month := range u.To + 2 {
			by := u.By(total, month*EpochsPerMonth).Base()
			if by < last || by > total.Base() {
				t.Fatalf("%s of %s: %d by month %d, after %d", u, total, by, month, last)
			}
			sum, last = sum+by-last, by
		}
		if sum != total.Base() || u.By(total, u.Last()) != total {
			t.Errorf("%s: months sum to %d, by epoch %d all is %s, want %s", u, sum, u.Last(), u.By(total, u.Last()), total)
		}
		if u.Last() > 0 && total.Base() > 0 && u.By(total, u.Last()-1) == total {
			t.Errorf("%s: everything is unlocked before epoch %d", u, u.Last())
		}
	})
}

func FuzzParseUnlock(f *testing.F) {
	for _, text := range []string{"immediate", "cliff:12", "tranches:13..36", "linear:0..48", "linear:0..", "cliff:9999999999999999999999"} {
		f.Add(text, uint64(1<<40), uint64(5000))
	}
	f.Fuzz(func(t *testing.T, text string, total, epoch uint64) {
		u, err := ParseUnlock(text)
		if err != nil {
			return
		}
		if u.String() != text {
			t.Errorf("%q: renders as %q", text, u)
		}
		if a := ionet.MustAmount(total >> 1); u.By(a, epoch).Cmp(a) > 0 || u.By(a, u.Last()) != a {
			t.Errorf("%s of %s: %s by epoch %d, %s by its last", u, a, u.By(a, epoch), epoch, u.By(a, u.Last()))
		}
	})
}
