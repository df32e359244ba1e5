package settlement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// openings signs n channels of a session to one host, each of that limit.
func (s *spender) openings(h *host, offer proofs.Envelope, n int, limit uint64) (seats []*seat, opened []proofs.Envelope) {
	for range n {
		c := s.seat(h, offer, limit)
		seats, opened = append(seats, c), append(opened, c.opened)
	}
	return seats, opened
}

// topUp signs a greater limit of a channel.
func (c *seat) topUp(limit uint64) proofs.Envelope {
	greater := *c
	greater.text.Limit = amountBase(limit)
	return greater.sign()
}

// Who closes a session of very many channels holds the log up for one row: all of them
// close with it, and end in turns.
func TestSessionCloseWritesOneRow(t *testing.T) {
	b := newBooksUnder(t, feesPolicy)
	h := b.newHost("host", "gpu 0")
	b.register(h)
	offer := h.offer(1)
	b.accept(offer)
	var first *seat
	var spenders []*spender
	for i := range maxOver/openingsAnEpoch + 1 {
		s := b.newSpender(fmt.Sprint("alice ", i), 10_000, 6_000)
		b.accept(s.session)
		seats, opened := s.openings(h, offer, openingsAnEpoch, 20)
		for part := range slices.Chunk(opened, MaxSubmitted) {
			b.accept(part...)
		}
		first, spenders = seats[0], append(spenders, s)
	}
	s := first.s
	b.accept(first.serve(4)) // 6
	before := b.count(`SELECT sum(xmin::text::bigint) FROM channels`)
	b.accept(b.closeSession(s))
	if got := b.count(`SELECT sum(xmin::text::bigint) FROM channels`); got != before {
		t.Error("rows of channels changed with their session")
	}
	asked := b.now().Unix()
	if c, err := b.Channel(t.Context(), first.text.Channel); err != nil || c.State != stateClosing || c.ClosingAt != asked {
		t.Errorf("channel is %+v (%v), want it closing since %d", c, err, asked)
	}
	st, err := b.Session(t.Context(), s.session.ID())
	if err != nil || len(st.Channels) != openingsAnEpoch || slices.ContainsFunc(st.Channels, func(c ChannelState) bool { return c.State != stateClosing || c.ClosingAt != asked }) {
		t.Errorf("session has %d channels (%v), want all closing", len(st.Channels), err)
	}
	b.refuse(ProblemClosed, Submitted{Envelope: b.closeOf(first)})
	b.refuse(ProblemClosed, Submitted{Envelope: first.topUp(40)})
	b.accept(first.serve(2)) // 3, served when it was asked
	for _, other := range spenders[:len(spenders)-1] {
		b.accept(b.closeSession(other))
	}
	b.goTo(asked + feeTestGrace - 1)
	b.end()
	if got := b.count(`SELECT count(*) FROM channels WHERE state = 'over'`); got != 0 {
		t.Fatalf("%d channels are over within the grace", got)
	}
	b.goTo(b.now().Unix() + 2)
	b.end()
	if got := b.count(`SELECT count(*) FROM channels WHERE state <> 'over'`) + b.count(`SELECT count(*) FROM sessions WHERE state <> 'over'`); got != 0 {
		t.Errorf("%d channels and sessions are not over", got)
	}
	if got := b.count(`SELECT closing_at FROM sessions WHERE id = $1`, st.ID[:]); got != int(asked) {
		t.Errorf("the session was asked to close at %d, want %d", got, asked)
	}
	if got := b.balance(ledger.Renter(s.renter())); got != 10_000-9 {
		t.Errorf("the renter has %d, want all but 9", got)
	}
	b.checkBooks()
}

// A session's openings and top-ups of an epoch are counted, and so are its channels; what
// is the same as before costs nothing.
func TestOpeningsAreBounded(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 1_000_000, 900_000)
	b.accept(offer, s.session)
	seats, opened := s.openings(h, offer, openingsAnEpoch-1, 2)
	for part := range slices.Chunk(opened, MaxSubmitted) {
		b.accept(part...)
	}
	c := seats[0]
	b.accept(c.topUp(3))
	before := b.feeState()
	one := s.seat(h, offer, 2)
	for _, e := range []proofs.Envelope{one.opened, c.topUp(4)} {
		if p := b.refuse(ProblemBusy, Submitted{Envelope: e}); p.Retry <= 0 || p.Field != "body.session" {
			t.Errorf("problem is %+v", p)
		}
	}
	if r := b.submit(plain(seats[1].opened)...)[0]; r.Status != Duplicate {
		t.Errorf("an opening again is %s", r.Status)
	}
	b.sameFees(before)
	b.accept(c.serve(1), b.newSpender("zoe", 7, 7).session) // others, and jobs, go on

	b.toSample(b.currentEpoch()+1, 0)
	b.accept(one.opened, c.topUp(4))
	id := s.session.ID()
	b.exec(`UPDATE sessions SET channels = $1 WHERE id = $2`, maxChannels, id[:])
	b.refuse(ProblemTooManyStatements, Submitted{Envelope: s.seat(h, offer, 2).opened})
	b.accept(c.topUp(5))
	b.checkBooks()
}

// What we acked was counted when it came: it is taken again from a renter whose database
// row says that it had enough, after the database was put back.
func TestAckedOpeningsAreTaken(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 10_000, 6_000)
	b.accept(offer, s.session)
	c := s.seat(h, offer, 1_600)
	former := b.copyDatabase()
	opening := b.accept(c.opened)[0].Ack
	more := c.topUp(1_600 + 1_600/leastTopUp)
	raised := b.accept(more)[0].Ack

	next := b.on(former)
	next.exec(`UPDATE sessions SET opening_epoch = $1, openings = $2`, int64(next.currentEpoch()), openingsAnEpoch)
	next.refuse(ProblemBusy, Submitted{Envelope: c.opened})
	for _, st := range []Submitted{{Envelope: c.opened, Ack: &opening}, {Envelope: more, Ack: &raised}} {
		if r := next.submit(st)[0]; r.Status != Accepted {
			t.Errorf("presented with its ack it is %s (%v)", r.Status, r.Problem)
		}
	}
	next.checkBooks()
}

// A top-up adds a part of the limit, or all that the session has left.
func TestTopUpsAddAPart(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 10_000, 1_750)
	c := s.openSeat(h, offer, 1_600)
	p := b.refuse(ProblemNoTopUp, Submitted{Envelope: c.topUp(1_699)})
	if p.Field != "body.limit" {
		t.Errorf("problem is %+v", p)
	}
	b.accept(c.topUp(1_700))
	b.refuse(ProblemNoTopUp, Submitted{Envelope: c.topUp(1_701)})
	b.refuse(ProblemAboveReserve, Submitted{Envelope: c.topUp(1_751)})
	b.accept(c.topUp(1_750)) // 50 is all there is
	small := b.newSpender("zoe", 10_000, 100).openSeat(h, offer, 1)
	for limit := range uint64(8) {
		b.accept(small.topUp(2 + limit))
	}
	b.checkBooks()
}

// A renter begins so many sessions in an epoch; other renters do not wait for it.
func TestSessionsOfARenterAreBounded(t *testing.T) {
	b, _, _ := newFees(t)
	s := b.newSpender("alice", 10_000, 1)
	b.accept(s.session)
	next := func() proofs.Envelope {
		s.text.Reserve = amountBase(s.text.Reserve.Base() + 1)
		return s.sign()
	}
	for range sessionsAnEpoch - 1 {
		b.accept(next())
	}
	over := next()
	if p := b.refuse(ProblemBusy, Submitted{Envelope: over}); p.Retry <= 0 {
		t.Error("it does not say when to come again")
	}
	b.accept(b.newSpender("zoe", 7, 7).session)
	b.toSample(b.currentEpoch()+1, 0)
	b.accept(over)
	b.checkBooks()
}

// The database is put back to before a channel was opened, and the same channel is opened
// in another session: what was remembered of the former one does not count.
func TestChannelOfAnotherSession(t *testing.T) {
	b, h, offer := newFees(t)
	capped := b.newSpender("alice", 10_000, 2_000, proofs.PriceCap{Model: testModel.Name, Price: amountBase(1), Per: 1})
	free := *capped
	free.text.Caps = nil
	free.session = free.sign()
	b.accept(offer)
	former := b.copyDatabase()
	c := capped.openSeat(h, offer, 1_000)
	b.refuse(ProblemPriceAboveCap, Submitted{Envelope: c.signJob(c.next(10))})
	b.putBackTo(former)

	c.s, c.text.Session = &free, free.session.ID() // the address has the session's key alone
	b.accept(free.session, c.sign())
	b.accept(c.serve(10))
	if got := b.receiptsOf(t, c.text.Channel); len(got) != 1 {
		t.Errorf("receipts are of %v, want one", got)
	}

	// An instance that did not notice asks to come again, then knows.
	b.intake.fees.addChannel(&channelFact{channel: c.text.Channel, worker: h.worker(), session: &sessionFact{id: capped.session.ID(), Session: capped.text}})
	job := c.serve(10)
	b.refuse(ProblemBusy, Submitted{Envelope: job})
	b.accept(job)
	b.checkBooks()
}
