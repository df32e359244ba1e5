package localnet

import (
	"encoding/binary"
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
)

// faucetLamports is what the faucet holds at genesis: 500 million SOL.
const faucetLamports = 500_000_000_000_000_000

// airdrop pays from the faucet. Two airdrops alike in one slot would be one message
// and the second a duplicate, so each asks for another compute-unit limit.
func (n *Node) airdrop(to solana.PublicKey, lamports uint64, blockhash *solana.Hash) (solana.Signature, error) {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	hash, _ := n.bank.hashFor(n.bank.open())
	if blockhash != nil {
		hash = *blockhash
	}
	n.airdrops++
	from := n.faucet.PublicKey()
	tx, err := solana.NewTransaction([]solana.Instruction{
		unitLimit(1_000 + n.airdrops%1_000_000),
		system.NewTransferInstruction(lamports, from, to).Build(),
	}, hash, solana.TransactionPayer(from))
	if err != nil {
		return solana.Signature{}, fmt.Errorf("build airdrop: %w", err)
	}
	if _, err := tx.Sign(func(solana.PublicKey) *solana.PrivateKey { return &n.faucet }); err != nil {
		return solana.Signature{}, fmt.Errorf("sign airdrop: %w", err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return solana.Signature{}, fmt.Errorf("encode airdrop: %w", err)
	}
	t, err := parseTx(raw)
	if err != nil {
		return solana.Signature{}, fmt.Errorf("build airdrop: %w", err)
	}
	if err := n.preflight(t, n.bank.open()); err != nil {
		return solana.Signature{}, err
	}
	return t.id(), n.land(t)
}

// unitLimit is a SetComputeUnitLimit instruction.
func unitLimit(units uint32) solana.Instruction {
	data := binary.LittleEndian.AppendUint32([]byte{2}, units)
	return solana.NewInstruction(solana.ComputeBudget, nil, data)
}
