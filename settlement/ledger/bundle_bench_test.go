package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/migrations"
)

const (
	bundleSize    = 8190 // transfers of 4,095 receipts
	naiveSize     = 100  // transfers of a round of what goes one by one
	bundleRounds  = 40   // enough that pages after a checkpoint are not most of the log
	naiveSessions = 8
)

// BenchmarkFeesLedger posts the same transfers, a slice of each way in turn, on a
// database that syncs its log, from so many channels to a hundredth as many payees:
//
//	bundles    PostBundle of 8,190, one after the other
//	copy       8,190 at a time by COPY into a journal without index, and no balances: a bound
//	naive      a transaction for each: SELECT FOR UPDATE, a journal row, two UPDATEs; one connection
//	naive-8    the same by eight connections
func BenchmarkFeesLedger(b *testing.B) {
	for _, accounts := range []int{1, 1_000, 100_000} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			r := newLedgerRun(b, accounts)
			for b.Loop() {
				for range bundleRounds {
					r.round()
				}
			}
			b.ReportMetric(0, "ns/op")
			for name := range r.took {
				b.ReportMetric(r.rate(name), name+"/s")
			}
			naive := max(r.rate("naive"), r.rate("naive-8"))
			b.ReportMetric(r.rate("bundles")/naive, "bundles/naive")
			b.ReportMetric(r.rate("bundles")/r.rate("copy"), "bundles/copy")
			b.ReportMetric(float64(r.wal)/float64(r.transfers["bundles"]), "WAL-B/transfer")
			if err := TrialBalance(b.Context(), r.pool); err != nil {
				b.Fatal(err)
			}
		})
	}
}

type ledgerRun struct {
	b                *testing.B
	pool             *pgxpool.Pool
	draw             *rand.Rand
	channels, payees []Account
	entries, wal     int

	took      map[string]time.Duration
	transfers map[string]int
}

func newLedgerRun(b *testing.B, accounts int) *ledgerRun {
	b.Helper()
	db, err := devdb.Start(b.Context(), devdb.Config{Dir: filepath.Join(b.TempDir(), "postgres")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Stop(context.Background()) })
	pool := pgtest.Open(b, db.URL())
	if err := migrations.Apply(b.Context(), pool); err != nil {
		b.Fatal(err)
	}
	r := &ledgerRun{b: b, pool: pool, draw: rand.New(rand.NewPCG(6, 6)), took: map[string]time.Duration{}, transfers: map[string]int{}}
	renter := prepaid(b, pool, 1<<60)
	var opened []Transfer
	for n := range accounts {
		key := ionet.Key(ionet.HashOf(binary.LittleEndian.AppendUint64(nil, uint64(n))))
		r.channels = append(r.channels, Channel(key))
		opened = append(opened, Transfer{renter, r.channels[n], amount(1 << 40)})
		if n%100 == 0 {
			r.payees = append(r.payees, OwedFees(key))
			opened = append(opened, Transfer{renter, OwedFees(key), amount(1)})
		}
	}
	if _, err := bundle(b.Context(), pool, id("opened"), "test", opened); err != nil {
		b.Fatal(err)
	}
	for _, sql := range []string{createCopied, createNaive, insertNaive, `VACUUM ANALYZE`} {
		if _, err := pool.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

const createCopied = `CREATE TABLE copied (entry bytea NOT NULL, debit text NOT NULL, credit text NOT NULL, amount bigint NOT NULL)`

// The reference has tables of its own, with nothing but what it needs.
const createNaive = `
CREATE TABLE naive_balances (account text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE naive_transfers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, debit text NOT NULL, credit text NOT NULL, amount bigint NOT NULL)`

const insertNaive = `INSERT INTO naive_balances SELECT account, balance FROM ledger_balances WHERE NOT starts_with(account, 'vault:')`

func (r *ledgerRun) rate(name string) float64 {
	return float64(r.transfers[name]) / r.took[name].Seconds()
}

// next draws the transfers of so many receipts' halves.
func (r *ledgerRun) next(n int) []Transfer {
	list := make([]Transfer, n)
	for i := range list {
		list[i] = Transfer{r.channels[r.draw.IntN(len(r.channels))], r.payees[r.draw.IntN(len(r.payees))], amount(1 + r.draw.Uint64N(1000))}
	}
	return list
}

func (r *ledgerRun) measure(name string, n int, f func() error) {
	r.b.Helper()
	start := time.Now()
	err := f()
	r.took[name] += time.Since(start)
	r.transfers[name] += n
	if err != nil {
		r.b.Fatalf("%s: %v", name, err)
	}
}

func (r *ledgerRun) round() {
	ctx := r.b.Context()
	r.entries++
	key := id(fmt.Sprint("round ", r.entries))
	many, few := r.next(bundleSize), r.next(2*naiveSize)
	before := r.walEnd()
	r.measure("bundles", len(many), func() error {
		_, err := bundle(ctx, r.pool, key, "receipts", many)
		return err
	})
	r.wal += r.walEnd() - before
	r.measure("copy", len(many), func() error { return r.copyIn(ctx, key, many) })
	r.measure("naive", naiveSize, func() error { return r.naive(ctx, few[:naiveSize], 1) })
	r.measure("naive-8", naiveSize, func() error { return r.naive(ctx, few[naiveSize:], naiveSessions) })
}

func (r *ledgerRun) walEnd() (n int) {
	r.b.Helper()
	if err := r.pool.QueryRow(r.b.Context(), `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint`).Scan(&n); err != nil {
		r.b.Fatal(err)
	}
	return n
}

func (r *ledgerRun) copyIn(ctx context.Context, key ionet.Hash, list []Transfer) error {
	_, err := r.pool.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"entry", "debit", "credit", "amount"},
		pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
			return []any{key[:], list[i].Debit.name, list[i].Credit.name, list[i].Amount.Int64()}, nil
		}))
	return err
}

// naive is what everybody writes first, with the rows locked in one order.
func (r *ledgerRun) naive(ctx context.Context, list []Transfer, sessions int) error {
	var next atomic.Int64
	errs := make(chan error, sessions)
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				if err := r.naiveOne(ctx, list[i]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func (r *ledgerRun) naiveOne(ctx context.Context, t Transfer) error {
	debit, credit, n := t.Debit.name, t.Credit.name, t.Amount.Int64()
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT account, balance FROM naive_balances WHERE account = ANY ($1) ORDER BY account FOR UPDATE`, []string{debit, credit})
		if err != nil {
			return err
		}
		var account string
		var balance int64
		if _, err = pgx.ForEachRow(rows, []any{&account, &balance}, func() error {
			if account == debit && balance < n {
				return fmt.Errorf("account %s holds %d, less than %d", account, balance, n)
			}
			return nil
		}); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO naive_transfers (debit, credit, amount) VALUES ($1, $2, $3)`, debit, credit, n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE naive_balances SET balance = balance - $2 WHERE account = $1`, debit, n); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE naive_balances SET balance = balance + $2 WHERE account = $1`, credit, n)
		return err
	})
}
