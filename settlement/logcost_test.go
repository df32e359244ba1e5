package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// operatorLamports is what the fee payer has, finally.
func (m *machine) operatorLamports(tb testing.TB) uint64 {
	n, err := m.clean.Lamports(tb.Context(), m.net.Network.Keys.Operator, rpc.Finalized)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// BenchmarkReceiptLamports measures on the local chain what the records of a log cost in
// both record modes, sealed once at the end. A record is an inference, or a batch of up to
// a million of them.
func BenchmarkReceiptLamports(b *testing.B) {
	for mode, policy := range map[string]string{"root": testPolicy, "inline": inlinePolicy} {
		b.Run(mode, func(b *testing.B) {
			const records = 480
			var paid uint64
			var sent int
			for b.Loop() {
				m := newMachineUnder(b, policy)
				m.cfg.SealReceiptsCount = records
				m.fenceUp()
				had, at := m.operatorLamports(b), m.position(sealLane)
				head := m.growLog("a", records)
				if err := m.keepLogOnce(b.Context(), m.now()); err != nil {
					b.Fatal(err)
				}
				m.until("the log is sealed", func() bool { return m.sealedLog() == head.Checkpoint })
				paid += had - m.operatorLamports(b)
				sent += int(m.position(sealLane) - at)
			}
			n := float64(b.N * records)
			b.ReportMetric(float64(paid)/n, "lamports/record")
			b.ReportMetric(float64(paid)/n/1024, "lamports/inference-of-1024")
			b.ReportMetric(float64(paid)/float64(sent), "lamports/transaction")
			b.ReportMetric(float64(sent)/float64(b.N), "transactions")
		})
	}
}

// BenchmarkPublishLog measures how fast committed records become files that survive a
// crash of the machine, under a signed checkpoint, 20,000 at a time: what the log takes in
// in a second.
func BenchmarkPublishLog(b *testing.B) {
	m := newMachine(b)
	if err := m.Settle(b.Context()); err != nil {
		b.Fatal(err)
	}
	const records = 20_000
	for b.Loop() {
		b.StopTimer()
		m.growLog("a", records)
		b.StartTimer()
		if err := m.PublishLog(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records*b.N)/b.Elapsed().Seconds(), "records/s")
}
