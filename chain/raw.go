package chain

import (
	"crypto/ed25519"
	"fmt"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

// Raw is any transaction, ours or not, with its instructions resolved. An
// auditor reads foreign transactions with it; for our own use Decode.
type Raw struct {
	Version      int // -1 legacy, 0 or 1
	FeePayer     ionet.Key
	Blockhash    ionet.Key
	Signers      []ionet.Key // the fee payer first
	Signatures   []Signature // in the order of Signers
	Keys         []ionet.Key // static addresses, then loaded ones, as instructions and balances index them
	Instructions []Instruction
	Message      []byte

	accounts []Account // Keys with their privileges
}

// ParseRaw parses a transaction of any version. loaded are the addresses that
// lookup tables gave it, writable ones first, as an RPC's meta tells them.
func ParseRaw(tx []byte, loadedWritable, loadedReadonly []ionet.Key) (*Raw, error) {
	t, message, err := parseAny(tx)
	if err != nil {
		return nil, err
	}
	lookups := t.Message.AddressTableLookups
	if w := lookups.NumWritableLookups(); w != len(loadedWritable) || lookups.NumLookups() != w+len(loadedReadonly) {
		return nil, fmt.Errorf("parse transaction: it looks up %d addresses, %d are given", lookups.NumLookups(), len(loadedWritable)+len(loadedReadonly))
	}
	r := &Raw{
		Version:   int(t.Message.GetVersion()) - 1,
		Blockhash: ionet.Key(t.Message.RecentBlockhash),
		Signers:   keysOf(t.Message.Signers()),
		Message:   message,
	}
	for _, s := range t.Signatures {
		r.Signatures = append(r.Signatures, Signature(s))
	}
	r.FeePayer = r.Signers[0]
	accounts := staticAccounts(&t.Message)
	for _, k := range loadedWritable {
		accounts = append(accounts, Account{Key: k, Writable: true})
	}
	for _, k := range loadedReadonly {
		accounts = append(accounts, Account{Key: k})
	}
	r.accounts = accounts
	for _, a := range accounts {
		r.Keys = append(r.Keys, a.Key)
	}
	for _, c := range t.Message.Instructions {
		in := Instruction{Program: accounts[c.ProgramIDIndex].Key, Data: c.Data}
		for _, i := range c.Accounts {
			in.Accounts = append(in.Accounts, accounts[i])
		}
		r.Instructions = append(r.Instructions, in)
	}
	return r, nil
}

// staticAccounts lists the message's addresses with their privileges; indices
// of instructions were checked against it by Sanitize.
func staticAccounts(m *solana.Message) []Account {
	h, n := m.Header, len(m.AccountKeys)
	signers := int(h.NumRequiredSignatures)
	list := make([]Account, n)
	for i, k := range m.AccountKeys {
		writable := i < signers-int(h.NumReadonlySignedAccounts)
		if i >= signers {
			writable = i < n-int(h.NumReadonlyUnsignedAccounts)
		}
		list[i] = Account{Key: ionet.Key(k), Signer: i < signers, Writable: writable}
	}
	return list
}

// MessageHash returns H(message bytes), by which attempts are known.
func (r *Raw) MessageHash() ionet.Hash { return ionet.HashOf(r.Message) }

// Signature returns the first signature: the transaction's name at an RPC.
func (r *Raw) Signature() Signature { return r.Signatures[0] }

// VerifySignatures returns an error that names the first signer whose
// signature is missing or does not verify.
func (r *Raw) VerifySignatures() error {
	for i, key := range r.Signers {
		if !ed25519.Verify(key[:], r.Message, r.Signatures[i][:]) {
			return fmt.Errorf("signature of %s does not verify", key)
		}
	}
	return nil
}

// writable tells of each address whether the message grants writing to it.
func (r *Raw) writable() map[ionet.Key]bool {
	m := make(map[ionet.Key]bool, len(r.accounts))
	for _, a := range r.accounts {
		m[a.Key] = a.Writable
	}
	return m
}
