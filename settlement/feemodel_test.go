package settlement

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

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

func (s *modelSession) isOpen() bool { return s.closing == 0 && !s.over }

// draw returns a number that no job of the channel has yet.
func (c *modelChannel) draw() uint64 {
	c.count += 100
	return c.count
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
	return !c.over && b.After.Base() <= c.limit && b.Before.Base() >= c.paid && (c.closing == 0 || b.Served <= c.closing+60) // clocks differ
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
	w.replay()
	for a, n := range want {
		if got := w.balance(a); got != n {
			w.rt.Fatalf("after %s: %s is %d, the model says %d", after, a, got, n)
		}
		name, _, _ := strings.Cut(a.String(), ":")
		if logged := w.log.accounts[a]; name != "renter" && logged != int64(n) {
			w.rt.Fatalf("after %s: %s is %d by the log, the model says %d", after, a, logged, n)
		}
	}
	for _, h := range w.hosts {
		if got, logged := w.feesOf(h.payout), w.log.accounts[ledger.OwedFees(h.payout)]; got != w.earned[h.payout] || logged != int64(got) {
			w.rt.Fatalf("after %s: payee %s earned %d in fees, by the log %d, the model says %d", after, h.payout, got, logged, w.earned[h.payout])
		}
	}
}

// feesOf is what a payee is owed in fees, has on its way and was paid.
func (w *feeWorld) feesOf(payee ionet.Key) uint64 {
	return w.owedFees(payee) + uint64(w.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND kind = $2 AND state = 'paid'`, payee[:], int16(chain.KindFees)))
}

// replayed is what the records of the log say by themselves of all that they touch.
type replayed struct {
	size       uint64
	accepted   int64
	fees, jobs uint64
	accounts   map[ledger.Account]int64
	limits     map[ionet.Key]uint64 // of channels
	sessions   map[ionet.Key]ionet.Hash
	renters    map[ionet.Hash]ionet.Key // of sessions
	receipts   map[ionet.Hash]bool      // by the statements in them
}

const selectFrom = `SELECT index, record FROM log_entries WHERE index >= $1 ORDER BY index`

// replay reads the records that came since the last look: indexes, times and totals run
// on, no statement has two receipts.
func (w *feeWorld) replay() {
	rows, err := w.pool.Query(w.t.Context(), selectFrom, int64(w.log.size))
	if err != nil {
		w.rt.Fatal(err)
	}
	var index uint64
	var b []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &b}, func() error {
		record, err := proofs.ParseRecord(b)
		if err != nil {
			return err
		}
		if index != w.log.size || record.Index != index || record.Accepted < w.log.accepted {
			return fmt.Errorf("record %d of %d is at place %d, after %d", record.Index, record.Accepted, w.log.size, w.log.accepted)
		}
		w.log.size, w.log.accepted = index+1, record.Accepted
		return w.log.play(w.net.Network.ID(), record)
	})
	if err != nil {
		w.rt.Fatal(err)
	}
}

// move is a transfer.
func (l *replayed) move(from, to ledger.Account, n uint64) {
	l.accounts[from] -= int64(n)
	l.accounts[to] += int64(n)
}

// play is what one record means for the accounts.
func (l *replayed) play(network ionet.Hash, record proofs.Record) error {
	switch r := record.Entry.(type) {
	case proofs.SessionEntry:
		s, err := proofs.ParseSession(network, r.Statement.Signer, r.Statement.Body)
		if err != nil {
			return err
		}
		l.renters[r.Statement.ID()] = s.Renter
		l.move(ledger.Renter(s.Renter), ledger.Session(r.Statement.ID()), s.Reserve.Base())
	case proofs.ChannelEntry:
		o, err := proofs.ParseChannelOpen(r.Statement.Body)
		if err != nil {
			return err
		}
		l.move(ledger.Session(o.Session), ledger.Channel(o.Channel), o.Limit.Base()-l.limits[o.Channel])
		l.limits[o.Channel], l.sessions[o.Channel] = o.Limit.Base(), o.Session
	case proofs.Receipt:
		bill, err := proofs.ParseBill(r.Statement.Kind, r.Statement.Body)
		if err != nil {
			return err
		}
		l.fees, l.jobs = l.fees+bill.Fee.Base(), l.jobs+uint64(bill.Count)
		if id := r.Statement.ID(); r.TotalFees.Base() != l.fees || r.TotalJobs != l.jobs || l.receipts[id] {
			return fmt.Errorf("receipt %d has totals %s and %d, want %d and %d, or it is there twice", record.Index, r.TotalFees, r.TotalJobs, l.fees, l.jobs)
		}
		l.receipts[r.Statement.ID()] = true
		l.move(ledger.Channel(bill.Channel), ledger.OwedFees(r.Payee), r.ProviderPart.Base())
		l.move(ledger.Channel(bill.Channel), ledger.NetworkFees(), r.NetworkPart.Base())
	case proofs.ChannelOver:
		l.move(ledger.Channel(r.Channel), ledger.Session(l.sessions[r.Channel]), r.Returned.Base())
	case proofs.SessionOver:
		l.move(ledger.Session(r.Session), ledger.Renter(l.renters[r.Session]), r.Returned.Base())
	}
	return nil
}
