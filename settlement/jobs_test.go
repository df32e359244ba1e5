package settlement

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// receiptsOf are the ids of the statements that a channel's receipts are of, in order.
func (b *books) receiptsOf(t testing.TB, channel ionet.Key) (ids []ionet.Hash) {
	t.Helper()
	rows, err := b.pool.Query(context.Background(), `SELECT e.record FROM log_entries e JOIN channels c ON c.number = e.channel WHERE c.channel = $1 ORDER BY e.index`, channel[:])
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var record []byte
		if err := rows.Scan(&record); err != nil {
			t.Fatal(err)
		}
		r, err := proofs.ParseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := r.Statement()
		ids = append(ids, e.ID())
	}
	return ids
}

// Job statements that come twice, late, in any order, in requests that overlap, to any
// instance end in the same ledger: each has one receipt, those of a channel in its order.
func TestJobsInAnyOrderProperty(t *testing.T) {
	b := newBooksUnder(t, feesPolicy)
	h, g := b.newHost("one", "gpu 0"), b.newHost("two", "gpu 1")
	b.register(h, g)
	offers := []proofs.Envelope{h.offer(1), g.offer(1)}
	other := *b
	other.open(pgtest.Open(t, b.url))
	instances := []*books{b, &other}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		s := b.newSpender(fmt.Sprint("renter ", run), 100_000, 100_000)
		var seats []*seat
		var all []proofs.Envelope
		want := map[ionet.Key][]ionet.Hash{}
		parts := map[ionet.Key]uint64{}
		before := [3]uint64{b.balance(ledger.OwedFees(h.payout)), b.balance(ledger.OwedFees(g.payout)), b.balance(ledger.NetworkFees())}
		for i := range rapid.IntRange(1, 3).Draw(rt, "channels") {
			c := s.openSeat([]*host{h, g}[i%2], offers[i%2], 20_000)
			seats = append(seats, c)
			for range rapid.IntRange(1, 8).Draw(rt, "jobs") {
				units := rapid.Uint64Range(1, 60).Draw(rt, "units")
				var e proofs.Envelope
				was := c.spent
				if rapid.IntRange(0, 4).Draw(rt, "batch") == 0 {
					e, _ = c.serveBatch(rapid.IntRange(1, 4).Draw(rt, "count"), units)
				} else {
					e = c.serve(units)
				}
				parts[c.text.Channel] += (c.spent - was) * 500 / 10_000
				all, want[c.text.Channel] = append(all, e), append(want[c.text.Channel], e.ID())
			}
		}
		for range rapid.IntRange(0, 4).Draw(rt, "twice") {
			all = append(all, rapid.SampledFrom(all).Draw(rt, "again"))
		}
		all = rapid.Permutation(all).Draw(rt, "order")
		together := rapid.Bool().Draw(rt, "together")
		var wg sync.WaitGroup
		for len(all) > 0 {
			n := rapid.IntRange(1, len(all)).Draw(rt, "request")
			at := instances[rapid.IntRange(0, 1).Draw(rt, "instance")]
			part := all[:n]
			all = all[n:]
			send := func() {
				results, err := at.Submit(context.Background(), plain(part...))
				if err != nil {
					t.Errorf("submit: %v", err)
				}
				for _, r := range results {
					if r.Status == Refused {
						t.Errorf("a job is refused: %v", r.Problem)
					}
				}
			}
			if !together {
				send()
				continue
			}
			wg.Go(send)
		}
		wg.Wait()
		var spent [2]uint64
		var network uint64
		for i, c := range seats {
			channel := c.text.Channel
			if got := b.receiptsOf(t, channel); !slices.Equal(got, want[channel]) {
				rt.Fatalf("channel %d has receipts of %v, want %v", i, got, want[channel])
			}
			st, err := b.Channel(t.Context(), channel)
			if err != nil || st.Spent.Base() != c.spent || st.Jobs != c.jobs || st.Waiting != 0 {
				rt.Fatalf("channel %d is %+v (%v), want %d spent by %d jobs", i, st, err, c.spent, c.jobs)
			}
			if got := b.balance(ledger.Channel(channel)); got != 20_000-c.spent {
				rt.Fatalf("channel %d has %d left, want %d", i, got, 20_000-c.spent)
			}
			spent[i%2], network = spent[i%2]+c.spent-parts[channel], network+parts[channel]
		}
		after := [3]uint64{b.balance(ledger.OwedFees(h.payout)), b.balance(ledger.OwedFees(g.payout)), b.balance(ledger.NetworkFees())}
		if got, want := [3]uint64{after[0] - before[0], after[1] - before[1], after[2] - before[2]}, [3]uint64{spent[0], spent[1], network}; got != want {
			rt.Fatalf("hosts and network have %v more, want %v", got, want)
		}
		if n := b.count(`SELECT count(*) FROM waiting_jobs`); n != 0 {
			rt.Fatalf("%d jobs wait", n)
		}
	})
	b.checkBooks()
}

// A job that is ahead waits, with its ack, and follows in the transaction that closes the
// gap: what waited before it was known is one chain with what comes.
func TestJobsThatWaitFollow(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 10_000, 10_000).openSeat(h, offer, 10_000)
	var jobs []proofs.Envelope
	for range 6 {
		jobs = append(jobs, c.serve(10))
	}
	waited := b.accept(jobs[1], jobs[3], jobs[5])
	if got := b.count(`SELECT waiting FROM channels`); got != 3 || len(b.receiptsOf(t, c.text.Channel)) != 0 {
		t.Fatalf("%d jobs wait, want 3 and no receipt", got)
	}
	for i, r := range b.submit(plain(jobs[1], jobs[3])...) {
		if r.Status != Duplicate || b.checkAck(jobs[1+2*i], r) != b.checkAck(jobs[1+2*i], waited[i]) {
			t.Errorf("a job that waits is %s when it comes again", r.Status)
		}
	}
	b.accept(jobs[4], jobs[2]) // closes gaps, but for the first
	if got := b.count(`SELECT waiting FROM channels`); got != 5 {
		t.Fatalf("%d jobs wait, want 5", got)
	}
	b.accept(jobs[0])
	if got := b.count(`SELECT waiting FROM channels`) + b.count(`SELECT count(*) FROM waiting_jobs`); got != 0 {
		t.Fatalf("%d jobs wait still", got)
	}
	if got := b.receiptsOf(t, c.text.Channel); len(got) != 6 || got[5] != jobs[5].ID() {
		t.Fatalf("receipts are of %v", got)
	}
	b.checkBooks()
}

// Of two jobs that begin at one place one is paid; what waited behind the other is dropped
// when its place is spent.
func TestForkedJobs(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 10_000, 10_000).openSeat(h, offer, 10_000)
	first := c.serve(10) // 15
	fork := c.next(20, func(j *proofs.Job) { j.ID[0] ^= 1 })
	after := c.next(10, func(j *proofs.Job) { // begins inside of what the second one spends
		j.Before, j.After, j.Cumulative = ionet.MustAmount(20), ionet.MustAmount(35), ionet.MustAmount(35)
	})
	second := c.serve(20) // 15..45
	b.accept(c.signJob(after), second)
	if got := b.count(`SELECT waiting FROM channels`); got != 2 {
		t.Fatalf("%d jobs wait, want 2", got)
	}
	b.accept(first)
	if got := b.receiptsOf(t, c.text.Channel); len(got) != 2 || got[1] != second.ID() {
		t.Fatalf("receipts are of %v", got)
	}
	if got := b.count(`SELECT waiting FROM channels`) + b.count(`SELECT count(*) FROM waiting_jobs`); got != 0 {
		t.Fatalf("%d jobs wait still", got)
	}
	b.refuse(ProblemOverlap, Submitted{Envelope: c.signJob(fork)})
	b.checkBooks()
}

// A job id that was used in the channel is found however the job that uses it again comes:
// behind, next, in the same request, or after it waited.
func TestReplaysAreFound(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 10_000, 10_000).openSeat(h, offer, 5_000)
	used := c.jobID(0)
	reuse := func(j *proofs.Job) { j.ID = used }
	first := c.serve(10)
	b.accept(first)
	b.refuse(ProblemReplay, Submitted{Envelope: c.signJob(c.next(10, reuse))})
	behind := c.next(3, reuse, func(j *proofs.Job) {
		j.Before, j.After, j.Cumulative = ionet.MustAmount(0), j.Fee, ionet.MustAmount(100)
	})
	b.refuse(ProblemReplay, Submitted{Envelope: c.signJob(behind)})

	second := c.serve(10)
	third := c.next(10, func(j *proofs.Job) { j.ID = c.jobID(1) })
	results := b.submit(plain(second, c.signJob(third))...)
	if results[0].Status != Accepted || results[1].Problem == nil || results[1].Problem.Type != ProblemReplay {
		t.Errorf("in one request: %v, %v, want the second to be a replay", results[0].Problem, results[1].Problem)
	}

	gap := c.serve(10)
	waits := c.signJob(c.next(10, reuse))
	b.logbook.conflicts.Store(0) // so that nobody looks for it before it is next
	b.accept(waits)
	b.accept(gap)
	if got := b.receiptsOf(t, c.text.Channel); len(got) != 3 {
		t.Errorf("receipts are of %v, want 3", got)
	}
	if got := b.count(`SELECT waiting FROM channels`) + b.count(`SELECT count(*) FROM waiting_jobs`); got != 0 {
		t.Errorf("%d jobs wait still", got)
	}
	b.accept(c.serve(10))
	other := c.s.openSeat(h, offer, 100)
	b.accept(other.signJob(other.next(3, reuse))) // an id is used once in a channel
	b.checkBooks()
}

// Where very many jobs are to follow at once, some channels are moved on by the next
// transaction; whoever asked for it waits until then.
func TestManyFollowInTurns(t *testing.T) {
	b, h, offer := newFees(t)
	b.logbook.following = 3
	s := b.newSpender("alice", 10_000, 10_000)
	var gaps []proofs.Envelope
	var seats []*seat
	for range 4 {
		c := s.openSeat(h, offer, 2_000)
		gaps, seats = append(gaps, c.serve(2)), append(seats, c)
		b.accept(c.serve(2), c.serve(2))
	}
	results := b.accept(gaps...)
	for i, r := range b.submit(plain(gaps...)...) {
		if r.Status != Duplicate || b.checkAck(gaps[i], r) != b.checkAck(gaps[i], results[i]) {
			t.Errorf("gap %d again is %s", i, r.Status)
		}
	}
	for i, c := range seats {
		if got := b.receiptsOf(t, c.text.Channel); len(got) != 3 {
			t.Errorf("channel %d has %d receipts, want 3", i, len(got))
		}
	}
	b.checkBooks()
}

// A statement that the database refuses though it was decided to be good takes no other
// with it: what came together is appended apart.
func TestRefusedRowTakesNoOther(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 10_000, 10_000)
	var jobs []proofs.Envelope
	var seats []*seat
	for range 5 {
		c := s.openSeat(h, offer, 1_000)
		seats, jobs = append(seats, c), append(jobs, c.serve(10))
	}
	b.exec(`UPDATE ledger_balances SET balance = 14 WHERE account = $1`, ledger.Channel(seats[2].text.Channel).String()) // the job costs 15
	items := b.Service.open(plain(jobs...))
	if err := b.learnFees(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		it.came = it.arrival
	}
	if err := b.appendItems(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for i, it := range items {
		if it.problem != nil || it.inserted != (i != 2) || (it.err == nil) != (i != 2) {
			t.Errorf("job %d: inserted %v, problem %v, error %v", i, it.inserted, it.problem, it.err)
		}
	}
	if n := b.count(`SELECT count(*) FROM log_entries WHERE tag = 1`); n != 4 {
		t.Errorf("%d receipts, want 4", n)
	}
}
