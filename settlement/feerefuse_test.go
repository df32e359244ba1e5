package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// feeCase is a statement of fees that must be refused. make gets a network in which alice
// has a channel of 1,000 to the host, of whose jobs one is paid.
type feeCase struct {
	problem, field string
	make           func(f *refusalWorld) proofs.Envelope
}

type refusalWorld struct {
	*books
	name  string
	h, g  *host // g has no channel
	offer proofs.Envelope
	s     *spender
	c     *seat
}

func newRefusalWorld(b *books, name string) *refusalWorld {
	b.t.Helper()
	f := &refusalWorld{books: b, h: b.newHost("one "+name, "gpu 0 "+name), g: b.newHost("two "+name, "gpu 1 "+name), name: name}
	for _, h := range []*host{f.h, f.g} {
		h.delegation = h.delegate(func(d *proofs.Delegation) { d.Issued, d.Expires = b.now().Unix()-10, b.now().Unix()+300_000 })
		h.inventory = h.list(func(*proofs.Inventory) {}, "gpu "+h.payout.String())
	}
	b.register(f.h, f.g)
	f.offer = f.h.offer(1)
	f.s = f.spender("alice", 10_000, 5_000, proofs.PriceCap{Model: "llama", Price: ionet.MustAmount(6), Per: 2})
	f.c = f.s.openSeat(f.h, f.offer, 1_000)
	b.accept(f.c.serve(10))
	return f
}

// spender makes another renter of the case.
func (f *refusalWorld) spender(name string, prepaid, reserve uint64, caps ...proofs.PriceCap) *spender {
	return f.newSpender(name+" of "+f.name, prepaid, reserve, caps...)
}

// rekey signs an envelope's body by another key.
func (f *refusalWorld) rekey(e proofs.Envelope, name string) proofs.Envelope {
	return proofs.Sign(f.net.Network.ID(), e.Kind, keyOf(name), e.Body)
}

// job is the next job, changed.
func (f *refusalWorld) job(units uint64, change ...func(*proofs.Job)) proofs.Envelope {
	return f.c.signJob(f.c.next(units, change...))
}

// spoil changes bytes of a statement and signs it again, for what no encoder writes.
func (f *refusalWorld) spoil(e proofs.Envelope, key string, at int, b ...byte) proofs.Envelope {
	body := append([]byte(nil), e.Body...)
	copy(body[at:], b)
	return proofs.Sign(f.net.Network.ID(), e.Kind, keyOf(key), body)
}

// open is another channel of alice's to the host, changed before its address is derived.
func (f *refusalWorld) open(s *spender, h *host, limit uint64, change func(*proofs.ChannelOpen)) proofs.Envelope {
	c := s.seat(h, f.offer, limit)
	change(&c.text)
	return c.sign()
}

func keep(*proofs.ChannelOpen) {}

// feeRefusals has every way to refuse a statement of fees, by what it is.
var feeRefusals = map[string]feeCase{
	"session: balance":          {ProblemInsufficient, "body.reserve", func(f *refusalWorld) proofs.Envelope { return f.spender("poor", 99, 100).session }},
	"session: nothing reserved": {ProblemMalformedStatement, "body.reserve", func(f *refusalWorld) proofs.Envelope { return f.spender("zero", 1, 0).session }},
	"session: expired": {ProblemExpired, "body.expires", func(f *refusalWorld) proofs.Envelope {
		s := f.spender("late", 10, 10)
		s.text.Issued, s.text.Expires = s.text.Issued-100, s.text.Issued
		return s.sign()
	}},
	"session: weak key": {ProblemWeakKey, "body.key", func(f *refusalWorld) proofs.Envelope {
		s := f.spender("weak", 10, 10)
		s.text.Key = ionet.Key{1}
		return s.sign()
	}},
	"session: another's signature": {ProblemWrongSignature, "body.provider", func(f *refusalWorld) proofs.Envelope {
		return f.rekey(f.spender("victim", 10, 10).session, "thief")
	}},
	"session: another network": {ProblemWrongNetwork, "body.network", func(f *refusalWorld) proofs.Envelope {
		s := f.spender("elsewhere", 10, 10)
		text, err := s.text.Text(ionet.Hash{9})
		return f.signText(proofs.KindSession, s.wallet, text, err)
	}},
	"offer: unknown worker": {ProblemUnknownWorker, "signer", func(f *refusalWorld) proofs.Envelope { return f.newHost("three "+f.name, "gpu 2").offer(1) }},
	"offer: former sequence": {ProblemOfferPassed, "body.sequence", func(f *refusalWorld) proofs.Envelope {
		return f.h.offer(1, proofs.OfferModel{Name: "other", Price: ionet.MustAmount(1), Per: 1})
	}},
	"offer: expired": {ProblemExpired, "body.expires", func(f *refusalWorld) proofs.Envelope {
		body, err := proofs.Offer{Sequence: 9, Expires: f.now().Unix(), Endpoint: "https://x.example", Models: []proofs.OfferModel{testModel}}.Encode()
		return f.signed(proofs.KindOffer, f.h.key, body, err)
	}},
	"offer: sequence beyond the column": {ProblemMalformedStatement, "body.sequence", func(f *refusalWorld) proofs.Envelope { return f.h.offer(1 << 63) }},
	"offer: nothing asked": {ProblemMalformedStatement, "body.models[1].price", func(f *refusalWorld) proofs.Envelope {
		return f.h.offer(2, testModel, proofs.OfferModel{Name: "other", Unit: proofs.UnitToken, Per: 1})
	}},
	"top-up: a little": {ProblemNoTopUp, "body.limit", func(f *refusalWorld) proofs.Envelope { return f.c.topUp(1_001) }},
	"offer: malformed": {ProblemMalformedStatement, "body", func(f *refusalWorld) proofs.Envelope { return f.signed(proofs.KindOffer, f.h.key, []byte{1}, nil) }},
	"open: unknown session": {ProblemUnknownSession, "body.session", func(f *refusalWorld) proofs.Envelope {
		return f.open(f.spender("unheard", 10, 10), f.h, 5, keep)
	}},
	"open: another's session": {ProblemForeignSession, "signer", func(f *refusalWorld) proofs.Envelope { return f.rekey(f.open(f.s, f.h, 5, keep), "thief") }},
	"open: wrong address": {ProblemWrongChannel, "body.channel", func(f *refusalWorld) proofs.Envelope {
		return f.open(f.s, f.h, 5, func(o *proofs.ChannelOpen) { o.Channel[0] ^= 1 })
	}},
	"open: other worker than the address": {ProblemWrongChannel, "body.channel", func(f *refusalWorld) proofs.Envelope {
		return f.open(f.s, f.h, 5, func(o *proofs.ChannelOpen) { o.Worker = f.g.worker() })
	}},
	"open: nothing limited":   {ProblemMalformedStatement, "body.limit", func(f *refusalWorld) proofs.Envelope { return f.open(f.s, f.h, 0, keep) }},
	"open: above the reserve": {ProblemAboveReserve, "body.limit", func(f *refusalWorld) proofs.Envelope { return f.open(f.s, f.h, 4_001, keep) }},
	"open: after its session": {ProblemExpired, "body.expires", func(f *refusalWorld) proofs.Envelope {
		return f.open(f.s, f.h, 5, func(o *proofs.ChannelOpen) { o.Expires++ })
	}},
	"open: expired": {ProblemExpired, "body.expires", func(f *refusalWorld) proofs.Envelope {
		return f.open(f.s, f.h, 5, func(o *proofs.ChannelOpen) { o.Expires = f.now().Unix() })
	}},
	"open: unknown worker": {ProblemUnknownWorker, "body.worker", func(f *refusalWorld) proofs.Envelope { return f.open(f.s, f.newHost("four "+f.name, "gpu 3"), 5, keep) }},
	"open: same limit": {ProblemNoTopUp, "body.limit", func(f *refusalWorld) proofs.Envelope {
		f.c.text.Expires--
		return f.c.sign()
	}},
	"top-up: shorter": {ProblemNoTopUp, "body.expires", func(f *refusalWorld) proofs.Envelope {
		f.c.text.Expires, f.c.text.Limit = f.c.text.Expires-1, ionet.MustAmount(2_000)
		return f.c.sign()
	}},
	"top-up: above the reserve": {ProblemAboveReserve, "body.limit", func(f *refusalWorld) proofs.Envelope {
		f.c.text.Limit = ionet.MustAmount(5_001)
		return f.c.sign()
	}},
	"top-up: after a close": {ProblemClosed, "body.channel", func(f *refusalWorld) proofs.Envelope {
		f.accept(f.closeOf(f.c))
		f.c.text.Limit = ionet.MustAmount(2_000)
		return f.c.sign()
	}},
	"open: session closes": {ProblemClosed, "body.session", func(f *refusalWorld) proofs.Envelope {
		f.accept(f.closeSession(f.s))
		return f.open(f.s, f.h, 5, keep)
	}},
	"close: unknown channel": {ProblemUnknownChannel, "body.channel", func(f *refusalWorld) proofs.Envelope { return f.closeOf(f.s.seat(f.g, f.offer, 5)) }},
	"close: another's":       {ProblemForeignSession, "signer", func(f *refusalWorld) proofs.Envelope { return f.rekey(f.closeOf(f.c), "thief") }},
	"close: twice": {ProblemClosed, "body.channel", func(f *refusalWorld) proofs.Envelope {
		f.accept(f.closeOf(f.c))
		f.c.spent++
		return f.closeOf(f.c)
	}},
	"session-close: unknown":   {ProblemUnknownSession, "body.session", func(f *refusalWorld) proofs.Envelope { return f.closeSession(f.spender("unheard", 1, 1)) }},
	"session-close: another's": {ProblemForeignSession, "signer", func(f *refusalWorld) proofs.Envelope { return f.rekey(f.closeSession(f.s), "thief") }},
	"session-close: over": {ProblemClosed, "body.session", func(f *refusalWorld) proofs.Envelope {
		f.goTo(f.s.text.Expires + 86_400)
		if err := f.endFees(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		return f.closeSession(f.s)
	}},

	// Rules 1 to 14, FORMAT.md section 12; rule 3 is above.
	"job: 1 unknown channel": {ProblemUnknownChannel, "body.channel", func(f *refusalWorld) proofs.Envelope {
		c := f.s.seat(f.h, f.offer, 5)
		return c.signJob(c.next(1))
	}},
	"job: 2 other worker":  {ProblemOtherWorker, "signer", func(f *refusalWorld) proofs.Envelope { return f.rekey(f.job(1), "worker two "+f.name) }},
	"job: 4 no such offer": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope { return f.job(1, func(j *proofs.Job) { j.Offer[0] ^= 1 }) }},
	"job: 4 another's offer": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope {
		e := f.g.offer(1)
		f.accept(e)
		return f.job(1, func(j *proofs.Job) { j.Offer = e.ID() })
	}},
	"job: 4 model": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope { return f.job(1, func(j *proofs.Job) { j.Model = "other" }) }},
	"job: 4 unit": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope {
		return f.job(1, func(j *proofs.Job) { j.Unit = proofs.UnitImage })
	}},
	"job: 4 price": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope {
		return f.job(2, func(j *proofs.Job) {
			j.Price, j.Fee = ionet.MustAmount(4), ionet.MustAmount(4)
			j.After = ionet.MustAmount(j.Before.Base() + 4)
			j.Cumulative = j.After
		})
	}},
	"job: 4 offer expired": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope {
		f.goTo(f.now().Unix() + 40_001)
		return f.job(1)
	}},
	"job: 5 above the cap": {ProblemPriceAboveCap, "body.price", func(f *refusalWorld) proofs.Envelope {
		dear := proofs.OfferModel{Name: "llama", Price: ionet.MustAmount(7), Per: 2}
		e := f.h.offer(2, dear)
		f.accept(e)
		return f.job(2, func(j *proofs.Job) {
			j.Offer, j.Price, j.Fee = e.ID(), dear.Price, ionet.MustAmount(7)
			j.After = ionet.MustAmount(j.Before.Base() + 7)
			j.Cumulative = j.After
		})
	}},
	"job: 5 no cap for the model": {ProblemPriceAboveCap, "body.price", func(f *refusalWorld) proofs.Envelope {
		other := proofs.OfferModel{Name: "other", Price: testModel.Price, Per: testModel.Per}
		e := f.h.offer(2, other)
		f.accept(e)
		return f.job(2, func(j *proofs.Job) { j.Offer, j.Model = e.ID(), "other" })
	}},
	"job: 6 wrong fee": {ProblemWrongFee, "body.fee", func(f *refusalWorld) proofs.Envelope { return f.wrongFee() }},
	"job: 7 voucher of another key": {ProblemVoucher, "body.voucher", func(f *refusalWorld) proofs.Envelope {
		j := f.c.next(1)
		j.Voucher = proofs.SignVoucher(keyOf("thief"), j.Channel, j.Cumulative)
		return f.c.signJob(j)
	}},
	"job: 7 voucher of less": {ProblemVoucher, "body.voucher", func(f *refusalWorld) proofs.Envelope {
		j := f.c.next(1)
		j.Voucher = proofs.SignVoucher(f.s.key, j.Channel, ionet.MustAmount(j.Cumulative.Base()-1))
		return f.c.signJob(j)
	}},
	"job: 7 not covered":     {ProblemVoucher, "body.cumulative", func(f *refusalWorld) proofs.Envelope { return f.notCovered() }},
	"job: 8 above the limit": {ProblemAboveLimit, "body.after", func(f *refusalWorld) proofs.Envelope { return f.job(660) }},
	"job: 8 ahead and above the limit": {ProblemAboveLimit, "body.after", func(f *refusalWorld) proofs.Envelope {
		f.c.spent = 900
		return f.job(100)
	}},
	"job: 9 before the session": {ProblemExpired, "body.served", func(f *refusalWorld) proofs.Envelope {
		return f.job(1, func(j *proofs.Job) { j.Served = f.s.text.Issued - 1 })
	}},
	"job: 9 in the future": {ProblemExpired, "body.served", func(f *refusalWorld) proofs.Envelope {
		return f.job(1, func(j *proofs.Job) { j.Served += 61 })
	}},
	"job: 9 after the channel": {ProblemExpired, "body.served", func(f *refusalWorld) proofs.Envelope {
		c := f.s.seat(f.h, f.h.offer(2), 50)
		c.text.Expires = f.now().Unix() + 10
		c.opened = c.sign()
		f.accept(c.offer, c.opened)
		f.goTo(f.now().Unix() + 10)
		return c.signJob(c.next(1))
	}},
	"job: 10 served after the close": {ProblemClosed, "body.served", func(f *refusalWorld) proofs.Envelope {
		f.accept(f.closeOf(f.c))
		f.goTo(f.now().Unix() + 61)
		return f.job(1)
	}},
	"job: 10 served after the session's close": {ProblemClosed, "body.served", func(f *refusalWorld) proofs.Envelope {
		f.accept(f.closeSession(f.s))
		f.goTo(f.now().Unix() + 61)
		return f.job(1)
	}},
	"job: 10 over": {ProblemClosed, "body.served", func(f *refusalWorld) proofs.Envelope {
		e := f.job(1)
		f.accept(f.closeOf(f.c))
		f.goTo(f.now().Unix() + 86_400)
		if err := f.endFees(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		return e
	}},
	"job: 11 replay": {ProblemReplay, "body.id", func(f *refusalWorld) proofs.Envelope { return f.job(1, func(j *proofs.Job) { j.ID = f.c.jobID(0) }) }},
	"job: 12 no response": {ProblemNoResponseHash, "body.response", func(f *refusalWorld) proofs.Envelope {
		return f.job(1, func(j *proofs.Job) { j.Response = ionet.Hash{} })
	}},
	"job: 12 no request": {ProblemNoResponseHash, "body.response", func(f *refusalWorld) proofs.Envelope {
		return f.job(1, func(j *proofs.Job) { j.Request = ionet.Hash{} })
	}},
	"job: 13 no fee": {ProblemNoFee, "body.fee", func(f *refusalWorld) proofs.Envelope { return f.job(0) }},
	"job: 14 overlap": {ProblemOverlap, "body.before", func(f *refusalWorld) proofs.Envelope {
		f.c.spent--
		return f.job(1)
	}},
	"job: another's signature": {ProblemWrongSignature, "signature", func(f *refusalWorld) proofs.Envelope {
		e := f.job(1)
		e.Signature[5] ^= 1
		return e
	}},
	"batch: 4 no such offer": {ProblemModelNotOffered, "body.offer", func(f *refusalWorld) proofs.Envelope {
		f.c.offer = f.g.offer(3)
		e, _ := f.c.serveBatch(2, 1)
		return e
	}},
	"batch: 14 overlap": {ProblemOverlap, "body.before", func(f *refusalWorld) proofs.Envelope {
		f.c.spent -= 2
		e, _ := f.c.serveBatch(2, 1)
		return e
	}},
}

// wrongFee is a job whose fee is one more than its units cost: no encoder writes it.
func (f *refusalWorld) wrongFee() proofs.Envelope {
	j := f.c.next(2)
	e := f.c.signJob(j)
	at := len(e.Body) - (64 + 8 + 32 + 32 + 8 + 8) // fee, after, request, response, cumulative, voucher
	return f.spoil(e, "worker one "+f.name, at, byte(j.Fee.Base()+1))
}

// notCovered is a job whose voucher is for one less than it needs.
func (f *refusalWorld) notCovered() proofs.Envelope {
	j := f.c.next(2)
	e := f.c.signJob(j)
	return f.spoil(e, "worker one "+f.name, len(e.Body)-(64+8), byte(j.Cumulative.Base()-1))
}

// Each refusal names the field and the rule, leaves no trace, and is the same when the
// statement comes again.
func TestFeeRefusals(t *testing.T) {
	b := newBooks(t)
	for name, c := range feeRefusals {
		t.Run(name, func(t *testing.T) {
			own := *b
			own.t = t
			f := newRefusalWorld(&own, name)
			e := c.make(f)
			before := f.feeState()
			for range 2 {
				r := f.submit(Submitted{Envelope: e})[0]
				if r.Status != Refused || r.Problem.Type != c.problem || r.Problem.Field != c.field {
					t.Fatalf("%s is %s (%v), want refused as %s of %s", e.Kind, r.Status, r.Problem, c.problem, c.field)
				}
				if p := problemTypes[c.problem]; r.Problem.Status != p.status || r.Problem.Title == "" || len(r.Problem.Detail) < 20 {
					t.Errorf("problem is %+v", r.Problem)
				}
			}
			f.sameFees(before)
			f.accept(f.outsider())
			f.checkBooks()
		})
	}
}

// outsider is a session that has nothing to do with alice's: what was refused must be in
// nobody's way.
func (f *refusalWorld) outsider() proofs.Envelope {
	return f.spender("outsider", 7, 7).session
}

// Every rule of fees has a problem of its name.
func TestFeeRulesAreProblems(t *testing.T) {
	for _, r := range proofs.FeeRules()[1:] {
		if p := problemTypes[r.Name()]; p.status == 0 {
			t.Errorf("rule %d, %s, has no problem", r, r.Name())
		}
	}
}

// A stranger's delegation of a worker takes none of its fees: the worker names the one
// that counts.
func TestStrangersDelegationIsNoPayee(t *testing.T) {
	b, h, offer := newFees(t)
	thief := *h
	thief.provider, thief.payout = keyOf("thief"), chain.PublicOf(keyOf("thief's purse"))
	b.accept(thief.delegate(func(d *proofs.Delegation) { d.Issued = b.now().Unix() }))
	c := b.newSpender("alice", 1_000, 1_000).openSeat(h, offer, 500)
	b.accept(c.serve(10))
	if got := b.balance(ledger.OwedFees(h.payout)); got != 15 {
		t.Errorf("the worker's provider is owed %d, want 15", got)
	}
}

// A worker brings so many offers in an epoch, and no more.
func TestModelOffersAreBounded(t *testing.T) {
	b, h, _ := newFees(t)
	for n := range offersAnEpoch {
		b.accept(h.offer(uint64(n + 1)))
	}
	p := b.refuse(ProblemRateLimited, Submitted{Envelope: h.offer(offersAnEpoch + 1)})
	if p.Retry == 0 {
		t.Error("it does not say when to come again")
	}
	b.toSample(b.currentEpoch()+1, 0)
	b.accept(h.offer(offersAnEpoch + 1))
}

// So many jobs of a channel wait, and no more; those that fill the gap are taken.
func TestWaitingJobsAreBounded(t *testing.T) {
	b, h, offer := newFees(t)
	c := b.newSpender("alice", 100_000, 100_000).openSeat(h, offer, 100_000)
	gap := c.serve(2)
	var all []proofs.Envelope
	for range maxWaitingJobs + 1 {
		all = append(all, c.serve(2))
	}
	for len(all) > 1 {
		n := min(len(all)-1, MaxSubmitted)
		b.accept(all[:n]...)
		all = all[n:]
	}
	if p := b.refuse(ProblemBusy, Submitted{Envelope: all[0]}); p.Retry == 0 {
		t.Error("it does not say when to come again")
	}
	b.accept(gap)
	if got := b.count(`SELECT jobs FROM channels`); got != maxWaitingJobs+1 {
		t.Errorf("%d jobs are paid, want %d", got, maxWaitingJobs+1)
	}
	b.accept(all[0])
	b.checkBooks()
}
