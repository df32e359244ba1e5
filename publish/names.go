package publish

import (
	"encoding/hex"

	"github.com/ionet-settlement/ionet"
)

// NetworkName is where the network file with that id lies.
func NetworkName(id ionet.Hash) string { return "network/" + ionet.Key(id).String() + ".toml" }

// ContentName is where the lane content with that hash lies.
func ContentName(content ionet.Hash) string { return "contents/" + content.String() }

// BookName is where the epoch book with that root lies.
func BookName(root ionet.Hash) string { return "books/" + root.String() + ".zst" }

// PolicyName is where the policy file with that hash lies.
func PolicyName(policy ionet.Hash) string { return "policies/" + policy.String() + ".toml" }

// DepositName is where the file of a deposit reference lies.
func DepositName(reference ionet.Key) string { return "deposits/" + reference.String() }

// WithdrawalName is where the statement lies that the payment with that id carries out.
func WithdrawalName(id [16]byte) string { return "withdrawals/" + hex.EncodeToString(id[:]) }

// DisputeName is where the evidence of the dispute with that id lies, and
// DisputeAnswerName where what the batch holds lies that it is about.
func DisputeName(id ionet.Hash) string { return "disputes/" + id.String() }

// DisputeAnswerName says where the answer lies: see DisputeName.
func DisputeAnswerName(id ionet.Hash) string { return "disputes/" + id.String() + ".answer" }
