package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

func amountBase(n uint64) ionet.Amount { return ionet.MustAmount(n) }

// putBackTo makes the database what it was.
func (b *books) putBackTo(backup string) {
	b.t.Helper()
	b.pool.Reset()
	pgtest.Restore(b.t, b.url, backup)
	b.pool.Reset()
}

// A database that is put back under a service takes nothing more into its log before that
// was compared with what is published; then the jobs that were lost are taken again, as
// the workers present them.
func TestLogThatWasPutBack(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 10_000, 5_000).openSeat(h, offer, 1_000)
	b.accept(c.serve(10))
	backup := b.copyDatabase()
	second := c.serve(10)
	ack := b.accept(second)[0].Ack
	third := c.serve(10)
	instance := b.Instance()
	b.putBackTo(backup)

	if seen := b.lastSeen(); seen.size != 5 {
		t.Fatalf("remembers a log of %d records, want 5", seen.size)
	}
	// The first that appends notices; nothing was published, so the comparison lets it.
	b.accept(third)
	if b.Instance() == instance {
		t.Error("workers are not told that the database was put back")
	}
	if got := b.count(`SELECT waiting FROM channels`); got != 1 {
		t.Errorf("%d jobs wait, want the third, for the second is lost", got)
	}
	r := b.submit(Submitted{Envelope: second, Ack: &ack})[0]
	if r.Status != Accepted || b.checkAck(second, r) != b.checkAck(second, Result{Ack: ack}) {
		t.Errorf("presented again it is %s (%v), with another arrival or not at all", r.Status, r.Problem)
	}
	if got := b.receiptsOf(t, c.text.Channel); len(got) != 3 {
		t.Errorf("receipts are of %v, want three", got)
	}
	b.checkBooks()
}

// A log of the same length that is another is noticed by its root.
func TestLogThatIsAnother(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 10_000, 5_000).openSeat(h, offer, 1_000)
	b.accept(c.serve(10))
	other := b.on(b.copyDatabase())
	d := *c // the same channel goes on otherwise
	b.accept(c.serve(10))
	other.accept(d.serve(12))
	instance := b.Instance()
	b.putBackTo(other.copyDatabase())
	b.accept(d.serve(2))
	if b.Instance() == instance {
		t.Error("another log of the same length was not noticed")
	}
	b.checkBooks()
}

// While the log may not grow nothing of fees is taken, and everybody is told to come again.
func TestHeldLogTakesNothing(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 10_000, 5_000)
	c := s.seat(h, offer, 1_000)
	b.accept(s.session)
	before := b.feeState()
	b.stands(logForked, "a test says so", publishedLog{}, logHead{})
	for _, e := range []proofs.Envelope{offer, c.opened, b.closeSession(s), b.newSpender("zoe", 7, 7).session} {
		if p := b.refuse(ProblemBusy, Submitted{Envelope: e}); p.Retry == 0 {
			t.Errorf("%s: it does not say when to come again", e.Kind)
		}
	}
	after := b.feeState()
	for _, name := range []string{"log_head", "log_entries", "sessions", "channels", "offers"} {
		if before[name] != after[name] {
			t.Errorf("%s changed", name)
		}
	}
}
