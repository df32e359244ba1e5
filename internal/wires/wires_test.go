package wires

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// A commit that is lost has not happened, one that is unheard has; both are told
// by what they make durable.
func TestCommitLostOrUnheard(t *testing.T) {
	for _, c := range []struct {
		outcome Outcome
		want    int
	}{{Lost, 0}, {Unheard, 1}, {Refused, 0}} {
		t.Run(c.outcome.String(), func(t *testing.T) {
			url := pgtest.NewEmptyURL(t)
			plain := pgtest.Open(t, url)
			if _, err := plain.Exec(t.Context(), `CREATE TABLE kept (n int)`); err != nil {
				t.Fatal(err)
			}
			var w Wires
			pool, err := w.Pool(t.Context(), url, map[string]string{"lock_timeout": "50ms"})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var before, after string
			w.Arm(Fault{Step: 1, Outcome: c.outcome, Before: func(what string) { before = what }, After: func(what string) { after = what }})
			err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `WITH one AS (SELECT 1 AS n) INSERT INTO kept (n) SELECT n FROM one`)
				return err
			})
			if !isBroken(err) {
				t.Errorf("commit that was %s: %v", c.outcome, err)
			}
			if step := w.Disarm(); step != "commit insert kept" || before != step {
				t.Errorf("the fault met %q, told as %q", step, before)
			}
			if (after != "") != (c.want == 1) {
				t.Errorf("after the step that was %s: %q", c.outcome, after)
			}
			var n int
			if err := plain.QueryRow(t.Context(), `SELECT count(*) FROM kept`).Scan(&n); err != nil || n != c.want {
				t.Errorf("%d rows are kept (%v), want %d", n, err, c.want)
			}
		})
	}
}

func isBroken(err error) bool {
	return err != nil && (errors.Is(err, ErrCut) || strings.Contains(err.Error(), "closed"))
}

// What a dead process sends does not arrive, whatever it is.
func TestDeadIsCut(t *testing.T) {
	url := pgtest.NewEmptyURL(t)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	var w Wires
	pool, err := w.Pool(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Cut()
	if err := pool.Ping(t.Context()); err == nil {
		t.Error("a dead process reaches its database")
	}
	if err := call(t.Context(), &w, srv.URL, "getSlot"); !errors.Is(err, ErrCut) {
		t.Errorf("a dead process reaches the chain: %v", err)
	}
	w.Disarm()
	if err := errors.Join(pool.Ping(t.Context()), call(t.Context(), &w, srv.URL, "getSlot")); err != nil {
		t.Errorf("the next process: %v", err)
	}
}

func call(ctx context.Context, w *Wires, url, method string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":["AQID"]}`))
	if err != nil {
		return err
	}
	resp, err := w.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// Calls are counted from the arming on; dropped ones don't arrive and are kept.
func TestCallsOfTheChain(t *testing.T) {
	arrived := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived++ }))
	defer srv.Close()
	var w Wires
	w.Count(Every)
	w.Arm(Fault{Step: 2, Outcome: Unheard})
	errs := []error{call(t.Context(), &w, srv.URL, "a"), call(t.Context(), &w, srv.URL, "b"), call(t.Context(), &w, srv.URL, "c")}
	if errs[0] != nil || !errors.Is(errs[1], ErrCut) || errs[2] != nil || arrived != 3 {
		t.Errorf("calls end with %v, %d arrived, want the second unheard and 3", errs, arrived)
	}
	if got := w.Steps(); !slices.Equal(got, []string{"rpc a", "rpc b"}) || w.Fired() != "rpc b" {
		t.Errorf("steps are %q, the fault met %q", got, w.Fired())
	}
	for n := range 4 {
		w.Arm(Fault{Step: 1, Outcome: Refused, Refusal: RefusalOf(n)})
		if err := call(t.Context(), &w, srv.URL, "d"); err != nil {
			t.Errorf("refusal %d: %v", n, err)
		}
	}
	if arrived != 3 {
		t.Errorf("%d calls arrived, want 3: refused ones have no effect", arrived)
	}
	w.Disarm()
	w.Drop(true)
	for range 2 {
		if err := call(t.Context(), &w, srv.URL, "sendTransaction"); err != nil {
			t.Error(err)
		}
	}
	if got := w.Dropped(); len(got) != 1 || string(got[0]) != "\x01\x02\x03" || arrived != 3 {
		t.Errorf("dropped %x, %d arrived", got, arrived)
	}
}

func TestChangeOf(t *testing.T) {
	for sql, want := range map[string]string{
		"select signings from lease for share":                                             "",
		"insert into contents (hash) values ($1) on conflict (hash) do update set state=1": "insert contents",
		"update lanes set position = $2":                                                   "update lanes.position",
		"update attempts a set state = 'won'":                                              "update attempts.state",
		"delete from prepared_claims where x":                                              "delete prepared_claims",
		"with ended as ( update payments set state = $1 returning id) select 1":            "update payments.state",
		"with known as (select 1 from contents) insert into contents (hash)":               "insert contents",
		"commit": "",
	} {
		if got := changeOf(sql); got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
}
