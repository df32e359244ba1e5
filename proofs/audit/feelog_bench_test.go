package audit

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// BenchmarkReplay replays a log of one session and sixteen channels, whose receipts are of
// single jobs, or of batches of 256. It needs no chain: the records are made before.
func BenchmarkReplay(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"jobs", 1}, {"batches of 256", 256}} {
		b.Run(c.name, func(b *testing.B) {
			d, policy := benchDesk(b, c.size)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				a := &auditor{
					Config: Config{Mint: d.o.n.Mint, Progress: func(string, ...any) {}}, r: &Report{}, network: d.o.n, verifier: proofs.NewVerifier(d.o.n.ID(), 4096),
					policies: map[ionet.Hash]*emissions.Policy{d.o.n.Policy: policy}, firstPolicy: proofs.PolicyChange{FirstEpoch: 1, Policy: d.o.n.Policy}, revoked: map[revocation]uint64{},
				}
				l := &feeLog{a: a, ledger: newFeeLedger(a), carried: map[uint64]carried{}}
				for i := 0; i < len(d.records); i += atOnce {
					l.apply(b.Context(), d.records[i:min(i+atOnce, len(d.records))])
				}
				if len(a.r.Findings) > 0 || a.r.Receipts != len(d.records)-33 {
					b.Fatalf("%d receipts, findings %v", a.r.Receipts, a.r.Findings)
				}
			}
			b.StopTimer()
			perRun := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(float64(len(d.records))/perRun, "records/s")
			b.ReportMetric(float64(d.jobs)/perRun, "jobs/s")
		})
	}
}

// benchDesk makes a log of 8,192 receipts of so many jobs each.
func benchDesk(b *testing.B, size int) (*feeDesk, *emissions.Policy) {
	policy, err := emissions.ParsePolicy([]byte(feesPolicy))
	if err != nil {
		b.Fatal(err)
	}
	n := &ionet.Network{Name: "bench", Mint: chain.PublicOf(testKey("mint")), Start: time.Now().Unix() - 1000, EpochSeconds: 3600, Samples: 6, Policy: policy.Hash()}
	o := &operator{t: b, ctx: b.Context(), n: n}
	for i := range 16 {
		o.hosts = append(o.hosts, o.host(i))
	}
	d := o.desk()
	unixTime.Store(time.Now().Unix())
	l := d.session(ed25519.PrivateKey(testKey("renter")), "bench", 1<<40)
	var seats []*seat
	for i := range o.hosts {
		seats = append(seats, l.channel(i, d.offer(i), 1<<36))
	}
	for i := range 8192 {
		c := seats[i%len(seats)]
		if size == 1 {
			d.receipt(c, c.job(100))
		} else {
			d.receipt(c, c.batch(size, 100))
		}
	}
	return d, policy
}
