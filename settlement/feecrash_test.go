package settlement

import (
	"context"
	"errors"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// crashActs are what fees commit, one by one: each is done again by whoever does not know
// whether it happened.
func crashActs(t *testing.T, b *books) (ready string, acts map[string]func(b *books) error, order []string) {
	t.Helper()
	h, g := b.newHost("one", "gpu 0"), b.newHost("two", "gpu 1")
	b.register(h, g)
	a, z := b.newSpender("alice", 9_000, 5_000), b.newSpender("zoe", 3_000, 3_000)
	closing := z.openSeat(g, g.offer(1), 700)
	b.accept(closing.serve(10), b.closeSession(z))
	b.goTo(b.now().Unix() + 86_400)
	a.text.Issued, a.text.Expires = b.now().Unix(), b.now().Unix()+40_000
	a.session = a.sign()
	offer := h.offer(1)
	c := a.seat(h, offer, 1_000)
	first, second, third := c.serve(10), c.serve(10), c.serve(10)
	topUp := *c
	topUp.text.Limit = amountBase(2_000)
	submit := func(list ...proofs.Envelope) func(b *books) error {
		return func(b *books) error {
			results, err := b.Submit(context.Background(), plain(list...))
			for _, r := range results {
				if r.Problem != nil {
					err = errors.Join(err, r.Problem)
				}
			}
			return err
		}
	}
	acts = map[string]func(b *books) error{
		"session": submit(a.session), "offer": submit(offer), "channel": submit(c.opened), "job": submit(first), "job ahead": submit(third),
		"job that lets it follow": submit(second), "top-up": submit(topUp.sign()), "close": submit(b.closeOf(c)), "session-close": submit(b.closeSession(a)),
		"end": func(b *books) error { return b.endFees(context.Background()) },
	}
	order = []string{"session", "offer", "channel", "job", "job ahead", "job that lets it follow", "top-up", "close", "session-close", "end"}
	return b.copyDatabase(), acts, order
}

// A process dies at each commit of fees, before it and after it, and whoever asked asks the
// next process again: log, tables and ledger are those of a run without a fault.
func TestFeesDieAtEachStep(t *testing.T) {
	b := newBooks(t)
	ready, acts, order := crashActs(t, b)
	calm := b.on(pgtest.Copy(t, ready))
	for _, name := range order {
		if err := acts[name](calm); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	calm.checkBooks()
	want := calm.feeState()
	var met []string
	for _, f := range []fault{lost, unheard} {
		for n := 1; ; n++ {
			w := &wires{}
			url := pgtest.Copy(t, ready)
			dying := b.onWires(w, url)
			w.arm(n, f, true)
			at := -1
			for i, name := range order {
				if err := acts[name](dying); err != nil {
					at = i
					break
				}
			}
			step := w.disarm()
			if step == "" {
				break
			}
			met = append(met, step)
			if at < 0 && f == lost {
				t.Errorf("step %d, %s, was %s and nobody was told", n, step, f)
			}
			next := b.on(url)
			for _, name := range order[max(at, 0):] {
				if err := acts[name](next); err != nil {
					t.Errorf("after step %d, %s, %s: %s: %v", n, step, f, name, err)
				}
			}
			next.t = t
			next.sameFees(want)
			next.checkBooks()
		}
	}
	if len(met) != 2*11 { // each act once, but the end: channel, then session
		t.Errorf("%d steps were cut, want 22: %q", len(met), met)
	}
}
