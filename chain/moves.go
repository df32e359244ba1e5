package chain

import (
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// Token2022Program returns the address of the Token-2022 program, whose tokens are
// never ours.
func Token2022Program() ionet.Key { return token2022Program }

var token2022Program = mustKey("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")

// Place is where in a transaction a part of an instruction stands.
type Place struct {
	Outer int // index of the instruction of the message
	Inner int // 0: that one itself; n: the n-th of those that it called, in order of execution
	Sub   int // index in a batch of the token program; 0 where it is none
}

// Move is a change of balances by one instruction of the token program, or of
// Token-2022. A mint has no Source, a burn no Destination.
type Move struct {
	Place
	Program     ionet.Key
	Source      ionet.Key   // token account
	Destination ionet.Key   // token account
	Mint        ionet.Key   // zero where the instruction does not name it
	Amount      uint64      // base units of the mint
	Extra       []ionet.Key // accounts behind those that the instruction needs: co-signers, and references of Solana Pay
}

// More first bytes of instruction data.
const (
	tokenMintTo      = 7
	tokenBurn        = 8
	tokenBurnChecked = 15
	tokenBatch       = 255
)

// maxBatch bounds the parts of a batch: each takes two bytes, and no transaction
// has more.
const maxBatch = 2048

// Moves returns what the instructions of a transaction move, the called ones
// included, in the order of the message: inner[i] are those that instruction i
// called. It tells what they say; whether the transaction succeeded, and whether
// the balances agree, is the caller's matter.
func Moves(outer []Instruction, inner map[int][]Instruction) []Move {
	var list []Move
	for i, in := range outer {
		list = appendMoves(list, Place{Outer: i}, in)
		for j, called := range inner[i] {
			list = appendMoves(list, Place{Outer: i, Inner: j + 1}, called)
		}
	}
	return list
}

func appendMoves(list []Move, at Place, in Instruction) []Move {
	if in.Program != tokenProgram && in.Program != token2022Program {
		return list
	}
	for sub, part := range Unbatch(in) {
		if m, ok := moveOf(part); ok {
			m.Place = at
			m.Sub = sub
			list = append(list, m)
		}
	}
	return list
}

// Unbatch returns the parts of a batch of the token program, or the instruction
// itself where it is none. A batch is the byte 255, then for each part the number
// of its accounts u8, the length of its data u8 and the data; accounts are
// consecutive. The program fails where that does not fit; what follows is left out.
func Unbatch(in Instruction) []Instruction {
	if in.Program != tokenProgram || len(in.Data) == 0 || in.Data[0] != tokenBatch {
		return []Instruction{in}
	}
	var parts []Instruction
	data, accounts := in.Data[1:], in.Accounts
	for len(data) >= 2 && len(parts) < maxBatch {
		n, size := int(data[0]), int(data[1])
		if n > len(accounts) || 2+size > len(data) {
			break
		}
		parts = append(parts, Instruction{Program: in.Program, Accounts: accounts[:n], Data: data[2 : 2+size]})
		data, accounts = data[2+size:], accounts[n:]
	}
	return parts
}

// moveOf reads one instruction. Data may be longer than needed, as the program
// allows it.
func moveOf(in Instruction) (Move, bool) {
	if len(in.Data) < 9 {
		return Move{}, false
	}
	source, mint, destination, needed := -1, -1, -1, 3
	switch in.Data[0] {
	case tokenTransfer:
		source, destination = 0, 1
	case tokenTransferChecked:
		source, mint, destination, needed = 0, 1, 2, 4
	case tokenMintTo, tokenMintToChecked:
		mint, destination = 0, 1
	case tokenBurn, tokenBurnChecked:
		source, mint = 0, 1
	default:
		return Move{}, false
	}
	if len(in.Accounts) < needed {
		return Move{}, false
	}
	at := func(i int) ionet.Key {
		if i < 0 {
			return ionet.Key{}
		}
		return in.Accounts[i].Key
	}
	m := Move{Program: in.Program, Source: at(source), Mint: at(mint), Destination: at(destination), Amount: binary.LittleEndian.Uint64(in.Data[1:])}
	for _, a := range in.Accounts[needed:] {
		if !slices.Contains(m.Extra, a.Key) {
			m.Extra = append(m.Extra, a.Key)
		}
	}
	return m, true
}

// CreditsTo returns the moves that credit account, which belongs to the token program.
// changed is what the transaction added to its balance; where the instructions tell
// otherwise, agree is false, and none of them can be relied on. So it is where one takes
// from the account: what comes in beside what goes out is nobody's gift.
func CreditsTo(account ionet.Key, moves []Move, changed *big.Int) (credits []Move, said *big.Int, agree bool) {
	said = new(big.Int)
	takes := false
	for _, m := range moves {
		if m.Program != tokenProgram || m.Source == m.Destination {
			continue
		}
		amount := new(big.Int).SetUint64(m.Amount)
		if m.Source == account {
			said.Sub(said, amount)
			takes = takes || m.Amount > 0
		}
		if m.Destination == account {
			said.Add(said, amount)
			if m.Amount > 0 {
				credits = append(credits, m)
			}
		}
	}
	return credits, said, !takes && said.Cmp(changed) == 0
}

// References returns for each credit of one account by one transaction the references
// that it names, none twice. is tells which addresses are references, keys are all of
// the transaction. An instruction names its own behind the accounts that it needs; where
// no credit does, as with transfers that another program made, those that the
// transaction names anywhere are all credits'.
func References(credits []Move, keys []ionet.Key, is func(ionet.Key) bool) [][]ionet.Key {
	not := func(k ionet.Key) bool { return !is(k) }
	list := make([][]ionet.Key, len(credits))
	named := false
	for i, c := range credits {
		list[i] = slices.DeleteFunc(slices.Clone(c.Extra), not)
		named = named || len(list[i]) > 0
	}
	if named {
		return list
	}
	all := slices.DeleteFunc(slices.Clone(keys), not)
	for i := range list {
		list[i] = all
	}
	return list
}
