package web

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// What is written by hand is what encoding/json writes.
func TestAcksAreWrittenAsJSON(t *testing.T) {
	var ids []ionet.Hash
	for i := range 300 {
		ids = append(ids, ionet.HashOf([]byte{byte(i), byte(i >> 8)}))
	}
	rec := httptest.NewRecorder()
	in := streamOf(newGates(), nil)
	in.ended = true
	a := newAnswers(rec, httptest.NewRequest("POST", "/", nil), in)
	want := client.Results{}
	for i, ack := range proofs.SignAcks(ionet.Hash{1}, keyOf("service"), proofs.Arrival{Epoch: 3, Sample: 4}, ids) {
		r := settlement.Result{ID: ids[i], Status: []settlement.Status{settlement.Accepted, settlement.Duplicate}[i%2], Ack: ack}
		a.addAcked(&r)
		want.Results = append(want.Results, client.Result{ID: r.ID, Status: string(r.Status), Ack: ack.Append(nil)})
	}
	a.end(nil)
	var got bytes.Buffer
	if err := json.Compact(&got, rec.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(want); err != nil || !bytes.Equal(got.Bytes(), b) {
		t.Errorf("the answer is %.300s, want %.300s (%v)", got.Bytes(), b, err)
	}
}
