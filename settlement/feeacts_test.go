package settlement

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

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
	for _, c := range w.channels {
		for _, e := range c.signed {
			if id := e.ID(); w.log.receipts[id] != c.applied[id] {
				w.rt.Fatalf("%s %s has a receipt: %v, the model says %v", e.Kind, id, w.log.receipts[id], c.applied[id])
			}
		}
	}
	if w.t.Failed() {
		w.rt.FailNow()
	}
}
