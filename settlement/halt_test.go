package settlement

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// takeOut moves tokens out of a vault with its owner's key and no lane: a theft.
func (m *machine) takeOut(vault ionet.Key, owner ed25519.PrivateKey, amount uint64) {
	m.t.Helper()
	if _, err := m.node.Airdrop(solana.PublicKey(chain.PublicOf(owner)), 1_000_000_000); err != nil {
		m.t.Fatal(err)
	}
	in := m.in(chain.PublicOf(owner), transfer{chain.TokenAccount(m.bob.payout, m.net.Network.Mint), amount, nil})
	if chain.TokenAccount(chain.PublicOf(owner), m.net.Network.Mint) != vault {
		m.t.Fatal("the key does not own the vault")
	}
	m.advance(2)
	m.lands(owner, false, in)
}

func TestUnexplainedDebitHalts(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key := keyOf("renter")
	wallet := chain.PublicOf(key)
	m.payIn(wallet, 1000)
	m.takeOut(m.net.Network.Vaults.Fee, m.net.Keys.Fees, 40)
	for range 2 {
		if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
			t.Fatalf("pass: %v, want ErrHalted", err)
		}
		m.reopen() // a restart forgets nothing
	}
	signed := m.count(`SELECT count(*) FROM attempts`)
	k := m.playNext(m.alice)
	for range 3 {
		if err := m.Settle(t.Context()); err != nil && !errors.Is(err, ErrHalted) {
			t.Fatal(err)
		}
		m.advance(2)
	}
	if n := m.count(`SELECT count(*) FROM attempts`); n != signed || m.position(epochLane) > k {
		t.Errorf("%d transactions were signed while halted", n-signed)
	}
	m.refused(m.withdrawal(key, 1, 1, m.bob.payout, hour), ProblemBusy)
	h, err := m.Health(t.Context())
	if err != nil || h.Ready || h.Halted == "" {
		t.Errorf("health is %+v, %v, want halted", h, err)
	}
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || plan.Differences[0].Amount.Base() != 40 || plan.Differences[0].What != "debit" {
		t.Fatalf("plan is %+v, %v, want a debit of 40", plan, err)
	}
	m.resumes(plan.Seen+"0", true)
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
		t.Fatalf("pass after a refused resumption: %v, want ErrHalted", err)
	}
	m.resumes(plan.Seen, false)
	m.fenceUp()
	if got := m.balance(ledger.WrittenOff()); got != 40 {
		t.Errorf("%d are written off, want 40", got)
	}
	if _, err := m.PlanResume(t.Context()); !errors.Is(err, ErrNothingToResume) {
		t.Errorf("a plan afterwards: %v, want ErrNothingToResume", err)
	}
	m.until("the epoch is sealed", func() bool { return m.position(epochLane) > k })
	w := m.withdraw(m.withdrawal(key, 1, 900, m.bob.payout, hour))
	m.untilPaid(w.Payment)
	m.checkVaults()
}

// What comes in while a vault lacks tokens is read at once: it hides nothing of what is
// missing, and once that is written off nothing is missing again.
func TestDepositWhileHalted(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(wallet, 1000)
	r := m.request(wallet)
	m.takeOut(m.net.Network.Vaults.Fee, m.net.Keys.Fees, 40)
	halted := func() {
		t.Helper()
		if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
			t.Fatalf("pass: %v, want ErrHalted", err)
		}
	}
	halted()
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{m.net.Network.Vaults.Fee, 10, []ionet.Key{r.Reference}}))
	halted()
	if got := m.renter(wallet); got != 1010 {
		t.Errorf("the renter has %d, want 1010", got)
	}
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || plan.Differences[0].Amount.Base() != 40 || plan.Differences[0].What != "debit" {
		t.Fatalf("plan is %+v, %v, want a debit of 40", plan, err)
	}
	m.resumes(plan.Seen, false)
	m.fenceUp()
	m.later(2)
	m.checkVaults()
}

// resumes asks to resume and has the pass of the leader answer.
func (m *machine) resumes(seen string, refused bool) {
	m.t.Helper()
	if _, err := m.AskResume(m.t.Context(), seen, " "); err == nil {
		m.t.Error("a resumption without a reason was taken")
	}
	id, err := m.AskResume(m.t.Context(), seen, "the test knows why")
	if err != nil {
		m.t.Fatal(err)
	}
	var why string
	for range 100 {
		if err := m.Settle(m.t.Context()); err != nil && !errors.Is(err, ErrHalted) {
			m.t.Fatal(err)
		}
		m.advance(2)
		done, refusal, err := m.Resumed(m.t.Context(), id)
		if err != nil {
			m.t.Fatal(err)
		}
		if why = refusal; done {
			break
		}
	}
	if (why != "") != refused {
		m.t.Errorf("resumption of %q is refused with %q, want refused %t", seen, why, refused)
	}
}

// A vault that somebody else may take from halts everything before he does.
func TestDelegateHalts(t *testing.T) {
	m := newMachine(t)
	m.funded()
	n := m.net.Network
	approve := func(tag byte, accounts ...ionet.Key) solana.Instruction {
		metas := []*solana.AccountMeta{solana.NewAccountMeta(solana.PublicKey(n.Vaults.Fee), true, false)}
		for i, a := range accounts {
			metas = append(metas, solana.NewAccountMeta(solana.PublicKey(a), false, i == len(accounts)-1))
		}
		data := []byte{tag}
		if tag == 4 {
			data = append(data, 9, 0, 0, 0, 0, 0, 0, 0)
		}
		return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), metas, data)
	}
	if _, err := m.node.Airdrop(solana.PublicKey(n.Keys.Fees), 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	m.advance(2)
	m.lands(m.net.Keys.Fees, false, approve(4, m.bob.payout, n.Keys.Fees))
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
		t.Fatalf("pass: %v, want ErrHalted", err)
	}
	m.resumes("", true)
	m.lands(m.net.Keys.Fees, false, approve(5, n.Keys.Fees))
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
		t.Fatalf("pass once it is revoked: %v, want ErrHalted until somebody has looked", err)
	}
	m.resumes("", false)
	m.fenceUp()
}

// A history that does not tell stops nothing; one that never will leaves a credit that
// a person can put to suspense.
func TestHistoryThatDoesNotTell(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	fee := m.net.Network.Vaults.Fee
	m.wires.silence("getSignaturesForAddress")
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 100, []ionet.Key{r.Reference}}))
	for range 3 {
		m.pass()
	}
	if h, err := m.Health(t.Context()); err != nil || !h.Ready || len(h.Standings) != 1 {
		t.Errorf("health is %+v, %v, want ready and one standing", h, err)
	}
	if _, err := m.PlanResume(t.Context()); !errors.Is(err, ErrNothingToResume) {
		t.Errorf("a credit whose history is not read could be put to suspense: %v", err)
	}
	m.wires.silence("")
	m.until("it is credited", func() bool { return m.renter(wallet) == 100 })

	// A node without one transaction: as if the history began after it.
	gone := m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 70, []ionet.Key{r.Reference}}))
	if _, err := m.pool.Exec(t.Context(), `UPDATE scans SET signature = $2 WHERE account = $1`, fee[:], gone[:]); err != nil {
		t.Fatal(err)
	}
	m.reopen()
	m.fenceUp()
	m.goTo(handTime.Load() + 11)
	m.pass()
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Halts) != 0 || len(plan.Differences) != 1 || plan.Differences[0].Amount.Base() != 70 || plan.Differences[0].What != "credit" {
		t.Fatalf("plan is %+v, %v, want a credit of 70", plan, err)
	}
	m.resumes(plan.Seen, false)
	if got := m.balance(ledger.Suspense()); got != 70 {
		t.Errorf("%d in suspense, want 70", got)
	}
	m.checkVaults()
}

// Raising a halt and resuming from it fail at each of their steps: what is missing is
// written off once, and nothing is signed in between.
func TestResumeCrash(t *testing.T) {
	m := newMachine(t)
	m.funded()
	m.payIn(chain.PublicOf(keyOf("renter")), 1000)
	taken := uint64(0)
	for _, f := range []fault{lost, unheard} {
		for n := 1; ; n++ {
			m.takeOut(m.net.Network.Vaults.Fee, m.net.Keys.Fees, 1)
			taken++
			m.wires.arm(n, f, true)
			m.mayFail("halt", func() error { return haltedIsFine(m.Settle(t.Context())) })
			var seen string
			m.mayFail("plan", func() error {
				plan, err := m.PlanResume(t.Context())
				seen = plan.Seen
				if errors.Is(err, ErrNothingToResume) {
					return errWire // the halt is not raised yet
				}
				return err
			})
			if seen != "" {
				m.mayFail("ask", func() error {
					_, err := m.AskResume(t.Context(), seen, "the test knows why")
					return err
				})
				m.mayFail("resume", func() error { return haltedIsFine(m.Settle(t.Context())) })
			}
			fired := m.wires.disarm()
			m.reopen()
			for range 100 {
				if m.view.isReady() {
					break
				}
				if err := m.Settle(t.Context()); err != nil && !errors.Is(err, ErrHalted) && !isCutError(err) {
					t.Fatal(err)
				}
				m.advance(2)
				if plan, err := m.PlanResume(t.Context()); err == nil && m.count(`SELECT count(*) FROM resumptions WHERE ended_at IS NULL`) == 0 {
					if _, err := m.AskResume(t.Context(), plan.Seen, "again"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if off := m.balance(ledger.WrittenOff()); off != taken || !m.view.isReady() {
				t.Fatalf("%s, %s: %d are written off, want %d; ready %t", fired, f, off, taken, m.view.isReady())
			}
			m.checkVaults()
			if fired == "" {
				break
			}
		}
	}
}

// haltedIsFine leaves out that a pass is halted.
func haltedIsFine(err error) error {
	if errors.Is(err, ErrHalted) {
		return nil
	}
	return err
}
