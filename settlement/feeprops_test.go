package settlement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// feeWorld is a network and what a model says of its fees, by other means than the
// service: plain numbers, and of each channel which jobs apply.
type feeWorld struct {
	*machine
	hosts  []*host
	offers []proofs.Envelope
	runs   int
	log    replayed

	rt       *rapid.T
	renters  []*modelRenter // of this run
	sessions []*modelSession
	channels []*modelChannel
	earned   map[ionet.Key]uint64 // by payees, since the first run
	network  uint64
	asked    byte // withdrawals of this run
}

// Conservation under any order of deposits, sessions, channels, jobs that come late,
// twice, out of order or forged, closes, withdrawals, payouts and crashes: after each
// step the books balance, the fee vault is what it is owed for, and each account is what
// the model says. Runs share a network, and have renters of their own.
func TestFeesConserved(t *testing.T) {
	w := &feeWorld{machine: newMachineUnder(t, feesPolicy), earned: map[ionet.Key]uint64{}}
	w.log = replayed{
		accounts: map[ledger.Account]int64{}, limits: map[ionet.Key]uint64{}, sessions: map[ionet.Key]ionet.Hash{},
		renters: map[ionet.Hash]ionet.Key{}, receipts: map[ionet.Hash]bool{},
	}
	w.funded()
	w.hosts = []*host{w.alice, w.bob}
	for _, h := range w.hosts {
		w.offers = append(w.offers, h.offer(1))
	}
	w.accept(w.offers...)
	rapid.Check(t, w.run)
}

// run is one draw of what happens to new renters.
func (w *feeWorld) run(rt *rapid.T) {
	w.runs++
	w.rt, w.renters, w.sessions, w.channels, w.asked = rt, nil, nil, nil, 0
	w.mend() // a run that failed
	for _, h := range w.hosts {
		w.earned[h.payout] = w.feesOf(h.payout)
	}
	w.network = w.balance(ledger.NetworkFees())
	for n := range rapid.IntRange(1, 2).Draw(rt, "renters") {
		w.addRenter(n)
	}
	actions := map[string]func(){
		"pay in": w.payMore, "session": w.open, "channel": w.openChannel, "top up": w.topUp, "serve": w.serveSome, "send": w.sendSome, "serve more": w.serveSome, "send more": w.sendSome,
		"forge": w.forge, "close channel": w.closeChannel, "close session": w.closeSession, "time": w.passTime, "withdraw": w.withdrawSome, "pay out": w.payOut,
	}
	names := make([]string, 0, len(actions))
	for name := range actions {
		names = append(names, name)
	}
	slices.Sort(names)
	w.open()
	w.openChannel()
	for range rapid.IntRange(1, 14).Draw(rt, "steps") {
		name := rapid.SampledFrom(names).Draw(rt, "step")
		w.maybeBreak()
		actions[name]()
		w.mend()
		w.check(name)
	}
	w.end()
}

// maybeBreak lets one of the next steps of the wires fail: what it did is lost, or goes
// unheard, and the process dies of it or not.
func (w *feeWorld) maybeBreak() {
	if rapid.IntRange(0, 2).Draw(w.rt, "fault") != 0 {
		return
	}
	f := rapid.SampledFrom([]fault{lost, unheard}).Draw(w.rt, "what is lost")
	w.wires.arm(rapid.IntRange(1, 6).Draw(w.rt, "at"), f, rapid.Bool().Draw(w.rt, "dies"))
}

// mend ends the fault; a process that died of it is started again.
func (w *feeWorld) mend() {
	w.t.Helper()
	died := w.wires.isCut()
	w.wires.disarm()
	if died {
		w.reopen()
		w.fenceUp()
	}
	w.notice()
}

// certainly runs f until nothing that a fault caused is in its way.
func (w *feeWorld) certainly(what string, f func() error) {
	w.t.Helper()
	for range 50 {
		err := f()
		switch {
		case err == nil:
			return
		case isProblem(err, ProblemBusy), isProblem(err, ProblemNotLeader):
			w.pass()
		case w.wires.failed() == "" && !isCutError(err):
			w.rt.Fatalf("%s: %v", what, err)
		}
		w.mend()
	}
	w.rt.Fatalf("%s: not done after 50 tries", what)
}

// handIn submits statements in one request and returns their results, whatever breaks.
func (w *feeWorld) handIn(list ...proofs.Envelope) (results []Result) {
	w.t.Helper()
	w.certainly("submit", func() (err error) {
		if results, err = w.Submit(w.t.Context(), plain(list...)); err != nil {
			return err
		}
		for _, r := range results {
			if r.Status == Refused && isProblem(r.Problem, ProblemBusy) {
				return r.Problem
			}
		}
		return nil
	})
	return results
}

// expect holds one result against what the model says: taken, or refused.
func (w *feeWorld) expect(what string, r Result, taken bool) {
	if (r.Status != Refused) != taken {
		w.rt.Fatalf("%s %s is %s (%v), the model says taken: %v", what, r.ID, r.Status, r.Problem, taken)
	}
}

func (w *feeWorld) addRenter(n int) {
	r := &modelRenter{name: fmt.Sprintf("of run %d, number %d", w.runs, n)}
	r.wallet = chain.PublicOf(keyOf("renter " + r.name))
	w.renters = append(w.renters, r)
	w.credit(r, rapid.Uint64Range(1, 2000).Draw(w.rt, "deposit"))
}

// credit pays in on the chain, and waits until it is final.
func (w *feeWorld) credit(r *modelRenter, n uint64) {
	had := w.renter(r.wallet)
	w.payIn(r.wallet, n)
	w.until("the deposit is credited", func() bool { return w.renter(r.wallet) == had+n })
	r.balance += n
}

func (w *feeWorld) payMore() {
	w.wires.disarm() // each step of a deposit fails in tests of its own
	w.credit(rapid.SampledFrom(w.renters).Draw(w.rt, "renter"), rapid.Uint64Range(1, 500).Draw(w.rt, "deposit"))
}

// open hands in a session, of more than there is at times.
func (w *feeWorld) open() {
	r := rapid.SampledFrom(w.renters).Draw(w.rt, "renter")
	reserve := rapid.Uint64Range(1, r.balance+r.balance/8+1).Draw(w.rt, "reserve")
	s := w.newSpender(r.name, 0, reserve)
	s.key = keyOf(fmt.Sprint("session ", r.name, len(w.sessions)))
	s.text.Key = chain.PublicOf(s.key)
	s.session = s.sign()
	taken := reserve <= r.balance
	w.expect("session", w.handIn(s.session)[0], taken)
	if taken {
		r.balance -= reserve
		w.sessions = append(w.sessions, &modelSession{spender: s, of: r, free: reserve})
	}
}

// drawSession returns one of the sessions, nil where there is none.
func (w *feeWorld) drawSession() *modelSession {
	if len(w.sessions) == 0 {
		return nil
	}
	return rapid.SampledFrom(w.sessions).Draw(w.rt, "session")
}

func (w *feeWorld) drawChannel() *modelChannel {
	if len(w.channels) == 0 {
		return nil
	}
	return rapid.SampledFrom(w.channels).Draw(w.rt, "channel")
}

func (w *feeWorld) openChannel() {
	s := w.drawSession()
	if s == nil {
		return
	}
	n := rapid.IntRange(0, len(w.hosts)-1).Draw(w.rt, "host")
	limit := rapid.Uint64Range(1, s.free+s.free/8+1).Draw(w.rt, "limit")
	c := &modelChannel{
		seat: s.seat(w.hosts[n], w.offers[n], limit), of: s, limit: limit,
		applied: map[ionet.Hash]bool{}, ids: map[[16]byte]bool{}, waiting: map[ionet.Hash]proofs.Job{},
	}
	taken := s.isOpen() && limit <= s.free
	w.expect("channel-open", w.handIn(c.opened)[0], taken)
	if taken {
		s.free -= limit
		w.channels = append(w.channels, c)
	}
}

func (w *feeWorld) topUp() {
	c := w.drawChannel()
	if c == nil {
		return
	}
	more := rapid.Uint64Range(0, c.of.free+c.of.free/8+1).Draw(w.rt, "more")
	c.text.Limit = ionet.MustAmount(c.limit + more)
	e := c.sign()
	taken := c.of.isOpen() && c.closing == 0 && !c.over && more <= c.of.free && more > 0 && (more >= c.limit/leastTopUp || more == c.of.free)
	if more == 0 {
		taken = true // the same statement as before
	}
	w.expect("top-up", w.handIn(e)[0], taken)
	if taken {
		c.of.free -= more
		c.limit += more
	}
	c.text.Limit = ionet.MustAmount(c.limit)
}

// serveSome has a host serve: after what it served last, or, at times, after what the
// channel has paid, as a host that lost its memory does. That forks the channel.
func (w *feeWorld) serveSome() {
	c := w.drawChannel()
	if c == nil {
		return
	}
	if rapid.IntRange(0, 5).Draw(w.rt, "forgets") == 0 {
		c.spent = c.paid
	}
	for range rapid.IntRange(1, 6).Draw(w.rt, "jobs") {
		if rapid.IntRange(0, 4).Draw(w.rt, "batched") == 0 {
			c.jobs = c.draw()
			e, _ := c.serveBatch(rapid.IntRange(1, 3).Draw(w.rt, "inferences"), rapid.Uint64Range(1, 20).Draw(w.rt, "units"))
			c.signed = append(c.signed, e)
			continue
		}
		generous := rapid.Uint64Range(0, 30).Draw(w.rt, "more than it costs")
		c.signed = append(c.signed, c.serve(rapid.Uint64Range(1, 60).Draw(w.rt, "units"), func(j *proofs.Job) {
			j.ID = c.jobID(c.draw())
			j.Cumulative = ionet.MustAmount(j.After.Base() + generous)
		}))
	}
}

// sendSome hands in statements of some channels, of those that were handed in before
// too, in any order and in one request or several.
func (w *feeWorld) sendSome() {
	var list []proofs.Envelope
	for _, c := range w.channels {
		for _, e := range c.signed {
			if rapid.IntRange(0, 2).Draw(w.rt, "sent") != 0 {
				list = append(list, e)
			}
		}
	}
	w.sendAll(list)
}

func (w *feeWorld) sendAll(list []proofs.Envelope) {
	if len(list) == 0 {
		return
	}
	list = rapid.Permutation(list).Draw(w.rt, "order")
	for part := range slices.Chunk(list, rapid.IntRange(1, len(list)).Draw(w.rt, "of a request")) {
		results := w.handIn(part...)
		for i, taken := range w.take(part) {
			w.expect(part[i].Kind.String(), results[i], taken)
		}
	}
}
