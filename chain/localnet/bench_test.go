package localnet

import (
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"
)

// BenchmarkSend sends signed transfers over HTTP, one by one, without and with
// preflight.
func BenchmarkSend(b *testing.B) {
	for _, skip := range []bool{true, false} {
		name := map[bool]string{true: "skip-preflight", false: "preflight"}[skip]
		b.Run(name, func(b *testing.B) {
			n := ownNode(b, Config{SlotTime: -1})
			client := rpc.New(n.URL())
			payer, to := funded(b, n), newKey(b).PublicKey()
			txs := make([]*solana.Transaction, b.N)
			for i := range txs {
				txs[i] = build(b, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000+uint64(i%1000), payer.PublicKey(), to), unitLimit(uint32(1000 + i%1_000_000))})
			}
			b.ResetTimer()
			for _, tx := range txs {
				if _, err := client.SendTransactionWithOpts(b.Context(), tx, rpc.TransactionOpts{SkipPreflight: skip, PreflightCommitment: rpc.CommitmentProcessed}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads an account over HTTP.
func BenchmarkRead(b *testing.B) {
	n := sharedNode(b)
	client := rpc.New(n.URL())
	key := funded(b, n).PublicKey()
	for b.Loop() {
		if _, err := client.GetAccountInfoWithOpts(b.Context(), key, &rpc.GetAccountInfoOpts{Commitment: rpc.CommitmentProcessed}); err != nil {
			b.Fatal(err)
		}
	}
}
