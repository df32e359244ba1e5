package settlement

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

func TestCloseNothingDue(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	b.lead()
	for _, at := range []int64{b.clock.EpochEnd(1), b.clock.EpochEnd(1) + testGrace - 1} {
		b.goTo(at)
		if c, err := b.CloseDue(t.Context()); err != nil || c != nil {
			t.Fatalf("%d s before it is due: %v, %v", b.clock.EpochEnd(1)+testGrace-at, c, err)
		}
	}
	// Our clock is there, the finalized chain is not.
	ahead := b.on(b.url)
	ahead.cfg.Now = func() time.Time { return time.Unix(b.clock.EpochEnd(1)+testGrace+1000, 0) }
	ahead.cfg.Instance = b.cfg.Instance
	ahead.lead()
	if c, err := ahead.CloseDue(t.Context()); err != nil || c != nil {
		t.Fatalf("before the chain is there: %v, %v", c, err)
	}
	if n := b.count(`SELECT frozen_through FROM intake`); n != 0 {
		t.Errorf("intake is frozen through %d", n)
	}
}

// A service that was away gives its workers a grace to bring what they kept.
func TestCloseWaitsAfterStart(t *testing.T) {
	b := newBooks(t)
	b.toClose(1)
	late := b.on(b.url)
	late.lead()
	if c, err := late.CloseDue(t.Context()); err != nil || c != nil {
		t.Fatalf("at once after the start: %v, %v", c, err)
	}
	b.goTo(b.clock.EpochEnd(1) + 2*testGrace)
	late.lead()
	if c, err := late.CloseDue(t.Context()); err != nil || c == nil {
		t.Fatalf("a grace after the start: %v, %v", c, err)
	}
}

func TestOnlyTheLeaderCloses(t *testing.T) {
	b := newBooks(t)
	b.toClose(1)
	if _, err := b.CloseDue(t.Context()); !errors.Is(err, errNotLeader) {
		t.Errorf("close without the lease: %v", err)
	}
	if n := b.count(`SELECT (SELECT frozen_through FROM intake) + (SELECT count(*) FROM epochs)`); n != 0 {
		t.Error("something was written without the lease")
	}
}

// Closings of one epoch at the same time come to one book.
func TestClosingsAtOnce(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	b.toClose(1)
	b.lead()
	var memos sync.Map
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c, err := b.CloseDue(context.Background())
			if err != nil || c == nil {
				t.Errorf("close: %v, %v", c, err)
				return
			}
			memos.Store(c.Memo, true)
		})
	}
	wg.Wait()
	n := 0
	memos.Range(func(any, any) bool { n++; return true })
	if files := b.bookFiles(); n != 1 || len(files) != 1 {
		t.Errorf("%d memos, published books %q, want one of each", n, files)
	}
}

// Two epochs from statements to debts; books that can be judged again; a chain of
// memos; queries that agree with all of it.
func TestEpochsFromStatementsToDebts(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0", "gpu 1"), b.newHost("c", "gpu 2")
	b.register(a, c)
	prev := ionet.HashOf([]byte(proofs.GenesisMemo{Network: b.net.Network.ID(), Emission: b.net.Network.Schedule.Hash}.String()))
	var earned ionet.Amount
	for k := uint64(1); k <= 2; k++ {
		b.play(k, a, c)
		closing := b.closeDue(k)
		m, book := b.memo(closing), b.book(closing)
		if m.Epoch != k || m.Prev != prev || m.Policy != b.net.Policy.Hash() || m.Count != 3 || len(closing.Movements) != 1 || closing.Movements[0].Amount != m.Sum {
			t.Fatalf("memo of epoch %d is %+v with %+v", k, m, closing.Movements)
		}
		prev = ionet.HashOf([]byte(closing.Memo))
		j := b.judged(book)
		if diff := cmp.Diff(j.Verdicts, book.Verdicts, cmp.AllowUnexported(ionet.Amount{})); diff != "" || j.Sum != m.Sum {
			t.Fatalf("judging again gives sum %s, not %s, and %s", j.Sum, m.Sum, diff)
		}
		if again := b.closeDueAgain(); again == nil || again.Memo != closing.Memo {
			t.Fatalf("closing again gives %v", again)
		}
		b.sealNow(closing)
		b.sealNow(closing) // a second time changes nothing
		for _, v := range book.Verdicts {
			if v.Rule != proofs.Accepted || v.Amount.IsZero() {
				t.Errorf("verdict %+v, want accepted", v)
			}
			if v.Payee == a.payout {
				earned, _ = earned.Add(v.Amount)
			}
		}
		b.checkSealed(k, closing)
	}
	if err := ledger.TrialBalance(t.Context(), b.pool); err != nil {
		t.Error(err)
	}
	p, err := b.Provider(t.Context(), a.payout)
	if want := (Provider{Payee: a.payout, Earned: earned, Claimable: earned, Devices: 2}); err != nil || p != want {
		t.Errorf("provider is %+v (%v), want %+v", p, err, want)
	}
	if n := b.count(`SELECT count(*) FROM workers WHERE heard = 2`); n != 2 {
		t.Errorf("%d workers were heard in epoch 2, want 2", n)
	}
}

func (b *books) closeDueAgain() *Closing {
	b.t.Helper()
	c, err := b.CloseDue(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// checkSealed holds the queries on epoch k against its closing.
func (b *books) checkSealed(k uint64, c *Closing) {
	b.t.Helper()
	m := b.memo(c)
	e, err := b.Epoch(b.t.Context(), k)
	if err != nil {
		b.t.Fatal(err)
	}
	emission, _ := b.intake.schedule.Emission(k)
	sum, _ := e.Sum.Add(e.Unissued)
	if e.State != EpochSealed || e.Memo != c.Memo || e.Sum != m.Sum || sum != emission || e.Emission != emission || e.BookRoot != proofs.BookRoot(m.Inputs, m.Verdicts) || e.Signature != testSignature || e.Slot != testSlot || e.Verdicts != int(m.Count) {
		b.t.Errorf("epoch %d is %+v", k, e)
	}
	newest, err := b.Epochs(b.t.Context(), 1)
	if err != nil || len(newest) != 1 || newest[0] != e {
		b.t.Errorf("newest epoch is %+v (%v), want %+v", newest, err, e)
	}
	verdicts, err := b.Verdicts(b.t.Context(), k)
	if err != nil || proofs.VerdictsRoot(verdicts) != m.Verdicts {
		b.t.Errorf("verdicts of epoch %d are not the sealed ones: %v", k, err)
	}
	for i, v := range verdicts {
		found, err := b.DeviceVerdicts(b.t.Context(), v.UUID, k)
		if err != nil || len(found) != 1 {
			b.t.Fatalf("verdicts on %s: %v, %v", v.UUID, found, err)
		}
		f := found[0]
		if err := proofs.CheckProof(f.Proof, m.Verdicts, f.Count, f.Index, f.Verdict.Append(nil)); err != nil || f.Index != i || f.Verdict != v || f.Root != m.Verdicts {
			b.t.Errorf("proof of verdict %d: %v", i, err)
		}
	}
	h, err := b.Head(b.t.Context())
	if err != nil || h.Sealed != k || h.Frozen != k {
		b.t.Errorf("head is %+v (%v), want epoch %d sealed", h, err, k)
	}
}

func TestEpochWithNobody(t *testing.T) {
	b := newBooks(t)
	c := b.closeDue(1)
	m := b.memo(c)
	if len(c.Movements) != 0 || m.Count != 0 || !m.Sum.IsZero() {
		t.Errorf("closing is %+v", c)
	}
	b.sealNow(c)
	e, err := b.Epoch(t.Context(), 1)
	if err != nil || e.Unissued != e.Emission || e.Emission.IsZero() {
		t.Errorf("epoch is %+v (%v)", e, err)
	}
}

func TestUnknownEpochsAndDevices(t *testing.T) {
	b := newBooks(t)
	b.sealNow(b.closeDue(1))
	check := func(what, want string, err error) {
		t.Helper()
		var p *Problem
		if !errors.As(err, &p) || p.Type != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	for _, k := range []uint64{0, 2, 1001, 1<<64 - 1} {
		_, err := b.Epoch(t.Context(), k)
		check(fmt.Sprint("epoch ", k), ProblemUnknownEpoch, err)
		_, err = b.Verdicts(t.Context(), k)
		check(fmt.Sprint("verdicts ", k), ProblemUnknownEpoch, err)
	}
	_, err := b.DeviceVerdicts(t.Context(), uuidOf("gpu 0"), 1)
	check("device", ProblemUnknownDevice, err)
	_, err = b.WorkerStatus(t.Context(), ionet.Key{1})
	check("worker", ProblemUnknownWorker, err)
	if p, err := b.Provider(t.Context(), ionet.Key{1}); err != nil || p != (Provider{Payee: ionet.Key{1}}) {
		t.Errorf("unknown provider is %+v (%v)", p, err)
	}
}

// Each request that was acked while the epoch closed is in its book; each that
// was not was refused as closed.
func TestFreezeRacesIntake(t *testing.T) {
	b := newBooks(t)
	var hosts []*host
	for i := range 8 {
		hosts = append(hosts, b.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	b.register(hosts...)
	b.toClose(1)
	b.lead()
	statements := make([][]proofs.Envelope, len(hosts))
	for i, h := range hosts {
		for sample := range uint16(testSamples) {
			statements[i] = append(statements[i], h.uptime(1, sample, nil))
		}
	}
	var acked sync.Map
	var refused, going atomic.Int64
	begun := make(chan struct{})
	var wg sync.WaitGroup
	for _, list := range statements {
		wg.Go(func() {
			for n, e := range list {
				results, err := b.Submit(context.Background(), plain(e))
				switch {
				case err != nil:
					t.Errorf("submit: %v", err)
				case results[0].Status == Accepted:
					acked.Store(e.ID(), true)
				case results[0].Problem.Type == ProblemEpochClosed:
					refused.Add(1)
				default:
					t.Errorf("submit: %v", results[0].Problem)
				}
				if n == 1 && going.Add(1) == 1 {
					close(begun)
				}
			}
		})
	}
	<-begun
	c, err := b.CloseDue(t.Context())
	wg.Wait()
	if err != nil || c == nil {
		t.Fatalf("close: %v, %v", c, err)
	}
	book, n := b.book(c), int64(0)
	acked.Range(func(id, _ any) bool {
		n++
		if !book.Inputs.Has(proofs.KindUptime, id.(ionet.Hash)) {
			t.Errorf("acked statement %s is not in the book", id)
		}
		return true
	})
	if total := int64(len(hosts) * testSamples); n+refused.Load() != total {
		t.Errorf("%d acked and %d refused of %d", n, refused.Load(), total)
	}
	var inBook int64
	for i := range book.Inputs.Statements {
		if book.Inputs.Statements[i].Envelope.Kind == proofs.KindUptime {
			inBook++
		}
	}
	if inBook != n {
		t.Errorf("%d uptime statements are in the book, %d were acked", inBook, n)
	}
}

// Whatever the order, the repetitions and the requests in which the same
// statements come, the inputs are the same.
func TestInputsDoNotDependOnOrder(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0", "gpu 1"), b.newHost("c", "gpu 2")
	b.toClose(1)
	all := []proofs.Envelope{a.delegation, a.inventory, c.delegation, c.inventory, c.revoke(c.delegation.ID()), a.list(func(*proofs.Inventory) {}, "gpu 0", "gpu 1", "gpu 7")}
	for sample := range uint16(testSamples) {
		all = append(all, a.uptime(1, sample, nil), c.uptime(1, sample, nil))
	}
	all = append(all, a.uptime(1, 2, func(u *proofs.Uptime) { u.Previous = ionet.Hash{3} }))
	want := b.inputsOf(all, rand.New(rand.NewPCG(1, 1)), 1)
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		perRequest := rapid.IntRange(1, 12).Draw(rt, "statements of a request")
		if got := b.inputsOf(all, rand.New(rand.NewPCG(seed, 0)), perRequest); got != want {
			rt.Fatalf("inputs root is %s, want %s", got, want)
		}
	})
}

// inputsOf forgets all statements, brings these in a random order, some twice,
// until all are in, and returns the root of epoch 1's inputs.
func (b *books) inputsOf(all []proofs.Envelope, r *rand.Rand, perRequest int) ionet.Hash {
	b.t.Helper()
	for _, table := range []string{"inventory_devices", "inventories", "workers", "releases", "revocations", "delegation_workers", "delegations", "beacons", "statements"} {
		b.exec(`DELETE FROM ` + table)
	}
	in := map[ionet.Hash]bool{}
	for len(in) < len(all) {
		var next []proofs.Envelope
		for range perRequest {
			next = append(next, all[r.IntN(len(all))])
		}
		for _, res := range b.submit(plain(next...)...) {
			if res.Status != Refused {
				in[res.ID] = true
			} else if !strings.HasPrefix(res.Problem.Type, "unknown-") {
				b.t.Fatal(res.Problem)
			}
		}
	}
	inputs, err := b.gather(b.t.Context(), 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return inputs.Root()
}

// A row that is changed between judging and publishing comes into the book as it
// is; whoever judges the book again finds it.
func TestChangedVerdictIsFoundByJudgingAgain(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.play(1, h)
	b.exec(`CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := NEW.amount - 1; RETURN NEW; END $$`)
	b.exec(`CREATE TRIGGER steal BEFORE INSERT ON verdicts FOR EACH ROW EXECUTE FUNCTION steal()`)
	c := b.closeDue(1)
	book, m := b.book(c), b.memo(c)
	j := b.judged(book)
	for i, v := range book.Verdicts {
		if v.Amount == j.Verdicts[i].Amount {
			t.Errorf("verdict %d is as judged, the row was changed", i)
		}
	}
	if sum, err := sumOf(book.Verdicts); err != nil || sum != m.Sum || c.Movements[0].Amount != sum {
		t.Errorf("book sums to %s, memo says %s", sum, m.Sum)
	}
}

func TestRowsBeyondTheEmissionAreNotMinted(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.play(1, h)
	b.exec(`CREATE FUNCTION give() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := NEW.amount * 9; RETURN NEW; END $$`)
	b.exec(`CREATE TRIGGER give BEFORE INSERT ON verdicts FOR EACH ROW EXECUTE FUNCTION give()`)
	b.toClose(1)
	b.lead()
	if c, err := b.CloseDue(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing is minted") {
		t.Errorf("close: %v, %v", c, err)
	}
}

// Rows that are changed after publishing do not reach the ledger: what the chain
// sealed is imported from the published book.
func TestChangedRowsAreNotOwed(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.play(1, h)
	c := b.closeDue(1)
	b.exec(`UPDATE verdicts SET amount = amount + 5`)
	b.sealNow(c)
	b.checkSealed(1, c)
	p, err := b.Provider(t.Context(), h.payout)
	if err != nil || p.Claimable != b.memo(c).Sum {
		t.Errorf("owed %s (%v), sealed were %s", p.Claimable, err, b.memo(c).Sum)
	}
}

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
	for _, closing := range []*Closing{first, second} {
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
		`SELECT array_agg(w::text ORDER BY key)::text FROM workers w`,
		`SELECT array_agg(d::text ORDER BY id)::text FROM delegations d`,
		`SELECT array_agg(i::text ORDER BY id)::text FROM inventories i`,
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
			if n := other.count(`SELECT (SELECT count(*) FROM epochs) + (SELECT count(*) FROM statements)`); n != 0 {
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

// A device goes to the first worker that proves it, stays with it, is released,
// and then belongs to the next.
func TestBindingsThroughEpochs(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 0")
	b.register(a)
	b.epochs(1, 1, a)
	p := b.refuseAfter(ProblemDeviceBound, c.delegation, c.inventory)
	if p.Field != "body.devices[0].uuid" || !strings.Contains(p.Detail, uuidOf("gpu 0").String()) {
		t.Errorf("problem is %+v", p)
	}
	b.accept(a.release(a.worker(), "gpu 0"))
	b.epochs(2, 2, a)
	if n := b.count(`SELECT count(*) FROM bindings`); n != 0 {
		t.Fatalf("%d bindings after the release", n)
	}
	b.accept(c.inventory)
	b.epochs(3, 3, c)
	verdicts, err := b.Verdicts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if v := verdictOf(t, verdicts, c, "gpu 0"); v.Rule != proofs.Accepted {
		t.Errorf("the new worker's verdict is %s", v.Rule.Name())
	}
	var worker []byte
	if err := b.pool.QueryRow(t.Context(), `SELECT worker FROM bindings`).Scan(&worker); err != nil || ionet.Key(worker) != c.worker() {
		t.Errorf("the device is bound to %x (%v)", worker, err)
	}
}

// refuseAfter accepts all but the last statement, which must be refused.
func (b *books) refuseAfter(kind string, envelopes ...proofs.Envelope) *Problem {
	b.t.Helper()
	last := len(envelopes) - 1
	b.accept(envelopes[:last]...)
	return b.refuse(kind, statement(envelopes[last]))
}

func TestTwoFirstClaims(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 0")
	b.register(a, c)
	b.epochs(1, 1, a, c)
	verdicts, err := b.Verdicts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*host{a, c} {
		if v := verdictOf(t, verdicts, h, "gpu 0"); v.Rule != proofs.TwoFirstClaims {
			t.Errorf("rule is %s", v.Rule.Name())
		}
	}
	if found, err := b.DeviceVerdicts(t.Context(), uuidOf("gpu 0"), 1); err != nil || len(found) != 2 {
		t.Errorf("verdicts on the device: %v, %v", found, err)
	}
}

// A silent worker stays in the books for as long as FORMAT.md says, and no longer.
func TestSilentWorkerLeavesTheInputs(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.epochs(1, 1, h)
	for _, k := range []uint64{2, 1 + reach, 2 + reach} {
		in, err := b.gather(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := in.Has(proofs.KindInventory, h.inventory.ID()), k <= 1+reach; got != want {
			t.Errorf("inventory in the inputs of epoch %d: %t, want %t", k, got, want)
		}
	}
}
