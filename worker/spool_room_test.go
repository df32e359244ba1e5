package worker

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestSpoolLive: what live says is what the file has once it is written anew, whatever
// records there are.
func TestSpoolLive(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "spool"))
	for i, step := range script(t) {
		must(t, step(s))
		must(t, s.rewrite())
		if s.live() != s.size {
			t.Fatalf("after step %d: live is %d, the file has %d bytes", i, s.live(), s.size)
		}
	}
}

// TestSpoolBound has the largest host without a service until its spool is full. Then all
// that waits is signed and answered, in any order and by acks of the largest size or by
// refusals: the file never has more bytes than its bound, and no answer is lost.
func TestSpoolBound(t *testing.T) {
	const limit = 1 << 20
	path := filepath.Join(t.TempDir(), "spool")
	s, err := openSpool(path, testNetwork, public(testKey(1)), limit)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	bounded := func(when string) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Size() > limit || info.Size() != s.size {
			t.Fatalf("%s: the file has %d bytes (%v), the spool says %d of %d", when, info.Size(), err, s.size, limit)
		}
	}
	devices := make([]proofs.UptimeDevice, proofs.MaxDevices)
	var waiting []proofs.Uptime
	for n := uint16(0); ; n++ {
		u := proofs.Uptime{Epoch: 1, Sample: n, Devices: devices}
		if err = s.AddReading(u); err != nil {
			break
		}
		bounded("while it fills")
		waiting = append(waiting, u)
	}
	if !errors.Is(err, ErrSpoolFull) || len(waiting) < 200 {
		t.Fatalf("after %d readings: got %v, want ErrSpoolFull", len(waiting), err)
	}
	if got := s.percent(); got < 99 || got > 100 {
		t.Errorf("it is %d%% full", got)
	}
	var statements []proofs.Envelope
	for _, u := range waiting {
		u.BeaconSlot, u.Previous = 9, s.last
		body, err := u.Encode()
		must(t, err)
		statements = append(statements, proofs.Sign(testNetwork, proofs.KindUptime, testKey(1), body))
		must(t, s.AddStatement(statements[len(statements)-1]))
		must(t, s.SkipTo(1, uint16(len(waiting)+len(statements)))) // samples that are skipped meanwhile
		bounded("while what waits is signed")
	}
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(statements), func(i, k int) { statements[i], statements[k] = statements[k], statements[i] })
	for i, e := range statements {
		if i%3 != 0 {
			must(t, s.AddAck(largestAck(t, e)))
		}
		if i%3 != 1 { // also one that was acked before, by an instance that knows nothing of it
			must(t, s.Refuse(e.ID(), strings.Repeat("x", 500)))
		}
		bounded("while the answers come")
	}
	again := openTest(t, path)
	for i, e := range statements {
		it := again.byID[e.ID()]
		if it == nil || (it.ack != nil) != (i%3 != 0) || (it.refused != "") != (i%3 != 1) {
			t.Fatalf("statement %d is not as it was answered: %+v", i, it)
		}
	}
	must(t, s.Seal(1))
	must(t, s.AddReading(proofs.Uptime{Epoch: 2, Devices: devices}))
}

func largestAck(t *testing.T, e proofs.Envelope) proofs.Envelope {
	t.Helper()
	body, err := proofs.Ack{Statement: e.ID(), Arrival: proofs.Arrival{Epoch: 1, Sample: 1}, Size: proofs.MaxAckTree, Path: make([]ionet.Hash, 16)}.Encode()
	must(t, err)
	if len(body) != proofs.MaxAckBody {
		t.Fatalf("the ack has a body of %d bytes, want %d", len(body), proofs.MaxAckBody)
	}
	return proofs.Sign(testNetwork, proofs.KindAck, testKey(3), body)
}

// TestSpoolFillsUp: a person is told before samples go without a statement, which they do
// when they would be read, and not when the service is back.
func TestSpoolFillsUp(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	w := s.w
	w.spool.limit = 2 * (w.spool.live() + w.spool.promised())
	s.wire.down.Store(true)
	s.toSample(5, 0, s.tick)
	told := s.saw(EventSpool)
	if len(told) != 1 || !strings.Contains(told[0].Text, "% full") {
		t.Errorf("told of the spool: %v", told)
	}
	skipped := len(s.saw(EventSkipped))
	if skipped == 0 || w.spool.size > w.spool.limit {
		t.Errorf("%d samples skipped, the spool holds %d of %d bytes", skipped, w.spool.size, w.spool.limit)
	}
	s.wire.down.Store(false)
	s.tick()
	if w.spool.size > w.spool.limit {
		t.Errorf("when the service is back the spool holds %d of %d bytes", w.spool.size, w.spool.limit)
	}
}
