package settlement

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// inlinePolicy is testPolicy with receipts in memos.
var inlinePolicy = strings.Replace(testPolicy, "[fees]\n", "[fees]\nrecord = \"inline\"\n", 1)

// keepLogOnce publishes and asks for seals, as the loop does.
func (m *machine) logTurn(started time.Time) {
	m.t.Helper()
	if err := m.keepLogOnce(m.t.Context(), started); err != nil {
		m.t.Fatal(err)
	}
}

// sealedLog returns what is final of the log.
func (m *machine) sealedLog() Checkpoint {
	m.t.Helper()
	c, _, err := finalSeal(m.t.Context(), m.pool)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

func TestSealsOfTheirOwnAccord(t *testing.T) {
	m := newMachine(t)
	m.cfg.SealEvery, m.cfg.SealReceiptsCount = 100*time.Second, 50
	m.fenceUp()
	started := m.now()
	asked := func() int { return m.count(`SELECT count(*) FROM seals`) }
	m.logTurn(started)
	m.goTo(handTime.Load() + 101)
	m.logTurn(started)
	if asked() != 0 {
		t.Fatal("a seal of the empty log was asked for")
	}
	// It grew, and the time has come.
	first := m.growLog("a", 3)
	m.logTurn(started)
	if asked() != 1 {
		t.Fatal("no seal was asked for after its time")
	}
	// One that waits is not overtaken.
	m.growLog("a", 60)
	m.logTurn(started)
	if asked() != 1 {
		t.Fatal("a seal was asked for while one waits")
	}
	m.until("the seal is final", func() bool { return m.sealedLog() == first.Checkpoint })
	// Enough records, before its time.
	m.logTurn(started)
	second := m.growLog("a", 0)
	m.until("the second seal is final", func() bool { return m.sealedLog() == second.Checkpoint })
	// Too few, and too early; then late enough.
	third := m.growLog("a", 49)
	m.logTurn(started)
	if asked() != 2 {
		t.Fatal("a seal was asked for before its time")
	}
	m.goTo(handTime.Load() + 101)
	m.logTurn(started)
	m.until("the third seal is final", func() bool { return m.sealedLog() == third.Checkpoint })
	m.checkSealed(third.Checkpoint)
	st, err := m.Log(t.Context())
	if err != nil || st.Sealed == nil || st.Sealed.Checkpoint != third.Checkpoint || st.Sealed.Signature.IsZero() {
		t.Errorf("Log: %+v, %v", st, err)
	}
	for index, want := range map[uint64]uint64{0: 3, 2: 3, 3: 63, 62: 63, 63: 112, 111: 112} {
		seal, err := m.SealOf(t.Context(), index)
		if err != nil || seal == nil || seal.Size != want {
			t.Errorf("seal of record %d: %+v, %v, want size %d", index, seal, err, want)
		}
	}
	if seal, err := m.SealOf(t.Context(), 112); err != nil || seal != nil {
		t.Errorf("seal of a record that is not there: %+v, %v", seal, err)
	}
}

// The largest memo of receipts fits a transaction beside the lane's step, and 20 at least go in.
func TestMaxInline(t *testing.T) {
	if maxInline < 20 {
		t.Fatalf("maxInline is %d", maxInline)
	}
	fits := func(n int) error {
		var list []proofs.Compact
		for i := range n {
			list = append(list, proofs.Compact{Index: math.MaxInt64 - uint64(n) + uint64(i) + 1, Fee: ionet.MustAmount(math.MaxInt64), After: ionet.MustAmount(math.MaxInt64)})
		}
		memo, err := proofs.NewReceiptsMemo(list)
		if err != nil {
			return err
		}
		p := chain.Plan{Kind: chain.KindReceipts, Version: 1, FeePayer: keyOfPublic("operator"), Memo: memo.String(), Blockhash: keyOfPublic("block"), Steps: []chain.Step{{Lane: keyOfPublic("lane"), From: keyOfPublic("from"), To: keyOfPublic("to")}}}
		p.Budget = p.DefaultBudget()
		p.Budget.PriorityLamports = math.MaxUint32
		_, err = p.Message()
		return err
	}
	if err := fits(maxInline); err != nil {
		t.Errorf("%d receipts: %v", maxInline, err)
	}
	if err := fits(maxInline + 1); err == nil {
		t.Errorf("%d receipts would fit", maxInline+1)
	}
}

func keyOfPublic(name string) ionet.Key { return chain.PublicOf(keyOf(name)) }

// checkInline walks the seal lane: the memos have every record below size that goes into
// one, once, in order, as it is in the log, and no seal comes before those below it. It
// returns how many memos there are.
func (m *machine) checkInline(size uint64, goes func(uint64) bool) (memos int) {
	m.t.Helper()
	records, err := readRecords(m.t.Context(), m.pool, 0, size)
	if err != nil {
		m.t.Fatal(err)
	}
	next := uint64(0)
	skip := func() {
		for next < size && !goes(next) {
			next++
		}
	}
	skip()
	for n := range m.position(sealLane) {
		var encoded []byte
		if err := m.pool.QueryRow(m.t.Context(), `SELECT bytes FROM contents WHERE lane = 'seal' AND position = $1 AND state = 'won'`, int64(n)).Scan(&encoded); err != nil {
			m.t.Fatal(err)
		}
		content, err := chain.ParseContent(encoded)
		if err != nil {
			m.t.Fatal(err)
		}
		memo, err := proofs.ParseMemo(content.Memo)
		if err != nil {
			m.t.Fatal(err)
		}
		switch memo := memo.(type) {
		case proofs.SealMemo:
			if memo.Size > next {
				m.t.Errorf("position %d seals %d records, memos have %d", n, memo.Size, next)
			}
		case proofs.ReceiptsMemo:
			memos++
			list, err := memo.Compacts()
			if err != nil {
				m.t.Fatal(err)
			}
			for _, c := range list {
				want, err := proofs.CompactOf(m.net.Network.ID(), records[next])
				if err != nil || c != want {
					m.t.Errorf("position %d has record %d as %+v, want %+v, %v", n, next, c, want, err)
				}
				next++
				skip()
			}
		}
	}
	if next != size {
		m.t.Errorf("memos have %d records, want %d", next, size)
	}
	return memos
}

func all(uint64) bool { return true }

func TestInline(t *testing.T) {
	m := newMachineUnder(t, inlinePolicy)
	m.cfg.SealReceiptsCount = 100
	m.fenceUp()
	started := m.now()
	m.growLog("a", maxInline-1)
	m.logTurn(started)
	for range 6 {
		m.pass()
	}
	if n := m.position(sealLane); n != 0 {
		t.Fatalf("%d memos of receipts before one is full", n)
	}
	// Full ones go out; what is left waits for a seal.
	m.growLog("a", maxInline+5)
	m.logTurn(started)
	m.until("two memos are final", func() bool { return m.position(sealLane) == 2 })
	head := m.growLog("a", 100-(2*maxInline+4))
	m.logTurn(started)
	m.until("the log is sealed", func() bool { return m.sealedLog() == head.Checkpoint })
	if memos := m.checkInline(100, all); memos != 3 {
		t.Errorf("%d memos for 100 records", memos)
	}
	m.checkSealed(head.Checkpoint)
	m.finish(0)
	m.checkBooks()
}

// Under a policy that says root, then inline, then root again: of each record the epoch in
// which it was accepted decides.
func TestInlineByEpoch(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	for i, text := range []string{inlinePolicy, testPolicy} {
		text = strings.Replace(text, "version = 1", fmt.Sprintf("version = %d", i+2), 1)
		m.announce([]byte(strings.Replace(text, "first_epoch = 1", fmt.Sprintf("first_epoch = %d", k+3+2*uint64(i)), 1)))
		m.finishEpoch() // the next version is in another book
	}
	var inline []bool
	started := m.now()
	grow := func(n int) {
		m.growBy(n, func(i uint64) []byte { return strayRecordAt(t, "a", i, handTime.Load()) })
		e := m.current()
		for range n {
			inline = append(inline, e >= k+3 && e < k+5)
		}
		m.logTurn(started)
	}
	for m.current() < k+7 {
		grow(30)
		m.finishEpoch()
	}
	if !slices.Contains(inline, true) || inline[0] || inline[len(inline)-1] {
		t.Fatalf("modes of the records: %v", inline)
	}
	head := m.growLog("a", 0)
	if err := m.SealReceipts(t.Context(), head.Checkpoint); err != nil {
		t.Fatal(err)
	}
	m.until("the log is sealed", func() bool { return m.sealedLog() == head.Checkpoint })
	goes := func(i uint64) bool { return inline[i] }
	if memos := m.checkInline(head.Size, goes); memos != 2 {
		t.Errorf("%d memos for 60 records", memos)
	}
	m.checkSealed(head.Checkpoint)
}

// A database that is put back, or lost, goes on in memos where the chain is.
func TestInlineRestored(t *testing.T) {
	m := newMachineUnder(t, inlinePolicy)
	m.funded()
	m.cfg.SealReceiptsCount = 10
	zoe := m.newSpender("zoe", 0, 6_000)
	m.payIn(zoe.renter(), 10_000)
	seat := zoe.openSeat(m.bob, m.bob.offer(1), 6_000)
	copies := []string{pgtest.NewURL(t)}
	spend := func(n int) {
		var list []proofs.Envelope
		for range n {
			list = append(list, seat.serve(7))
		}
		m.accept(list...)
		m.logTurn(m.now())
		head := m.growLog("", 0)
		m.until("the log is sealed", func() bool { return m.sealedLog() == head.Checkpoint })
	}
	for range 3 {
		spend(60)
		copies = append(copies, m.backup())
	}
	for i, url := range copies {
		m.onDatabase(url)
		m.cfg.SealReceiptsCount = 10
		m.fenceUp()
		if i == 0 {
			m.register(m.bob) // nothing knows him any more
		}
		spend(20)
		m.checkInline(uint64(m.count(`SELECT size FROM log_head`)), all)
		if t.Failed() {
			return
		}
	}
}
