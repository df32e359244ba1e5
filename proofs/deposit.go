package proofs

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Deposit is who a reference stands for: a transfer to the fee vault that names the
// reference is credited to Wallet. FORMAT.md, section 4.
//
//	bytes     = network [32] ‖ wallet [32] ‖ nonce [16]
//	reference = H("io/deposit/1" ‖ bytes)
type Deposit struct {
	Network ionet.Hash
	Wallet  ionet.Key // the renter
	Nonce   [16]byte  // one for each reference of a wallet
}

const (
	depositTag  = "io/deposit/1"
	depositSize = 32 + 32 + 16
)

// FirstDeposit is the reference of a wallet that anybody can work out: its nonce is
// zeros. A transfer that names it and the wallet needs no file to be understood.
func FirstDeposit(network ionet.Hash, wallet ionet.Key) Deposit {
	return Deposit{Network: network, Wallet: wallet}
}

// Encode returns the published file's bytes.
func (d Deposit) Encode() []byte {
	b := make([]byte, 0, depositSize)
	b = append(b, d.Network[:]...)
	b = append(b, d.Wallet[:]...)
	return append(b, d.Nonce[:]...)
}

// Reference returns the address that a transfer names. Nobody has its key.
func (d Deposit) Reference() ionet.Key {
	return ionet.Key(ionet.HashOf([]byte(depositTag), d.Encode()))
}

// ParseDeposit parses a published file and checks that it is that of the reference
// and of the network.
func ParseDeposit(network ionet.Hash, reference ionet.Key, b []byte) (Deposit, error) {
	if len(b) != depositSize {
		return Deposit{}, fmt.Errorf("parse deposit reference: %d bytes, not %d", len(b), depositSize)
	}
	var d Deposit
	copy(d.Network[:], b)
	copy(d.Wallet[:], b[32:])
	copy(d.Nonce[:], b[64:])
	if d.Reference() != reference {
		return Deposit{}, errors.New("parse deposit reference: the bytes are those of another reference")
	}
	if d.Network != network {
		return Deposit{}, fmt.Errorf("parse deposit reference: it is of network %s", ionet.Key(d.Network))
	}
	return d, nil
}

// PaymentID is how the memo of a withdrawal's payment names its statement: the first
// half of the statement's id. It holds signer and body, so nobody can take another's.
func PaymentID(statement ionet.Hash) (id [16]byte) {
	copy(id[:], statement[:])
	return id
}

// ParsePublishedWithdrawal parses a published withdrawal: the envelope of the
// statement whose payment has that id. It checks kind, id and signature.
func ParsePublishedWithdrawal(network ionet.Hash, id [16]byte, b []byte) (Withdrawal, error) {
	e, rest, err := ParseEnvelope(b)
	if err != nil {
		return Withdrawal{}, fmt.Errorf("parse published withdrawal: %w", err)
	}
	switch {
	case len(rest) > 0:
		return Withdrawal{}, fmt.Errorf("parse published withdrawal: %d trailing bytes", len(rest))
	case e.Kind != KindWithdrawal:
		return Withdrawal{}, fmt.Errorf("parse published withdrawal: it is a %s", e.Kind)
	case PaymentID(e.ID()) != id:
		return Withdrawal{}, errors.New("parse published withdrawal: it is another statement than its name says")
	}
	if err := CheckKey(e.Signer); err != nil {
		return Withdrawal{}, fmt.Errorf("parse published withdrawal: %w", err)
	}
	if err := e.Verify(network); err != nil {
		return Withdrawal{}, fmt.Errorf("parse published withdrawal: %w", err)
	}
	return ParseWithdrawal(network, e.Signer, e.Body)
}
