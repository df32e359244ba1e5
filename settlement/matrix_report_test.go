package settlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// coordinate runs each kind's cells in a process of its own, -matrix.workers at
// once, and writes what came of them. Its progress goes to stderr.
func coordinate(t *testing.T, report string) {
	dir := t.TempDir()
	kinds := matrixKinds()
	all := make([]kindResult, len(kinds))
	var group errgroup.Group
	group.SetLimit(*matrixWorkers)
	for i, k := range kinds {
		group.Go(func() error {
			out := filepath.Join(dir, k.slug())
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMatrix$", "-test.timeout=0", "-matrix.full", "-matrix.kind="+k.slug(), "-matrix.out="+out)
			cmd.Stderr = os.Stderr
			said, err := cmd.Output()
			if err != nil {
				err = fmt.Errorf("kind %s: %w\n%s", k.name, err, said)
			}
			data, readErr := os.ReadFile(out)
			if readErr == nil {
				readErr = json.Unmarshal(data, &all[i])
			}
			return errors.Join(err, readErr)
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	all = slices.DeleteFunc(all, func(r kindResult) bool { return r.Kind == "" })
	checkTable(t, all)
	if err := os.WriteFile(report, []byte(reportOf(all, rowNames(t))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rowNames returns the rows of the crash table with what they are called.
func rowNames(t *testing.T) [][2]string {
	t.Helper()
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][2]string
	for _, m := range regexp.MustCompile(`(?m)^\| (S\d\d) \| ([^|]*) \|`).FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, [2]string{m[1], m[2]})
	}
	return rows
}

// tally counts cells; those whose run ended before its fault met a step don't count.
type tally struct{ run, passed int }

func tallyOf(all []kindResult, of func(k string, c cellResult) bool) (n tally) {
	for _, r := range all {
		for _, c := range r.Cells {
			if !of(r.Kind, c) || c.OK && c.Met == "" {
				continue
			}
			n.run++
			if c.OK {
				n.passed++
			}
		}
	}
	return n
}

func (n tally) String() string {
	switch {
	case n.run == 0:
		return ""
	case n.run == n.passed:
		return fmt.Sprint(n.run)
	}
	return fmt.Sprintf("**%d of %d failed**", n.run-n.passed, n.run)
}

// reportOf renders the results. They depend on nothing but the code: no times.
func reportOf(all []kindResult, rows [][2]string) string {
	var b strings.Builder
	total := tallyOf(all, func(string, cellResult) bool { return true })
	steps := 0
	for _, r := range all {
		steps += len(r.Steps)
	}
	fmt.Fprintf(&b, `# The settlement matrix

Every kind of transaction that settlement sends, run into every fault, at every step. A step is a commit, a statement that changes a row outside a
transaction, or a call of the chain; steps are found by counting them in a run without a fault. Each cell is one run: the network is brought to where the
kind's transaction is due, the fault meets the step, the world is put right, and the service goes on until nothing is open. Then every debt was paid as often as
the ledger says, once or not at all; ledger, vaults, payments, lanes and supply agree to the base unit; everybody who is owed something is paid.
After some hundred cells the auditor walks the whole network and has no finding. How each row of settlement/DESIGN.md's crash table was met is at the end.

Made by `+"`make matrix`"+`. One cell is run by its name: `+"`go test ./settlement -run TestMatrix -matrix.cell=payout/killed-before/8`"+`.

**%d kinds, %d steps, %d faults, %d cells: %d passed, %d failed.**

`, len(all), steps, len(matrixFaults()), total.run, total.passed, total.run-total.passed)
	writeCells(&b, all)
	writeFailures(&b, all)
	b.WriteString("\n## Faults\n\n")
	for _, f := range matrixFaults() {
		fmt.Fprintf(&b, "- **%s**: %s\n", f.name, f.what)
	}
	b.WriteString("\n## Rows of the crash table\n\n| row | after | cells |\n|---|---|---|\n")
	for _, row := range rows {
		n := tallyOf(all, func(_ string, c cellResult) bool { return slices.Contains(c.Rows, row[0]) })
		fmt.Fprintf(&b, "| %s | %s | %s |\n", row[0], row[1], n)
	}
	b.WriteString("\n## Steps\n\n")
	for _, r := range all {
		fmt.Fprintf(&b, "%s:\n\n", r.Kind)
		for i, s := range r.Steps {
			fmt.Fprintf(&b, "%d. %s\n", i+1, s)
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// writeCells is the table of faults by kinds, with how many cells passed.
func writeCells(b *strings.Builder, all []kindResult) {
	b.WriteString("| fault \\ kind |")
	for _, r := range all {
		fmt.Fprintf(b, " %s |", r.Kind)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(all)) + "\n| steps |")
	for _, r := range all {
		fmt.Fprintf(b, " %d |", len(r.Steps))
	}
	b.WriteString("\n")
	for _, f := range matrixFaults() {
		fmt.Fprintf(b, "| %s |", f.name)
		for _, r := range all {
			fmt.Fprintf(b, " %s |", tallyOf(all, func(k string, c cellResult) bool { return k == r.Kind && c.Fault == f.name }))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nAn empty field is a fault that the kind can't meet: nobody's account is paid by it, or no wallet signs it.\n")
}

func writeFailures(b *strings.Builder, all []kindResult) {
	first := true
	for _, r := range all {
		for _, c := range r.Cells {
			if c.OK {
				continue
			}
			if first {
				b.WriteString("\n## Failed\n\n")
				first = false
			}
			fmt.Fprintf(b, "- %s/%s/%d at %s\n", slugOf(r.Kind), slugOf(c.Fault), c.N, c.Met)
		}
	}
}
