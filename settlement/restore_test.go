package settlement

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/publish"
)

// onDatabase starts a new service on another database of the same network.
func (m *machine) onDatabase(url string) {
	m.t.Helper()
	m.url = url
	m.reopen()
}

// backup returns a copy of the database as it is now.
func (m *machine) backup() string {
	m.t.Helper()
	m.pool.Reset()
	url := pgtest.Copy(m.t, m.url)
	m.pool.Reset()
	return url
}

// settleAll makes both payees whole and holds the books against the chain.
func (m *machine) settleAll() {
	m.t.Helper()
	m.fenceUp()
	m.claimAll(m.alice)
	m.payAll()
	m.finish(0)
	m.checkBooks()
	if m.owed(m.alice)+m.owed(m.bob) != 0 {
		m.t.Errorf("alice is owed %d, bob %d at the end", m.owed(m.alice), m.owed(m.bob))
	}
}

// A database that was put back two epochs: everything that happened since is
// read from chain and published files, and nothing is paid twice.
func TestRestoredDatabase(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.claimAll(m.alice)
	old := m.backup()
	m.payAll()
	for range 2 {
		m.seal(m.alice, m.bob)
		m.claimAll(m.alice)
		m.payAll()
	}
	before := m.onChain(m.alice.payout) + m.onChain(m.bob.payout)
	m.onDatabase(old)
	m.fenceUp()
	if !m.saw(EventRecovery) {
		t.Error("no recovery was told")
	}
	m.settleAll()
	if after := m.onChain(m.alice.payout) + m.onChain(m.bob.payout); after != before {
		t.Errorf("payees had %d, have %d after the recovery: paid twice", before, after)
	}
	m.seal(m.alice, m.bob)
	m.settleAll()
}

// An empty database is the oldest copy there is.
func TestLostDatabase(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.claimAll(m.alice)
	m.payAll()
	m.seal(m.bob)
	m.onDatabase(pgtest.NewURL(t))
	m.settleAll()
	m.seal(m.alice, m.bob)
	m.settleAll()
}

// A recovery dies at any step; the next process takes it up. Each time the
// database is put back over an epoch, a claim, a payout that it knows as signed
// and one that it never knew.
func TestKillRecovery(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	for _, f := range []fault{lost, unheard} {
		for n := 1; ; n += 3 {
			m.seal(m.alice, m.bob)
			if _, err := m.RequestPayout(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.pass()
			old := m.backup()
			m.payAll()
			m.seal(m.alice, m.bob)
			m.claimAll(m.alice)
			m.payAll()
			m.onDatabase(old)
			m.wires.arm(n, f, true)
			m.until("lanes are fenced", func() bool { return m.wires.isCut() || m.view.isReady() })
			step := m.wires.disarm()
			if step != "" {
				m.reopen()
			}
			m.settleAll()
			if t.Failed() {
				t.Fatalf("after step %d, %q, was %s", n, step, f)
			}
			if step == "" {
				t.Logf("%d steps", n-1)
				break
			}
		}
	}
}

// forgetPayout signs a payout whose transactions never leave, and goes on with the
// database of before: it returns what that has forgotten and what may still land.
func forgetPayout(t *testing.T) (*machine, []attempt) {
	t.Helper()
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	old := m.backup()
	m.wires.dropping(true)
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.pass()
	live, err := m.liveAttempts(t.Context())
	if err != nil || len(live) == 0 {
		t.Fatalf("no payout was signed: %v", err)
	}
	m.wires.dropping(false)
	m.onDatabase(old)
	return m, live
}

// A transaction that the restored database forgot and that is still valid can't
// land any more once the fence is final.
func TestFenceKillsForgotten(t *testing.T) {
	m, live := forgetPayout(t)
	m.fenceUp()
	for _, a := range live {
		if err := m.clean.Send(t.Context(), a.tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
			t.Logf("forgotten transaction: %v", err)
		}
	}
	m.advance(3)
	if got := m.onChain(m.bob.payout); got != 0 {
		t.Fatalf("the forgotten payout landed after the fence: bob has %d", got)
	}
	m.settleAll()
}

// The forgotten transaction lands just before the fence: it is imported, and
// the fence takes the next position.
func TestForgottenLandsBeforeFence(t *testing.T) {
	m, live := forgetPayout(t)
	landed := false
	m.wires.before(func(method string) {
		// The first fence is about to leave: the forgotten one overtakes it.
		if method == "sendTransaction" && !landed {
			landed = true
			if err := m.clean.Send(t.Context(), live[0].tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
				t.Errorf("send the forgotten transaction: %v", err)
			}
		}
	})
	m.fenceUp()
	if got := m.onChain(m.bob.payout); got == 0 {
		t.Error("the forgotten payout did not land: this tests nothing")
	}
	m.settleAll()
}

// What is missing is named.
func TestRecoveryNamesWhatIsMissing(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	old := m.backup()
	m.seal(m.alice, m.bob)
	var root ionet.Hash
	for _, e := range m.events {
		if e.Kind == EventPublished {
			root, _ = ionet.ParseHash(e.Detail)
		}
	}
	m.onDatabase(old)
	m.hideBook(root)
	err := m.Settle(t.Context())
	if err == nil || !strings.Contains(err.Error(), root.String()) {
		t.Fatalf("a pass without the book of a sealed epoch says: %v", err)
	}
	if m.count(`SELECT count(*) FROM attempts WHERE lease > 1`) != 0 {
		t.Error("something was signed before the recovery was over")
	}
	m.showBook(root)
	m.settleAll()
}

// A lease that is not what was left in the row ends at the next write: so a
// database that is put back under a running service is noticed.
func TestLeaseNoticesRestore(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	number := m.leaseNumber()
	m.exec(`UPDATE lease SET expires_at = expires_at - interval '1 second'`)
	m.goTo(handTime.Load() + int64(m.cfg.LeaseTime/time.Second))
	m.pass() // the renewal; from now on workers have a grace to present what was lost
	m.seal(m.alice, m.bob)
	if m.leaseNumber() <= number {
		t.Errorf("lease number is still %d", m.leaseNumber())
	}
	m.settleAll()
}

// Of two instances one leads; when it dies the other takes over.
func TestTwoInstances(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	other := &machine{books: &books{}, wires: &wires{}, wallet: m.wallet, clean: m.clean, alice: m.alice, bob: m.bob}
	*other.books = *m.books
	other.openOn(other.wires.pool(t, m.url), other.wires.client(t, m.node.URL()))
	k := m.playNext(m.alice, m.bob)
	m.pass() // the clock has moved on: the first one renews its lease, or it would be free
	m.until("epoch is sealed", func() bool {
		other.pass()
		if other.leaseNumber() != 0 {
			t.Fatal("both instances lead")
		}
		return m.position(epochLane) > k
	})
	if _, err := other.PrepareClaim(t.Context(), m.alice.payout); err == nil {
		t.Error("an instance that does not lead prepares claims")
	}
	m.wires.arm(1, lost, true) // the first one is gone
	m.goTo(handTime.Load() + int64(m.cfg.LeaseTime/time.Second) + 1)
	m.pass()
	other.settleAll()
	m.wires.disarm()
	m.until("the first one, back again, finds that it does not lead", func() bool { return m.leaseNumber() == 0 })
	other.seal(m.alice, m.bob)
	other.settleAll()
}

// hideBook takes a book out of the published store, showBook puts it back.
func (m *machine) hideBook(root ionet.Hash) { m.move(root, "", ".hidden") }
func (m *machine) showBook(root ionet.Hash) { m.move(root, ".hidden", "") }

func (m *machine) move(root ionet.Hash, from, to string) {
	m.t.Helper()
	m.moveFile(publish.BookName(root), from, to)
}

// moveFile renames a published file.
func (m *machine) moveFile(name, from, to string) {
	m.t.Helper()
	path := filepath.Join(m.store.Dir(), filepath.FromSlash(name))
	if err := os.Rename(path+from, path+to); err != nil {
		m.t.Fatal(err)
	}
}
