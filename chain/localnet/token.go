package localnet

import (
	"encoding/binary"

	"github.com/gagliardetto/solana-go"
)

// Layout of the SPL Token accounts (Token-2022's begin the same).
const (
	tokenAccountSize = 165
	mintSize         = 82
	multisigSize     = 355
)

type tokenAccount struct {
	mint, owner    solana.PublicKey
	amount         uint64
	delegate       *solana.PublicKey
	state          byte // 1 initialized, 2 frozen
	native         *uint64
	delegated      uint64
	closeAuthority *solana.PublicKey
}

type mint struct {
	authority *solana.PublicKey
	supply    uint64
	decimals  uint8
	freezer   *solana.PublicKey
}

// readTokenAccount reads an initialized token account of either token program.
// A longer Token-2022 account carries its type after the base: 2 is an account.
func readTokenAccount(a *Account) (t tokenAccount, ok bool) {
	if a == nil || !isToken(a.Owner) || !kindIs(a, tokenAccountSize, 2) || a.Data[108] == 0 {
		return t, false
	}
	d := a.Data
	copy(t.mint[:], d)
	copy(t.owner[:], d[32:])
	t.amount = binary.LittleEndian.Uint64(d[64:])
	t.delegate = readOptionalKey(d[72:])
	t.state = d[108]
	if binary.LittleEndian.Uint32(d[109:]) == 1 {
		n := binary.LittleEndian.Uint64(d[113:])
		t.native = &n
	}
	t.delegated = binary.LittleEndian.Uint64(d[121:])
	t.closeAuthority = readOptionalKey(d[129:])
	return t, true
}

// readMint reads an initialized mint of either token program.
func readMint(a *Account) (m mint, ok bool) {
	if a == nil || !isToken(a.Owner) || !kindIs(a, mintSize, 1) || a.Data[45] != 1 {
		return m, false
	}
	d := a.Data
	m.authority = readOptionalKey(d)
	m.supply = binary.LittleEndian.Uint64(d[36:])
	m.decimals = d[44]
	m.freezer = readOptionalKey(d[46:])
	return m, true
}

// kindIs tells a token program's account by size, or, when Token-2022 extended it, by
// the type byte that follows the largest base.
func kindIs(a *Account, size int, kind byte) bool {
	if len(a.Data) == size {
		return true
	}
	return a.Owner == solana.Token2022ProgramID && len(a.Data) > tokenAccountSize &&
		len(a.Data) != multisigSize && a.Data[tokenAccountSize] == kind
}

// readOptionalKey reads a u32 tag and a key; the tag 0 means none.
func readOptionalKey(d []byte) *solana.PublicKey {
	if binary.LittleEndian.Uint32(d) == 0 {
		return nil
	}
	k := solana.PublicKeyFromBytes(d[4:36])
	return &k
}
