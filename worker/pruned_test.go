package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// cleanedUp is an endpoint in front of the chain that has all blocks but one, of long ago.
func (s *stage) cleanedUp(slot uint64) string {
	s.t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var q struct {
			ID     json.RawMessage   `json:"id"`
			Method string            `json:"method"`
			Params []json.RawMessage `json:"params"`
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &q) != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		if q.Method == "getBlock" && string(q.Params[0]) == fmt.Sprint(slot) {
			fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32001,"message":"Block %d cleaned up, does not exist on node."}}`, q.ID, slot)
			return
		}
		answer, err := http.Post(s.node.URL(), "application/json", bytes.NewReader(body))
		if err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		_, _ = io.Copy(rw, answer.Body)
	}))
	s.t.Cleanup(front.Close)
	return front.URL
}

// A service names a slot that endpoints have cleaned up, so that they can't tell its
// block. They can tell that it is none of the sample, and nothing is signed over it.
func TestBeaconOfACleanedUpSlot(t *testing.T) {
	const forgotten = 3
	s := newStage(t)
	s.openRPC(s.cleanedUp(forgotten))
	s.openWorker()
	s.live(1, 1)
	made := ionet.Key{7, 7, 7}
	s.stand(lie(func(b *client.Beacon) { b.Slot, b.Blockhash = forgotten, made }))
	s.live(2, 1)
	if len(s.saw(EventFalseBeacon)) == 0 {
		t.Error("no false beacon is reported")
	}
	for _, it := range s.w.spool.items {
		if it.e.Kind != proofs.KindUptime {
			continue
		}
		if u, err := proofs.ParseUptime(it.e.Body); err != nil || u.BeaconHash == made {
			t.Errorf("signed over the block of slot %d with hash %s (%v)", u.BeaconSlot, u.BeaconHash, err)
		}
	}
}
