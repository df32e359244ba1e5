package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func show(t testing.TB, r *Report) {
	t.Helper()
	for _, f := range r.Findings {
		t.Log(f)
	}
	for _, f := range r.Unchecked {
		t.Log("unchecked:", f)
	}
	for _, n := range r.Notes {
		t.Log("note:", n)
	}
}

func TestHonestNetwork(t *testing.T) {
	o := found(t, "honest")
	o.fence()
	o.epoch(crook{})
	o.epoch(crook{})
	o.claim(0)
	o.openAccounts(key(o, 1), key(o, 2))
	o.pay(map[int]uint64{1: o.balance[key(o, 1)], 2: 1000}, nil)
	o.epoch(crook{})
	o.pay(map[int]uint64{2: o.balance[key(o, 2)]}, nil)
	r := o.audit()
	if got, want := r.Summary(), "3 epochs, 9 verdicts, 4 payouts: all hold"; got != want || r.Status() != 0 {
		show(t, r)
		t.Fatalf("got %q with status %d, want %q with 0", got, r.Status(), want)
	}
	minted, err := o.schedule.Cumulative(3)
	if err != nil || r.Minted != minted || !r.Unissued.IsZero() || r.Claims != 1 {
		t.Errorf("minted %s of %s (%v), unissued %s, claims %d", r.Minted, minted, err, r.Unissued, r.Claims)
	}
	t.Run("files", func(t *testing.T) { tamperFiles(t, o) })
}

// tamperFiles changes one byte of each published file, one after the other, and
// takes each away.
func tamperFiles(t *testing.T, o *operator) {
	for _, kind := range []string{"books", "contents", "network"} {
		files, err := filepath.Glob(filepath.Join(o.dir, kind, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", kind, files, err)
		}
		for _, file := range files {
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			bad := append([]byte(nil), good...)
			bad[len(bad)/2] ^= 1
			replace(t, file, bad)
			r := o.audit()
			if r.Status() != 1 {
				show(t, r)
				t.Errorf("%s changed: status %d, want 1", filepath.Base(file), r.Status())
			}
			if kind == "books" && (r.Findings[0].Epoch == 0 || r.Findings[0].Rule != "book") {
				t.Errorf("a changed book: finding %s, want rule book of its epoch", r.Findings[0])
			}
			for _, f := range r.Findings {
				if strings.HasPrefix(f.Rule, "payment") || f.Rule == "overpaid" {
					t.Errorf("%s changed: the payments are blamed: %s", filepath.Base(file), f)
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if r := o.audit(); r.Status() != 2 {
				show(t, r)
				t.Errorf("%s missing: status %d, want 2", filepath.Base(file), r.Status())
			}
			replace(t, file, good)
		}
	}
	if r := o.audit(); r.Status() != 0 {
		show(t, r)
		t.Errorf("put back: status %d", r.Status())
	}
}

func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
