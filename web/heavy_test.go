package web

import (
	"context"
	"errors"
	"testing"

	"github.com/ionet-settlement/ionet/settlement"
)

// Requests that read a whole epoch are few at once; the next is told to come again.
func TestHeavyRequestsAreFewAtOnce(t *testing.T) {
	h := &handler{heavy: make(chan struct{}, maxHeavy)}
	begun, finish, done := make(chan struct{}), make(chan struct{}), make(chan error)
	f := heavily(h, func(context.Context, *nothing) (int, error) {
		begun <- struct{}{}
		<-finish
		return 1, nil
	})
	for range maxHeavy {
		go func() {
			_, err := f(t.Context(), nil)
			done <- err
		}()
		<-begun
	}
	_, err := f(t.Context(), nil)
	if p := (*settlement.Problem)(nil); !errors.As(err, &p) || p.Type != settlement.ProblemBusy || p.Retry == 0 {
		t.Errorf("one request too many gives %v, want it told to come again", err)
	}
	close(finish)
	for range maxHeavy {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	go func() { <-begun }()
	if n, err := f(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("after they ended: %d, %v", n, err)
	}
}
