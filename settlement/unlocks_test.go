package settlement

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

func TestReleases(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	community, _ := m.net.Network.AllocationOf("community")
	if u := m.unlock("seed"); u.Total.IsZero() || !u.Due.IsZero() || !u.Released.IsZero() || u.Next != m.clock.EpochEnd(emissions.EpochsPerMonth) {
		t.Errorf("seed at genesis: %+v", u)
	}
	m.releaseAll("") // of seed nothing is due yet: its request is closed all the same
	m.checkReleased("seed")
	m.checkReleased("community", community.Amount.Base())
	m.releaseAll("community") // nothing more is due
	if n := m.count(`SELECT count(*) FROM contents WHERE kind = $1`, int16(chain.KindUnlock)); n != 1 {
		t.Errorf("%d contents release, want 1", n)
	}
	if !m.saw(EventUnlock) {
		t.Error("no event tells of the release")
	}
	m.lastSealed()
	m.monthOver(1)
	if u := m.unlock("seed"); u.Month != 1 || u.Due.Base() != m.byMonth(1) {
		t.Errorf("seed after a month: %+v, want %d due", u, m.byMonth(1))
	}
	m.releaseAll("seed")
	m.checkReleased("seed", m.byMonth(1))
	m.monthOver(4)
	m.releaseAll("")
	m.releaseAll("")
	m.checkReleased("seed", m.byMonth(1), m.byMonth(4)-m.byMonth(1))
	m.settleAll()
	m.audited()
}

func TestReleaseRefuses(t *testing.T) {
	m := newUnlocking(t)
	for category, unmanaged := range map[string]bool{"core": true, "nobody": false} {
		if _, err := m.RequestRelease(t.Context(), category); err == nil || errors.Is(err, ErrUnmanaged) != unmanaged {
			t.Errorf("release of %s: %v", category, err)
		}
	}
	if u := m.unlock("core"); u.IsManaged() || !u.Due.IsZero() {
		t.Errorf("core has no beneficiaries: %+v", u)
	}
	plain := newMachine(t)
	if _, err := plain.RequestRelease(t.Context(), ""); !errors.Is(err, ErrUnmanaged) {
		t.Errorf("a network without beneficiaries: %v, want ErrUnmanaged", err)
	}
}

// A beneficiary whose account belongs to somebody else holds up his category with a
// reason; once it is put right all are paid.
func TestReleaseWaitsForABeneficiary(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	m.lastSealed()
	m.monthOver(1)
	m.own("b")
	m.handAccount("b", wallet("b"), keyOf("beneficiary thief"))
	if _, err := m.RequestRelease(t.Context(), "seed"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		m.pass()
	}
	if u := m.unlock("seed"); !u.Asked || u.Reason == "" || !u.Released.IsZero() || !u.InFlight.IsZero() {
		t.Errorf("a release to an account that is another's: %+v", u)
	}
	m.handAccount("b", wallet("thief"), keyOf("beneficiary b"))
	m.releaseAll("seed")
	m.checkReleased("seed", m.byMonth(1))
}

// A release fails at any step, in a process that dies and in one that goes on.
func TestFailReleases(t *testing.T) {
	for _, f := range []fault{lost, unheard} {
		for _, dies := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, dies %t", f, dies), func(t *testing.T) {
				m := newUnlocking(t)
				m.fenceUp()
				m.lastSealed()
				m.settleAll()
				var sums []uint64
				stride := 1
				if !dies {
					stride = 2
				}
				for n := 1 + int(f)*(stride-1); ; n += stride {
					month := uint64(len(sums) + 1)
					m.monthOver(month)
					m.wires.arm(n, f, dies)
					m.releaseAll("seed")
					step := m.wires.disarm()
					if dies && step != "" {
						m.reopen()
					}
					m.fenceUp()
					m.releaseAll("seed")
					m.finish(0)
					sums = append(sums, m.byMonth(month)-m.byMonth(month-1))
					m.checkReleased("seed", sums...)
					m.checkBooks()
					if t.Failed() {
						t.Fatalf("after step %d, %q, was %s", n, step, f)
					}
					if step == "" {
						t.Logf("%d steps", n-1)
						return
					}
				}
			})
		}
	}
}

// A release that the restored database forgot and that is still valid can't land any
// more once the fence is final; one that lands before it is imported. Either way the
// category is released once.
func TestForgottenRelease(t *testing.T) {
	for name, early := range map[string]bool{"before the fence": true, "after the fence": false} {
		t.Run(name, func(t *testing.T) {
			m := newUnlocking(t)
			m.fenceUp()
			community, _ := m.net.Network.AllocationOf("community")
			old := m.backup()
			m.wires.dropping(true)
			if _, err := m.RequestRelease(t.Context(), "community"); err != nil {
				t.Fatal(err)
			}
			m.pass()
			live, err := m.liveAttempts(t.Context())
			if err != nil || len(live) != 1 || live[0].kind != chain.KindUnlock {
				t.Fatalf("%d attempts live, %v, want the release", len(live), err)
			}
			m.wires.dropping(false)
			send := func() {
				if err := m.clean.Send(t.Context(), live[0].tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
					t.Logf("forgotten release: %v", err)
				}
				m.advance(3)
			}
			if early {
				send()
			}
			m.onDatabase(old)
			m.fenceUp()
			if !early {
				send()
			}
			if got := m.onChain(wallet("d")); (got > 0) != early {
				t.Errorf("the beneficiary has %d", got)
			}
			m.releaseAll("community")
			m.checkReleased("community", community.Amount.Base())
			m.finish(0)
			m.checkBooks()
		})
	}
}

// Two instances and many askers: each month is released once.
func TestReleasesOfTwoInstances(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	other := &machine{books: &books{}, wires: &wires{}, wallet: m.wallet, clean: m.clean, alice: m.alice, bob: m.bob}
	*other.books = *m.books
	other.openOn(other.wires.pool(t, m.url), other.wires.client(t, m.node.URL()))
	community, _ := m.net.Network.AllocationOf("community")
	for _, s := range []*machine{m, other, m, other} {
		if names, err := s.RequestRelease(t.Context(), ""); err != nil || len(names) != 2 {
			t.Fatalf("asked for %v, %v", names, err)
		}
	}
	m.until("what is due is released", func() bool {
		other.pass()
		return m.count(`SELECT count(*) FROM unlock_requests WHERE done_at IS NULL`) == 0
	})
	m.checkReleased("community", community.Amount.Base())
	if n := m.count(`SELECT count(*) FROM unlock_requests`); n != 2 {
		t.Errorf("%d requests are stored, want one for each category", n)
	}
}

// A restored and an empty database learn from the chain what was released, and release
// nothing twice.
func TestReleasesOfAnotherDatabase(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	m.lastSealed()
	m.monthOver(1)
	old := m.backup()
	m.releaseAll("seed")
	m.monthOver(2)
	m.releaseAll("seed")
	sums := []uint64{m.byMonth(1), m.byMonth(2) - m.byMonth(1)}
	for _, url := range []string{old, pgtest.NewURL(t)} {
		m.onDatabase(url)
		m.fenceUp()
		m.checkReleased("seed", sums...)
		m.releaseAll("seed")
		m.checkReleased("seed", sums...)
		m.settleAll()
	}
	m.audited()
	if n := m.count(`SELECT count(*) FROM payments WHERE kind = $1 AND state = 'paid'`, int16(chain.KindUnlock)); n != 6 {
		t.Errorf("%d payments of releases are in the books, want 6", n)
	}
}

// What attempts take of one account is summed up: over the payments of a release, and
// over attempts beside each other. A content that is stored takes nothing again.
func TestCoveredSumsByAccount(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	seed, _ := m.net.Network.AllocationOf("seed")
	locked := m.balance(ledger.Locked("seed"))
	if locked == 0 {
		t.Fatal("nothing of seed is locked")
	}
	release := func(tranche uint64, sum uint64) *attempt {
		t.Helper()
		d, err := m.releaseDraft(seed, tranche, ionet.MustAmount(sum))
		if err != nil {
			t.Fatal(err)
		}
		if len(d.payments) < 2 {
			t.Fatalf("a release of %d pays %d beneficiaries, want several", sum, len(d.payments))
		}
		content := chain.Content{Kind: d.kind, Lane: m.net.Network.Lanes[0].Address, Movements: d.movements, Memo: d.memo}
		return &attempt{kind: d.kind, steps: []step{{lane: lane{name: payPrefix + "0"}, content: content}}, payments: d.payments}
	}
	all, half, more, over := release(1, locked), release(2, locked/2), release(3, locked-locked/2), release(4, locked+1)
	again := *all
	for _, c := range []struct {
		name string
		list []*attempt
		want []*attempt
	}{
		{"all that is locked", []*attempt{all}, []*attempt{all}},
		{"one more than that", []*attempt{over}, nil},
		{"two that share it", []*attempt{half, more}, []*attempt{half, more}},
		{"two of which one takes all", []*attempt{half, all}, []*attempt{half}},
		{"one that is too much, and one beside it", []*attempt{over, all}, []*attempt{all}},
		{"one content, signed twice", []*attempt{all, &again}, []*attempt{all, &again}},
	} {
		m.checkCovered(c.name, c.list, c.want)
	}
	// The content that took all is stored; it is signed again.
	m.checkIn(func(tx pgx.Tx) error {
		if _, err := insertContents(t.Context(), tx, []*attempt{all}); err != nil {
			return err
		}
		_, err := ledger.Post(t.Context(), tx, ledger.Entry{ID: ionet.HashOf([]byte("taken")), Kind: "test", Transfers: []ledger.Transfer{
			{Debit: ledger.Locked("seed"), Credit: ledger.UnlockInFlight("seed"), Amount: ionet.MustAmount(locked)},
		}}, time.Now())
		return err
	})
	m.checkCovered("a content that is stored", []*attempt{all, half}, []*attempt{all})
}

func (m *machine) checkIn(f func(pgx.Tx) error) {
	m.t.Helper()
	if err := m.inTx(m.t.Context(), f); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) checkCovered(name string, list, want []*attempt) {
	m.t.Helper()
	m.checkIn(func(tx pgx.Tx) error {
		got, err := m.covered(m.t.Context(), tx, list)
		if err == nil && !slices.Equal(got, want) {
			m.t.Errorf("%s: %d of %d attempts may go on, want %d", name, len(got), len(list), len(want))
		}
		return err
	})
}
