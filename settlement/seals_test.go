package settlement

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkpoint is the state of a made-up log of n receipts.
func checkpoint(n uint64) Checkpoint {
	return Checkpoint{Size: n, Root: ionet.HashOf([]byte(fmt.Sprint("log of ", n))), Fees: ionet.MustAmount(10 * n)}
}

// sealLog asks for a seal and makes passes until none waits; it stops where the
// process dies.
func (m *machine) sealLog(c Checkpoint) {
	m.t.Helper()
	if !m.mayFail("seal receipts", func() error { return m.SealReceipts(m.t.Context(), c) }) {
		return
	}
	m.until("the log is sealed", func() bool {
		return m.wires.isCut() || m.count(`SELECT count(*) FROM seals WHERE state = 'waiting'`) == 0
	})
}

// checkSealed walks the seal lane: each seal names the one before it, sizes rise, and
// the last is c.
func (m *machine) checkSealed(c Checkpoint) {
	m.t.Helper()
	var prev ionet.Hash
	var last proofs.SealMemo
	for n := range m.position(sealLane) {
		contents, err := m.contentsOf(sealLane, n)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, content := range contents {
			if m.count(`SELECT count(*) FROM contents WHERE hash = $1 AND state = 'won'`, hashBytes(content.Hash())) == 0 {
				continue
			}
			memo, err := proofs.ParseMemo(content.Memo)
			if _, inline := memo.(proofs.ReceiptsMemo); inline {
				continue
			}
			s, ok := memo.(proofs.SealMemo)
			if err != nil || !ok || s.Prev != prev || s.Size < last.Size {
				m.t.Errorf("position %d of the seal lane has %q after %q", n, content.Memo, last)
			}
			last, prev = s, ionet.HashOf([]byte(content.Memo))
		}
	}
	if got := (Checkpoint{last.Size, last.Root, last.Fees}); got != c {
		m.t.Errorf("the last seal is %+v, want %+v", got, c)
	}
	list, err := m.Seals(m.t.Context(), 1)
	if err != nil || len(list) != 1 || list[0].Checkpoint != c || list[0].State != SealSealed || list[0].Position+1 != m.position(sealLane) {
		m.t.Errorf("the newest checkpoint is %+v, %v, want %+v at the last position", list, err, c)
	}
}

func hashBytes(h ionet.Hash) []byte { return h[:] }

func TestSealReceipts(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.sealLog(checkpoint(3))
	m.checkSealed(checkpoint(3))
	// Of several that wait the newest is sealed; it commits to the others too.
	for _, n := range []uint64{4, 5, 9} {
		if err := m.SealReceipts(t.Context(), checkpoint(n)); err != nil {
			t.Fatal(err)
		}
	}
	m.sealLog(checkpoint(9))
	m.checkSealed(checkpoint(9))
	if m.position(sealLane) != 2 {
		t.Errorf("%d seals were sent, want 2", m.position(sealLane))
	}
	if n := m.count(`SELECT count(*) FROM seals WHERE state = 'passed'`); n != 2 {
		t.Errorf("%d checkpoints were passed, want 2", n)
	}
	wrong := checkpoint(9)
	wrong.Root[0] ^= 1
	less := checkpoint(12)
	less.Fees = ionet.MustAmount(89)
	for name, c := range map[string]Checkpoint{"fewer receipts": checkpoint(8), "another root": wrong, "less fees": less} {
		if err := m.SealReceipts(t.Context(), c); !errors.Is(err, ErrLogWentBack) {
			t.Errorf("%s: got %v, want ErrLogWentBack", name, err)
		}
	}
	m.sealLog(checkpoint(9)) // the same again changes nothing
	m.checkSealed(checkpoint(9))
	m.settleAll()
}

// A seal fails at any step, in a process that dies and in one that goes on.
func TestFailSeals(t *testing.T) {
	for _, f := range []fault{lost, unheard} {
		for _, dies := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, dies %t", f, dies), func(t *testing.T) {
				m := newMachine(t)
				m.fenceUp()
				for n := 1; ; n++ {
					c := checkpoint(uint64(n))
					m.wires.arm(n, f, dies)
					m.sealLog(c)
					step := m.wires.disarm()
					if dies && step != "" {
						m.reopen()
					}
					m.fenceUp()
					m.sealLog(c)
					m.finish(0)
					m.checkSealed(c)
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

// A restored database learns the seals from the chain: a log that was restored too, and
// is behind, is refused; one that goes on is sealed.
func TestSealsOfAnotherDatabase(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.sealLog(checkpoint(3))
	old := m.backup()
	m.sealLog(checkpoint(5))
	m.sealLog(checkpoint(7))
	size := uint64(7)
	for _, url := range []string{old, pgtest.NewURL(t)} {
		m.onDatabase(url)
		m.fenceUp()
		m.checkSealed(checkpoint(size))
		if err := m.SealReceipts(t.Context(), checkpoint(4)); !errors.Is(err, ErrLogWentBack) {
			t.Errorf("a log that is behind the chain: %v, want ErrLogWentBack", err)
		}
		size++
		m.sealLog(checkpoint(size))
		m.checkSealed(checkpoint(size))
	}
}

// A seal that this database forgot lands while it wants to seal another checkpoint: the
// chain's stands, and what follows from it is sealed next.
func TestForgottenSeal(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.sealLog(checkpoint(3))
	old := m.backup()
	m.wires.dropping(true)
	if err := m.SealReceipts(t.Context(), checkpoint(8)); err != nil {
		t.Fatal(err)
	}
	m.pass()
	live, err := m.liveAttempts(t.Context())
	if err != nil || len(live) != 1 {
		t.Fatalf("%d attempts live, %v, want the seal", len(live), err)
	}
	m.wires.dropping(false)
	m.onDatabase(old)
	if err := m.SealReceipts(t.Context(), checkpoint(5)); err != nil {
		t.Fatal(err)
	}
	if err := m.clean.Send(t.Context(), live[0].tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
		t.Fatal(err)
	}
	m.until("the forgotten seal is in the books", func() bool { return m.position(sealLane) == 2 })
	m.until("nothing waits", func() bool { return m.count(`SELECT count(*) FROM seals WHERE state = 'waiting'`) == 0 })
	m.checkSealed(checkpoint(8))
	if err := m.SealReceipts(t.Context(), checkpoint(6)); !errors.Is(err, ErrLogWentBack) {
		t.Errorf("a log behind the forgotten seal: %v, want ErrLogWentBack", err)
	}
	m.sealLog(checkpoint(9))
	m.checkSealed(checkpoint(9))
}
