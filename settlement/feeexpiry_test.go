package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

func (b *books) end() {
	b.t.Helper()
	if err := b.endFees(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

const feeTestGrace = 30 // of feesPolicy

// A channel that was asked to close takes what was served before for a grace, then gives
// the rest back to its session; so does a session to its renter.
func TestCloseHasAGrace(t *testing.T) {
	b := newBooksUnder(t, feesPolicy)
	h := b.newHost("host", "gpu 0")
	b.register(h)
	s := b.newSpender("alice", 10_000, 6_000)
	c := s.openSeat(h, h.offer(1), 1_000)
	b.accept(c.serve(10))
	late := c.serve(10) // served now, handed in later
	b.accept(b.closeOf(c))
	b.goTo(b.now().Unix() + feeTestGrace - 1)
	b.end()
	b.accept(late)
	if got := b.balance(ledger.Channel(c.text.Channel)); got != 970 {
		t.Fatalf("the channel has %d, want 970", got)
	}
	b.goTo(b.now().Unix() + 1)
	b.end()
	if got, left := b.balance(ledger.Channel(c.text.Channel)), b.balance(ledger.Session(s.session.ID())); got != 0 || left != 5_970 {
		t.Errorf("channel and session have %d and %d, want 0 and 5970", got, left)
	}
	again := s.openSeat(h, c.offer, 5_970) // what came back is spent anew
	b.accept(again.serve(10), b.closeSession(s))
	b.goTo(b.now().Unix() + feeTestGrace)
	b.end()
	if got := b.balance(ledger.Renter(s.renter())); got != 10_000-30-15 {
		t.Errorf("the renter has %d, want all but 45", got)
	}
	if got := b.tags(); got[len(got)-1] != proofs.TagSessionOver || got[len(got)-2] != proofs.TagChannelOver {
		t.Errorf("the log ends %v", got[len(got)-2:])
	}
	b.end() // nothing is left
	b.checkBooks()
}

// What expires ends a grace later by itself; jobs that wait then can never apply.
func TestExpiryEndsAll(t *testing.T) {
	b := newBooksUnder(t, feesPolicy)
	h := b.newHost("host", "gpu 0")
	b.register(h)
	s := b.newSpender("alice", 10_000, 6_000)
	s.text.Expires = b.now().Unix() + 100
	s.session = s.sign()
	c := s.openSeat(h, h.offer(1), 1_000)
	first, second := c.serve(10), c.serve(10)
	b.accept(second)
	b.goTo(s.text.Expires + feeTestGrace - 1)
	b.end()
	if got := b.count(`SELECT count(*) FROM waiting_jobs`); got != 1 {
		t.Fatalf("%d jobs wait, want 1", got)
	}
	b.goTo(s.text.Expires + feeTestGrace)
	b.end()
	if got := b.balance(ledger.Renter(s.renter())); got != 10_000 {
		t.Errorf("the renter has %d, want all of it", got)
	}
	if got := b.count(`SELECT count(*) FROM waiting_jobs`) + b.count(`SELECT waiting FROM channels`); got != 0 {
		t.Errorf("%d jobs wait for a channel that is over", got)
	}
	b.refuse(ProblemClosed, Submitted{Envelope: first})
	b.checkBooks()
}

// A top-up raises the limit and goes on with what was spent; the payee is the one of the
// worker's delegation now, for what comes after.
func TestTopUp(t *testing.T) {
	b := newBooksUnder(t, feesPolicy)
	h := b.newHost("host", "gpu 0")
	b.register(h)
	c := b.newSpender("alice", 10_000, 6_000).openSeat(h, h.offer(1), 20)
	b.accept(c.serve(10))
	job := c.serve(20) // 15..45
	b.refuse(ProblemAboveLimit, Submitted{Envelope: job})
	c.text.Limit = amountBase(100)
	former := h.payout
	b.move(h, func(d *proofs.Delegation) { d.Payout, d.Issued = publicOf("another purse"), d.Issued+1 })
	b.accept(c.sign(), job)
	if got, next := b.balance(ledger.OwedFees(former)), b.balance(ledger.OwedFees(publicOf("another purse"))); got != 15 || next != 29 {
		t.Errorf("the former payee has %d, the next %d, want 15 and 29", got, next)
	}
	st, err := b.Channel(t.Context(), c.text.Channel)
	if err != nil || st.Limit.Base() != 100 || st.Spent.Base() != 45 || st.Payee != publicOf("another purse") {
		t.Errorf("channel is %+v, %v", st, err)
	}
	b.checkBooks()
}

// Jobs that waited when records of their channel were imported follow in the leader's pass.
func TestImportedChannelMovesOn(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("host", "gpu 0")
	b.register(h)
	c := b.newSpender("alice", 10_000, 6_000).openSeat(h, h.offer(1), 1_000)
	first, second := c.serve(10), c.serve(10)
	old := b.on(b.copyDatabase())
	old.accept(second)
	b.accept(first)
	if err := old.importRecords(t.Context(), b.encodedRecords()); err != nil {
		t.Fatal(err)
	}
	old.end()
	if got := old.receiptsOf(t, c.text.Channel); len(got) != 2 || old.count(`SELECT waiting FROM channels`) != 0 {
		t.Errorf("receipts are of %v, want two and none that waits", got)
	}
	old.checkBooks()
}
