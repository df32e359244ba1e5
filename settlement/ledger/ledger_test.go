package ledger

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

var now = time.Unix(1_800_000_000, 0)

func payee(n byte) ionet.Key { return ionet.Key{31: n} }

func id(s string) ionet.Hash { return ionet.HashOf([]byte(s)) }

func amount(n uint64) ionet.Amount { return ionet.MustAmount(n) }

// post runs Post in a transaction of its own.
func post(ctx context.Context, pool *pgxpool.Pool, e Entry) (posted bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		posted, err = Post(ctx, tx, e, now)
		return err
	})
	return posted, err
}

func mustPost(t *testing.T, pool *pgxpool.Pool, e Entry) {
	t.Helper()
	if posted, err := post(t.Context(), pool, e); err != nil || !posted {
		t.Fatalf("post %s: %v, %v", e.Kind, posted, err)
	}
}

func balanceOf(t *testing.T, pool *pgxpool.Pool, a Account) uint64 {
	t.Helper()
	b, err := Balance(t.Context(), pool, a)
	if err != nil {
		t.Fatal(err)
	}
	return b.Base()
}

func TestPaymentFromEpochToPaid(t *testing.T) {
	pool := pgtest.New(t)
	p := payee(1)
	steps := []struct {
		entry                 Entry
		vault, owed, inFlight uint64
	}{
		{Entry{id("epoch"), "epoch", []Transfer{{VaultReward(), Owed(p), amount(100)}}}, 100, 100, 0},
		{Entry{id("sign a"), "sign", []Transfer{{Owed(p), InFlight(p), amount(60)}}}, 100, 40, 60},
		{Entry{id("free a"), "free", []Transfer{{InFlight(p), Owed(p), amount(60)}}}, 100, 100, 0},
		{Entry{id("sign b"), "sign", []Transfer{{Owed(p), InFlight(p), amount(100)}}}, 100, 0, 100},
		{Entry{id("paid b"), "paid", []Transfer{{InFlight(p), VaultReward(), amount(100)}}}, 0, 0, 0},
		{Entry{id("nothing"), "epoch", nil}, 0, 0, 0},
	}
	for _, s := range steps {
		mustPost(t, pool, s.entry)
		got := [3]uint64{balanceOf(t, pool, VaultReward()), balanceOf(t, pool, Owed(p)), balanceOf(t, pool, InFlight(p))}
		if want := [3]uint64{s.vault, s.owed, s.inFlight}; got != want {
			t.Errorf("after %s %s: vault, owed, in flight are %v, want %v", s.entry.Kind, s.entry.ID, got, want)
		}
		if err := TrialBalance(t.Context(), pool); err != nil {
			t.Errorf("after %s: %v", s.entry.Kind, err)
		}
	}
}

func TestPostOnce(t *testing.T) {
	pool := pgtest.New(t)
	e := Entry{id("e"), "epoch", []Transfer{{VaultReward(), Owed(payee(1)), amount(5)}, {VaultReward(), Owed(payee(2)), amount(7)}}}
	mustPost(t, pool, e)
	if posted, err := post(t.Context(), pool, e); err != nil || posted {
		t.Fatalf("second post: %v, %v", posted, err)
	}
	if got := balanceOf(t, pool, VaultReward()); got != 12 {
		t.Errorf("vault holds %d, want 12", got)
	}
	for name, change := range map[string]func(*Entry){
		"other kind":   func(e *Entry) { e.Kind = "claim" },
		"other amount": func(e *Entry) { e.Transfers[1].Amount = amount(8) },
		"other debit":  func(e *Entry) { e.Transfers[0].Debit = VaultFee() },
		"other credit": func(e *Entry) { e.Transfers[0].Credit = Suspense() },
		"other order":  func(e *Entry) { e.Transfers[0], e.Transfers[1] = e.Transfers[1], e.Transfers[0] },
		"one less":     func(e *Entry) { e.Transfers = e.Transfers[:1] },
		"none":         func(e *Entry) { e.Transfers = nil },
		"one more":     func(e *Entry) { e.Transfers = append(e.Transfers, Transfer{VaultReward(), Suspense(), amount(1)}) },
	} {
		other := Entry{e.ID, e.Kind, append([]Transfer(nil), e.Transfers...)}
		change(&other)
		if posted, err := post(t.Context(), pool, other); !errors.Is(err, ErrConflict) || posted {
			t.Errorf("%s: post is %v, %v, want ErrConflict", name, posted, err)
		}
	}
	if err := TrialBalance(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

func TestPostRefuses(t *testing.T) {
	pool := pgtest.New(t)
	p := payee(1)
	mustPost(t, pool, Entry{id("epoch"), "epoch", []Transfer{{VaultReward(), Owed(p), amount(10)}}})
	most := amount(1<<63 - 1)
	for _, c := range []struct {
		name       string
		transfers  []Transfer
		constraint string // of the database; "" where Go refuses
	}{
		{"a payment above the debt", []Transfer{{Owed(p), InFlight(p), amount(11)}}, "debt_not_negative"},
		{"a debt of one who earned nothing", []Transfer{{Owed(payee(2)), InFlight(payee(2)), amount(1)}}, "debt_not_negative"},
		{"more out of the vault than it holds", []Transfer{{Suspense(), VaultReward(), amount(1)}}, "debt_not_negative"},
		{"a vault below nothing", []Transfer{{VaultFee(), VaultReward(), amount(11)}}, "vault_not_overdrawn"},
		{"zero", []Transfer{{Owed(p), InFlight(p), ionet.Amount{}}}, ""},
		{"no account", []Transfer{{Owed(p), Account{}, amount(1)}}, ""},
		{"to itself", []Transfer{{Owed(p), Owed(p), amount(1)}}, ""},
		{"more back than was overpaid", []Transfer{{Owed(p), Overpaid(), amount(1)}}, "vault_not_overdrawn"},
		{"a sum out of range", []Transfer{{VaultReward(), Owed(p), most}, {VaultReward(), Suspense(), most}}, ""},
	} {
		posted, err := post(t.Context(), pool, Entry{id(c.name), "test", c.transfers})
		if err == nil || posted {
			t.Errorf("%s: posted", c.name)
			continue
		}
		var pg *pgconn.PgError
		if errors.As(err, &pg) != (c.constraint != "") || pg != nil && pg.ConstraintName != c.constraint {
			t.Errorf("%s: %v, want constraint %q", c.name, err, c.constraint)
		}
	}
	if got := balanceOf(t, pool, Owed(p)); got != 10 {
		t.Errorf("after refusals %d is owed, want 10", got)
	}
}

// Any entries in any order leave books that balance, whatever of them is refused,
// and the balances are those of a model.
func TestBooksBalanceProperty(t *testing.T) {
	pool := pgtest.New(t)
	accounts := []Account{VaultReward(), VaultFee(), Suspense(), Owed(payee(1)), InFlight(payee(1)), Owed(payee(2)), InFlight(payee(2))}
	model := map[Account]int64{}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		for n := range rapid.IntRange(1, 6).Draw(rt, "entries") {
			e := Entry{ID: id(fmt.Sprint(run, n)), Kind: "test"}
			next := map[Account]int64{}
			for range rapid.IntRange(0, 4).Draw(rt, "transfers") {
				i := rapid.IntRange(0, len(accounts)-1).Draw(rt, "debit")
				j := (i + rapid.IntRange(1, len(accounts)-1).Draw(rt, "credit")) % len(accounts)
				a := rapid.Uint64Range(1, 1000).Draw(rt, "amount")
				e.Transfers = append(e.Transfers, Transfer{accounts[i], accounts[j], amount(a)})
				next[accounts[i]] -= int64(a)
				next[accounts[j]] += int64(a)
			}
			allowed := true
			for a, d := range next {
				allowed = allowed && (model[a]+d == 0 || (model[a]+d < 0) == a.isVault())
			}
			posted, err := post(t.Context(), pool, e)
			if posted != allowed || (err == nil) != allowed {
				rt.Fatalf("post %v on %v: %v, %v, want %v", e.Transfers, model, posted, err, allowed)
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
			if want, err := a.amount(model[a]); err != nil || got[a] != want {
				rt.Fatalf("%s is %s, want %d", a, got[a], model[a])
			}
		}
		if err := TrialBalance(t.Context(), pool); err != nil {
			rt.Fatal(err)
		}
	})
}

// Posts that share accounts in opposite orders neither deadlock nor lose one.
func TestConcurrentPosts(t *testing.T) {
	pool := pgtest.New(t)
	const each = 40
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range each {
				a, b := Owed(payee(1)), Owed(payee(2))
				if worker%2 == 1 {
					a, b = b, a
				}
				e := Entry{id(fmt.Sprint(worker, n)), "epoch", []Transfer{{VaultReward(), a, amount(3)}, {VaultReward(), b, amount(1)}}}
				if _, err := post(t.Context(), pool, e); err != nil {
					t.Errorf("post: %v", err)
				}
				// The same entry again from here and there must not count.
				if _, err := post(t.Context(), pool, e); err != nil {
					t.Errorf("post again: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := balanceOf(t, pool, VaultReward()); got != 4*each*4 {
		t.Errorf("vault holds %d, want %d", got, 4*each*4)
	}
	if err := TrialBalance(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

// Of two that post one id at the same time, one waits for the other's commit.
func TestSameEntryTwiceAtOnce(t *testing.T) {
	pool := pgtest.New(t)
	e := Entry{id("one"), "epoch", []Transfer{{VaultReward(), Owed(payee(1)), amount(9)}}}
	results := make(chan bool, 2)
	for range 2 {
		go func() {
			posted, err := post(context.Background(), pool, e)
			if err != nil {
				t.Errorf("post: %v", err)
			}
			results <- posted
		}()
	}
	if a, b := <-results, <-results; a == b {
		t.Errorf("posted are %v and %v, want just one", a, b)
	}
	if got := balanceOf(t, pool, Owed(payee(1))); got != 9 {
		t.Errorf("owed %d, want 9", got)
	}
}

func TestLockHoldsTheBalance(t *testing.T) {
	pool := pgtest.New(t)
	p := payee(1)
	mustPost(t, pool, Entry{id("epoch"), "epoch", []Transfer{{VaultReward(), Owed(p), amount(10)}}})
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Lock(t.Context(), tx, Owed(p), InFlight(p))
	if err != nil || got[Owed(p)] != amount(10) || !got[InFlight(p)].IsZero() {
		t.Fatalf("lock: %v, %v", got, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := post(context.Background(), pool, Entry{id("sign"), "sign", []Transfer{{Owed(p), InFlight(p), amount(10)}}})
		done <- err
	}()
	waitBlocked(t, pool)
	if _, err := Post(t.Context(), tx, Entry{id("first"), "sign", []Transfer{{Owed(p), InFlight(p), amount(1)}}}, now); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the post that waited took more than what was left")
	}
}

// waitBlocked returns once some session of this database waits for a lock.
func waitBlocked(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for {
		var n int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
}

func TestTrialBalanceFindsEachCorruption(t *testing.T) {
	for name, sql := range map[string]string{
		"a balance":          `UPDATE ledger_balances SET balance = balance + 1 WHERE account LIKE 'owed:%'`,
		"a transfer":         `UPDATE ledger_transfers SET amount = amount + 1`,
		"a lost account":     `DELETE FROM ledger_balances WHERE account LIKE 'owed:%'`,
		"lost transfers":     `DELETE FROM ledger_transfers`,
		"a balance from air": `INSERT INTO ledger_balances VALUES ('suspense', 3)`,
	} {
		pool := pgtest.New(t)
		mustPost(t, pool, Entry{id("epoch"), "epoch", []Transfer{{VaultReward(), Owed(payee(1)), amount(10)}}})
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if err := TrialBalance(t.Context(), pool); !errors.Is(err, ErrUnbalanced) {
			t.Errorf("%s: %v, want ErrUnbalanced", name, err)
		}
	}
}

func TestEveryQueryPrepares(t *testing.T) {
	pool := pgtest.New(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{insertEntries, insertTransfers, openAccounts, lockAccounts, moveBalances, selectEntry, selectBalances, selectUnbalanced, lockBalances, insertBundle, selectBundle} {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s\n%v", sql, err)
		}
	}
}

func TestAccountNames(t *testing.T) {
	k := ionet.Key{1, 2, 3}
	got := []string{VaultReward().String(), VaultFee().String(), Owed(k).String(), InFlight(k).String(), Suspense().String()}
	want := []string{"vault:reward", "vault:fee", "owed:" + k.String(), "inflight:" + k.String(), "suspense"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("names are %q, want %q", got, want)
	}
	if !regexp.MustCompile(`^owed:[1-9A-HJ-NP-Za-km-z]+$`).MatchString(got[2]) {
		t.Errorf("owed account is %q", got[2])
	}
}

func BenchmarkPost(b *testing.B) {
	for _, size := range []int{1, 100, 1000, 8190} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			pool := pgtest.New(b)
			e := Entry{Kind: "epoch"}
			for n := range size {
				e.Transfers = append(e.Transfers, Transfer{VaultReward(), Owed(ionet.Key(ionet.HashOf([]byte{byte(n), byte(n >> 8)}))), amount(1)})
			}
			n := 0
			for b.Loop() {
				n++
				e.ID = id(fmt.Sprint(n))
				if _, err := post(b.Context(), pool, e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*size)/b.Elapsed().Seconds(), "transfers/s")
		})
	}
}
