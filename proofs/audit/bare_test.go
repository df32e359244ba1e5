package audit

import (
	"crypto/ed25519"
	"encoding/binary"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

func key(o *operator, host int) ionet.Key { return chain.PublicOf(o.hosts[host].provider) }

// bare sends one instruction without lane or memo, paid and signed by one key, and
// signed by others too.
func (o *operator) bare(payer ed25519.PrivateKey, in solana.Instruction, others ...ed25519.PrivateKey) {
	o.t.Helper()
	o.bareAll(payer, []solana.Instruction{in}, others...)
}

// bareAll is bare for several instructions.
func (o *operator) bareAll(payer ed25519.PrivateKey, list []solana.Instruction, others ...ed25519.PrivateKey) {
	o.t.Helper()
	hash, err := o.chain.LatestBlockhash(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	tx, err := solana.NewTransaction(list, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(chain.PublicOf(payer))))
	if err != nil {
		o.t.Fatal(err)
	}
	tx.Message.SetVersion(solana.MessageVersionV0)
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		o.t.Fatal(err)
	}
	o.send(message, append(others, payer)...)
}

// token is an instruction of the Token program: tag, amount and decimals; all
// accounts are writable, the last one signs.
func token(o *operator, tag byte, amount uint64, accounts ...ionet.Key) solana.Instruction {
	metas := make([]*solana.AccountMeta, len(accounts))
	for i, a := range accounts {
		metas[i] = solana.NewAccountMeta(solana.PublicKey(a), true, i == len(accounts)-1)
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{tag}, amount), byte(o.n.Decimals))
	return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), metas, data)
}

func transferChecked(o *operator, from, to, owner ionet.Key, amount uint64) solana.Instruction {
	return token(o, 12, amount, from, o.n.Mint, to, owner)
}

func mintTo(o *operator, to ionet.Key, amount uint64) solana.Instruction {
	return token(o, 14, amount, o.n.Mint, to, o.n.Keys.Operator)
}

func burn(o *operator, from, owner ionet.Key, amount uint64) solana.Instruction {
	return token(o, 15, amount, from, o.n.Mint, owner)
}

// giveUp sets the mint authority to none.
func giveUp(o *operator) solana.Instruction {
	metas := []*solana.AccountMeta{
		solana.NewAccountMeta(solana.PublicKey(o.n.Mint), true, false), solana.NewAccountMeta(solana.PublicKey(o.n.Keys.Operator), true, true),
	}
	return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), metas, []byte{6, 0, 0})
}
