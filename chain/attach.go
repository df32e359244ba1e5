package chain

import (
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

// Missing returns the signers that have yet to sign: those whose signatures are zeros.
func (r *Raw) Missing() (missing []ionet.Key) {
	for i, key := range r.Signers {
		if r.Signatures[i].IsZero() {
			missing = append(missing, key)
		}
	}
	return missing
}

// Attach puts signatures into tx and returns who is still missing. It does not verify
// them: whoever sends the transaction reads it back first. A key that is no signer of
// the transaction is an error.
func Attach(tx []byte, signatures map[ionet.Key]Signature) (out []byte, missing []ionet.Key, err error) {
	t, _, err := parseTransaction(tx)
	if err != nil {
		return nil, nil, err
	}
	signers := keysOf(t.Message.Signers())
	for key, s := range signatures {
		i := slices.Index(signers, key)
		if i < 0 {
			return nil, nil, fmt.Errorf("attach signature: %s is not a signer", key)
		}
		t.Signatures[i] = solana.Signature(s)
	}
	if out, err = t.MarshalBinary(); err != nil {
		return nil, nil, fmt.Errorf("encode transaction: %w", err)
	}
	for i, key := range signers {
		if t.Signatures[i].IsZero() {
			missing = append(missing, key)
		}
	}
	return out, missing, nil
}
