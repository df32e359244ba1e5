package chain

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"
	"github.com/mr-tron/base58"

	"github.com/ionet-settlement/ionet"
)

// The largest transactions of versions 0 and 1, signatures included.
const (
	MaxSizeV0 = 1232
	MaxSizeV1 = solana.MaxTransactionSizeV1
)

// ErrTooLarge reports a transaction that exceeds its version's size, number of
// addresses or of instructions: take movements or steps out of it.
var ErrTooLarge = errors.New("transaction too large")

// Signature is an Ed25519 signature; text is base58. The first signature of a
// transaction is how an RPC names it; attempts are known by message hash.
type Signature [64]byte

// String returns base58.
func (s Signature) String() string { return base58.Encode(s[:]) }

// IsZero reports whether s is all zeros: not signed yet.
func (s Signature) IsZero() bool { return s == Signature{} }

// ParseSignature parses base58 of exactly 64 bytes.
func ParseSignature(text string) (Signature, error) {
	b, err := base58.Decode(text)
	if err != nil || len(b) != len(Signature{}) {
		return Signature{}, fmt.Errorf("signature %.100q is not base58 of 64 bytes", text)
	}
	return Signature(b), nil
}

// Message returns the bytes to sign. The same plan gives the same bytes. It
// returns ErrTooLarge where the signed transaction would not fit.
func (p Plan) Message() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("build %s: %w", p.Kind, err)
	}
	message, err := compile(p.Version, p.FeePayer, p.instructions(), p.Blockhash, p.Budget)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", p.Kind, err)
	}
	return message, nil
}

// instructions returns all but the budget, in the order of section 11.
func (p Plan) instructions() []Instruction {
	var ins []Instruction
	for _, s := range p.Steps {
		ins = append(ins, setAuthority(s))
	}
	if !p.Reference.IsZero() {
		ins = append(ins, transferLamports(p.FeePayer, p.Reference, 0))
	}
	if !p.CreateDestinationFor.IsZero() {
		ins = append(ins, createIdempotent(p.FeePayer, p.CreateDestinationFor, p.Mint))
	}
	if p.Kind == KindRetire {
		ins = append(ins, giveUpMint(p.Mint, p.authorityOf(p.Mint)))
	}
	for i, m := range p.Movements {
		if i < len(p.Wallets) {
			ins = append(ins, createIdempotent(p.FeePayer, p.Wallets[i], p.Mint))
		}
		if m.Op == Mint {
			ins = append(ins, mintToChecked(m, p.authorityOf(m.Source), p.Decimals))
		} else {
			ins = append(ins, transferChecked(m, p.Mint, p.authorityOf(m.Source), p.Decimals))
		}
	}
	if !p.HandMintTo.IsZero() {
		ins = append(ins, handMint(p.Mint, p.authorityOf(p.Mint), p.HandMintTo))
	}
	return append(ins, memoInstruction(p.Memo))
}

// compile turns instructions into the message bytes of that version.
func compile(version int, payer ionet.Key, ins []Instruction, blockhash ionet.Key, b Budget) ([]byte, error) {
	opts := []solana.TransactionOption{solana.TransactionPayer(solana.PublicKey(payer))}
	if version == 0 {
		ins = append(budgetInstructions(b), ins...)
		opts = append(opts, solana.TransactionMessageVersion(solana.MessageVersionV0))
	} else {
		config := solana.TransactionConfig{}.WithComputeUnitLimit(b.ComputeUnits).WithLoadedAccountsDataSizeLimit(b.LoadedBytes)
		if b.PriorityLamports > 0 {
			config = config.WithPriorityFee(b.PriorityLamports)
		}
		opts = append(opts, solana.TransactionV1Config(config))
	}
	list := make([]solana.Instruction, len(ins))
	for i, in := range ins {
		list[i] = toSolana(in)
	}
	tx, err := solana.NewTransaction(list, solana.Hash(blockhash), opts...)
	if err != nil {
		if solana.IsSanitizeError(err) {
			return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		return nil, fmt.Errorf("compile message: %w", err)
	}
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return message, checkSize(version, len(message), int(tx.Message.Header.NumRequiredSignatures))
}

func checkSize(version, message, signatures int) error {
	size, limit := message+64*signatures, MaxSizeV1
	if version == 0 {
		size, limit = size+1, MaxSizeV0
	}
	if size > limit {
		return fmt.Errorf("%w: %d bytes, version %d allows %d", ErrTooLarge, size, version, limit)
	}
	return nil
}

func toSolana(in Instruction) solana.Instruction {
	metas := make(solana.AccountMetaSlice, len(in.Accounts))
	for i, a := range in.Accounts {
		metas[i] = solana.NewAccountMeta(solana.PublicKey(a.Key), a.Writable, a.Signer)
	}
	return solana.NewInstruction(solana.PublicKey(in.Program), metas, in.Data)
}

// SignMessage makes a transaction of message, signed with keys, and returns
// the signers that have yet to sign; their signatures are zeros meanwhile. A
// key that is no signer of the message is an error.
func SignMessage(message []byte, keys ...ed25519.PrivateKey) (tx []byte, missing []ionet.Key, err error) {
	m, err := parseMessage(message)
	if err != nil {
		return nil, nil, err
	}
	t := solana.Transaction{Message: *m, Signatures: make([]solana.Signature, m.Header.NumRequiredSignatures)}
	signers := keysOf(m.Signers())
	for _, key := range keys {
		i := slices.Index(signers, PublicOf(key))
		if i < 0 {
			return nil, nil, fmt.Errorf("sign message: %s is not a signer", PublicOf(key))
		}
		t.Signatures[i] = solana.Signature(ed25519.Sign(key, message))
	}
	for i, s := range t.Signatures {
		if s.IsZero() {
			missing = append(missing, signers[i])
		}
	}
	if tx, err = t.MarshalBinary(); err != nil {
		return nil, nil, fmt.Errorf("encode transaction: %w", err)
	}
	return tx, missing, nil
}

// AddSignature puts the signature of key, which must verify, into tx.
func AddSignature(tx []byte, key ionet.Key, signature Signature) ([]byte, error) {
	t, message, err := parseTransaction(tx)
	if err != nil {
		return nil, err
	}
	i := slices.Index(keysOf(t.Message.Signers()), key)
	if i < 0 {
		return nil, fmt.Errorf("add signature: %s is not a signer", key)
	}
	if !ed25519.Verify(key[:], message, signature[:]) {
		return nil, fmt.Errorf("add signature: that of %s does not verify", key)
	}
	t.Signatures[i] = solana.Signature(signature)
	out, err := t.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	return out, nil
}

// CoSign adds the signatures of keys to tx and leaves the others as they are.
func CoSign(tx []byte, keys ...ed25519.PrivateKey) ([]byte, error) {
	_, message, err := parseTransaction(tx)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if tx, err = AddSignature(tx, PublicOf(key), Signature(ed25519.Sign(key, message))); err != nil {
			return nil, err
		}
	}
	return tx, nil
}

// parseMessage decodes message bytes that encode again to the same bytes.
func parseMessage(message []byte) (*solana.Message, error) {
	// A transaction of version 1 begins with its message, one of version 0
	// with its signatures; zeros stand in for them.
	unsigned := message
	if len(message) > 1 && message[0] == 0x80 {
		unsigned = append(append([]byte{message[1]}, make([]byte, 64*int(message[1]))...), message...)
	} else if len(message) > 1 {
		unsigned = append(slices.Clone(message), make([]byte, 64*int(message[1]))...)
	}
	t, _, err := parseTransaction(unsigned)
	if err != nil {
		return nil, err
	}
	return &t.Message, nil
}

// parseTransaction decodes a transaction of version 0 or 1 without lookup
// tables and returns its message bytes too. Bytes that the library reads but
// would not write (loose lengths, trailing bytes, other version bytes) are
// refused.
func parseTransaction(tx []byte) (*solana.Transaction, []byte, error) {
	t, message, err := parseAny(tx)
	if err != nil {
		return nil, nil, err
	}
	if t.Message.GetVersion() == solana.MessageVersionLegacy {
		return nil, nil, errors.New("parse transaction: legacy version")
	}
	if len(t.Message.AddressTableLookups) > 0 {
		return nil, nil, errors.New("parse transaction: has lookup tables")
	}
	return t, message, nil
}

// parseAny is parseTransaction for every version, lookup tables included.
func parseAny(tx []byte) (*solana.Transaction, []byte, error) {
	if len(tx) > MaxSizeV1 {
		return nil, nil, fmt.Errorf("parse transaction: %d bytes are more than any version allows", len(tx))
	}
	t, err := solana.TransactionFromBytes(tx)
	if err != nil {
		return nil, nil, fmt.Errorf("parse transaction: %w", err)
	}
	if t.Message.GetVersion() != solana.MessageVersionV1 && len(tx) > MaxSizeV0 {
		return nil, nil, fmt.Errorf("parse transaction: %d bytes are more than its version allows", len(tx))
	}
	if err := t.Message.Sanitize(); err != nil {
		return nil, nil, fmt.Errorf("parse transaction: %w", err)
	}
	if len(t.Signatures) != int(t.Message.Header.NumRequiredSignatures) {
		return nil, nil, fmt.Errorf("parse transaction: %d signatures, %d are required", len(t.Signatures), t.Message.Header.NumRequiredSignatures)
	}
	again, err := t.MarshalBinary()
	if err != nil {
		return nil, nil, fmt.Errorf("parse transaction: %w", err)
	}
	if !bytes.Equal(again, tx) {
		return nil, nil, errors.New("parse transaction: not in its one encoding")
	}
	message, err := t.Message.MarshalBinary()
	if err != nil {
		return nil, nil, fmt.Errorf("parse transaction: %w", err)
	}
	return t, message, nil
}

func keysOf(list solana.PublicKeySlice) []ionet.Key {
	keys := make([]ionet.Key, len(list))
	for i, k := range list {
		keys[i] = ionet.Key(k)
	}
	return keys
}
