package chain

import (
	"bytes"
	"encoding/binary"

	"github.com/ionet-settlement/ionet"
)

// The programs that our transactions may name.
var (
	systemProgram    = ionet.Key{}
	tokenProgram     = mustKey("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
	associateProgram = mustKey("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
	memoProgram      = mustKey("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
	budgetProgram    = mustKey("ComputeBudget111111111111111111111111111111")
	lighthouse       = mustKey("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
)

// TokenProgram returns the address of the SPL Token program.
func TokenProgram() ionet.Key { return tokenProgram }

// MemoProgram returns the address of the Memo program, version 3.
func MemoProgram() ionet.Key { return memoProgram }

func mustKey(s string) ionet.Key {
	k, err := ionet.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return k
}

// Instruction is one instruction with its accounts resolved to addresses.
type Instruction struct {
	Program  ionet.Key
	Accounts []Account
	Data     []byte
}

// Account is an account of an instruction with the privileges that the
// instruction needs (when built) or that the message grants (when parsed).
type Account struct {
	Key              ionet.Key
	Signer, Writable bool
}

// First bytes of instruction data.
const (
	tokenTransfer        = 3
	tokenSetAuthority    = 6
	tokenTransferChecked = 12
	tokenMintToChecked   = 14
	tokenInitializeSigs2 = 19
	tokenInitializeMint2 = 20

	authorityMintTokens = 0

	systemTransfer         = 2
	systemAllocateWithSeed = 9

	budgetUnits  = 2
	budgetPrice  = 3
	budgetLoaded = 4

	associateIdempotent = 1
)

func setAuthority(s Step) Instruction {
	data := append([]byte{tokenSetAuthority, authorityMintTokens, 1}, s.To[:]...)
	return Instruction{tokenProgram, []Account{{Key: s.Lane, Writable: true}, {Key: s.From, Signer: true}}, data}
}

// giveUpMint sets the token's mint authority to none, for ever.
func giveUpMint(mint ionet.Key, by authority) Instruction {
	return Instruction{tokenProgram, append([]Account{{Key: mint, Writable: true}}, by.accounts()...), []byte{tokenSetAuthority, authorityMintTokens, 0}}
}

// handMint makes another the token's mint authority.
func handMint(mint ionet.Key, from authority, to ionet.Key) Instruction {
	data := append([]byte{tokenSetAuthority, authorityMintTokens, 1}, to[:]...)
	return Instruction{tokenProgram, append([]Account{{Key: mint, Writable: true}}, from.accounts()...), data}
}

func mintToChecked(m Movement, by authority, decimals uint8) Instruction {
	return Instruction{tokenProgram,
		append([]Account{{Key: m.Source, Writable: true}, {Key: m.Destination, Writable: true}}, by.accounts()...),
		checkedData(tokenMintToChecked, m.Amount, decimals)}
}

func transferChecked(m Movement, mint ionet.Key, by authority, decimals uint8) Instruction {
	return Instruction{tokenProgram,
		append([]Account{{Key: m.Source, Writable: true}, {Key: mint}, {Key: m.Destination, Writable: true}}, by.accounts()...),
		checkedData(tokenTransferChecked, m.Amount, decimals)}
}

func checkedData(tag byte, amount ionet.Amount, decimals uint8) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte{tag}, amount.Base()), decimals)
}

func memoInstruction(memo string) Instruction {
	return Instruction{Program: memoProgram, Data: []byte(memo)}
}

func transferLamports(from, to ionet.Key, lamports uint64) Instruction {
	data := binary.LittleEndian.AppendUint32(nil, systemTransfer)
	return Instruction{systemProgram, []Account{{from, true, true}, {Key: to, Writable: true}}, binary.LittleEndian.AppendUint64(data, lamports)}
}

// createIdempotent makes the associated token account of wallet unless it is
// there already.
func createIdempotent(payer, wallet, mint ionet.Key) Instruction {
	return Instruction{associateProgram, []Account{
		{payer, true, true}, {Key: TokenAccount(wallet, mint), Writable: true}, {Key: wallet}, {Key: mint}, {Key: systemProgram}, {Key: tokenProgram},
	}, []byte{associateIdempotent}}
}

func allocateWithSeed(base ionet.Key, seed string, space uint64, owner ionet.Key) Instruction {
	data := binary.LittleEndian.AppendUint32(nil, systemAllocateWithSeed)
	data = append(data, base[:]...)
	data = binary.LittleEndian.AppendUint64(data, uint64(len(seed)))
	data = append(data, seed...)
	data = binary.LittleEndian.AppendUint64(data, space)
	data = append(data, owner[:]...)
	return Instruction{systemProgram, []Account{{Key: withSeed(base, seed, owner), Writable: true}, {Key: base, Signer: true}}, data}
}

// initializeMint2 makes a mint without a freeze authority.
func initializeMint2(mint, authority ionet.Key, decimals uint8) Instruction {
	data := append([]byte{tokenInitializeMint2, decimals}, authority[:]...)
	return Instruction{tokenProgram, []Account{{Key: mint, Writable: true}}, append(data, 0)}
}

// initializeMultisig2 makes a multisig of which m members must sign.
func initializeMultisig2(address ionet.Key, m uint8, members []ionet.Key) Instruction {
	accounts := []Account{{Key: address, Writable: true}}
	for _, k := range members {
		accounts = append(accounts, Account{Key: k})
	}
	return Instruction{tokenProgram, accounts, []byte{tokenInitializeSigs2, m}}
}

func budgetInstructions(b Budget) []Instruction {
	return []Instruction{
		{Program: budgetProgram, Data: binary.LittleEndian.AppendUint32([]byte{budgetUnits}, b.ComputeUnits)},
		{Program: budgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{budgetPrice}, b.price())},
		{Program: budgetProgram, Data: binary.LittleEndian.AppendUint32([]byte{budgetLoaded}, b.LoadedBytes)},
	}
}

// isData reports whether in is an instruction of that program whose data has
// exactly size bytes and begins with tag.
func (in Instruction) isData(program ionet.Key, size int, tag ...byte) bool {
	return in.Program == program && len(in.Data) == size && bytes.HasPrefix(in.Data, tag)
}
