package settlement

import (
	"errors"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"

	"github.com/ionet-settlement/ionet/chain"
)

// What wallets are known to make of a transaction that is not theirs: each is refused
// with the rule that it breaks, and nothing is signed.
func TestClaimRefusals(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	p := m.prepare(m.alice)
	was, err := solana.TransactionFromBytes(p.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	var ours []solana.Instruction
	for _, in := range was.Message.Instructions {
		accounts, err := in.ResolveInstructionAccounts(&was.Message)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, solana.NewInstruction(was.Message.AccountKeys[in.ProgramIDIndex], accounts, in.Data))
	}
	wallet, friend := solana.PublicKey(m.alice.payout), solana.PublicKey(m.bob.payout)
	operator, lane := solana.PublicKey(m.net.Network.Keys.Operator), was.Message.Instructions[3].Accounts[0]
	lighthouse := solana.MustPublicKeyFromBase58("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
	assert := func(key solana.PublicKey) solana.Instruction {
		return solana.NewInstruction(lighthouse, solana.AccountMetaSlice{solana.NewAccountMeta(key, false, false)}, []byte{1})
	}
	nonce := system.NewAdvanceNonceAccountInstruction(friend, solana.SysVarRecentBlockHashesPubkey, wallet).Build()
	gift := system.NewTransferInstruction(1, wallet, friend).Build()
	v0 := solana.TransactionMessageVersion(solana.MessageVersionV0)
	table := solana.TransactionAddressTables(map[solana.PublicKey]solana.PublicKeySlice{friend: {solana.PublicKey(m.net.Network.Mint)}})
	for _, c := range []struct {
		name, kind, rule string
		list             []solana.Instruction
		options          []solana.TransactionOption
	}{
		{"durable nonce", ProblemClaimChanged, "durable nonces are refused", append([]solana.Instruction{nonce}, ours...), []solana.TransactionOption{v0}},
		{"lookup table", ProblemClaimChanged, "lookup table", ours, []solana.TransactionOption{v0, table}},
		{"legacy", ProblemClaimChanged, "legacy transactions are refused", ours, nil},
		{"no compute budget", ProblemClaimChanged, "compute-budget instructions", ours[3:], []solana.TransactionOption{v0}},
		{"another compute budget first", ProblemClaimChanged, "compute-budget instructions", append([]solana.Instruction{ours[0]}, ours...), []solana.TransactionOption{v0}},
		{"a transfer before the memo", ProblemClaimChanged, "instruction", append(append([]solana.Instruction{}, ours[:len(ours)-1]...), gift, ours[len(ours)-1]), []solana.TransactionOption{v0}},
		{"a transfer after the memo", ProblemClaimChanged, "follows the memo", append(append([]solana.Instruction{}, ours...), gift), []solana.TransactionOption{v0}},
		{"an assertion on the operator", ProblemClaimChanged, "a key of ours", append(append([]solana.Instruction{}, ours...), assert(operator)), []solana.TransactionOption{v0}},
		{"an assertion on the lane", ProblemClaimChanged, "a key of ours", append(append([]solana.Instruction{}, ours...), assert(was.Message.AccountKeys[lane])), []solana.TransactionOption{v0}},
		{"another blockhash", ProblemUnknownClaim, "no claim was prepared", ours, []solana.TransactionOption{v0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := append([]solana.TransactionOption{solana.TransactionPayer(wallet)}, c.options...)
			tx, err := solana.NewTransaction(c.list, was.Message.RecentBlockhash, options...)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "another blockhash" {
				tx.Message.RecentBlockhash = solana.Hash{7}
			}
			_, err = tx.PartialSign(func(key solana.PublicKey) *solana.PrivateKey {
				if key == wallet {
					k := solana.PrivateKey(m.wallet[m.alice.payout])
					return &k
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			b, err := tx.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.SubmitClaim(t.Context(), b)
			wantProblem(t, err, c.kind)
			var problem *Problem
			if errors.As(err, &problem) && !strings.Contains(problem.Detail, c.rule) {
				t.Errorf("detail is %q, want the rule: %q", problem.Detail, c.rule)
			}
		})
	}
	if n := m.countKind(chain.KindClaim); n != 0 {
		t.Errorf("%d claims were signed", n)
	}
	m.claimAll(m.alice)
	m.checkBooks()
}
