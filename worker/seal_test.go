package worker

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// closed refuses all uptime statements as those of a closed epoch, as the service does
// when the rows of theirs have left for the book. arrive says whether it takes them first.
func closed(t *testing.T, arrive bool) between {
	return func(rw http.ResponseWriter, r *http.Request, service http.Handler) {
		if r.URL.Path != "/v1/statements" {
			service.ServeHTTP(rw, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		must(t, err)
		if arrive {
			r.Body = io.NopCloser(bytes.NewReader(body))
			service.ServeHTTP(discard{http.Header{}}, r)
		}
		var out client.Results
		for len(body) > 0 {
			var e proofs.Envelope
			e, body, err = proofs.ParseEnvelope(body)
			must(t, err)
			if e.Kind == proofs.KindUptime {
				out.Results = append(out.Results, client.Result{ID: e.ID(), Status: client.Refused,
					Problem: &client.Problem{Type: client.ProblemPrefix + client.EpochClosed, Status: http.StatusGone, Detail: "the epoch is closed"}})
			}
		}
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(out)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// TestRowsHaveLeft presents statements of an epoch again whose rows the service has no
// more: what the book holds is no matter for alarm, and what it lacks is told.
func TestRowsHaveLeft(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	s.settle()

	// One arrives, and its ack is lost.
	s.stand(closed(t, true))
	s.tick()
	unheard := s.w.spool.latest(proofs.KindUptime)
	// One never arrives.
	s.toSample(1, 3, nil)
	s.stand(closed(t, false))
	s.tick()
	lost := s.w.spool.latest(proofs.KindUptime)
	if unheard.id == lost.id || unheard.ack != nil || lost.ack != nil {
		t.Fatal("the script brought no such statements")
	}
	// The rest is acked; then all that is acked is presented again, and is closed.
	s.stand(nil)
	s.toSample(1, 4, nil)
	s.live(2, 0)
	acked := 0
	for _, it := range s.w.spool.uptimes(1) {
		if it.ack != nil {
			acked++
		}
	}
	s.stand(closed(t, false))
	s.restartService()
	s.tick()
	if got := s.saw(EventNewInstance); len(got) != 1 || acked < 3 {
		t.Fatalf("new instances: %v; %d acked", got, acked)
	}
	// What was closed is not asked for again by the same process: take the two away from
	// a third time, for it would arrive now.
	s.live(2, 4)
	book := s.sealed(1)
	s.stand(nil)
	s.tick()
	in := map[ionet.Hash]bool{}
	for _, st := range book.Inputs.Statements {
		in[st.Envelope.ID()] = true
	}
	if !in[unheard.id] || in[lost.id] {
		t.Fatalf("the book holds the one %v, the other %v", in[unheard.id], in[lost.id])
	}
	for _, kind := range []EventKind{EventOmission, EventBadAck} {
		if list := s.saw(kind); len(list) > 0 {
			t.Errorf("false alarm: %v", list)
		}
	}
	if got := s.saw(EventRefused); len(got) == 0 || got[0].ID != lost.id {
		t.Errorf("refused: %v, want that of %s first", got, lost.id)
	}
	heard := 0
	for _, e := range s.saw(EventAccepted) {
		if e.ID == unheard.id {
			heard++
		}
	}
	if heard != 1 {
		t.Errorf("the statement that the book has is told as accepted %d times", heard)
	}
	if n := len(s.w.spool.uptimes(1)); n > 0 {
		t.Errorf("%d statements of a sealed epoch are kept", n)
	}
}

// TestPublishedNotSealed has the service start anew between publishing an epoch's book,
// with which its rows leave, and the seal: the worker presents what it was acked, is told
// that the epoch is closed, and finds all of it in the book.
func TestPublishedNotSealed(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(2, 1)
	s.toSample(2, 3, s.tick)
	state := ""
	for range 20 {
		must(t, s.svc.Settle(t.Context())) // and no slot passes: nothing gets final
		if e, err := s.svc.Epoch(t.Context(), 1); err == nil {
			state = string(e.State)
		}
		if state == client.EpochPublished {
			break
		}
	}
	if state != client.EpochPublished {
		t.Fatalf("epoch 1 is %s", state)
	}
	kept := len(s.w.spool.uptimes(1))
	asked := 0
	s.stand(func(rw http.ResponseWriter, r *http.Request, service http.Handler) {
		if r.URL.Path == "/v1/statements" {
			asked++
		}
		service.ServeHTTP(rw, r)
	})
	s.restartService()
	s.tick()
	if kept != stageSamples || len(s.w.spool.uptimes(1)) != kept || asked == 0 {
		t.Fatalf("%d statements were kept, %d are; %d submissions", kept, len(s.w.spool.uptimes(1)), asked)
	}
	s.live(3, 0) // the lease of the one that is gone ends
	s.sealed(1)
	s.tick()
	if n := len(s.w.spool.uptimes(1)); n > 0 {
		t.Errorf("%d statements of the sealed epoch are kept", n)
	}
	for _, kind := range []EventKind{EventRefused, EventOmission, EventBadAck, EventStranger, EventTwin} {
		if list := s.saw(kind); len(list) > 0 {
			t.Errorf("false alarm: %v", list)
		}
	}
}
