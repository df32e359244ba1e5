package chain

import (
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

// Unsigned returns what tx has to be signed over, and who has not signed it yet: the
// signers whose signatures are zeros.
func Unsigned(tx []byte) (message []byte, missing []ionet.Key, err error) {
	t, message, err := parseTransaction(tx)
	if err != nil {
		return nil, nil, err
	}
	return message, unsignedOf(t), nil
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
	return out, unsignedOf(t), nil
}

func unsignedOf(t *solana.Transaction) (missing []ionet.Key) {
	for i, key := range keysOf(t.Message.Signers()) {
		if t.Signatures[i].IsZero() {
			missing = append(missing, key)
		}
	}
	return missing
}
