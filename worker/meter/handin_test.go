package meter

import (
	"context"
	"testing"
	"time"
)

// A worker that stops hands in what was served last; where the service does not answer it
// knows how much is left, and until when.
func TestHandIn(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(100_000)
	s.knows(p)
	must(t, r.steps(1))
	if left, before, err := r.meter.HandIn(t.Context()); left != 0 || !before.IsZero() || err != nil {
		t.Errorf("with nothing served %d are left until %s: %v", left, before, err)
	}
	for range 2 {
		if g := p.send(try{covers: 50_000}); g.job == nil {
			t.Fatal(g.problem)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	left, before, err := r.meter.HandIn(gone)
	if want := time.Unix(p.state().Expires, 0).UTC(); left != 2 || !before.Equal(want) || err == nil {
		t.Errorf("without the service %d are left until %s, %v; want 2 until %s and an error", left, before, err, want)
	}
	if left, _, err := r.meter.HandIn(t.Context()); left != 0 || err != nil {
		t.Errorf("%d are left: %v", left, err)
	}
	if _, jobs := s.spent(p); jobs != 2 {
		t.Errorf("the service has %d jobs, want 2", jobs)
	}
}
