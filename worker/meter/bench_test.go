package meter

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// BenchmarkServe answers requests of one channel through both connections, each job
// synced before its answer leaves: what the meter adds to an inference.
func BenchmarkServe(b *testing.B) {
	r := newRig(b, nil)
	r.writeOffer(fmt.Sprintf(offerText, 10_000, r.back.URL))
	r.restart()
	p := r.newPayer(1 << 50)
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 512
	b.ReportAllocs()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if g := p.send(try{covers: 1 << 50}); g.job == nil {
				b.Error(g.problem)
				return
			}
		}
	})
}

// BenchmarkBill signs jobs of one channel and makes them durable, 64 at once.
func BenchmarkBill(b *testing.B) {
	r := newRig(b, func(c *Config) { c.JournalBytes = 8 << 30 })
	p := r.newPayer(1 << 50)
	q, in, problem := r.meter.prepare(&endpoints[0], []byte(chatBody))
	if problem != nil {
		b.Fatal(problem)
	}
	cumulative := ionet.MustAmount(1 << 50)
	signature := proofs.SignVoucher(p.key, p.open.Channel, cumulative)
	var n atomic.Uint64
	b.ReportAllocs()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			a := &ask{channel: p.open.Channel, cumulative: cumulative, signature: signature, most: cumulative, job: [16]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}}
			end := r.meter.admit(a, q, in)
			if end.run == nil {
				b.Error(end.refused)
				return
			}
			if _, err := r.meter.bill(end.run, 10, ionet.Hash{1}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
