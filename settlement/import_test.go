package settlement

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Another database that knows nothing of two epochs imports both from the
// published store, and is then as the first one in all that matters.
func TestImportEpochs(t *testing.T) {
	b := newBooks(t)
	empty := b.copyDatabase()
	a, c := b.newHost("a", "gpu 0", "gpu 1"), b.newHost("c", "gpu 2")
	b.register(a, c)
	b.play(1, a, c)
	b.accept(c.revoke(c.delegation.ID()))
	first := b.closeDue(1)
	b.sealNow(first)
	b.accept(a.release(a.worker(), "gpu 0"))
	b.play(2, a)
	second := b.closeDue(2)
	b.sealNow(second)

	other := b.on(empty)
	// A delegation that came again, without its ack, before the import.
	other.accept(a.delegation)
	for _, closing := range []*Closing{first, second, first} { // again: nothing changes
		other.sealAs(closing, func(ctx context.Context, tx pgx.Tx, content chain.Content) error {
			return other.importEpoch(ctx, tx, other.memo(closing), content)
		})
	}
	for _, sql := range []string{
		`SELECT array_agg(row(epoch, state, emission, sum, unissued, policy, inputs_root, verdicts_root, verdicts, memo)::text ORDER BY epoch)::text FROM epochs`,
		`SELECT array_agg(v::text ORDER BY epoch, uuid)::text FROM verdicts v`,
		`SELECT array_agg(s::text ORDER BY epoch, id)::text FROM statements s`,
		`SELECT array_agg(b::text ORDER BY uuid)::text FROM bindings b`,
		`SELECT array_agg(b::text ORDER BY slot)::text FROM beacons b`,
		`SELECT array_agg(row(key, heard, last_sample, last_statement)::text ORDER BY key)::text FROM workers w`,
		`SELECT array_agg(d::text ORDER BY id)::text FROM delegations d`,
		`SELECT array_agg(row(i.id, i.worker, w.key, delegation, simulated, devices, arrival_epoch, arrival_sample)::text ORDER BY id)::text FROM inventories i JOIN workers w ON w.number = i.worker_number`,
		`SELECT array_agg(i::text ORDER BY inventory, uuid)::text FROM inventory_devices i`,
		`SELECT array_agg(r::text ORDER BY id)::text FROM revocations r`,
		`SELECT array_agg(r::text ORDER BY id)::text FROM releases r`,
		`SELECT array_agg(l::text ORDER BY account)::text FROM ledger_balances l`,
		`SELECT array_agg(t::text ORDER BY entry, n)::text FROM ledger_transfers t`,
		`SELECT i::text FROM intake i`,
	} {
		var want, got *string
		if err := b.pool.QueryRow(t.Context(), sql).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if err := other.pool.QueryRow(t.Context(), sql).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || want == nil {
			t.Errorf("%s\n%s", sql, diff)
		}
	}
	// And it goes on from there.
	b.play(3, a)
	third := b.closeDue(3)
	restored := other
	for _, sql := range []string{`SELECT count(*) FROM bindings`} {
		if got, want := restored.count(sql), b.count(sql); got != want {
			t.Errorf("%s: %d, want %d", sql, got, want)
		}
	}
	restored.sealAs(third, func(ctx context.Context, tx pgx.Tx, content chain.Content) error {
		return restored.importEpoch(ctx, tx, restored.memo(third), content)
	})
}

func TestImportNeedsTheBook(t *testing.T) {
	b := newBooks(t)
	empty := b.copyDatabase()
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	c := b.closeDue(1)
	m := b.memo(c)
	name := publish.BookName(proofs.BookRoot(m.Inputs, m.Verdicts))
	file, err := b.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string]func() []byte{
		"missing":      func() []byte { return nil },
		"cut":          func() []byte { return file[:len(file)/2] },
		"another book": func() []byte { return otherBook(t, b.book(c)) },
	} {
		t.Run(what, func(t *testing.T) {
			store, err := publish.NewFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if bytes := damage(); bytes != nil {
				if err := store.Put(t.Context(), name, bytes); err != nil {
					t.Fatal(err)
				}
			}
			other := b.on(empty)
			other.cfg.Store = store
			err = pgx.BeginFunc(t.Context(), other.pool, func(tx pgx.Tx) error {
				return other.importEpoch(t.Context(), tx, m, other.content(c))
			})
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "put that file back") {
				t.Errorf("import: %v, want a sentence that names %s", err, name)
			}
			if n := other.count(`SELECT (SELECT count(*) FROM epochs) + (SELECT count(*) FROM statements) + (SELECT count(*) FROM uptimes)`); n != 0 {
				t.Error("a failed import left rows")
			}
		})
	}
}

// otherBook is a well-formed book with one unit more for the first verdict.
func otherBook(t *testing.T, book *proofs.Book) []byte {
	t.Helper()
	changed := *book
	changed.Verdicts = append([]proofs.Verdict(nil), book.Verdicts...)
	a, err := changed.Verdicts[0].Amount.Add(ionet.MustAmount(1))
	if err != nil {
		t.Fatal(err)
	}
	changed.Verdicts[0].Amount = a
	file, err := proofs.EncodeBook(&changed)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
