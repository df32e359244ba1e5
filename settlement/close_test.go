package settlement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
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
	for sample := range uint16(testSamples) { // workers name blocks that the service handed out
		if _, err := b.Beacon(t.Context(), 1, sample); err != nil {
			t.Fatal(err)
		}
	}
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
