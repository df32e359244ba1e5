package meter

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"
)

// TestStopped: a stream that ends because the worker does costs nothing.
func TestStopped(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	r.back.answer(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", eventsMedia)
		io.WriteString(w, oneChunk)
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})
	q := try{body: streamBody, covers: 10_000}
	resp, err := http.DefaultClient.Do(p.request(&q))
	must(t, err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, len(oneChunk)))
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	must(t, r.meter.Run(ctx))
	r.server.CloseClientConnections()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	for r.meter.inFlight.Load() > 0 {
		runtime.Gosched() // the handler notices
	}
	r.restart()
	if s := p.state(); !s.Spent.IsZero() {
		t.Errorf("channel is %+v", s)
	}
}
