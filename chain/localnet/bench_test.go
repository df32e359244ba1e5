package localnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
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

// payouts is a vault and count token accounts of one mint, and what builds transactions
// that pay 57 of them, by v1 with a memo, as a payout run does.
func payouts(b *testing.B, n *Node, count int) func(i int) *solana.Transaction {
	b.Helper()
	payer := funded(b, n)
	mint, vault := newMint(b, n, payer, 1<<60)
	empty := make([]byte, tokenAccountSize)
	copy(empty, mint[:])
	empty[108] = 1
	list := map[solana.PublicKey]Account{}
	keys := make([]solana.PublicKey, count)
	for i := range keys {
		binary.LittleEndian.PutUint32(keys[i][4:], uint32(i+1))
		own := bytes.Clone(empty)
		copy(own[32:], keys[i][:])
		list[keys[i]] = Account{Lamports: 1_488_440, Owner: solana.TokenProgramID, Data: own}
	}
	begin := time.Now()
	if err := n.SetAccounts(list); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d accounts set in %s", count, time.Since(begin))
	return func(i int) *solana.Transaction {
		var ixs []solana.Instruction
		for j := range 57 {
			to := keys[(i*57+j)%count]
			ixs = append(ixs, token.NewTransferCheckedInstruction(uint64(1+i), 8, vault, mint, to, payer.PublicKey(), nil).Build())
		}
		ixs = append(ixs, memoIx(fmt.Sprintf("io1 payout run=%d count=57 sum=12345678901234", i), payer.PublicKey()))
		config := solana.TransactionConfig{}.WithComputeUnitLimit(20_000).WithLoadedAccountsDataSizeLimit(1 << 18)
		return build(b, n, []solana.PrivateKey{payer}, ixs, solana.TransactionMessageVersion(solana.MessageVersionV1), solana.TransactionV1Config(config))
	}
}

// BenchmarkPayout sends transactions of 57 token transfers, without and with preflight,
// and simulates them.
func BenchmarkPayout(b *testing.B) {
	n := ownNode(b, Config{SlotTime: -1})
	make := payouts(b, n, 20_000)
	next := 0
	run := func(b *testing.B, method string, config map[string]any) {
		txs := []string{}
		for range b.N {
			txs = append(txs, make(next).MustToBase64())
			next++
		}
		b.ResetTimer()
		for i, tx := range txs {
			if err := ask(b, n, nil, method, tx, config); err != nil {
				b.Fatal(err, err.Data)
			}
			if i%50 == 49 {
				n.Advance(1)
			}
		}
	}
	b.Run("skip-preflight", func(b *testing.B) {
		run(b, "sendTransaction", map[string]any{"encoding": "base64", "skipPreflight": true})
	})
	b.Run("preflight", func(b *testing.B) {
		run(b, "sendTransaction", map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
	})
	b.Run("simulate", func(b *testing.B) {
		run(b, "simulateTransaction", map[string]any{"encoding": "base64", "commitment": "processed"})
	})
}

// BenchmarkSetAccounts makes a million token accounts.
func BenchmarkSetAccounts(b *testing.B) {
	n := ownNode(b, Config{SlotTime: -1})
	for b.Loop() {
		payouts(b, n, 1_000_000)
	}
}
