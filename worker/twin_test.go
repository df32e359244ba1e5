package worker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/proofs"
)

// copyFolder copies a worker's folder as cp does, while it is in use.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// otherSampler is the same host, read at another moment: its readings differ.
func otherSampler(t *testing.T) Sampler {
	t.Helper()
	s, err := NewSimulation(2, 1, func() time.Time { return handNow().Add(1234 * time.Second) })
	must(t, err)
	return s
}

// openTwin starts a second worker with the same key on another folder.
func (s *stage) openTwin(dir string) *Worker {
	s.t.Helper()
	w, f, err := s.workerIn(dir, otherSampler(s.t))
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, errors.Join(w.Close(), f.Close())) })
	return w
}

// TestCopiedFolder starts a copy of the folder while the first one works: the copy sees
// that, signs nothing and ends, and the first is not harmed.
func TestCopiedFolder(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	dir := copyFolder(t, s.dir)
	s.live(1, 3)
	twin := s.openTwin(dir)
	signed := twin.spool.signed
	var err error
	s.toSample(2, 4, func() {
		if err == nil {
			must(t, twin.Read(t.Context()))
			err = twin.Call(t.Context())
		}
		s.tick()
		s.settle()
	})
	if !errors.Is(err, ErrTwin) {
		t.Errorf("the copy: %v, want ErrTwin", err)
	}
	if got := s.saw(EventStranger); len(got) != 1 {
		t.Errorf("strangers: %v, want the first one's statement", got)
	}
	if got := s.saw(EventTwin); len(got) != 1 {
		t.Errorf("twins: %v", got)
	}
	if twin.spool.signed.compare(moment{1, 3}) > 0 || len(twin.spool.uptimes(1)) > 0 && signed.before(twin.spool.uptimes(1)[len(twin.spool.uptimes(1))-1].at) {
		t.Errorf("the copy signed up to %v", twin.spool.signed)
	}
	book := s.sealed(1)
	s.wantRules(book, proofs.Accepted, proofs.Accepted)
	if all := s.uptimes(book); len(all) != stageSamples { // fails on two for one sample
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
}

// TestClonedMachine lets both go on from one state, as a cloned machine does: neither can
// know at once, but one of them finds out within a few samples.
func TestClonedMachine(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	twin := s.openTwin(copyFolder(t, s.dir))
	samples := 0
	var first, second error
	s.toSample(3, 0, func() {
		if first != nil || second != nil {
			return
		}
		samples++
		for _, step := range []struct {
			w   *Worker
			err *error
		}{{s.w, &first}, {twin, &second}} {
			for range 2 {
				must(t, step.w.Read(t.Context()))
				if *step.err == nil {
					*step.err = step.w.Call(t.Context())
				}
			}
		}
	})
	if !errors.Is(first, ErrTwin) && !errors.Is(second, ErrTwin) {
		t.Fatalf("nobody found out: %v, %v", first, second)
	}
	if samples > lookEachTimes+2 {
		t.Errorf("it took %d samples", samples)
	}
}

// TestStrangerIsNobody: statements of an earlier life, and nobody who goes on with them.
// What is read while the worker watches is signed after it.
func TestStrangerIsNobody(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	s.closeWorker()
	must(t, os.Remove(filepath.Join(s.dir, "spool")))
	s.openWorker()
	s.live(1, 4)
	if got := s.saw(EventStranger); len(got) != 1 {
		t.Errorf("strangers: %v", got)
	}
	if n := len(s.w.spool.uptimes(1)); n > 0 {
		t.Errorf("it signed %d statements while it watched", n)
	}
	s.live(2, 4)
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
	if got := s.saw(EventTwin); len(got) > 0 {
		t.Errorf("twins: %v", got)
	}
}
