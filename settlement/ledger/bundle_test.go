package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// bundle runs PostBundle in a transaction of its own.
func bundle(ctx context.Context, pool *pgxpool.Pool, id ionet.Hash, kind string, transfers []Transfer) (posted bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		posted, err = PostBundle(ctx, tx, id, kind, transfers, now)
		return err
	})
	return posted, err
}

// prepaid gives a renter something to spend.
func prepaid(t testing.TB, pool *pgxpool.Pool, n uint64) Account {
	t.Helper()
	a := Renter(payee(9))
	if _, err := post(t.Context(), pool, Entry{id("deposit"), "deposit", []Transfer{{VaultFee(), a, amount(n)}}}); err != nil {
		t.Fatal(err)
	}
	return a
}

func mustBalance(t *testing.T, pool *pgxpool.Pool, want map[Account]uint64) {
	t.Helper()
	for a, n := range want {
		if got := balanceOf(t, pool, a); got != n {
			t.Errorf("%s is %d, want %d", a, got, n)
		}
	}
	if err := TrialBalance(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

func TestBundleOpensAndMoves(t *testing.T) {
	pool := pgtest.New(t)
	renter := prepaid(t, pool, 100)
	s, c, p, q := Session(id("s")), Channel(payee(1)), OwedFees(payee(2)), OwedFees(payee(3))
	for i, step := range []struct {
		transfers []Transfer
		want      map[Account]uint64
	}{
		{[]Transfer{{renter, s, amount(60)}, {s, c, amount(50)}}, map[Account]uint64{renter: 40, s: 10, c: 50}},
		{[]Transfer{{c, p, amount(3)}, {c, q, amount(1)}, {c, p, amount(6)}}, map[Account]uint64{c: 40, p: 9, q: 1}},
		{[]Transfer{{c, p, amount(5)}, {c, NetworkFees(), amount(5)}}, map[Account]uint64{c: 30, p: 14, NetworkFees(): 5}}, // some are there, one is new
		{[]Transfer{{c, s, amount(30)}, {s, renter, amount(40)}}, map[Account]uint64{c: 0, s: 0, renter: 80}},
		{[]Transfer{{p, q, amount(2)}, {q, p, amount(2)}}, map[Account]uint64{p: 14, q: 1}}, // nothing moves on balance
		{nil, map[Account]uint64{p: 14, q: 1, renter: 80}},
	} {
		posted, err := bundle(t.Context(), pool, id(fmt.Sprint(i)), "receipts", step.transfers)
		if err != nil || !posted {
			t.Fatalf("step %d: %v, %v", i, posted, err)
		}
		mustBalance(t, pool, step.want)
		// The same again changes nothing, however far the books are by now.
		if posted, err = bundle(t.Context(), pool, id(fmt.Sprint(i)), "receipts", step.transfers); err != nil || posted {
			t.Fatalf("step %d again: %v, %v", i, posted, err)
		}
		mustBalance(t, pool, step.want)
	}
}

func TestBundleConflicts(t *testing.T) {
	pool := pgtest.New(t)
	renter := prepaid(t, pool, 100)
	s := Session(id("s"))
	list := []Transfer{{renter, s, amount(5)}, {renter, Session(id("t")), amount(7)}}
	if posted, err := bundle(t.Context(), pool, id("e"), "receipts", list); err != nil || !posted {
		t.Fatal(posted, err)
	}
	for name, change := range map[string]func(kind *string, list []Transfer) []Transfer{
		"other kind":   func(kind *string, list []Transfer) []Transfer { *kind = "session"; return list },
		"other amount": func(_ *string, list []Transfer) []Transfer { list[1].Amount = amount(8); return list },
		"other debit":  func(_ *string, list []Transfer) []Transfer { list[0].Debit = Renter(payee(1)); return list },
		"other credit": func(_ *string, list []Transfer) []Transfer { list[0].Credit = Session(id("u")); return list },
		"other order":  func(_ *string, list []Transfer) []Transfer { list[0], list[1] = list[1], list[0]; return list },
		"one less":     func(_ *string, list []Transfer) []Transfer { return list[:1] },
		"none":         func(_ *string, list []Transfer) []Transfer { return nil },
		"one more":     func(_ *string, list []Transfer) []Transfer { return append(list, Transfer{renter, s, amount(1)}) },
	} {
		kind := "receipts"
		other := change(&kind, append([]Transfer(nil), list...))
		if posted, err := bundle(t.Context(), pool, id("e"), kind, other); !errors.Is(err, ErrConflict) || posted {
			t.Errorf("%s: %v, %v, want ErrConflict", name, posted, err)
		}
	}
	// An id is of an entry or of a bundle.
	if posted, err := bundle(t.Context(), pool, id("deposit"), "deposit", list); !errors.Is(err, ErrConflict) || posted {
		t.Errorf("bundle under an entry's id: %v, %v", posted, err)
	}
	for _, transfers := range [][]Transfer{list, nil} {
		if posted, err := post(t.Context(), pool, Entry{id("e"), "receipts", transfers}); !errors.Is(err, ErrConflict) || posted {
			t.Errorf("entry of %d transfers under a bundle's id: %v, %v", len(transfers), posted, err)
		}
	}
	mustBalance(t, pool, map[Account]uint64{renter: 88, s: 5})
}

func TestBundleRefuses(t *testing.T) {
	pool := pgtest.New(t)
	renter := prepaid(t, pool, 10)
	s, p := Session(id("s")), OwedFees(payee(1))
	most := amount(1<<63 - 1)
	for _, c := range []struct {
		name       string
		transfers  []Transfer
		constraint string // of the database; "" where Go refuses
	}{
		{"more than there is", []Transfer{{renter, s, amount(11)}}, "debt_not_negative"},
		{"more than there is, by parts", []Transfer{{renter, s, amount(6)}, {renter, p, amount(5)}}, "debt_not_negative"},
		{"from one that never moved", []Transfer{{s, p, amount(1)}}, "debt_not_negative"},
		{"a vault", []Transfer{{VaultFee(), renter, amount(1)}}, ""},
		{"into a vault", []Transfer{{renter, VaultFee(), amount(1)}}, ""},
		{"what was overpaid", []Transfer{{Overpaid(), renter, amount(1)}}, ""},
		{"suspense", []Transfer{{renter, Suspense(), amount(1)}}, ""},
		{"zero", []Transfer{{renter, s, ionet.Amount{}}}, ""},
		{"no account", []Transfer{{renter, Account{}, amount(1)}}, ""},
		{"to itself", []Transfer{{renter, renter, amount(1)}}, ""},
		{"a sum out of range", []Transfer{{renter, s, most}, {p, s, most}}, ""},
	} {
		posted, err := bundle(t.Context(), pool, id(c.name), "test", c.transfers)
		if err == nil || posted {
			t.Errorf("%s: posted", c.name)
			continue
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) != (c.constraint != "") || pg != nil && pg.ConstraintName != c.constraint {
			t.Errorf("%s: %v, want constraint %q", c.name, err, c.constraint)
		}
	}
	mustBalance(t, pool, map[Account]uint64{renter: 10, s: 0, p: 0})
}

// Bundles and entries by turns leave the balances of a model, and of a bundle only
// what it may: all of it or nothing.
func TestBundlesBalanceProperty(t *testing.T) {
	pool := pgtest.New(t)
	accounts := []Account{Renter(payee(9)), Session(id("s")), Channel(payee(1)), Channel(payee(2)), OwedFees(payee(3)), NetworkFees()}
	model := map[Account]int64{}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		credit := rapid.Uint64Range(1, 2000).Draw(rt, "deposit")
		if _, err := post(t.Context(), pool, Entry{id(fmt.Sprint("deposit", run)), "deposit", []Transfer{{VaultFee(), accounts[0], amount(credit)}}}); err != nil {
			rt.Fatal(err)
		}
		model[accounts[0]] += int64(credit)
		for n := range rapid.IntRange(1, 5).Draw(rt, "bundles") {
			next := map[Account]int64{}
			var list []Transfer
			for range rapid.IntRange(0, 12).Draw(rt, "transfers") {
				i := rapid.IntRange(0, len(accounts)-1).Draw(rt, "debit")
				j := (i + rapid.IntRange(1, len(accounts)-1).Draw(rt, "credit")) % len(accounts)
				a := rapid.Uint64Range(1, 300).Draw(rt, "amount")
				list = append(list, Transfer{accounts[i], accounts[j], amount(a)})
				next[accounts[i]] -= int64(a)
				next[accounts[j]] += int64(a)
			}
			allowed := true
			for a, d := range next {
				allowed = allowed && model[a]+d >= 0
			}
			posted, err := bundle(t.Context(), pool, id(fmt.Sprint(run, n)), "receipts", list)
			if posted != allowed || (err == nil) != allowed {
				rt.Fatalf("post %v on %v: %v, %v, want %v", list, model, posted, err, allowed)
			}
			if allowed {
				for a, d := range next {
					model[a] += d
				}
			}
		}
		got, err := Balances(t.Context(), pool, accounts...)
		if err != nil {
			rt.Fatal(err)
		}
		for _, a := range accounts {
			if got[a].Int64() != model[a] {
				rt.Fatalf("%s is %s, want %d", a, got[a], model[a])
			}
		}
		if err := TrialBalance(t.Context(), pool); err != nil {
			rt.Fatal(err)
		}
	})
}

// Bundles that open and move the same accounts, each in an order of its own, neither
// wait in a ring nor lose one, beside entries that move these accounts too.
func TestConcurrentBundles(t *testing.T) {
	pool := pgtest.New(t)
	renter := prepaid(t, pool, 1_000_000)
	const each, workers = 30, 4
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(7, uint64(worker)))
			for n := range each {
				var list []Transfer
				for _, i := range draw.Perm(8) {
					list = append(list, Transfer{renter, OwedFees(payee(byte(i))), amount(2)})
				}
				if posted, err := bundle(t.Context(), pool, id(fmt.Sprint(worker, n)), "receipts", list); err != nil || !posted {
					t.Errorf("bundle: %v, %v", posted, err)
				}
				e := Entry{id(fmt.Sprint("entry", worker, n)), "signed", []Transfer{
					{OwedFees(payee(byte(n % 8))), FeesInFlight(payee(byte(n % 8))), amount(1)}, {OwedFees(payee(byte((n + 5) % 8))), FeesInFlight(payee(byte((n + 5) % 8))), amount(1)},
				}}
				if _, err := post(t.Context(), pool, e); err != nil {
					t.Errorf("post: %v", err)
				}
			}
		})
	}
	wg.Wait()
	mustBalance(t, pool, map[Account]uint64{renter: 1_000_000 - each*workers*16})
}

func TestSameBundleTwiceAtOnce(t *testing.T) {
	pool := pgtest.New(t)
	renter := prepaid(t, pool, 100)
	results := make(chan bool, 2)
	for range 2 {
		go func() {
			posted, err := bundle(context.Background(), pool, id("one"), "receipts", []Transfer{{renter, Session(id("s")), amount(60)}})
			if err != nil {
				t.Errorf("post: %v", err)
			}
			results <- posted
		}()
	}
	if a, b := <-results, <-results; a == b {
		t.Errorf("posted are %v and %v, want just one", a, b)
	}
	mustBalance(t, pool, map[Account]uint64{renter: 40, Session(id("s")): 60})
}

func TestTrialBalanceFindsCorruptBundles(t *testing.T) {
	for name, sql := range map[string]string{
		"an amount":     `UPDATE ledger_bundles SET amounts[2] = amounts[2] + 1`,
		"an account":    `UPDATE ledger_bundles SET accounts[2] = 'suspense'`,
		"a direction":   `UPDATE ledger_bundles SET debits = credits, credits = debits`,
		"a position":    `UPDATE ledger_bundles SET credits[1] = 99`,
		"a lost bundle": `DELETE FROM ledger_bundles`,
		"a balance":     `UPDATE ledger_balances SET balance = balance + 1 WHERE starts_with(account, 'fees:')`,
	} {
		pool := pgtest.New(t)
		renter := prepaid(t, pool, 100)
		if _, err := bundle(t.Context(), pool, id("e"), "receipts", []Transfer{{renter, OwedFees(payee(1)), amount(5)}, {renter, OwedFees(payee(2)), amount(7)}}); err != nil {
			t.Fatal(err)
		}
		if err := TrialBalance(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if err := TrialBalance(t.Context(), pool); !errors.Is(err, ErrUnbalanced) {
			t.Errorf("%s: %v, want ErrUnbalanced", name, err)
		}
	}
}
