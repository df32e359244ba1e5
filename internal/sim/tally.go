package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// tally counts what happened, so that a simulation in which nothing happens is
// seen for what it is.
type tally map[string]int

func (t tally) add(what string, n int) { t[what] += n }

func (t tally) merge(other tally) {
	for what, n := range other {
		t[what] += n
	}
}

// String renders it, a line for each first word.
func (t tally) String() string {
	var b strings.Builder
	last := ""
	for _, what := range slices.Sorted(maps.Keys(t)) {
		word, rest, _ := strings.Cut(what, " ")
		if word != last {
			if last != "" {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "%-8s", word)
			last = word
		}
		fmt.Fprintf(&b, " %s=%d", strings.ReplaceAll(rest, " ", "-"), t[what])
	}
	if last != "" {
		b.WriteByte('\n')
	}
	return b.String()
}

// count adds what became of attempts, contents and payments of the whole run, as
// the last database has them.
func (r *run) count(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, selectTally)
	if err != nil {
		return fmt.Errorf("count what happened: %w", err)
	}
	var what string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error {
		r.tally.add(what, n)
		return nil
	})
	return err
}

const selectTally = `
SELECT 'attempt ' || state, count(*) FROM attempts GROUP BY state
UNION ALL SELECT 'payment ' || state, count(*) FROM payments GROUP BY state
UNION ALL SELECT 'content ' || state, count(*) FROM contents GROUP BY state`
