package settlement

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// crashRows returns the rows of DESIGN.md's crash table that a process stood in when
// the fault met the step: what was durable before it, after it, or both.
func crashRows(k matrixKind, f matrixFault, step string) []string {
	var rows []string
	if row := rowBefore(step); row != "" && f.name != "killed after" && f.name != "answer lost" {
		rows = append(rows, row)
	}
	if row := rowAfter(k.name, step); row != "" && f.name != "killed before" && f.name != "request lost" {
		rows = append(rows, row)
	}
	return rows
}

// rowBefore is what is durable outside the database just before a step.
func rowBefore(step string) string {
	switch {
	case strings.Contains(step, "insert attempts"):
		return "S05" // the content is put
	case strings.HasPrefix(step, "commit update epochs.state"):
		return "S03" // the book is put
	case strings.Contains(step, "update lanes.position"):
		return "S10" // final, not resolved
	}
	return ""
}

// stepRows tells the row that a step of a kind leads to, by what it makes durable:
// the first that matches.
var stepRows = []struct{ kind, has, row string }{
	{"recovery", "insert epochs", "S14"},
	{"recovery", "insert payments", "S16"},
	{"fence", "update lanes.position", "S13"},
	{"fence", "rpc sendTransaction", "S12"},
	{"retire", "update epochs.state", "S17"},
	{"", "update lanes.position", "S11"},
	{"", "insert prepared_claims, insert contents", "S23"},
	{"", "insert attempts", "S06"},
	{"", "rpc sendTransaction", "S07"},
	{"", "insert held_payees", "S08"},
	{"", "update attempts.sent", "S07"},
	{"", "update attempts.state", "S09"},
	{"", "update attempts.transaction", "S24"},
	{"", "lease.expires_at", "S01"},
	{"", "insert lease", "S01"},
	{"", "insert closing", "S02"},
	{"", "update intake.frozen_through", "S02"},
	{"", "insert epochs", "S02"},
	{"", "update epochs.state", "S04"},
	{"", "insert payout_runs", "S21"},
	{"", "update payout_runs.done_at", "S21"},
	{"", "insert prepared_claims", "S22"},
	{"", "insert seals", "S20"},
	{"", "insert withdrawals", "S25"},
	{"", "insert unlock_requests", "S18"},
	{"", "update unlock_requests", "S18"},
}

// rowAfter is the row that the step itself leads to; "" for what changes nothing.
func rowAfter(kind, step string) string {
	if kind == "recovery" && step == "commit" {
		return "S15" // there was nothing to free
	}
	for _, r := range stepRows {
		if (r.kind == "" || r.kind == kind) && strings.Contains(step, r.has) {
			return r.row
		}
	}
	return ""
}

// rowless are steps that keep only what is found anew at any time.
var rowless = []string{"commit", "commit delete prepared_claims", "commit delete prepared_claims, delete payments", "commit insert scans", "commit insert standings"}

// checkSteps holds that every commit of a kind leads to a row of the crash table.
func checkSteps(t *testing.T, r kindResult) {
	t.Helper()
	for _, step := range r.Steps {
		call := strings.HasPrefix(step, "rpc ") && step != "rpc sendTransaction"
		if !call && !slices.Contains(rowless, step) && rowAfter(r.Kind, step) == "" {
			t.Errorf("no row of the crash table tells of %q", step)
		}
	}
}

// designRows returns the rows of the crash table that the matrix is to cover.
func designRows(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| (S\d\d) \|`).FindAllStringSubmatch(string(text), -1) {
		if slices.Contains(rows, m[1]) {
			t.Errorf("row %s is in the crash table twice", m[1])
		}
		rows = append(rows, m[1])
	}
	return rows
}

// checkTable holds that the steps of all kinds reach each row of the crash table, and
// no others.
func checkTable(t *testing.T, all []kindResult) {
	t.Helper()
	var reached []string
	for _, r := range all {
		for _, step := range r.Steps {
			reached = append(reached, rowBefore(step), rowAfter(r.Kind, step))
		}
	}
	slices.Sort(reached)
	reached = slices.DeleteFunc(slices.Compact(reached), func(s string) bool { return s == "" })
	want := designRows(t)
	for _, row := range want {
		if !slices.Contains(reached, row) {
			t.Errorf("row %s of the crash table is reached by no step of any kind", row)
		}
	}
	for _, row := range reached {
		if !slices.Contains(want, row) {
			t.Errorf("row %s is not in the crash table", row)
		}
	}
}
