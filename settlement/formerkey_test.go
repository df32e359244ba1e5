package settlement

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// These tests try the ways by which a price of a key that was replaced could come in.

// A database that starts from nothing takes neither price nor announcement before it
// knows what the chain sealed: the key could be replaced, the version taken.
func TestEmptyDatabaseWaitsForTheChain(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	k := m.current()
	m.announce(observedBy("other oracle", 2, k+2))
	m.announce(observedBy("oracle", 3, k+5))
	for m.current() < k+4 {
		m.finishEpoch(m.alice)
	}
	m.onDatabase(pgtest.NewURL(t))
	m.mustBe(k + 4)
	for _, e := range []uint64{k, k + 1, k + 4} {
		m.refuse(ProblemBusy, Submitted{Envelope: m.price(e, 1)})
	}
	if a, err := m.AnnouncePolicy(t.Context(), observedBy("third oracle", 2, k+7)); !isProblem(err, ProblemBusy) {
		t.Errorf("version %d was announced in epoch %d though the chain has it: %v", a.Version, a.Arrival.Epoch, err)
	}
	m.fenceUp()
	m.until("it is known who observes", func() bool {
		r := m.submit(plain(m.price(k+4, 1))...)[0]
		return r.Problem != nil && r.Problem.Type == ProblemForeignPrice
	})
	// What slipped in all the same is in no book, and draws for no other epoch.
	m.slipIn(m.price(k+4, 1))
	for m.current() < k+7 {
		m.finishEpoch(m.alice)
	}
	for e := k + 4; e < k+7; e++ {
		if of, microUSD := m.used(e); of != 0 {
			t.Errorf("epoch %d drew by %d of epoch %d, which the book of that epoch does not have", e, microUSD, of)
		}
	}
	m.settleAll()
	m.audited()
}

// mustBe fails unless it is epoch k.
func (m *machine) mustBe(k uint64) {
	m.t.Helper()
	if now := m.current(); now != k {
		m.t.Fatalf("it is epoch %d, the test needs %d", now, k)
	}
}

// slipIn stores a statement that no rule was asked about.
func (b *books) slipIn(e proofs.Envelope) {
	b.t.Helper()
	items := b.Service.open(plain(e))
	if err := b.Service.store(b.t.Context(), items); err != nil || !items[0].inserted {
		b.t.Fatalf("%s is not stored: %v, %v", e.Kind, items[0].problem, err)
	}
}

// onQuery runs a function once, before the next query that has this text.
type onQuery struct {
	mu  sync.Mutex
	sql string
	run func()
}

func (q *onQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	q.mu.Lock()
	run := q.run
	if d.SQL == q.sql {
		q.run = nil
	} else {
		run = nil
	}
	q.mu.Unlock()
	if run != nil {
		run()
	}
	return ctx
}

func (*onQuery) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// frontWith starts a service of the same database whose requests run q.
func (m *machine) frontWith(q *onQuery) *Service {
	m.t.Helper()
	cfg, err := pgxpool.ParseConfig(m.url)
	if err != nil {
		m.t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = q
	pool, err := pgxpool.NewWithConfig(m.t.Context(), cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(pool.Close)
	c := m.config(m.pool)
	c.Front = pool
	s, err := New(m.t.Context(), c)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// The seal that decides who observes is booked while a price is judged, between any two
// questions of the policies: the former key's price is not taken.
func TestPriceWhileTheSealIsBooked(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	for i, sql := range []string{selectEpochLane, selectPolicies} {
		k := m.current()
		observers := []string{"oracle", "other oracle", "oracle"}
		m.announce(observedBy(observers[i+1], uint64(2+i), k+2))
		m.play(k, m.alice)
		m.goTo(m.clock.EpochStart(k+2) - 2)
		for range 50 {
			if m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`) > 0 {
				break
			}
			if err := m.Settle(t.Context()); err != nil { // sends the seal of k, which lands
				t.Fatal(err)
			}
		}
		m.advance(3)
		m.goTo(m.clock.EpochStart(k+2) + 1)
		if n := m.position(epochLane); n != k {
			t.Fatalf("the epoch lane is at %d, want %d", n, k)
		}
		q := &onQuery{sql: sql}
		node := m.frontWith(q)
		q.run = func() { m.untilSealed(k) }
		results, err := node.Submit(t.Context(), plain(m.priceBy(observers[i], k+2, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if q.run != nil {
			t.Fatal("the query was not asked: this tests nothing")
		}
		if p := results[0].Problem; p == nil || p.Type != ProblemBusy && p.Type != ProblemForeignPrice {
			t.Errorf("the price of epoch %d by the former observer is %s: %v", k+2, results[0].Status, p)
		}
		m.toClose(k + 2)
		m.untilSealed(k + 2)
		if of, _ := m.used(k + 2); of != 0 {
			t.Errorf("epoch %d drew by a price of epoch %d", k+2, of)
		}
	}
	m.audited()
}
