package main

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// beneficiaries are those of the network that TestServe makes: of research, which is
// free at genesis, and of seed, which is locked.
var beneficiaries = []string{
	"--beneficiary", "research=" + ionet.Key{31: 7}.String() + ":3", "--beneficiary", "research=" + ionet.Key{31: 8}.String(),
	"--beneficiary", "seed=" + ionet.Key{31: 7}.String(),
}

// checkUnlocks releases what is due while the service runs.
func checkUnlocks(t *testing.T, command func(...string) (string, error)) {
	t.Helper()
	for _, want := range []string{
		"research   1280000000.00000000 IO, immediate: 1280000000.00000000 unlocked by the end of month 0",
		"0.00000000 released, 0.00000000 on the way, 1280000000.00000000 due",
		"to " + ionet.Key{31: 7}.String() + ", 3 parts of 4",
		"seed       1000000000.00000000 IO, tranches:13..36: 0.00000000 unlocked by the end of month 0, more on ",
		"no beneficiaries: its owner moves it",
	} {
		if got, err := command("unlocks"); err != nil || !strings.Contains(got, want) {
			t.Errorf("unlocks: %v, lacks %q:\n%s", err, want, got)
		}
	}
	got, err := command("unlocks", "release")
	if want := "seed: nothing was due\nresearch: released 1280000000.00000000 IO to 2 beneficiaries\n"; err != nil || got != want {
		t.Errorf("unlocks release: %v\n%s, want\n%s", err, got, want)
	}
	if got, err := command("unlocks", "release", "--category", "research"); err != nil || got != "research: nothing was due\n" {
		t.Errorf("unlocks release again: %v\n%s", err, got)
	}
	for category, want := range map[string]string{"core": "no beneficiaries of it", "nobody": "no such category"} {
		if got, err := command("unlocks", "release", "--category", category); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("release of %s: %v, lacks %q\n%s", category, err, want, got)
		}
	}
	if got, err := command("unlocks"); err != nil || !strings.Contains(got, "1280000000.00000000 released, 0.00000000 on the way, 0.00000000 due") {
		t.Errorf("unlocks after the release: %v\n%s", err, got)
	}
}
