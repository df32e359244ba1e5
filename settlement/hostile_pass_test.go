package settlement

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

func (m *machine) expiry() int64 {
	m.t.Helper()
	return int64(m.count(`SELECT extract(epoch FROM expires_at)::bigint FROM lease`))
}

// A pass that takes longer than the lease does keeps it: it is renewed beside it.
func TestLeaseIsKeptDuringPass(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	number := m.leaseNumber()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := make(chan struct{}, 1)
	goOn := make(chan struct{})
	m.wires.before(func(method string) {
		if method == "getMultipleAccounts" {
			select {
			case held <- struct{}{}:
				<-goOn
			default:
			}
		}
	})
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		m.Run(ctx)
	}()
	<-held // the pass stands still from here
	for range 3 {
		before := m.expiry()
		m.goTo(handTime.Load() + int64(m.cfg.LeaseTime/time.Second)/3)
		for m.expiry() == before {
			if m.leaseNumber() != number {
				t.Fatal("the lease was not kept")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	close(goOn)
	cancel()
	<-ran
}

// Who finds in the middle of a pass that the lease is gone signs and settles
// nothing more, and thinks no lane fenced.
func TestLeaseLostDuringPass(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.settleAll()
	lanes, _, err := m.catchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool, err := m.payLanes(t.Context(), lanes, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.exec(`UPDATE lease SET number = number + 1`)
	if err := m.payDue(t.Context(), pool); !errors.Is(err, errNotLeader) {
		t.Errorf("a former leader ends payout runs: %v", err)
	}
	m.goTo(handTime.Load() + int64(m.cfg.LeaseTime/time.Second)/3)
	if err := m.keepOnce(t.Context()); err != nil || m.leaseNumber() != 0 {
		t.Errorf("a former leader holds lease %d, %v", m.leaseNumber(), err)
	}
	if done, err := m.fence(t.Context(), lanes, nil); done || !errors.Is(err, errNotLeader) {
		t.Errorf("a former leader fences: %t, %v", done, err)
	}
}

// A claim that was left behind gives its debt back although another transaction is
// alive on its lane.
func TestDeadClaimBesideLiveAttempt(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.wires.dropping(true)
	c, ok := m.tryClaim(t.Context(), m.alice)
	if !ok {
		t.Fatal("no claim")
	}
	m.exec(`UPDATE attempts SET state = 'dead', created_at = $2 WHERE message = $1`, c.Message[:], m.now().Add(-claimLinger))
	lanes, err := m.loadLanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if err := m.pool.QueryRow(t.Context(), `SELECT lane FROM contents WHERE kind = $1`, int16(chain.KindClaim)).Scan(&name); err != nil {
		t.Fatal(err)
	}
	other := proofs.FenceMemo{Instance: [16]byte{1}}.String()
	if err := m.passEmpty(t.Context(), chain.KindFence, other, []lane{laneNamed(lanes, name)}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.pass()
	}
	if n := m.count(`SELECT count(*) FROM attempts WHERE kind = $1 AND state = 'live'`, int16(chain.KindSkip)); n != 1 {
		t.Errorf("%d empty contents pass the dead claim, want 1", n)
	}
	m.wires.dropping(false)
	m.settleAll()
}

// A restart begins no new wait for the next payout run.
func TestOwnPayoutsOutliveRestarts(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.Service.cfg.PayoutEvery = time.Hour
	runs := func() int { return m.count(`SELECT count(*) FROM payout_runs`) }
	now := m.now()
	m.requestOwnPayout(t.Context(), now)
	if runs() != 0 {
		t.Error("a run was asked for at the first start")
	}
	m.requestOwnPayout(t.Context(), now.Add(-time.Hour))
	if runs() != 1 {
		t.Error("no run was asked for after PayoutEvery")
	}
	m.exec(`UPDATE payout_runs SET done_at = asked_at, asked_at = asked_at - interval '59 minutes'`)
	m.requestOwnPayout(t.Context(), now.Add(-2*time.Hour))
	if runs() != 1 {
		t.Error("a run was asked for before PayoutEvery")
	}
	m.exec(`UPDATE payout_runs SET asked_at = asked_at - interval '1 minute'`)
	m.requestOwnPayout(t.Context(), now)
	m.requestOwnPayout(t.Context(), now)
	if runs() != 2 {
		t.Errorf("there are %d runs, want 2", runs())
	}
}

// What a recovery read of the chain's history is not read again when it has to be
// tried again.
func TestRecoveryKeepsWhatItRead(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	old := m.backup()
	m.seal(m.alice, m.bob)
	m.claimAll(m.alice)
	m.payAll()
	var root ionet.Hash
	for _, e := range m.events {
		if e.Kind == EventPublished {
			root, _ = ionet.ParseHash(e.Detail)
		}
	}
	m.onDatabase(old)
	m.hideBook(root)
	read := 0
	m.wires.before(func(method string) {
		if method == "getTransaction" {
			read++
		}
	})
	for i := range 3 {
		if err := m.Settle(t.Context()); err == nil {
			t.Fatal("a recovery without a book succeeds")
		}
		if read == 0 {
			t.Fatal("the recovery read nothing: this tests nothing")
		}
		if i > 0 && read != len(m.known) {
			t.Errorf("try %d: %d transactions were read of which %d are kept", i, read, len(m.known))
		}
	}
	m.showBook(root)
	m.settleAll()
	if len(m.known)+len(m.earners) != 0 {
		t.Error("what was read is kept after the recovery")
	}
}
