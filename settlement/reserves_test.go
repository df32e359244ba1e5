package settlement

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// A database from when one withdrawal of a renter was reserved whose reserve paid
// another one since, because the first expired there or was never known: the first is
// closed, and other renters are paid.
func TestReservePaidAnother(t *testing.T) {
	for _, expires := range []bool{true, false} {
		t.Run(fmt.Sprintf("expires %t", expires), func(t *testing.T) {
			m := newMachine(t)
			m.funded()
			key, honest := keyOf("renter"), keyOf("honest")
			m.payIn(chain.PublicOf(key), 100)
			m.payIn(chain.PublicOf(honest), 1000)
			life := int64(hour)
			if expires {
				life = 60
			}
			first := m.withdrawal(key, 1, 100, chain.PublicOf(keyOf("no account")), life)
			var old string
			if expires {
				w := m.withdraw(first)
				old = m.backup()
				m.goTo(handTime.Load() + life + 1 + int64(m.cfg.HeldRetry.Seconds()))
				m.until("it expires", func() bool { return m.withdrawalState(w.Payment) == WithdrawalExpired })
			} else {
				without := m.backup()
				m.withdraw(first)
				old = m.backup()
				m.onDatabase(without)
				m.fenceUp()
			}
			second := m.withdraw(m.withdrawal(key, 2, 100, m.bob.payout, hour))
			m.untilPaid(second.Payment)
			m.onDatabase(old)
			m.fenceUp()
			if got := m.withdraw(first); got.State != WithdrawalExpired || got.Reason == "" {
				t.Errorf("the withdrawal without a reserve is %s, %q", got.State, got.Reason)
			}
			if s := m.withdrawalState(second.Payment); s != WithdrawalPaid {
				t.Errorf("the one that is paid is %s", s)
			}
			m.checkRenter(chain.PublicOf(key), 0, 0)
			other := m.withdraw(m.withdrawal(honest, 1, 500, m.bob.payout, hour))
			m.untilPaid(other.Payment)
			m.checkRenter(chain.PublicOf(honest), 500, 0)
			m.checkVaults()
		})
	}
}

// A withdrawal whose reserve the books lack, which no fault that we know of leaves
// behind, waits with a reason; another renter's is paid.
func TestUnreservedWithdrawalStopsNoOther(t *testing.T) {
	for _, life := range []int64{60, hour} {
		m := newMachine(t)
		m.funded()
		key, honest := keyOf("renter"), keyOf("honest")
		m.payIn(chain.PublicOf(key), 100)
		m.payIn(chain.PublicOf(honest), 100)
		broken := m.withdraw(m.withdrawal(key, 1, 100, m.bob.payout, life))
		m.exec(`UPDATE ledger_balances SET balance = balance - 100 WHERE account = $1`, ledger.Withdrawing(chain.PublicOf(key)).String())
		if life == 60 {
			m.goTo(handTime.Load() + life + 1)
		}
		other := m.withdraw(m.withdrawal(honest, 1, 100, m.bob.payout, hour))
		m.untilPaid(other.Payment)
		got, err := m.WithdrawalOf(t.Context(), broken.Payment)
		if err != nil || got.State != WithdrawalAccepted || got.Reason == "" {
			t.Errorf("the withdrawal without a reserve is %s, %q, %v", got.State, got.Reason, err)
		}
	}
}

// Whatever renters ask back, payouts have their lanes: with one pay lane they take
// turns, with two they have one. A run ends while withdrawals go on.
func TestWithdrawalsLeaveLanesToPayouts(t *testing.T) {
	for _, lanes := range []int{1, 2} {
		t.Run(fmt.Sprint(lanes), func(t *testing.T) {
			m := newMachineWith(t, testPolicy, func(c *genesis.Config) { c.PayLanes = lanes })
			m.funded()
			wallets, n := 3, byte(0)
			for i := range wallets {
				m.payIn(chain.PublicOf(keyOf(fmt.Sprint("renter ", i))), 200)
			}
			feed := func() {
				for i := range wallets {
					n++
					_, err := m.SubmitWithdrawal(t.Context(), m.withdrawal(keyOf(fmt.Sprint("renter ", i)), n, 1, m.bob.payout, hour))
					if problem := (*Problem)(nil); err != nil && !errors.As(err, &problem) {
						t.Fatal(err)
					}
				}
			}
			// One slot goes by after each pass, so that withdrawals are always on their way.
			pass := func() {
				feed()
				m.mayFail("pass", func() error { return m.Settle(t.Context()) })
				m.advance(1)
			}
			m.seal(m.bob)
			pass()
			id, err := m.RequestPayout(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				pass()
			}
			r, err := m.PayoutRun(t.Context(), id)
			if err != nil || !r.Done || r.Payees != 1 {
				t.Errorf("after 20 passes the payout run is %+v, %v", r, err)
			}
			if n := m.count(`SELECT count(*) FROM withdrawals WHERE state = 'paid'`); n < 3 {
				t.Errorf("%d withdrawals were paid beside it", n)
			}
			if n := m.count(`SELECT count(*) FROM withdrawals WHERE state = 'accepted'`); n == 0 {
				t.Error("no withdrawal waited: the run had the lanes for itself")
			}
		})
	}
}

// Each withdrawal costs us a transaction: too small ones and too many are refused, but
// everybody can have his whole balance.
func TestSmallWithdrawals(t *testing.T) {
	m := newMachineUnder(t, string(policyOf(1, 1, `minimum = "0"`+"\n[[", `minimum = "50"`+"\n[[")))
	m.funded()
	key := keyOf("renter")
	minimum, err := m.payoutMinimum(t.Context())
	if err != nil || minimum < 2 {
		t.Fatalf("the minimum is %d, %v", minimum, err)
	}
	least := uint64(minimum)
	m.payIn(chain.PublicOf(key), 3*least-1)
	m.refused(m.withdrawal(key, 1, least-1, m.bob.payout, hour), ProblemWithdrawalSmall)
	m.untilPaid(m.withdraw(m.withdrawal(key, 1, least, m.bob.payout, hour)).Payment)
	m.untilPaid(m.withdraw(m.withdrawal(key, 2, least, m.bob.payout, hour)).Payment)
	m.refused(m.withdrawal(key, 3, least-2, m.bob.payout, hour), ProblemWithdrawalSmall)
	m.untilPaid(m.withdraw(m.withdrawal(key, 3, least-1, m.bob.payout, hour)).Payment)
	m.checkRenter(chain.PublicOf(key), 0, 0)
	m.checkVaults()
}

// A renter hands in so many withdrawals an hour and no more, however fast they are paid.
func TestWithdrawalsAnHour(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	m.payIn(chain.PublicOf(key), 100)
	id := byte(0)
	for range maxWithdrawals {
		id++
		m.withdraw(m.withdrawal(key, id, 1, m.bob.payout, hour))
		m.exec(`UPDATE withdrawals SET retry_at = $1 WHERE state = 'accepted'`, m.now())
		m.until("few are open", func() bool {
			return m.count(`SELECT count(*) FROM withdrawals WHERE state = 'accepted'`) < maxOpenWithdrawals
		})
	}
	m.refused(m.withdrawal(key, id+1, 1, m.bob.payout, hour), ProblemBusy)
	m.goTo(handTime.Load() + 3601)
	m.fenceUp()
	m.withdraw(m.withdrawal(key, id+1, 1, m.bob.payout, hour))
}

// A wallet whose payout is held has its withdrawals paid, and the other way round: each
// tells its own reason.
func TestHoldsAreOfWhatTheyHold(t *testing.T) {
	m := newMachine(t)
	m.funded()
	wallet := m.alice.payout // has a token account, opened by funded
	m.payIn(wallet, 100)
	if err := m.holdAll(t.Context(), []payment{{payee: wallet}}, []string{"its payout is broken"}); err != nil {
		t.Fatal(err)
	}
	w := m.withdraw(m.withdrawal(m.wallet[wallet], 1, 40, m.bob.payout, hour))
	m.untilPaid(w.Payment)
	m.exec(`DELETE FROM held_payees`)

	w = m.withdraw(m.withdrawal(m.wallet[wallet], 2, 40, chain.PublicOf(keyOf("no account")), hour))
	m.pass()
	got, err := m.WithdrawalOf(t.Context(), w.Payment)
	if err != nil || got.Reason == "" {
		t.Errorf("the withdrawal that can't be paid says %q, %v", got.Reason, err)
	}
	d := m.withdrawalDraft(lane{}, dueWithdrawal{Withdrawal: got.Withdrawal, payment: w.Payment})
	if err := m.holdPayment(t.Context(), d, wallet, "a simulation broke it"); err != nil {
		t.Fatal(err)
	}
	if got, err := m.WithdrawalOf(t.Context(), w.Payment); err != nil || got.Reason != "a simulation broke it" {
		t.Errorf("after a simulation the withdrawal says %q, %v", got.Reason, err)
	}
	p, err := m.Payouts(t.Context(), 1)
	if err != nil || len(p.Withdrawals) != 1 || p.Withdrawals[0].Payment != w.Payment || p.Withdrawals[0].Renter != wallet || p.Withdrawals[0].Amount.Base() != 40 ||
		p.Withdrawals[0].To != w.To || p.Withdrawals[0].Expires.Unix() != w.Expires || p.Withdrawals[0].Reason != "a simulation broke it" {
		t.Errorf("an operator is told of %+v, %v", p.Withdrawals, err)
	}
	if o, err := m.Overview(t.Context()); err != nil || o.Waiting != 1 {
		t.Errorf("%d withdrawals wait, %v", o.Waiting, err)
	}
	if n := m.count(`SELECT count(*) FROM held_payees`); n != 0 {
		t.Errorf("%d payees are held because of a withdrawal", n)
	}
}
