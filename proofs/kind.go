package proofs

import "fmt"

// Kind says what a statement is; FORMAT.md, section 3.
type Kind uint8

// The kinds of statements. Text kinds are what a wallet shows and signs.
const (
	KindDelegation   Kind = 1
	KindRevocation   Kind = 2
	KindRelease      Kind = 3
	KindSession      Kind = 4
	KindWithdrawal   Kind = 5
	KindDispute      Kind = 6
	KindInventory    Kind = 16
	KindUptime       Kind = 17
	KindOffer        Kind = 18
	KindJob          Kind = 19
	KindJobBatch     Kind = 20
	KindChannelOpen  Kind = 32
	KindChannelClose Kind = 33
	KindVoucher      Kind = 34
	KindSessionClose Kind = 35
	KindAck          Kind = 48
	KindPrice        Kind = 49
	KindCheckpoint   Kind = 50
	KindPolicy       Kind = 51
)

var kindNames = map[Kind]string{
	KindDelegation: "delegation", KindRevocation: "revocation", KindRelease: "release", KindSession: "session",
	KindWithdrawal: "withdrawal", KindDispute: "dispute", KindInventory: "inventory", KindUptime: "uptime",
	KindOffer: "offer", KindJob: "job", KindJobBatch: "job-batch", KindChannelOpen: "channel-open",
	KindChannelClose: "channel-close", KindVoucher: "voucher", KindSessionClose: "session-close", KindAck: "ack", KindPrice: "price", KindCheckpoint: "checkpoint",
	KindPolicy: "policy",
}

// String returns the kind's name in FORMAT.md, or "kind N".
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Known reports whether FORMAT.md has this kind.
func (k Kind) Known() bool { return kindNames[k] != "" }

// Text reports whether a wallet signs the body itself as text.
func (k Kind) Text() bool { return k >= KindDelegation && k <= KindDispute }

// prefixed reports whether the signed bytes are the prefix and the body.
func (k Kind) prefixed() bool { return !k.Text() && k != KindVoucher && k != KindCheckpoint }
