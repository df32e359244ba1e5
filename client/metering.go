package client

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Headers between a renter's software and a worker's metering proxy. A request has the
// first three, and may name the offer by which it is to be served; the answer has the
// statement, a stream in its trailer.
const (
	VoucherHeader   = "Ionet-Voucher"       // base64url of the voucher's 50 bytes and its signature
	JobHeader       = "Ionet-Job"           // 32 hexadecimal digits, drawn by the renter
	SaltHeader      = "Ionet-Salt"          // 64 hexadecimal digits, drawn by the renter
	OfferHeader     = "Ionet-Offer"         // 64 hexadecimal digits: refused where the price is above this offer's
	StatementHeader = "Ionet-Job-Statement" // base64url of the envelope of the worker's job statement
	UnbilledHeader  = "Ionet-Unbilled"      // why an answer has no statement: it costs nothing
)

// Types of problems that a worker's metering proxy gives, beside those of the service.
const (
	VoucherNeeded = "voucher-needed" // 402: Required is what the channel's voucher has to cover
	OfferChanged  = "offer-changed"  // 402: the price is above that of the offer which the request names
	JobDone       = "job-done"       // 409: it was served, and its answer is not kept any more
	JobRunning    = "job-running"    // 409 with Retry-After
	JobConflict   = "job-conflict"   // 409: another request has this job's id
	AtCapacity    = "at-capacity"    // 429: as many requests run as the offer says
	JournalFull   = "journal-full"   // 503: jobs of the past fill what this worker keeps
	BackEndFailed = "back-end-failed"
	ChannelStuck  = "channel-stuck" // 409: the service refused a job of it; what it says is in Detail

	RequestSignature = "request-signature" // 401: proofs.RequestHeader or MostHeader is missing, or not the session key's
)

// VoucherSize is the size of what VoucherHeader carries: voucher and signature.
const VoucherSize = 50 + ed25519.SignatureSize

// EncodeVoucher returns what VoucherHeader carries.
func EncodeVoucher(v proofs.Voucher, signature [64]byte) (string, error) {
	b, err := v.Encode()
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(b, signature[:]...)), nil
}

// ParseVoucherHeader parses what VoucherHeader carries; padding may be there. The
// signature is for its reader to verify.
func ParseVoucherHeader(s string) (v proofs.Voucher, signature [64]byte, err error) {
	if len(s) > base64.URLEncoding.EncodedLen(VoucherSize) {
		return v, signature, fmt.Errorf("%s has %d characters", VoucherHeader, len(s))
	}
	b, err := decodeURL(s)
	if err != nil || len(b) != VoucherSize {
		return v, signature, fmt.Errorf("%s is not base64url of %d bytes", VoucherHeader, VoucherSize)
	}
	if v, err = proofs.ParseVoucher(b[:50]); err != nil {
		return v, signature, fmt.Errorf("%s: %w", VoucherHeader, err)
	}
	return v, [64]byte(b[50:]), nil
}

// EncodeStatement returns what StatementHeader carries.
func EncodeStatement(e proofs.Envelope) string {
	return base64.RawURLEncoding.EncodeToString(e.Append(nil))
}

// ParseStatementHeader parses what StatementHeader carries: one envelope. Its signature
// is for its reader to verify.
func ParseStatementHeader(s string) (e proofs.Envelope, err error) {
	b, err := decodeURL(s)
	if err != nil {
		return e, fmt.Errorf("%s is not base64url", StatementHeader)
	}
	return oneStatement(b)
}

// oneStatement parses one envelope with nothing behind it.
func oneStatement(b []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes follow an envelope", len(rest))
	}
	return e, err
}

// ParseSalt parses what SaltHeader carries.
func ParseSalt(s string) (salt [32]byte, err error) {
	if len(s) != 2*len(salt) {
		return salt, errors.New(SaltHeader + " is not 64 hexadecimal digits")
	}
	if _, err = hex.Decode(salt[:], []byte(s)); err != nil {
		return salt, errors.New(SaltHeader + " is not 64 hexadecimal digits")
	}
	return salt, nil
}

func decodeURL(s string) ([]byte, error) {
	for len(s) > 0 && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// ChannelOpening hands a channel to its worker: POST /ionet/v1/channels. The same again
// with a larger opening is a top-up.
type ChannelOpening struct {
	Session []byte `json:"session" doc:"Envelope of the session, signed by the renter's wallet"`
	Open    []byte `json:"open" doc:"Envelope of the channel-open, signed by the session key"`
	Ack     []byte `json:"ack" doc:"Envelope of the service's ack of the opening"`
}

// WorkerChannel is a channel as its worker has it; GET /ionet/v1/channels/{key} too.
type WorkerChannel struct {
	Channel ionet.Key    `json:"channel"`
	Worker  ionet.Key    `json:"worker"`
	Limit   ionet.Amount `json:"limit" doc:"Base units; of the largest opening"`
	Spent   ionet.Amount `json:"spent" doc:"after of the last job"`
	Running ionet.Amount `json:"running" doc:"What the requests that run may cost at most"`
	Covered ionet.Amount `json:"covered" doc:"cumulative of the greatest voucher that came"`
	Jobs    uint64       `json:"jobs"`
	Expires int64        `json:"expires" doc:"Unix seconds"`
	Stuck   string       `json:"stuck,omitempty" doc:"Why nothing is served on it any more"`
	Last    []byte       `json:"last,omitempty" doc:"Envelope of its last job statement"`
}

// WorkerJob is a job that a worker served: GET /ionet/v1/jobs/{channel}/{job}. With a
// batch, Path leads from the job to the batch's root.
type WorkerJob struct {
	Statement []byte       `json:"statement" doc:"Envelope of the job statement"`
	Batch     []byte       `json:"batch,omitempty" doc:"Envelope of the job-batch statement that the service gets in its place"`
	Index     uint32       `json:"index,omitempty" doc:"Of the job in the batch"`
	Size      uint32       `json:"size,omitempty" doc:"Jobs of the batch"`
	Path      []ionet.Hash `json:"path,omitempty" doc:"RFC 6962 inclusion proof"`
}

// WorkerOffer is the offer in force: GET /ionet/v1/offer.
type WorkerOffer struct {
	Statement []byte `json:"statement" doc:"Envelope of the offer"`
}

// MeterProblem is a problem of a worker's metering proxy; amounts are there with 402.
type MeterProblem struct {
	Type       string        `json:"type" doc:"urn:io:problem: and a stable word, on which programs branch"`
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail,omitempty"`
	Field      string        `json:"field,omitempty" doc:"The header or member that broke the rule"`
	RetryAfter int64         `json:"retry_after,omitempty" doc:"Seconds"`
	Offer      []byte        `json:"offer,omitempty" doc:"Envelope of the offer in force"`
	Channel    *ionet.Key    `json:"channel,omitempty"`
	Required   *ionet.Amount `json:"required,omitempty" doc:"What the voucher has to cover for this request; above the limit: top the channel up"`
	Spent      *ionet.Amount `json:"spent,omitempty"`
	Running    *ionet.Amount `json:"running,omitempty" doc:"What the requests that run may cost at most"`
	Covered    *ionet.Amount `json:"covered,omitempty"`
	Limit      *ionet.Amount `json:"limit,omitempty"`
	Most       *ionet.Amount `json:"most,omitempty" doc:"With voucher-needed: the most that this request may cost; the request's own most is less"`
	Statement  []byte        `json:"statement,omitempty" doc:"With job-done: envelope of the job statement, where it is still kept"`
}

// Error returns the detail and the type.
func (p *MeterProblem) Error() string {
	q := Problem{Type: p.Type, Title: p.Title, Detail: p.Detail}
	return q.Error()
}

// Kind returns the type without ProblemPrefix.
func (p *MeterProblem) Kind() string { return (&Problem{Type: p.Type}).Kind() }
