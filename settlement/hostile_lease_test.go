package settlement

import (
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// putBack replaces the database by a copy while the service goes on running.
func (m *machine) putBack(backup string) {
	m.t.Helper()
	m.pool.Reset()
	pgtest.Restore(m.t, m.url, backup)
	m.pool.Reset()
}

// signedUnseen makes the service sign a payout that the chain does not take yet.
func (m *machine) signedUnseen() []attempt {
	m.t.Helper()
	m.wires.dropping(true)
	defer m.wires.dropping(false)
	if _, err := m.RequestPayout(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.pass()
	live, err := m.liveAttempts(m.t.Context())
	if err != nil || len(live) == 0 {
		m.t.Fatalf("no payout was signed: %v", err)
	}
	return live
}

// payTwice pays bob by a claim, then lets what was forgotten land if it can.
func (m *machine) payTwice(forgotten []attempt) {
	m.t.Helper()
	earned := m.owed(m.bob)
	m.fenceUp()
	m.claimAll(m.bob)
	for _, a := range forgotten {
		if err := m.clean.Send(m.t.Context(), a.tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
			m.t.Logf("forgotten transaction: %v", err)
		}
	}
	m.advance(3)
	if got := m.onChain(m.bob.payout); got != earned {
		m.t.Fatalf("bob earned %d and has %d on chain", earned, got)
	}
	m.settleAll()
}

// The database is put back to before this lease's fence. The chain's history has
// that fence, but it passed a position below what was signed since.
func TestOwnFenceInHistoryIsNoFence(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	backup := m.backup()
	m.reopen()
	m.fenceUp()
	forgotten := m.signedUnseen()
	m.putBack(backup)
	m.goTo(handTime.Load() + 3) // the next renewal is due
	m.payTwice(forgotten)
}

// A database that forgot less than one renewal of the lease, but something that
// was signed, costs the lease.
func TestLeaseNoticesForgottenSigning(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.goTo(handTime.Load() + 3)
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	number := m.leaseNumber()
	backup := m.backup()
	forgotten := m.signedUnseen()
	m.putBack(backup)
	m.payTwice(forgotten)
	if m.leaseNumber() <= number {
		t.Errorf("lease number is still %d", m.leaseNumber())
	}
}

// After a commit of unknown outcome the lease holds, whichever it was.
func TestLeaseOutlivesUnheardCommit(t *testing.T) {
	for _, f := range []fault{lost, unheard} {
		t.Run(f.String(), func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			number := m.leaseNumber()
			m.wires.arm(1, f, false)
			if err := m.asSigner(t.Context(), func(pgx.Tx, int64) error { return nil }); err == nil {
				t.Fatal("a commit whose answer was lost gives no error")
			}
			m.wires.disarm()
			m.fenceUp()
			m.seal(m.alice, m.bob)
			m.settleAll()
			if m.leaseNumber() != number {
				t.Errorf("lease number was %d, is %d", number, m.leaseNumber())
			}
			if l := &m.lease; l.serial.least != l.serial.most || l.serial.most != int64(m.count(`SELECT signings FROM lease`)) {
				t.Errorf("serial is taken for %d..%d", l.serial.least, l.serial.most)
			}
		})
	}
}

// strangersInstruction lands a token instruction of a stranger that names the
// lane first and a signer second, as a hand-over does, but only reads it.
func (m *machine) strangersInstruction(lane ionet.Key) {
	m.t.Helper()
	const getAccountDataSize = 21
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	me := solana.PublicKey(m.alice.payout)
	accounts := solana.AccountMetaSlice{solana.NewAccountMeta(solana.PublicKey(lane), false, false), solana.NewAccountMeta(me, true, true)}
	in := solana.NewInstruction(solana.TokenProgramID, accounts, []byte{getAccountDataSize})
	tx, err := solana.NewTransaction([]solana.Instruction{in}, solana.Hash(hash.Hash), solana.TransactionPayer(me), solana.TransactionMessageVersion(solana.MessageVersionV0))
	if err != nil {
		m.t.Fatal(err)
	}
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	m.land(message, m.wallet[m.alice.payout])
	for e, err := range m.clean.History(m.t.Context(), lane, chain.Signature{}, 0) {
		if err != nil || e.Err != nil {
			m.t.Fatalf("the stranger's transaction did not land: %v, %v", err, e.Err)
		}
		break
	}
}

func (m *machine) addressOf(lane string) ionet.Key {
	m.t.Helper()
	for _, l := range m.net.Network.Lanes {
		if l.Name == lane {
			return l.Address
		}
	}
	m.t.Fatalf("no lane %s", lane)
	return ionet.Key{}
}

// Whatever strangers write into a lane's history, recovery reads past it.
func TestStrangerInHistory(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	backup := m.backup()
	m.reopen()
	m.fenceUp()
	m.strangersInstruction(m.addressOf("pay-0"))
	m.putBack(backup)
	m.reopen()
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.settleAll()
}

// A service that starts while its predecessor's fence is open signs one fence
// of its own, however many passes that takes.
func TestOneFenceBesideAnOlderOne(t *testing.T) {
	m := newMachine(t)
	m.wires.dropping(true)
	for range 3 {
		m.pass()
	}
	m.reopen()
	for range 5 {
		m.pass()
	}
	m.wires.dropping(false)
	if n := m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`); n != 2 {
		t.Errorf("%d fences are live, want the former one and ours", n)
	}
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.settleAll()
}

// Whoever serves a database that was put back under it says that it is another instance
// from then on, whether it leads or not: workers present again what they were acked.
func TestInstanceChangesWithTheDatabase(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	backup := m.backup()
	m.seal(m.alice, m.bob) // signs, which the copy does not know
	cfg := m.cfg
	cfg.Instance = [16]byte{7}
	follower, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	leader := m.Instance()
	if follower.Instance() != cfg.Instance || leader == cfg.Instance {
		t.Fatalf("instances are %x and %x", leader, follower.Instance())
	}
	m.putBack(backup)
	m.goTo(handTime.Load() + int64(m.cfg.LeaseTime/time.Second))
	m.pass()
	if err := follower.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.Instance() == leader || follower.Instance() == cfg.Instance {
		t.Errorf("instances are still %x and %x", m.Instance(), follower.Instance())
	}
	m.settleAll()
}

// A claim is on its way through the service as the database is put back under it, and the
// lease taken anew: it is not signed before that lease has fenced what the copy forgot.
func TestClaimWaitsForTheFence(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	earned := m.owed(m.bob)
	m.goTo(handTime.Load() + 3)
	m.pass()
	p := m.prepare(m.bob)
	backup := m.backup()
	forgotten := m.signedUnseen() // a payout to bob that the copy does not know
	once := true
	m.wires.before(func(method string) {
		if method != "simulateTransaction" || !once {
			return
		}
		once = false
		m.putBack(backup)
		m.goTo(handTime.Load() + 3)
		m.wires.dropping(true)
		for range 2 {
			_ = m.Settle(t.Context()) // takes the lease; its fence does not land
		}
		m.wires.dropping(false)
	})
	if _, err := m.SubmitClaim(t.Context(), m.signClaim(m.bob, p)); err == nil {
		t.Error("the claim was signed before the fence")
	}
	m.wires.before(nil)
	for _, a := range forgotten {
		if err := m.clean.Send(t.Context(), a.tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
			t.Fatal(err)
		}
	}
	m.advance(3)
	m.settleAll()
	if got := m.onChain(m.bob.payout); got != earned {
		t.Errorf("bob earned %d and has %d on chain", earned, got)
	}
}
