package settlement

import (
	"sync/atomic"
	"testing"
)

// A wallet that hands in one claim again and again has one simulation, and keeps nobody
// else out.
func TestHandInsOfOneWallet(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	a, b := m.signClaim(m.alice, m.prepare(m.alice)), m.signClaim(m.bob, m.prepare(m.bob))
	begun, goOn := make(chan struct{}), make(chan struct{})
	var simulated atomic.Int64
	m.wires.before(func(method string) {
		if method == "simulateTransaction" && simulated.Add(1) == 1 {
			close(begun)
			<-goOn
		}
	})
	const twice = 2 * maxTurns
	done := make(chan error, twice)
	for range twice {
		go func() {
			_, err := m.SubmitClaim(t.Context(), a)
			done <- err
		}()
	}
	<-begun
	for range twice - maxTurns {
		wantProblem(t, <-done, ProblemBusy)
	}
	if _, err := m.SubmitClaim(t.Context(), b); err != nil {
		t.Errorf("another wallet's claim: %v", err)
	}
	close(goOn)
	for range maxTurns {
		if err := <-done; err != nil {
			t.Errorf("who waited: %v", err)
		}
	}
	m.wires.before(nil)
	if n := simulated.Load(); n != 2 {
		t.Errorf("%d simulations of two claims", n)
	}
	if len(m.handIns.queues) != 0 {
		t.Errorf("%d wallets are kept", len(m.handIns.queues))
	}
	m.claimAll(m.alice)
	m.claimAll(m.bob)
	m.checkBooks()
}
