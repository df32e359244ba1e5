package chain

import (
	"errors"

	"github.com/ionet-settlement/ionet"
)

// Deposit is a transfer of a wallet's tokens that names references, as Solana Pay has
// it: the memo stands before the transfer, which is last.
type Deposit struct {
	Wallet     ionet.Key // pays the fee and the tokens, out of its associated token account
	Mint       ionet.Key
	Decimals   uint8
	To         ionet.Key // token account
	Amount     ionet.Amount
	References []ionet.Key
	Memo       string // "": none
	Blockhash  ionet.Key
	Budget     Budget
}

// Message returns the bytes that the wallet signs (version 0).
func (d Deposit) Message() ([]byte, error) {
	if d.Amount.IsZero() || d.To.IsZero() || d.Mint.IsZero() {
		return nil, errors.New("pay in: amount, mint or recipient is missing")
	}
	var ins []Instruction
	if d.Memo != "" {
		ins = append(ins, memoInstruction(d.Memo))
	}
	in := transferChecked(Movement{Op: Transfer, Source: TokenAccount(d.Wallet, d.Mint), Destination: d.To, Amount: d.Amount}, d.Mint, authority{key: d.Wallet}, d.Decimals)
	for _, r := range d.References {
		in.Accounts = append(in.Accounts, Account{Key: r})
	}
	return compileChecked(d.Wallet, append(ins, in), d.Blockhash, d.Budget, "pay in")
}
