package worker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// openRPC gives the host an endpoint of its own.
func (s *stage) openRPC(url string) {
	s.t.Helper()
	var err error
	s.rpc, err = rpc.New(rpc.Config{Endpoints: []string{url}, Cluster: s.net.Network.Cluster, Rounds: 1, Pause: time.Millisecond})
	must(s.t, err)
	s.t.Cleanup(s.rpc.Close)
}

// lie changes the beacons that the service hands out.
func lie(how func(*client.Beacon)) between {
	return func(rw http.ResponseWriter, r *http.Request, service http.Handler) {
		if r.URL.Path != "/v1/beacon" {
			service.ServeHTTP(rw, r)
			return
		}
		answer := httptest.NewRecorder()
		service.ServeHTTP(answer, r)
		var b client.Beacon
		if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &b) != nil {
			rw.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(answer.Body.Bytes())
			return
		}
		how(&b)
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(b)
	}
}

// TestFalseBeacon has the service lie about blocks: nothing is signed over a lie, the
// service is asked again, and the sample counts once it tells the truth.
func TestFalseBeacon(t *testing.T) {
	for name, c := range map[string]struct {
		how  func(*client.Beacon)
		rpc  bool // needs an endpoint of the host's own to be seen
		want string
	}{
		"another block":   {func(b *client.Beacon) { b.Blockhash[0] ^= 1 }, true, "the chain has"},
		"another time":    {func(b *client.Beacon) { b.Time++ }, true, "the chain has"},
		"a slot to come":  {func(b *client.Beacon) { b.Slot += 1 << 20 }, true, "yet to come"},
		"another's slot":  {func(b *client.Beacon) { b.Slot-- }, true, "the chain has"},
		"another sample":  {func(b *client.Beacon) { b.Time -= stageSample }, false, "the sample is from"},
		"the next sample": {func(b *client.Beacon) { b.Time += stageSample }, false, "the sample is from"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			if c.rpc {
				s.openRPC(s.node.URL())
			}
			s.openWorker()
			s.live(1, 2)
			before := len(s.saw(EventAccepted))
			s.stand(lie(c.how))
			s.live(1, 4)
			if got := s.saw(EventFalseBeacon); len(got) == 0 || !strings.Contains(got[0].Text, c.want) {
				t.Errorf("false beacons: %v, want one of %q", got, c.want)
			}
			if got := len(s.saw(EventAccepted)); got != before {
				t.Errorf("%d statements were signed over lies", got-before)
			}
			s.stand(nil)
			s.live(2, 4)
			if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
				t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
			}
		})
	}
}

// TestHonestBeacon: an endpoint that agrees changes nothing.
func TestHonestBeacon(t *testing.T) {
	s := newStage(t)
	s.openRPC(s.node.URL())
	s.openWorker()
	s.live(2, 4)
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
	for _, kind := range []EventKind{EventFalseBeacon, EventTrouble} {
		if got := s.saw(kind); len(got) > 0 {
			t.Errorf("%v", got)
		}
	}
}

// TestSilentRPC: an endpoint that does not answer is waited for as long as that costs
// nothing; then the service's word is taken, and that is said.
func TestSilentRPC(t *testing.T) {
	s := newStage(t)
	s.openRPC("http://127.0.0.1:1")
	s.openWorker()
	s.live(1, uncheckedAfter+1)
	if n := len(s.w.spool.uptimes(1)); n > 0 {
		t.Errorf("%d statements were signed unchecked, and nobody was in a hurry", n)
	}
	if got := s.saw(EventWaiting); len(got) == 0 || !strings.Contains(got[0].Text, "check the beacon") {
		t.Errorf("waiting: %v", got)
	}
	s.live(2, 2)
	if got := s.saw(EventTrouble); len(got) == 0 || !strings.Contains(got[0].Text, "unchecked") {
		t.Errorf("trouble: %v", got)
	}
	if all := s.uptimes(s.sealed(1)); len(all) < stageSamples-uncheckedAfter {
		t.Errorf("epoch 1 has %d statements", len(all))
	}
}

// A lagging endpoint knows no slot of the present: the service is no liar.
func TestLaggingRPC(t *testing.T) {
	s := newStage(t)
	s.openRPC(s.node.URL())
	s.openWorker()
	s.live(1, 2)
	s.w.mu.Lock()
	u := proofs.Uptime{Epoch: 1, Sample: 5}
	s.w.mu.Unlock()
	start := s.w.clock.SampleStart(1, 5)
	err := s.w.checkBeacon(t.Context(), u, client.Beacon{Slot: 1 << 40, Blockhash: ionet.Key{1}, Time: start})
	if !unreachable(err) {
		t.Errorf("got %v, want to ask again: the endpoint may lag", err)
	}
}
