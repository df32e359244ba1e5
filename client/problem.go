package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
)

// ProblemPrefix begins every problem's type.
const ProblemPrefix = "urn:io:problem:"

// ProblemMediaType is the Content-Type of a problem; RFC 9457.
const ProblemMediaType = "application/problem+json"

// Types of problems, without ProblemPrefix. They are stable: programs branch on them.
const (
	MalformedEnvelope  = "malformed-envelope"
	MalformedStatement = "malformed-statement"
	MalformedJSON      = "malformed-json"
	UnknownKind        = "unknown-kind"
	WrongSignature     = "wrong-signature"
	WrongNetwork       = "wrong-network"
	WrongAck           = "wrong-ack"
	WeakKey            = "weak-key"
	UnknownWorker      = "unknown-worker"
	UnknownDelegation  = "unknown-delegation"
	ForeignDelegation  = "foreign-delegation"
	DelegationExpired  = "delegation-expired"
	DelegationRevoked  = "delegation-revoked"
	UnknownInventory   = "unknown-inventory"
	WrongDeviceCount   = "wrong-device-count"
	DeviceBound        = "device-bound"
	DeviceNotBound     = "device-not-bound"
	StaleBeacon        = "stale-beacon"
	ForeignBeacon      = "foreign-beacon"
	BeaconNotReady     = "beacon-not-ready"
	EpochClosed        = "epoch-closed"
	FutureSample       = "future-sample"
	BodyTooLarge       = "body-too-large"
	SlowBody           = "slow-body"
	TooManyStatements  = "too-many-statements"
	TooManyRefused     = "too-many-refused"
	RateLimited        = "rate-limited"
	WrongMediaType     = "wrong-media-type"
	InvalidParameter   = "invalid-parameter"
	NotFound           = "not-found"
	WrongMethod        = "wrong-method"
	NoPriceAsked       = "no-price-asked"
	ForeignPrice       = "foreign-price"
	OnePriceAnEpoch    = "one-price-an-epoch"
	UnknownPrice       = "unknown-price"
	UnknownEpoch       = "unknown-epoch"
	UnknownDevice      = "unknown-device"
	NothingToClaim     = "nothing-to-claim"
	ClaimChanged       = "claim-changed"
	ClaimExpired       = "claim-expired"
	NotYourClaim       = "not-your-claim"
	UnknownClaim       = "unknown-claim"
	ClaimWouldFail     = "claim-would-fail"
	ClaimPending       = "claim-pending"
	NoOffers           = "no-offers"
	MalformedPolicy    = "malformed-policy"
	PolicyVersion      = "policy-version"
	PolicyEpoch        = "policy-epoch"
	ForeignPolicy      = "foreign-policy"
	WrongClock         = "wrong-clock"
	UnknownReference   = "unknown-reference"
	UnknownWithdrawal  = "unknown-withdrawal"
	WithdrawalExpired  = "withdrawal-expired"
	WithdrawalTaken    = "withdrawal-id-taken"
	WithdrawalSmall    = "withdrawal-too-small"
	Insufficient       = "insufficient-balance"
	NotLeader          = "not-leader"
	Busy               = "busy"
	Internal           = "internal"
)

// Problem is a refusal as RFC 9457 has it. It is an error.
type Problem struct {
	Type   string `json:"type" doc:"urn:io:problem: and a stable word, on which programs branch"`
	Title  string `json:"title" doc:"The kind of problem in a few words"`
	Status int    `json:"status" doc:"HTTP status"`
	Detail string `json:"detail,omitempty" doc:"A sentence that names the field and the rule"`
	Field  string `json:"field,omitempty" doc:"The field that broke the rule"`

	// Message repeats Detail where wallets ask, which know no other word for it.
	Message string `json:"message,omitempty" doc:"The detail again, for wallets"`

	// RetryAfter is how long the service asks to wait, 0 where it does not say; seconds
	// on the wire.
	RetryAfter time.Duration `json:"retry_after,omitempty" doc:"Seconds after which asking again may help"`
}

// wireProblem is a Problem without its methods.
type wireProblem Problem

// MarshalJSON has RetryAfter in whole seconds.
func (p Problem) MarshalJSON() ([]byte, error) {
	p.RetryAfter = (p.RetryAfter + time.Second - 1) / time.Second
	return json.Marshal(wireProblem(p))
}

// UnmarshalJSON has RetryAfter in whole seconds; more than a year of them are a year.
func (p *Problem) UnmarshalJSON(b []byte) error {
	var w wireProblem
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	const year = 365 * 24 * 3600
	w.RetryAfter = min(max(w.RetryAfter, 0), year) * time.Second
	*p = Problem(w)
	return nil
}

// Error returns the detail and the type.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	return fmt.Sprintf("%s (%s)", text, p.Kind())
}

// Kind returns the type without ProblemPrefix; types of others are left whole.
func (p *Problem) Kind() string { return strings.TrimPrefix(p.Type, ProblemPrefix) }

// ours reports whether the service said it, not a balancer before it.
func (p *Problem) ours() bool { return strings.HasPrefix(p.Type, ProblemPrefix) }

// IsProblem reports whether err is a problem of that type, given without ProblemPrefix.
func IsProblem(err error, kind string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Kind() == kind
}

// NetworkHeader carries the base58 network id with every body of statements: a binary
// statement of another network could not be told from a wrong signature.
const NetworkHeader = "Io-Network"

// NetworkText is how a network id is written in NetworkHeader.
func NetworkText(id ionet.Hash) string { return ionet.Key(id).String() }
