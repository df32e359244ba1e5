package localnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Sizes of a transaction in bytes, signatures included.
const (
	maxSizeLegacy = 1232
	maxSizeV1     = solana.MaxTransactionSizeV1
)

// wireTx is a decoded and sanitized transaction.
type wireTx struct {
	*solana.Transaction
	raw     []byte
	message []byte   // the signed bytes, a part of raw
	hash    [32]byte // of message: what duplicates are told by
	keys    []solana.PublicKey
	loadedW []solana.PublicKey // from lookup tables: keys is static, loadedW, loadedR
	loadedR []solana.PublicKey
}

// version is "legacy", 0 or 1, as the RPC shows it.
func (t *wireTx) version() any {
	switch t.Message.GetVersion() {
	case solana.MessageVersionV0:
		return 0
	case solana.MessageVersionV1:
		return 1
	}
	return "legacy"
}

// parseTx decodes a transaction of any version. Each has one encoding only; trailing
// bytes are refused.
func parseTx(raw []byte) (*wireTx, error) {
	if len(raw) == 0 {
		return nil, errors.New("transaction is empty")
	}
	limit := maxSizeLegacy
	if raw[0]&0x80 != 0 {
		limit = maxSizeV1
	}
	if len(raw) > limit {
		return nil, fmt.Errorf("transaction too large: %d bytes (max: %d bytes)", len(raw), limit)
	}
	tx, err := solana.TransactionFromBytes(raw)
	if err != nil {
		return nil, err
	}
	again, err := tx.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, errors.New("transaction is not encoded canonically")
	}
	t := &wireTx{Transaction: tx, raw: raw, keys: tx.Message.AccountKeys}
	if err := tx.Sanitize(); err != nil {
		return t, err
	}
	if t.Message.HasDuplicates() {
		return t, errors.New("duplicate account keys")
	}
	signatures := len(tx.Signatures) * 64
	if tx.Message.GetVersion() == solana.MessageVersionV1 {
		t.message = raw[:len(raw)-signatures]
	} else {
		t.message = raw[1+signatures:] // at most 12 signatures fit: their count is one byte
	}
	t.hash = sha256.Sum256(t.message)
	return t, nil
}

// parseMessage decodes a bare message, as getFeeForMessage takes it.
func parseMessage(b []byte) (*solana.Message, error) {
	var m solana.Message
	if err := m.UnmarshalBase64(encodeBase64(b)); err != nil {
		return nil, err
	}
	return &m, m.Sanitize()
}

// strict is the rule of a validator's signature check (verify_strict of ed25519-dalek).
var strict = &ed25519.Options{Verify: &ed25519.VerifyOptions{CofactorlessVerify: true}}

// verify checks every signature of the transaction.
func (t *wireTx) verify() bool {
	for i, sig := range t.Signatures {
		if !ed25519.VerifyWithOptions(ed25519.PublicKey(t.keys[i][:]), t.message, sig[:], strict) {
			return false
		}
	}
	return true
}

// id is the first signature, by which the transaction is known.
func (t *wireTx) id() solana.Signature { return t.Signatures[0] }

// signer reports whether keys[i] must sign.
func (t *wireTx) signer(i int) bool { return i < int(t.Message.Header.NumRequiredSignatures) }

// locked reports whether the message asks to write keys[i].
func (t *wireTx) locked(i int) bool {
	h, static := t.Message.Header, len(t.Message.AccountKeys)
	switch {
	case i >= static:
		return i < static+len(t.loadedW)
	case t.signer(i):
		return i < int(h.NumRequiredSignatures-h.NumReadonlySignedAccounts)
	}
	return i < static-int(h.NumReadonlyUnsignedAccounts)
}

// writable reports whether keys[i] may be written: builtin programs and sysvars never
// are, nor are programs that the transaction calls, unless the upgradeable loader is
// among its keys.
func (t *wireTx) writable(i int) bool {
	return t.locked(i) && !reserved[t.keys[i]] && (!t.invoked(i) || t.has(solana.BPFLoaderUpgradeableProgramID))
}

// invoked reports whether a top-level instruction calls keys[i].
func (t *wireTx) invoked(i int) bool {
	for _, ix := range t.Message.Instructions {
		if int(ix.ProgramIDIndex) == i {
			return true
		}
	}
	return false
}

func (t *wireTx) has(key solana.PublicKey) bool {
	for _, k := range t.keys {
		if k == key {
			return true
		}
	}
	return false
}

// Layout of an address lookup table account.
const (
	tableExtendedAt  = 12 // last slot in which it was extended, u64
	tableExtendStart = 20 // number of addresses before that, u8
	tableAddresses   = 56
)

// resolve fills the keys that a v0 message loads from lookup tables, as they are at
// the end of slot.
func (t *wireTx) resolve(s *accounts, slot uint64) *txError {
	t.loadedW, t.loadedR = nil, nil
	for _, l := range t.Message.AddressTableLookups {
		table, err := readTable(s.at(l.AccountKey, slot), slot)
		if err != nil {
			return err
		}
		for _, part := range []struct {
			indexes []byte
			into    *[]solana.PublicKey
		}{{l.WritableIndexes, &t.loadedW}, {l.ReadonlyIndexes, &t.loadedR}} {
			for _, i := range part.indexes {
				if int(i) >= len(table) {
					return &txError{"InvalidAddressLookupTableIndex", "Transaction address table lookup uses an invalid index"}
				}
				*part.into = append(*part.into, table[i])
			}
		}
	}
	static := t.Message.AccountKeys
	t.keys = append(append(static[:len(static):len(static)], t.loadedW...), t.loadedR...)
	return nil
}

func readTable(a *Account, slot uint64) ([]solana.PublicKey, *txError) {
	if a == nil {
		return nil, &txError{"AddressLookupTableNotFound", text("AddressLookupTableNotFound")}
	}
	if a.Owner != solana.AddressLookupTableProgramID {
		return nil, &txError{"InvalidAddressLookupTableOwner", "Transaction loads an address table account with an invalid owner"}
	}
	if len(a.Data) < tableAddresses || (len(a.Data)-tableAddresses)%32 != 0 || a.Data[0] != 1 {
		return nil, &txError{"InvalidAddressLookupTableData", "Transaction loads an address table account with invalid data"}
	}
	n := (len(a.Data) - tableAddresses) / 32
	if slot <= binary.LittleEndian.Uint64(a.Data[tableExtendedAt:]) {
		n = min(n, int(a.Data[tableExtendStart])) // the newest are usable from the next slot on
	}
	keys := make([]solana.PublicKey, n)
	for i := range keys {
		copy(keys[i][:], a.Data[tableAddresses+32*i:])
	}
	return keys, nil
}
