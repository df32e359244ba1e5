package settlement

import "testing"

// A withdrawal that waits for its recipient's token account is paid by the next pass
// after that is opened, not when its own time has come; one that waits for another
// reason keeps its time.
func TestWithdrawalsAreLifted(t *testing.T) {
	m := newMachine(t)
	m.funded()
	wallet := m.alice.payout
	m.payIn(wallet, 100)
	late := m.newPaid("late", "GPU-late")
	w := m.withdraw(m.withdrawal(m.wallet[wallet], 1, 40, late.payout, hour))
	m.pass()
	retry := func() int64 {
		return int64(m.count(`SELECT extract(epoch FROM retry_at)::bigint FROM withdrawals WHERE id = $1`, w.Payment[:]))
	}
	before := retry()
	if before <= m.now().Unix() {
		t.Fatalf("it is tried again at %d, now is %d: want a wait", before, m.now().Unix())
	}
	m.pass()
	if retry() != before {
		t.Error("a look at an account that is not there moved the time")
	}
	m.exec(`UPDATE withdrawals SET reason = 'a simulation broke it'`)
	m.openAccount(late)
	if err := m.liftWithdrawals(t.Context()); err != nil || retry() != before {
		t.Errorf("one that waits for another reason was lifted: %v", err)
	}
	m.exec(`UPDATE withdrawals SET reason = $1`, accountHold+"none yet")
	m.untilPaid(w.Payment)
	if now := m.now().Unix(); now >= before {
		t.Errorf("it was paid at %d, its own time is %d: the test shows nothing", now, before)
	}
}
