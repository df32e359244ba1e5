package settlement

import (
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// A database that is put back under an instance is noticed by what it acked, also where
// the lease is the same in the copy: the epoch stays open, and whoever presents what was
// lost finds it in the book.
func TestAckedStatementsOutliveAnUnnoticedRestore(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("alpha", "a1")
	b.toSample(1, 0)
	b.register(h)
	b.toSample(1, testSamples-1)
	b.accept(h.uptime(1, 0, nil)) // the copy has this one
	b.lead()
	backup := b.copyDatabase()
	lost := h.uptime(1, testSamples-1, nil)
	ack := b.accept(lost)[0].Ack
	instance := b.Instance()
	b.pool.Reset()
	pgtest.Restore(t, b.url, backup)
	b.pool.Reset()

	b.toClose(1)
	b.lead()
	if c, err := b.CloseDue(t.Context()); err != nil || c != nil {
		t.Fatalf("the epoch was closed without what was acked: %v, %v", c, err)
	}
	if b.Instance() == instance {
		t.Error("the instance has the name that it had before its database was put back")
	}
	if r := b.submit(Submitted{Envelope: lost, Ack: &ack})[0]; r.Status != Accepted {
		t.Fatalf("presented again it is %s: %v", r.Status, r.Problem)
	}
	b.goTo(b.now().Unix() + 2*testGrace)
	b.lead()
	c, err := b.CloseDue(t.Context())
	if err != nil || c == nil {
		t.Fatalf("close after the grace: %v, %v", c, err)
	}
	if n := len(b.book(c).Inputs.Statements); n != 4 { // delegation, inventory, two uptimes
		t.Errorf("the book has %d statements, want 4", n)
	}
}

// What is remembered is bounded, and the newest is always part of it.
func TestRecallIsBounded(t *testing.T) {
	var r recall
	now := time.Unix(1000, 0)
	for i := range 10_000 {
		a := ackedStatement{epoch: uint64(i), id: ionet.Hash{byte(i), byte(i >> 8)}}
		r.remember(now.Add(time.Duration(i)*10*time.Millisecond), a, a)
	}
	list := r.all()
	if len(list) != 2*recallKept {
		t.Errorf("remembers %d statements, want %d", len(list), 2*recallKept)
	}
	if got := list[len(list)-1].epoch; got != 9_999 {
		t.Errorf("the newest is %d, want 9999", got)
	}
	r.forget()
	if list := r.all(); len(list) != 0 {
		t.Errorf("remembers %d statements after it forgot", len(list))
	}
}
