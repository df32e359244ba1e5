package settlement

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// submitSlowly takes statements the long way only, one request at a time.
func (b *books) submitSlowly(submitted ...Submitted) []Result {
	b.t.Helper()
	items := b.Service.open(submitted)
	if err := b.submitAlone(b.t.Context(), distinct(items)); err != nil {
		b.t.Fatal(err)
	}
	return b.answers(items)
}

// drawn makes what somebody may send for a host: mostly honest, and every kind of wrong.
func (h *host) drawn(r *rand.Rand, k uint64, sent []Submitted) Submitted {
	sample := uint16(r.IntN(testSamples))
	at := Submitted{Envelope: h.uptime(k, sample, nil)}
	again := func(change func(*proofs.Uptime)) Submitted { return statement(h.uptime(k, sample, change)) }
	switch r.IntN(14) {
	case 0, 1, 2:
		if len(sent) > 0 {
			return sent[r.IntN(len(sent))]
		}
	case 3, 4:
		return again(func(u *proofs.Uptime) { u.Previous = ionet.Hash{byte(r.IntN(3))} }) // equivocates with what is drawn beside it
	case 5:
		at.Envelope.Signature[7] ^= 1
	case 6:
		return again(func(u *proofs.Uptime) { u.Inventory = ionet.Hash{1} })
	case 7:
		return again(func(u *proofs.Uptime) { u.Devices = append(u.Devices, proofs.UptimeDevice{}) })
	case 8:
		return again(func(u *proofs.Uptime) { u.Epoch = k + 7 })
	case 9:
		return again(func(u *proofs.Uptime) { u.BeaconHash[3] ^= 1 })
	case 10:
		ack := h.b.ack(at.Envelope, proofs.Arrival{Epoch: k, Sample: sample})
		at.Ack = &ack
	case 11:
		return again(func(u *proofs.Uptime) { u.Delegation = ionet.Hash{2} })
	}
	return at
}

// outcome is what an answer tells.
type outcome struct {
	id      ionet.Hash
	status  Status
	arrival proofs.Arrival
	problem string
}

func (b *books) outcomes(submitted []Submitted, results []Result) []outcome {
	b.t.Helper()
	var all []outcome
	for i, r := range results {
		o := outcome{id: r.ID, status: r.Status}
		if r.Problem != nil {
			o.problem = r.Problem.Type + " " + r.Problem.Field + " " + r.Problem.Detail + " " + r.Problem.Retry.String()
		} else {
			o.arrival = b.checkAck(submitted[i].Envelope, r)
		}
		all = append(all, o)
	}
	return all
}

// Many small requests at once get the very answers that they would get one by one the
// long way, and leave the very rows.
func TestTogetherAsAlone(t *testing.T) {
	fast := newBooks(t)
	var hosts []*host
	for i := range 12 {
		hosts = append(hosts, fast.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	fast.register(hosts[1:]...) // nobody knows the first
	slow := fast.on(fast.copyDatabase())
	for k := uint64(1); k <= 5; k++ {
		fast.toSample(k, testSamples-1)
		for sample := range uint16(testSamples) { // few at once may bring blocks that nobody handed out
			if _, err := fast.Beacon(t.Context(), k, sample); err != nil {
				t.Fatal(err)
			}
		}
		requests := make([][][]Submitted, len(hosts)) // of each host, one after the other
		for i, h := range hosts {
			r := rand.New(rand.NewPCG(k, uint64(i)))
			var sent []Submitted
			for range 12 {
				var request []Submitted
				for range 1 + r.IntN(3) {
					request = append(request, h.drawn(r, k, sent))
				}
				sent = append(sent, request...)
				requests[i] = append(requests[i], request)
			}
		}
		want, got := make([][]outcome, len(hosts)), make([][]outcome, len(hosts))
		for i := range hosts {
			for _, request := range requests[i] {
				want[i] = append(want[i], slow.outcomes(request, slow.submitSlowly(request...))...)
			}
		}
		var wg sync.WaitGroup
		for i := range hosts {
			wg.Go(func() {
				for _, request := range requests[i] {
					results, err := fast.Submit(t.Context(), request)
					if err != nil {
						t.Error(err)
						return
					}
					got[i] = append(got[i], fast.outcomes(request, results)...)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Fatalf("epoch %d (-alone +together):\n%s", k, diff)
		}
		rows := [2]map[ionet.Hash]proofs.Statement{{}, {}}
		for i, b := range []*books{slow, fast} {
			for id, r := range b.uptimes() {
				rows[i][id] = r.statement
			}
		}
		if diff := cmp.Diff(rows[0], rows[1]); diff != "" || len(rows[0]) == 0 {
			t.Fatalf("epoch %d, %d rows (-alone +together):\n%s", k, len(rows[0]), diff)
		}
	}
	results := map[string]bool{}
	metrics, err := fast.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics {
		for _, v := range m.Metric {
			if m.GetName() == "ionetd_statements_total" {
				results[v.Label[0].GetValue()] = true
			}
		}
	}
	for _, want := range []string{"accepted", "duplicate", ProblemTooManyStatements, ProblemWrongSignature, ProblemUnknownWorker, ProblemUnknownInventory, ProblemWrongDeviceCount, ProblemFutureSample, ProblemForeignBeacon, ProblemForeignDelegation} {
		if !results[want] {
			t.Errorf("nothing was drawn that is answered with %s", want)
		}
	}
}

// holdIntake keeps everything from being stored until release is called.
func (b *books) holdIntake() (release func()) {
	b.t.Helper()
	tx, err := b.pool.Begin(b.t.Context())
	if err == nil {
		_, err = tx.Exec(b.t.Context(), `UPDATE intake SET frozen_through = frozen_through`)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return func() { tx.Rollback(context.Background()) }
}

// eventually waits until what other goroutines do has come so far.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not reached: %s", what)
}

// Copies and contradictions that meet in one batch, from different requests.
func TestConflictsInOneBatch(t *testing.T) {
	b := newBooks(t)
	b.intake.storing.workers = 1
	h, other := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 1")
	b.register(h, other)
	b.toSample(1, 0)
	b.accept(other.uptime(1, 0, nil)) // what is named is known now
	b.toSample(1, 1)
	if _, err := b.Beacon(t.Context(), 1, 1); err != nil {
		t.Fatal(err)
	}
	release := b.holdIntake()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[ionet.Hash][]Result{}
	send := func(e proofs.Envelope) {
		wg.Go(func() {
			results, err := b.Submit(context.Background(), plain(e))
			if err != nil {
				t.Errorf("submit: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got[e.ID()] = append(got[e.ID()], results[0])
		})
	}
	first := other.uptime(1, 1, nil)
	send(first) // its batch is under way
	eventually(t, "a batch is being stored", func() bool {
		return b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
	})
	one := h.uptime(1, 0, nil)
	two := h.uptime(1, 0, func(u *proofs.Uptime) { u.Previous = ionet.Hash{9} })
	for range 4 {
		send(one)
	}
	for range 3 {
		send(two)
	}
	eventually(t, "the rest waits for the next batch", func() bool { return b.intake.storing.isWaiting(7) })
	release()
	wg.Wait()
	for what, e := range map[string]proofs.Envelope{"first": first, "one": one, "two": two} {
		accepted := 0
		for _, r := range got[e.ID()] {
			if at := b.checkAck(e, r); at != (proofs.Arrival{Epoch: 1, Sample: 1}) {
				t.Errorf("%s arrived %v", what, at)
			}
			if r.Status == Accepted {
				accepted++
			}
		}
		if accepted != 1 {
			t.Errorf("%s was accepted %d times: %+v", what, accepted, got[e.ID()])
		}
	}
	if n := b.count(`SELECT count(*) FROM uptimes`); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	// A third one proves nothing more.
	b.refuse(ProblemTooManyStatements, statement(h.uptime(1, 0, func(u *proofs.Uptime) { u.Previous = ionet.Hash{8} })))
}

func (g *stage) isWaiting(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting) == n
}

// What is remembered is of a database that was put back since, where the same numbers
// stand for others: nothing is attributed wrongly.
func TestNumbersOfAnotherLife(t *testing.T) {
	b := newBooks(t)
	backup := b.copyDatabase()
	a, c := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 1")
	b.register(a, c)
	b.toSample(1, 0)
	b.accept(a.uptime(1, 0, nil), c.uptime(1, 0, nil)) // all is remembered
	putBack := func() {
		b.pool.Reset()
		pgtest.Restore(t, b.url, backup)
		b.pool.Reset()
	}
	putBack()
	b.refuse(ProblemUnknownWorker, statement(a.uptime(1, 0, nil)))

	putBack()
	other := b.on(b.url)
	b.Service.intake.facts = factsOf(t, b, a, c)
	other.register(c, a) // in another order
	b.toSample(1, 1)
	b.Beacon(t.Context(), 1, 1)
	for _, h := range []*host{a, c} {
		e := h.uptime(1, 1, nil)
		b.accept(e)
		if r := b.uptimes()[e.ID()]; r.at.worker != h.worker() || !bytes.Equal(r.statement.Envelope.Append(nil), e.Append(nil)) {
			t.Errorf("the row of %s is %+v", h.worker(), r)
		}
	}
	if n := b.count(`SELECT count(*) FROM uptimes`); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// factsOf is what a service remembers that saw a and c registered in this order.
func factsOf(t *testing.T, b *books, hosts ...*host) *facts {
	t.Helper()
	f := newFacts()
	read := map[ionet.Hash]*fact{}
	for i, h := range hosts {
		d, err := proofs.ParseDelegation(b.net.Network.ID(), h.delegation.Signer, h.delegation.Body)
		if err != nil {
			t.Fatal(err)
		}
		read[h.inventory.ID()] = &fact{
			inventory: inventoryRow{worker: h.worker(), delegation: h.delegation.ID(), devices: h.devices}, delegation: delegationRow{issued: d.Issued, expires: d.Expires},
			number: int32(i + 1), workerNumber: int32(i + 1), lot: [16]byte{1}, read: 1,
		}
	}
	f.add(0, false, read, nil)
	return f
}

// The one statement that stores a batch is lost, or its answer is.
func TestBatchDiesWhenStored(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(1, 1)
	ready := b.copyDatabase()
	for i, f := range []fault{lost, unheard} {
		at := uint16(2 + i)
		w, url := &wires{}, pgtest.Copy(t, ready)
		dying := b.onWires(w, url)
		for sample := range uint16(2) { // every statement is prepared on every connection then
			for range 3 {
				dying.submit(plain(h.uptime(1, sample, nil))...)
			}
		}
		b.toSample(1, at)
		if _, err := dying.Beacon(t.Context(), 1, at); err != nil {
			t.Fatal(err)
		}
		e := h.uptime(1, at, nil)
		w.arm(1, f, true)
		_, err := dying.Submit(t.Context(), plain(e))
		if step := w.disarm(); step != "sql insert uptimes" || err == nil {
			t.Fatalf("step %q was %s: %v", step, f, err)
		}
		next := b.on(url)
		r := next.submit(plain(e)...)[0]
		if want := map[fault]Status{lost: Accepted, unheard: Duplicate}[f]; r.Status != want {
			t.Errorf("%s: sent again it is %s (%v), want %s", f, r.Status, r.Problem, want)
		}
		next.checkAck(e, r)
	}
}

// Ten times more comes in than may be in hand: it is refused at once, memory stays where
// it is, and what is in hand is stored.
func TestOverload(t *testing.T) {
	b := newBooks(t)
	var hosts []*host
	for i := range 100 {
		hosts = append(hosts, b.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	b.register(hosts...)
	var all []Submitted
	for sample := range uint16(testSamples) {
		b.toSample(1, sample)
		if _, err := b.Beacon(t.Context(), 1, sample); err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			all = append(all, Submitted{Envelope: h.uptime(1, sample, nil)})
		}
	}
	b.submit(plain(hosts[0].uptime(1, 0, nil))...)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	release := b.holdIntake()
	var wg sync.WaitGroup
	var taken, refused atomic.Int64
	const requests = 10 * maxInHand / 600
	for range requests {
		wg.Go(func() {
			results, err := b.Submit(context.Background(), all)
			p, busy := err.(*Problem)
			switch {
			case err == nil:
				for _, r := range results {
					if r.Problem != nil {
						t.Errorf("refused: %v", r.Problem)
					}
				}
				taken.Add(1)
			case busy && p.Type == ProblemBusy && p.Retry > 0 && p.Status == 429:
				refused.Add(1)
			default:
				t.Errorf("submit: %v", err)
			}
		})
	}
	eventually(t, "all others are refused", func() bool { return refused.Load() == requests-maxInHand/600 })
	if grown := int64(heap()) - int64(before); grown > 100<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	} else {
		t.Logf("%d statements are in hand, %d were refused, the heap grew by %d MiB", b.intake.admission.statements.Load(), 600*refused.Load(), grown>>20)
	}
	release()
	wg.Wait()
	if taken.Load() == 0 || b.intake.admission.statements.Load() != 0 || b.intake.admission.bytes.Load() != 0 {
		t.Errorf("%d requests were taken, %d statements are still in hand", taken.Load(), b.intake.admission.statements.Load())
	}
	if n := b.count(`SELECT count(*) FROM uptimes`); n != len(all)+1 {
		t.Errorf("%d rows, want %d", n, len(all)+1)
	}
}

// An epoch's rows leave with its book, and the space with them; what comes again is in
// the book.
func TestRowsLeaveWithTheirBook(t *testing.T) {
	b := newBooks(t)
	var hosts []*host
	for i := range 40 {
		hosts = append(hosts, b.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	b.register(hosts...)
	size := func() int {
		return b.count(`SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'uptimes\_%' AND relkind = 'r'`)
	}
	empty, full := size(), 0
	for k := uint64(1); k <= 9; k++ {
		b.play(k, hosts...)
		last := hosts[0].previous
		if k == 1 {
			full = size()
		}
		if s := size(); s > full+full/8 {
			t.Errorf("epoch %d: the table has %d bytes, %d in epoch 1", k, s, full)
		}
		b.toSample(k+1, 0)
		b.accept(hosts[1].uptime(k+1, 0, nil)) // the next epoch goes on beside it
		c := b.closeDue(k)
		if n := b.count(`SELECT count(*) FROM uptimes WHERE epoch <= $1`, int64(k)); n != 0 {
			t.Errorf("%d rows of epoch %d are left", n, k)
		}
		if n := len(b.book(c).Inputs.Statements); n < 40*testSamples {
			t.Errorf("the book of epoch %d has %d statements", k, n)
		}
		b.sealNow(c)
		b.refuse(ProblemEpochClosed, statement(hosts[2].uptime(k, 0, nil)))
		w, err := b.WorkerStatus(t.Context(), hosts[0].worker())
		if err != nil || w.LastStatement != last || w.LastEpoch != k || w.LastSample != testSamples-1 {
			t.Errorf("after epoch %d the worker's last statement is %+v (%v), want %s", k, w, err, last)
		}
	}
	if s := size(); s > empty+8*8192 {
		t.Errorf("the empty table has %d bytes, %d at first", s, empty)
	}
}

// Somebody reads the table, a backup say, or another open epoch lies in the same part:
// the rows leave all the same.
func TestRowsLeaveUnderReaders(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	b.toSample(5, 0)
	later := h.uptime(5, 0, nil)
	b.accept(later)
	b.lead()
	c, err := b.CloseDue(t.Context())
	if err != nil || c == nil {
		t.Fatalf("close: %v, %v", c, err)
	}
	b.sealNow(c)
	if all := b.uptimes(); len(all) != 1 || all[later.ID()].id != later.ID() {
		t.Errorf("of both epochs %d rows are left, want the later one's", len(all))
	}
	b.accept(h.uptime(2, 0, nil))
	reader, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback(context.Background())
	if _, err := reader.Exec(t.Context(), `SELECT count(*) FROM uptimes`); err != nil {
		t.Fatal(err)
	}
	if c, err = b.CloseDue(t.Context()); err != nil || c == nil || c.Epoch != 2 {
		t.Fatalf("close: %v, %v", c, err)
	}
	if n := b.count(`SELECT count(*) FROM uptimes WHERE epoch = 2`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// The row gives back the very bytes, whatever a host reads.
func TestUptimeRowsGiveBackTheBytes(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1", "gpu 2")
	b.register(h)
	want := map[ionet.Hash]proofs.Envelope{}
	for sample := range uint16(testSamples) {
		b.toSample(1, sample)
		for half := range byte(2) {
			e := h.uptime(1, sample, func(u *proofs.Uptime) {
				r := rand.New(rand.NewPCG(uint64(sample), uint64(half)))
				u.Previous = ionet.HashOf([]byte{byte(sample), half})
				for i := range u.Devices {
					u.Devices[i] = proofs.UptimeDevice{
						Utilization: uint8(r.IntN(101)), MemoryMiB: r.Uint32(), Temperature: int16(r.Uint32()), PowerW: uint16(r.Uint32()),
						SMMHz: uint16(r.Uint32()), MemoryMHz: uint16(r.Uint32()), ECCErrors: r.Uint32(), Processes: uint16(r.Uint32()),
					}
				}
				u.Devices[r.IntN(3)] = proofs.UptimeDevice{Status: proofs.DeviceGone}
			})
			b.accept(e)
			want[e.ID()] = e
		}
	}
	got := b.uptimes()
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for id, e := range want {
		if g := got[id].statement.Envelope; !bytes.Equal(g.Append(nil), e.Append(nil)) {
			t.Errorf("the row of %s gives %x, want %x", id, g.Append(nil), e.Append(nil))
		}
	}
}

// A revocation that was acked in an earlier epoch, and came again after the database was
// put back, counts at once for what is remembered.
func TestRevocationOfAnEarlierEpochCountsAtOnce(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(2, 0)
	b.accept(h.uptime(2, 0, nil))
	revocation := h.revoke(h.delegation.ID())
	ack := b.ack(revocation, proofs.Arrival{Epoch: 1})
	if r := b.submit(Submitted{revocation, &ack})[0]; r.Status != Accepted {
		t.Fatalf("the revocation is %s: %v", r.Status, r.Problem)
	}
	b.toSample(2, 1)
	b.refuse(ProblemDelegationRevoked, statement(h.uptime(2, 1, nil)))
}
