package settlement

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// payIn has alice pay in for a wallet.
func (m *machine) payIn(wallet ionet.Key, amount uint64) {
	m.t.Helper()
	r := m.request(wallet)
	m.lands(m.wallet[m.alice.payout], false, m.in(m.alice.payout, transfer{m.net.Network.Vaults.Fee, amount, []ionet.Key{r.Reference}}))
	m.until("it is credited", func() bool { return m.renter(wallet) >= amount })
}

// withdrawal is a statement of key.
func (m *machine) withdrawal(key ed25519.PrivateKey, id byte, amount uint64, to ionet.Key, life int64) proofs.Envelope {
	m.t.Helper()
	w := proofs.Withdrawal{Renter: chain.PublicOf(key), ID: [16]byte{id}, Amount: ionet.MustAmount(amount), To: to, Expires: handTime.Load() + life}
	text, err := w.Text(m.net.Network.ID())
	if err != nil {
		m.t.Fatal(err)
	}
	return proofs.Sign(m.net.Network.ID(), proofs.KindWithdrawal, key, []byte(text))
}

// hour is a life that no test outlives.
const hour = 1 << 20

func (m *machine) withdraw(e proofs.Envelope) Withdrawal {
	m.t.Helper()
	w, err := m.SubmitWithdrawal(m.t.Context(), e)
	if err != nil {
		m.t.Fatal(err)
	}
	return w
}

// refused hands in a withdrawal that must be refused with that problem.
func (m *machine) refused(e proofs.Envelope, kind string) {
	m.t.Helper()
	_, err := m.SubmitWithdrawal(m.t.Context(), e)
	if p := (*Problem)(nil); !errors.As(err, &p) || p.Type != kind {
		m.t.Errorf("withdrawal: %v, want %s", err, kind)
	}
}

func (m *machine) untilPaid(id [16]byte) {
	m.t.Helper()
	m.until("the withdrawal is paid", func() bool { return m.withdrawalState(id) == WithdrawalPaid })
}

func (m *machine) withdrawalState(id [16]byte) WithdrawalState {
	w, err := m.WithdrawalOf(m.t.Context(), id)
	if err != nil {
		return ""
	}
	return w.State
}

// checkRenter compares what a renter has by the ledger.
func (m *machine) checkRenter(wallet ionet.Key, balance, withdrawing uint64) {
	m.t.Helper()
	r, err := m.Renter(m.t.Context(), wallet)
	if err != nil || r.Balance.Base() != balance || r.Withdrawing.Base() != withdrawing {
		m.t.Errorf("renter has %s and withdraws %s (%v), want %d and %d", r.Balance, r.Withdrawing, err, balance, withdrawing)
	}
}

func TestWithdrawal(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	wallet := chain.PublicOf(key)
	m.payIn(wallet, 1000)
	bob := m.bob.payout
	had := m.onChain(bob)

	w := m.withdraw(m.withdrawal(key, 1, 300, bob, hour))
	m.checkRenter(wallet, 700, 300)
	if again := m.withdraw(m.withdrawal(key, 1, 300, bob, hour)); again.Payment != w.Payment {
		t.Error("the same statement is another withdrawal")
	}
	m.untilPaid(w.Payment)
	m.checkRenter(wallet, 700, 0)
	if got := m.onChain(bob) - had; got != 300 {
		t.Errorf("the recipient got %d, want 300", got)
	}
	if w, err := m.WithdrawalOf(t.Context(), w.Payment); err != nil || w.Signature.IsZero() || w.Slot == 0 || w.Signed {
		t.Errorf("withdrawal is %+v, %v, want paid by a transaction", w, err)
	}
	file, err := m.store.Get(t.Context(), publish.WithdrawalName(w.Payment))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proofs.ParsePublishedWithdrawal(m.net.Network.ID(), w.Payment, file); err != nil {
		t.Error(err)
	}

	m.refused(m.withdrawal(key, 1, 301, bob, hour), ProblemWithdrawalTaken)
	m.refused(m.withdrawal(key, 2, 701, bob, hour), ProblemInsufficient)
	m.refused(m.withdrawal(key, 2, 0, bob, hour), ProblemMalformedStatement)
	m.refused(m.withdrawal(key, 2, 1, m.net.Network.Keys.Fees, hour), ProblemMalformedStatement)
	m.refused(m.withdrawal(key, 2, 1, bob, -1), ProblemWithdrawalExpired)
	m.refused(m.withdrawal(keyOf("nobody"), 2, 1, bob, hour), ProblemInsufficient)
	forged := m.withdrawal(key, 3, 5, bob, hour)
	forged.Signature[7] ^= 1
	m.refused(forged, ProblemWrongSignature)
	m.checkRenter(wallet, 700, 0)
	m.checkVaults()
}

// A recipient that can't be paid keeps the reserve until it can, or the time has passed.
func TestWithdrawalWaits(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	wallet := chain.PublicOf(key)
	m.payIn(wallet, 1000)
	late := m.withdraw(m.withdrawal(key, 1, 100, ionet.Key(chain.PublicOf(keyOf("no account"))), 60))
	other := m.withdraw(m.withdrawal(key, 2, 50, m.bob.payout, hour))
	m.untilPaid(other.Payment)
	got, err := m.WithdrawalOf(t.Context(), late.Payment)
	if err != nil || got.State != WithdrawalAccepted || got.Reason == "" {
		t.Errorf("withdrawal without an account is %+v, %v", got, err)
	}
	m.checkRenter(wallet, 850, 100)
	m.goTo(handTime.Load() + 61) // nobody waits for the next try
	m.pass()                     // takes the lease, which ran out
	m.until("it expires", func() bool { return m.withdrawalState(late.Payment) == WithdrawalExpired })
	if waits := int64(m.cfg.HeldRetry.Seconds()); handTime.Load() > late.Expires+waits/2 {
		t.Errorf("it expired %d s late, a try waits for %d", handTime.Load()-late.Expires, waits)
	}
	m.checkRenter(wallet, 950, 0)
	m.refused(m.withdrawal(key, 1, 100, m.bob.payout, hour), ProblemWithdrawalTaken)
	m.checkVaults()
}

// Databases from before each step of a withdrawal: it is paid once, and the renter has
// what is left.
func TestWithdrawalRestored(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	wallet := chain.PublicOf(key)
	before := m.backup()
	m.payIn(wallet, 1000)
	credited := m.backup()
	e := m.withdrawal(key, 1, 300, m.bob.payout, hour)
	w := m.withdraw(e)
	accepted := m.backup()
	had := m.onChain(m.bob.payout)
	m.pass() // signs it
	if got, err := m.WithdrawalOf(t.Context(), w.Payment); err != nil || !got.Signed {
		t.Fatalf("withdrawal is %+v, %v, want signed", got, err)
	}
	signed := m.backup()
	m.untilPaid(w.Payment)
	for _, c := range []struct {
		name string
		url  string
	}{{"empty", pgtest.NewURL(t)}, {"before the deposit", before}, {"credited", credited}, {"accepted", accepted}, {"signed", signed}} {
		m.onDatabase(c.url)
		m.fenceUp()
		m.until(c.name+": books and vaults agree", func() bool { return m.renter(wallet) == 700 })
		if again := m.withdraw(e); again.State != WithdrawalPaid {
			t.Errorf("%s: the withdrawal handed in again is %s", c.name, again.State)
		}
		for range 4 {
			m.pass()
		}
		m.checkRenter(wallet, 700, 0)
		if got := m.onChain(m.bob.payout) - had; got != 300 {
			t.Errorf("%s: the recipient got %d, want 300", c.name, got)
		}
		m.checkVaults()
	}
}

// Each step of paying in and out fails, lost and landed but unheard, in a process that
// dies and in one that goes on.
func TestWithdrawalCrash(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	wallet := chain.PublicOf(key)
	had := m.onChain(m.bob.payout)
	paidIn, paidOut := uint64(0), uint64(0)
	r := m.request(wallet)
	id := byte(0)
	steps := map[string]bool{}
	for _, f := range []fault{lost, unheard} {
		for _, dies := range []bool{true, false} {
			for n := 1; ; n++ {
				if n > 3 && !dies && testing.Short() {
					id++ // for the last one
					break
				}
				id++
				m.lands(m.wallet[m.alice.payout], false, m.in(m.alice.payout, transfer{m.net.Network.Vaults.Fee, 10, []ionet.Key{r.Reference}}))
				paidIn += 10
				m.wires.arm(n, f, dies)
				m.pass()
				e := m.withdrawal(key, id, 3, m.bob.payout, hour)
				m.trySubmit(e)
				for range 3 {
					m.pass()
				}
				fired := m.wires.disarm()
				if fired == "" {
					break
				}
				steps[fired] = true
				if dies {
					m.reopen()
				}
				m.fenceUp()
				w := m.withdraw(e)
				m.untilPaid(w.Payment)
				paidOut += 3
				m.exec(`UPDATE withdrawals SET created_at = created_at - interval '1 hour'`) // so many are within its bounds
				m.until(fmt.Sprintf("step %d, %s, %q: the renter has %d", n, f, fired, paidIn-paidOut), func() bool { return m.renter(wallet) == paidIn-paidOut })
				m.checkVaults()
			}
			m.fenceUp()
			last := m.withdraw(m.withdrawal(key, id, 3, m.bob.payout, hour))
			m.untilPaid(last.Payment)
			paidOut += 3
		}
	}
	if got := m.onChain(m.bob.payout) - had; got != paidOut {
		t.Errorf("the recipient got %d, want %d", got, paidOut)
	}
	m.checkLanes()
	m.checkVaults()
	t.Logf("%d steps: %v", len(steps), slices.Sorted(keysOfMap(steps)))
}

func keysOfMap(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// trySubmit hands in a withdrawal, which may fail by a fault or by a refusal to try
// again.
func (m *machine) trySubmit(e proofs.Envelope) {
	m.t.Helper()
	m.mayFail("withdrawal", func() error {
		_, err := m.SubmitWithdrawal(m.t.Context(), e)
		if p := (*Problem)(nil); errors.As(err, &p) {
			return errWire
		}
		return err
	})
}

// A renter's withdrawals go one after another beside each other; nobody has more open
// than the bound.
func TestOpenWithdrawalsAreBounded(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	m.payIn(chain.PublicOf(key), 1000)
	for i := range maxOpenWithdrawals {
		m.withdraw(m.withdrawal(key, byte(i+1), 1, m.bob.payout, hour))
	}
	m.refused(m.withdrawal(key, 99, 1, m.bob.payout, hour), ProblemBusy)
	m.until("all are paid", func() bool {
		return m.count(`SELECT count(*) FROM withdrawals WHERE state = 'paid'`) == maxOpenWithdrawals
	})
	m.checkRenter(chain.PublicOf(key), 1000-maxOpenWithdrawals, 0)
	m.checkVaults()
}

// What is over goes back to the renter though no lane has room for a withdrawal, and
// though others were there before it.
func TestWithdrawalExpiresWithoutALane(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key, other := keyOf("renter"), keyOf("other")
	m.payIn(chain.PublicOf(key), 1000)
	m.payIn(chain.PublicOf(other), 1000)
	for i := range maxOpenWithdrawals {
		m.withdraw(m.withdrawal(other, byte(i+1), 10, m.bob.payout, hour))
	}
	brief := m.withdraw(m.withdrawal(key, 1, 30, m.bob.payout, 60))
	m.goTo(brief.Expires)
	if err := m.withdrawDue(t.Context(), &lanePool{lanes: 2}); err != nil {
		t.Fatal(err)
	}
	if got := m.withdrawalState(brief.Payment); got != WithdrawalExpired {
		t.Errorf("the withdrawal whose time has passed is %s", got)
	}
	m.checkRenter(chain.PublicOf(key), 1000, 0)
	m.checkVaults()
}
