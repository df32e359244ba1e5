package settlement

import (
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// servedFees is a network in which a renter has a channel to bob.
func servedFees(t *testing.T) (*machine, *seat) {
	t.Helper()
	m := newMachineWith(t, testPolicy, func(*genesis.Config) {})
	m.funded()
	s := m.newSpender("of bob", 0, 50_000)
	m.payIn(s.renter(), 60_000)
	m.gave[m.alice.payout] += 60_000
	return m, s.openSeat(m.bob, m.bob.offer(1), 10_000)
}

// A run pays the fees of receipts that a published checkpoint covers, and waits for it.
func TestRunWaitsForTheCheckpoint(t *testing.T) {
	m, c := servedFees(t)
	m.accept(c.serve(100))
	m.publishLog()
	m.payAll()
	bob := m.bob.payout
	if got := m.onChain(bob); got != c.spent || m.owedFees(bob) != 0 {
		t.Fatalf("bob has %d and is owed %d, want %d and nothing", got, m.owedFees(bob), c.spent)
	}
	paid := c.spent
	m.accept(c.serve(40))
	id, err := m.RequestPayout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		m.pass()
		m.goTo(handTime.Load() + 2)
	}
	r, err := m.PayoutRun(t.Context(), id)
	if err != nil || r.Done || r.Open != 0 || m.onChain(bob) != paid {
		t.Errorf("without a checkpoint the run is %+v, %v, and bob has %d, want %d", r, err, m.onChain(bob), paid)
	}
	m.publishLog()
	m.until("the run is over", func() bool {
		r, err := m.PayoutRun(t.Context(), id)
		return err == nil && r.Done
	})
	if got := m.onChain(bob); got != c.spent {
		t.Errorf("bob has %d, want %d", got, c.spent)
	}
	m.checkVaults()
	m.checkBooks()
}

// A renter's withdrawal waits too: what a session gave back to him is in the log.
func TestWithdrawalWaitsForTheCheckpoint(t *testing.T) {
	m, c := servedFees(t)
	m.accept(c.serve(100))
	w := m.withdraw(m.withdrawal(c.s.wallet, 1, 500, m.bob.payout, hour))
	for range 10 {
		m.pass()
		m.goTo(handTime.Load() + 2)
	}
	if n := m.count(`SELECT count(*) FROM payments WHERE kind = $1`, int16(chain.KindWithdrawal)); n != 0 {
		t.Errorf("%d payments of withdrawals were signed before the log was published", n)
	}
	m.publishLog()
	m.untilPaid(w.Payment)
	m.checkVaults()
}

// An empty database, and one of before the payment, come to the same books.
func TestFeesOfALostDatabase(t *testing.T) {
	for name, lost := range map[string]func(m *machine, old string) string{
		"empty": func(m *machine, _ string) string { return pgtest.NewURL(m.t) },
		"older": func(_ *machine, old string) string { return old },
	} {
		t.Run(name, func(t *testing.T) {
			m, c := servedFees(t)
			m.accept(c.serve(100))
			old := m.backup()
			m.accept(c.serve(30))
			m.publishLog()
			m.payAll()
			m.accept(c.serve(10)) // its receipt is published, its fee not paid
			m.publishLog()
			books := func() string {
				return fmt.Sprint(m.owedFees(m.bob.payout), m.renter(c.s.renter()), m.balance(ledger.Session(c.s.session.ID())), m.balance(ledger.Channel(c.text.Channel)),
					m.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE kind = $1 AND state = 'paid'`, int16(chain.KindFees)), m.balance(ledger.Overpaid()))
			}
			want := books()
			m.onDatabase(lost(m, old))
			m.fenceUp()
			m.goTo(handTime.Load() + 11)
			m.pass()
			if got := books(); got != want {
				t.Errorf("owed, unspent, session, channel, paid and overpaid are %s, were %s", got, want)
			}
			m.accept(c.serve(5))
			m.publishLog()
			m.payAll()
			if got := m.onChain(m.bob.payout); got != c.spent {
				t.Errorf("bob has %d, want %d", got, c.spent)
			}
			m.checkVaults()
			m.checkLanes()
		})
	}
}

// Two of three members pay fees; while one of two that are needed is away nothing is
// signed, and fees that come in meanwhile change nothing of what the others have signed.
func TestTwoOfThreePayFees(t *testing.T) {
	m := newBoard(t, "member a", "member b")
	m.funded()
	m.payIn(chain.PublicOf(keyOf("renter")), 100_000)
	m.gave[m.alice.payout] += 100_000
	m.oweFees(map[ionet.Key]uint64{m.bob.payout: 700})
	m.hold("member a")
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_ = m.Settle(t.Context()) // says how many are there
		m.advance(2)
	}
	if m.count(`SELECT count(*) FROM payments WHERE kind = $1`, int16(chain.KindFees)) != 0 {
		t.Error("fees are signed by one of two")
	}
	m.oweFees(map[ionet.Key]uint64{m.bob.payout: 11})
	m.hold("member a", "member b")
	m.until("the run is over", func() bool { return m.count(`SELECT count(*) FROM payout_runs WHERE done_at IS NULL`) == 0 })
	if got := m.landedBy(chain.KindFees); len(got) != 2 {
		t.Errorf("fees are signed by %v, want two members", got)
	}
	if m.owedFees(m.bob.payout) != 11 {
		t.Errorf("bob is owed %d, want the 11 that came in while the run waited", m.owedFees(m.bob.payout))
	}
	m.payAll()
	m.checkVaults()
	m.checkBooks()
}
