package settlement

import (
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// replay hands in a statement of somebody else many times.
func (b *books) replay(e proofs.Envelope, want Status) {
	b.t.Helper()
	for range 5 {
		for i, r := range b.submit(plain(copiesOf(e, 1000)...)...) {
			if r.Status != want {
				b.t.Fatalf("copy %d is %s (%v), want %s", i, r.Status, r.Problem, want)
			}
		}
	}
}

func copiesOf(e proofs.Envelope, n int) []proofs.Envelope {
	list := make([]proofs.Envelope, n)
	for i := range list {
		list[i] = e
	}
	return list
}

// Whoever has read a worker's statements in a published book, or on their way, may hand
// them in as often as he likes: the worker loses nothing by it.
func TestReplaysCostTheirWorkerNothing(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(1, 0)
	old := h.uptime(1, 0, nil)
	b.accept(old)
	b.replay(old, Duplicate)
	b.replay(h.inventory, Duplicate)
	b.toSample(1, 1)
	b.accept(h.uptime(1, 1, nil))
	b.toSample(2, 1)
	b.exec(`UPDATE intake SET frozen_through = 1`)
	b.exec(`DELETE FROM uptimes`) // they are in the book
	b.replay(old, Refused)
	b.refuse(ProblemEpochClosed, statement(old))
	b.accept(h.uptime(2, 1, nil), h.list(func(*proofs.Inventory) {}, "gpu 0", "gpu 2"))
}

// What we acked is taken again on a database that was put back, whatever others send.
func TestReplaysKeepOutNoAckedStatement(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	before := b.copyDatabase()
	b.toSample(1, 0)
	old := h.uptime(1, 0, nil)
	b.accept(old)
	b.toSample(1, 1)
	acked := h.uptime(1, 1, nil)
	ack := b.accept(acked)[0].Ack
	restored := b.on(before)
	restored.accept(old)
	restored.replay(old, Duplicate)
	r := restored.submit(Submitted{Envelope: acked, Ack: &ack})[0]
	if r.Status != Accepted {
		t.Fatalf("an acked statement is %s: %v", r.Status, r.Problem)
	}
	if got, want := b.checkAck(acked, r), (proofs.Arrival{Epoch: 1, Sample: 1}); got != want {
		t.Errorf("it arrived %v, want %v", got, want)
	}
}

// Copies are looked at once, and each has its own answer: a bad signature or ack spoils
// no good one, nor the other way round.
func TestCopiesHaveTheirOwnAnswers(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(1, 0)
	good := h.uptime(1, 0, nil)
	forged := good
	forged.Signature[5] ^= 1
	foreign := b.ack(h.inventory, proofs.Arrival{Epoch: 1})
	ours := b.ack(good, proofs.Arrival{Epoch: 1})
	cases := []struct {
		Submitted
		status Status
		want   string
	}{
		{statement(forged), Refused, ProblemWrongSignature},
		{Submitted{good, &foreign}, Refused, ProblemWrongAck},
		{statement(good), Accepted, ""},
		{statement(forged), Refused, ProblemWrongSignature},
		{statement(good), Duplicate, ""},
		{Submitted{good, &ours}, Duplicate, ""},
	}
	var list []Submitted
	for _, c := range cases {
		list = append(list, c.Submitted)
	}
	for i, r := range b.submit(list...) {
		c, problem := cases[i], ""
		if r.Problem != nil {
			problem = r.Problem.Type
		} else {
			b.checkAck(good, r)
		}
		if r.Status != c.status || problem != c.want {
			t.Errorf("copy %d is %s (%v), want %s %s", i, r.Status, r.Problem, c.status, c.want)
		}
	}
}

// The budget of registrations is everybody's: one worker can't use it up, by mistake or
// not, and nobody else can use up a worker's share.
func TestInventoriesOfOneWorkerAreBounded(t *testing.T) {
	b := newBooks(t)
	h, other := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 1")
	b.accept(h.delegation)
	b.toSample(1, 0)
	var list []proofs.Envelope
	for n := range maxInventories + 1 {
		list = append(list, h.list(func(*proofs.Inventory) {}, fmt.Sprint("gpu ", n)))
	}
	fits, over := list[:maxInventories], list[maxInventories]
	b.accept(fits[:20]...)
	for i, r := range b.submit(plain(append(list[20:], fits[0])...)...) {
		if n, refused := 20+i, r.Status == Refused; refused != (n == maxInventories) {
			t.Errorf("inventory %d is %s: %v", n, r.Status, r.Problem)
		}
	}
	if p := b.refuse(ProblemRateLimited, statement(over)); p.Retry < testSample {
		t.Errorf("the worker is told to come again after %s", p.Retry)
	}
	b.replay(fits[1], Duplicate)
	b.register(other)
	h.inventory = fits[3]
	b.accept(h.uptime(1, 0, nil))
	last := h.list(func(*proofs.Inventory) {}, "gpu last")
	if r := b.submit(Submitted{last, ptr(b.ack(last, proofs.Arrival{Epoch: 1}))})[0]; r.Status != Accepted {
		t.Errorf("an inventory that was acked before is %s: %v", r.Status, r.Problem)
	}
	b.toSample(2, 0)
	b.accept(over)
}
