package settlement

import (
	"bytes"
	"cmp"
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

	rt       *rapid.T
	renters  []*modelRenter // of this run
	sessions []*modelSession
	channels []*modelChannel
	earned   map[ionet.Key]uint64 // by payees, since the first run
	network  uint64
	asked    byte // withdrawals of this run
}

// modelRenter is what a renter should have.
type modelRenter struct {
	name    string
	wallet  ionet.Key
	balance uint64
	asked   [][16]byte // withdrawals
}

type modelSession struct {
	*spender
	of      *modelRenter
	free    uint64 // in no channel
	asked   bool   // to close
	closing int64  // when that was taken
	over    bool
}

type modelChannel struct {
	*seat
	of      *modelSession
	limit   uint64
	paid    uint64 // what receipts took
	asked   bool   // to close
	closing int64  // when that was taken
	over    bool
	count   uint64 // job ids that were drawn
	signed  []proofs.Envelope
	applied map[ionet.Hash]bool
	ids     map[[16]byte]bool
	waiting map[ionet.Hash]proofs.Job
	newest  uint64 // the greatest voucher that the service was shown
}

// Conservation under any order of deposits, sessions, channels, jobs that come late,
// twice, out of order or forged, closes, withdrawals, payouts and crashes: after each
// step the books balance, the fee vault is what it is owed for, and each account is what
// the model says. Runs share a network, and have renters of their own.
func TestFeesConserved(t *testing.T) {
	w := &feeWorld{machine: newMachineUnder(t, feesPolicy), earned: map[ionet.Key]uint64{}}
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

func (s *modelSession) isOpen() bool { return s.closing == 0 && !s.over }

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
	taken := c.of.isOpen() && c.closing == 0 && !c.over && more <= c.of.free && more > 0
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

// draw returns a number that no job of the channel has yet.
func (c *modelChannel) draw() uint64 {
	c.count += 100
	return c.count
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

// take is what a request of jobs does by the model: whether each is taken. The jobs of a
// channel apply in the order of before, together with those that wait.
func (w *feeWorld) take(part []proofs.Envelope) []bool {
	taken := make([]bool, len(part))
	for _, c := range w.channels {
		fresh := map[ionet.Hash]bool{}
		for i := range part {
			id := part[i].ID()
			b, err := proofs.ParseBill(part[i].Kind, part[i].Body)
			switch {
			case err != nil || b.Channel != c.text.Channel:
				continue
			case c.applied[id]:
				taken[i] = true
				continue
			}
			if _, waits := c.waiting[id]; waits {
				taken[i] = true
				continue
			}
			if c.allows(b) {
				c.newest = max(c.newest, b.Cumulative.Base())
				c.waiting[id] = proofs.Job{ID: b.ID, Before: b.Before, After: b.After, Fee: b.Fee}
				fresh[id] = true
			}
		}
		w.apply(c)
		for i := range part {
			if id := part[i].ID(); fresh[id] {
				_, waits := c.waiting[id]
				taken[i] = waits || c.applied[id]
			}
		}
	}
	return taken
}

// allows says whether a job that continues the channel somewhere may be taken.
func (c *modelChannel) allows(b proofs.Bill) bool {
	return !c.over && b.After.Base() <= c.limit && b.Before.Base() >= c.paid && (c.closing == 0 || b.Served <= c.closing)
}

// apply moves a channel on as far as its jobs lead, and forgets those that it passed.
func (w *feeWorld) apply(c *modelChannel) {
	ids := make([]ionet.Hash, 0, len(c.waiting))
	for id := range c.waiting {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ionet.Hash) int {
		return cmp.Or(c.waiting[a].Before.Cmp(c.waiting[b].Before), bytes.Compare(a[:], b[:]))
	})
	for _, id := range ids {
		j := c.waiting[id]
		switch {
		case j.Before.Base() == c.paid && !c.ids[j.ID]:
			fee := j.Fee.Base()
			part := fee * 500 / 10_000
			w.earned[c.h.payout] += fee - part
			w.network += part
			c.paid, c.applied[id], c.ids[j.ID] = j.After.Base(), true, true
		case j.Before.Base() > c.paid:
			continue
		}
		delete(c.waiting, id)
	}
}

// forge hands in what would move a channel on, but for one thing that is false.
func (w *feeWorld) forge() {
	c := w.drawChannel()
	if c == nil {
		return
	}
	honest := *c.seat
	honest.spent = c.paid
	id := c.jobID(c.draw())
	j := honest.next(rapid.Uint64Range(1, 9).Draw(w.rt, "units"), func(j *proofs.Job) { j.ID = id })
	resign := func(f func()) proofs.Envelope {
		f()
		j.Voucher = proofs.SignVoucher(c.s.key, j.Channel, j.Cumulative)
		return c.signJob(j)
	}
	what := rapid.SampledFrom([]string{"voucher", "signature", "worker", "limit", "channel", "cumulative", "session", "offer", "time"}).Draw(w.rt, "forged")
	var e proofs.Envelope
	switch what {
	case "voucher":
		j.Voucher[5]++
		e = c.signJob(j)
	case "signature":
		e = c.signJob(j)
		e.Signature[5]++
	case "worker":
		other := honest
		other.h = w.hosts[0]
		if c.h == other.h {
			other.h = w.hosts[1]
		}
		e = other.signJob(j)
	case "limit":
		units := c.limit // costs 3/2 of it
		e = c.signJob(honest.next(units+1, func(j *proofs.Job) { j.ID = id }))
	case "channel":
		e = resign(func() { j.Channel[3]++ })
	case "cumulative": // that of another voucher
		e = resign(func() {})
		j.Cumulative = ionet.MustAmount(j.Cumulative.Base() + 1)
		e = c.signJob(j)
	case "session": // the voucher is signed by somebody else
		j.Voucher = proofs.SignVoucher(keyOf("thief"), j.Channel, j.Cumulative)
		e = c.signJob(j)
	case "offer":
		e = resign(func() { j.Offer[0]++ })
	case "time":
		e = resign(func() { j.Served += 3600 })
	}
	w.expect("a job of a forged "+what, w.handIn(e)[0], false)
}

// notice takes over when the service closed what was asked to, for a statement may have
// been taken before a crash and heard of after it, and what the leader ended, which it
// may do a grace later.
func (w *feeWorld) notice() {
	w.t.Helper()
	now := w.now().Unix()
	for _, c := range w.channels {
		state, err := w.Channel(w.t.Context(), c.text.Channel)
		if err != nil {
			w.rt.Fatal(err)
		}
		if w.noticed(&c.closing, &c.over, c.asked || c.of.asked, state.ClosingAt, now, state.State) {
			c.waiting = map[ionet.Hash]proofs.Job{}
			c.of.free += c.limit - c.paid
		}
	}
	for _, s := range w.sessions {
		state, err := w.Session(w.t.Context(), s.session.ID())
		if err != nil {
			w.rt.Fatal(err)
		}
		if w.noticed(&s.closing, &s.over, s.asked, state.ClosingAt, now, state.State) {
			s.of.balance += s.free
			s.free = 0
		}
	}
}

// noticed takes over one closing, and reports whether it is over since the last look.
func (w *feeWorld) noticed(closing *int64, over *bool, asked bool, at, now int64, state string) bool {
	w.t.Helper()
	if *over {
		return false
	}
	if at != *closing && (*closing != 0 || !asked) {
		w.rt.Fatalf("it was closed at %d, asked: %v, the model says %d", at, asked, *closing)
	}
	*closing, *over = at, state == stateOver
	if *over && (at == 0 || now < at+30) {
		w.rt.Fatalf("what was closed at %d is over at %d", at, now)
	}
	return *over
}

func (w *feeWorld) closeChannel() {
	c := w.drawChannel()
	if c == nil {
		return
	}
	body, err := proofs.ChannelClose{Channel: c.text.Channel, Cumulative: ionet.MustAmount(c.paid)}.Encode()
	e := w.signed(proofs.KindChannelClose, c.s.key, body, err)
	if c.closing != 0 || c.over {
		w.handIn(e) // whether it was closed by this statement or another: nothing changes
		return
	}
	c.asked = true
	w.expect("channel-close", w.handIn(e)[0], true)
	w.mend()
}

func (w *feeWorld) closeSession() {
	if s := w.drawSession(); s != nil {
		w.endSession(s)
	}
}

func (w *feeWorld) endSession(s *modelSession) {
	body, err := proofs.SessionClose{Session: s.session.ID()}.Encode()
	e := w.signed(proofs.KindSessionClose, s.key, body, err)
	if s.over {
		w.handIn(e)
		return
	}
	s.asked = true
	w.expect("session-close", w.handIn(e)[0], true) // the same as before, if it was closed
	w.mend()
}

// passTime lets some time go by, and the leader make a pass.
func (w *feeWorld) passTime() {
	w.goTo(handTime.Load() + rapid.Int64Range(1, 40).Draw(w.rt, "seconds"))
	w.passes(1)
}

// passes lets the leader work: what leaves the fee vault waits for the log that explains
// it to be published.
func (w *feeWorld) passes(n int) {
	for range n {
		w.mayFail("publish", func() error { return w.PublishLog(w.t.Context()) })
		w.pass()
	}
}

// withdrawSome asks for a part of what is left, and lets the leader work on it for a bit.
func (w *feeWorld) withdrawSome() {
	r := rapid.SampledFrom(w.renters).Draw(w.rt, "renter")
	if r.balance == 0 || len(r.asked) >= maxOpenWithdrawals {
		return
	}
	w.asked++
	n := rapid.Uint64Range(1, r.balance).Draw(w.rt, "amount")
	e := w.withdrawal(keyOf("renter "+r.name), w.asked, n, w.bob.payout, hour)
	var got Withdrawal
	w.certainly("withdraw", func() (err error) {
		got, err = w.SubmitWithdrawal(w.t.Context(), e)
		return err
	})
	r.balance -= n
	r.asked = append(r.asked, got.Payment)
	w.passes(rapid.IntRange(0, 4).Draw(w.rt, "passes"))
}

// payOut asks for a payout run, and lets the leader work on it for a bit.
func (w *feeWorld) payOut() {
	w.certainly("payout run", func() error {
		_, err := w.RequestPayout(w.t.Context())
		return err
	})
	w.passes(rapid.IntRange(0, 4).Draw(w.rt, "passes"))
}

const sumFeeVault = `
SELECT coalesce(sum(balance) FILTER (WHERE account = 'vault:fee'), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE account IN ('network-fees', 'suspense') OR split_part(account, ':', 1)
        IN ('renter', 'session', 'channel', 'fees', 'fees-inflight', 'withdrawing', 'withdrawal-inflight')), 0)::bigint
FROM ledger_balances`

// check holds the books against themselves, and each account of this run against the model.
func (w *feeWorld) check(after string) {
	ctx := w.t.Context()
	if err := ledger.TrialBalance(ctx, w.pool); err != nil {
		w.rt.Fatalf("after %s: %v", after, err)
	}
	var vault, owed int64
	if err := w.pool.QueryRow(ctx, sumFeeVault).Scan(&vault, &owed); err != nil {
		w.rt.Fatal(err)
	}
	if vault+owed != 0 {
		w.rt.Fatalf("after %s: the fee vault holds %d, owed for it is %d", after, -vault, owed)
	}
	want := map[ledger.Account]uint64{ledger.NetworkFees(): w.network}
	for _, r := range w.renters {
		want[ledger.Renter(r.wallet)] = r.balance
	}
	for _, s := range w.sessions {
		want[ledger.Session(s.session.ID())] = s.free
	}
	for _, c := range w.channels {
		left := c.limit - c.paid
		if c.over {
			left = 0
		}
		want[ledger.Channel(c.text.Channel)] = left
		state, err := w.Channel(ctx, c.text.Channel)
		if err != nil {
			w.rt.Fatal(err)
		}
		if spent := state.Spent.Base(); spent != c.paid || spent > state.Limit.Base() || state.Limit.Base() != c.limit || spent > c.newest {
			w.rt.Fatalf("after %s: channel spent %d of %s with vouchers up to %d, the model says %d of %d", after, spent, state.Limit, c.newest, c.paid, c.limit)
		}
		if state.Waiting != len(c.waiting) || w.count(`SELECT count(*) FROM waiting_jobs WHERE channel = $1`, c.text.Channel[:]) != len(c.waiting) {
			w.rt.Fatalf("after %s: %d jobs of a channel wait, the model says %d", after, state.Waiting, len(c.waiting))
		}
	}
	for a, n := range want {
		if got := w.balance(a); got != n {
			w.rt.Fatalf("after %s: %s is %d, the model says %d", after, a, got, n)
		}
	}
	for _, h := range w.hosts {
		if got := w.feesOf(h.payout); got != w.earned[h.payout] {
			w.rt.Fatalf("after %s: payee %s earned %d in fees, the model says %d", after, h.payout, got, w.earned[h.payout])
		}
	}
}

// feesOf is what a payee is owed in fees, has on its way and was paid.
func (w *feeWorld) feesOf(payee ionet.Key) uint64 {
	return w.owedFees(payee) + uint64(w.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND kind = $2 AND state = 'paid'`, payee[:], int16(chain.KindFees)))
}

// end hands in all that was ever signed, closes all, waits for the graces and for what
// is on its way: then all that was reserved and not spent is back.
func (w *feeWorld) end() {
	var all []proofs.Envelope
	for _, c := range w.channels {
		all = append(all, c.signed...)
	}
	w.sendAll(all)
	for _, s := range w.sessions {
		w.endSession(s)
	}
	w.goTo(handTime.Load() + 31)
	w.until("all sessions are over", func() bool {
		w.notice()
		return !slices.ContainsFunc(w.sessions, func(s *modelSession) bool { return !s.over })
	})
	w.until("all is paid, and final", func() bool {
		w.passes(1)
		if w.count(`SELECT count(*) FROM payments WHERE state = 'signed'`) > 0 {
			return false
		}
		for _, r := range w.renters {
			for _, id := range r.asked {
				if w.withdrawalState(id) != WithdrawalPaid {
					return false
				}
			}
		}
		return true
	})
	w.check("the end")
	w.checkVaults()
	w.checkReceipts()
	if w.t.Failed() {
		w.rt.FailNow()
	}
}

// checkReceipts walks the log: the receipts of this run are just the jobs that the model
// applied, once each, and totals run on from record to record.
func (w *feeWorld) checkReceipts() {
	rows, err := w.pool.Query(w.t.Context(), `SELECT index, record FROM log_entries ORDER BY index`)
	if err != nil {
		w.rt.Fatal(err)
	}
	defer rows.Close()
	var fees, jobs, accepted uint64
	got := map[ionet.Hash]bool{}
	for size := uint64(0); rows.Next(); size++ {
		var index uint64
		var b []byte
		if err := rows.Scan(&index, &b); err != nil {
			w.rt.Fatal(err)
		}
		record, err := proofs.ParseRecord(b)
		if err != nil || record.Index != index || index != size || uint64(record.Accepted) < accepted {
			w.rt.Fatalf("record %d at place %d: %v", index, size, err)
		}
		accepted = uint64(record.Accepted)
		r, ok := record.Entry.(proofs.Receipt)
		if !ok {
			continue
		}
		bill, err := proofs.ParseBill(r.Statement.Kind, r.Statement.Body)
		if err != nil {
			w.rt.Fatal(err)
		}
		fees, jobs = fees+bill.Fee.Base(), jobs+uint64(bill.Count)
		if id := r.Statement.ID(); r.TotalFees.Base() != fees || r.TotalJobs != jobs || got[id] {
			w.rt.Fatalf("receipt %d has totals %s and %d, want %d and %d, or it is there twice", index, r.TotalFees, r.TotalJobs, fees, jobs)
		} else {
			got[id] = true
		}
	}
	for _, c := range w.channels {
		for _, e := range c.signed {
			if id := e.ID(); got[id] != c.applied[id] {
				w.rt.Fatalf("%s %s has a receipt: %v, the model says %v", e.Kind, id, got[id], c.applied[id])
			}
		}
	}
}
