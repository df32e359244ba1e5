package settlement

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

func TestBeacon(t *testing.T) {
	b := newBooks(t)
	notReady := func(k uint64, sample uint16) *Problem {
		t.Helper()
		beacon, err := b.Beacon(t.Context(), k, sample)
		var p *Problem
		if !errors.As(err, &p) || p.Type != ProblemBeaconNotReady {
			t.Fatalf("beacon of sample %d of epoch %d is %v, %v", sample, k, beacon, err)
		}
		return p
	}
	b.toSample(1, 1)
	if p := notReady(1, 3); p.Retry != 11*time.Second {
		t.Errorf("retry after %s, sample 3 begins in 11 s", p.Retry)
	}
	for _, at := range []sampleOf{{0, 0}, {1, testSamples}, {1001, 0}} {
		if p := notReady(at.epoch, at.sample); p.Retry != 0 {
			t.Errorf("%s: retry after %s, there is none", at, p.Retry)
		}
	}
	first, err := b.Beacon(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if k, sample, _ := b.clock.At(time.Unix(first.Time, 0)); k != 1 || sample != 1 || first != b.beacon(1, 1) {
		t.Errorf("beacon is %+v", first)
	}
	b.toSample(1, 2)
	for _, s := range []*books{b, b.on(b.url)} {
		if again, err := s.Beacon(t.Context(), 1, 1); err != nil || again != first {
			t.Errorf("beacon is %+v (%v), was %+v", again, err, first)
		}
	}
}

func TestBeaconOfAClosedEpoch(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(1, 0)
	b.accept(h.uptime(1, 0, nil))
	b.closeDue(1)
	if got, err := b.Beacon(t.Context(), 1, 0); err != nil || got != b.beacon(1, 0) {
		t.Errorf("beacon of a sample that was proven: %v, %v", got, err)
	}
	var p *Problem
	if _, err := b.Beacon(t.Context(), 1, 1); !errors.As(err, &p) || p.Type != ProblemEpochClosed {
		t.Errorf("beacon of another sample: %v", err)
	}
}

// The sample has begun, its first block is not final yet.
func TestBeaconBeforeFinality(t *testing.T) {
	b := newBooks(t)
	b.toSample(1, 0)
	handTime.Store(b.clock.SampleStart(1, 1))
	var p *Problem
	if _, err := b.Beacon(t.Context(), 1, 1); !errors.As(err, &p) || p.Type != ProblemBeaconNotReady || p.Retry != beaconRetry {
		t.Errorf("beacon: %v", err)
	}
}

// A sample in which the chain made no block can't be proven, and says so.
func TestBeaconOfASampleWithoutBlocks(t *testing.T) {
	b := newBooks(t)
	b.toSample(1, 0)
	handTime.Store(b.clock.SampleStart(1, 3))
	b.goTo(b.clock.SampleStart(1, 3))
	var p *Problem
	if _, err := b.Beacon(t.Context(), 1, 2); !errors.As(err, &p) || p.Type != ProblemBeaconNotReady || p.Retry != 0 {
		t.Errorf("beacon: %v", err)
	}
}

func TestManyAskForOneBeacon(t *testing.T) {
	b := newBooks(t)
	b.toSample(1, 0)
	w := &wires{reads: true}
	b.cfg.Chain = w.client(t, b.node.URL())
	w.arm(0, lost, false) // counts
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := b.Beacon(context.Background(), 1, 0); err != nil {
				t.Errorf("beacon: %v", err)
			}
		})
	}
	wg.Wait()
	if calls := len(w.Steps()); calls > 50 {
		t.Errorf("50 callers made %d calls of the chain", calls)
	}
}

// An outage of the chain is an error of ours, not the worker's problem: the worker
// keeps its statement.
func TestChainOutageRefusesNobody(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.toSample(1, 0)
	u := h.uptime(1, 0, nil)
	w := &wires{reads: true}
	b.cfg.Chain = w.client(t, b.node.URL())
	w.arm(1, lost, true)
	if results, err := b.Submit(t.Context(), plain(u)); err == nil {
		t.Errorf("submit without a chain: %+v", results)
	}
	w.disarm()
	b.accept(u)
}

// A request can't make the service read the chain without end.
func TestLookupsAreBounded(t *testing.T) {
	b := newBooks(t)
	b.toSample(1, 5)
	l := b.newLookups()
	defer l.leave()
	for n := range uint64(maxLookups + 3) {
		_, p, err := l.block(t.Context(), &item{body: &proofs.Uptime{Epoch: 1, Sample: 5, BeaconSlot: b.node.Slot() - 1 - n}})
		if err != nil {
			t.Fatal(err)
		}
		if (p != nil && p.Type == ProblemBusy) != (n >= maxLookups) {
			t.Errorf("look-up %d: %v", n, p)
		}
	}
}

func TestBeaconNotFoundOnChain(t *testing.T) {
	b := newBooks(t)
	dead, err := rpc.New(rpc.Config{Endpoints: []string{"http://127.0.0.1:1"}, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	b.cfg.Chain = dead
	b.toSample(1, 0)
	var p *Problem
	if _, err := b.Beacon(t.Context(), 1, 0); err == nil || errors.As(err, &p) {
		t.Errorf("beacon without a chain: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Beacon(ctx, 1, 0); err == nil {
		t.Error("a caller that went away has a beacon")
	}
}
