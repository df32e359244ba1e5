package proofs

import (
	stdlib "crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/ionet-settlement/ionet"
)

// RequestHeader and MostHeader are the headers by which a session's key asks for a job:
// base64url of 64 bytes, and base units in decimal; FORMAT.md, section 5.
const (
	RequestHeader = "Ionet-Request"
	MostHeader    = "Ionet-Most"
)

const requestPrefix = "io-settlement/v1/request\n"

// requestBytes is what the signature is over.
func requestBytes(network ionet.Hash, channel ionet.Key, job [16]byte, request ionet.Hash, most ionet.Amount) []byte {
	b := make([]byte, 0, len(requestPrefix)+32+32+16+32+8)
	b = append(b, requestPrefix...)
	b = append(b, network[:]...)
	b = append(b, channel[:]...)
	b = append(b, job[:]...)
	b = append(b, request[:]...)
	return binary.LittleEndian.AppendUint64(b, most.Base())
}

// SignRequest signs a request with the session key: that the channel pays for the job, of
// this request and of no other, most at most. A voucher says only how much a channel pays
// in all, and is public in its jobs' statements.
func SignRequest(network ionet.Hash, sessionKey stdlib.PrivateKey, channel ionet.Key, job [16]byte, request ionet.Hash, most ionet.Amount) (sig [64]byte) {
	copy(sig[:], stdlib.Sign(sessionKey, requestBytes(network, channel, job, request, most)))
	return sig
}

// VerifyRequest checks a request's signature by the session key, by the rule of vouchers
// (FORMAT.md, section 3).
func VerifyRequest(network ionet.Hash, key, channel ionet.Key, job [16]byte, request ionet.Hash, most ionet.Amount, sig [64]byte) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("verify request: %w", err)
	}
	b := requestBytes(network, channel, job, request, most)
	if !stdlib.Verify(key[:], b, sig[:]) || !verifyZIP215(key, b, sig[:]) {
		return fmt.Errorf("verify request of job %x on channel %s: %w", job, channel, ErrSignature)
	}
	return nil
}

// EncodeRequestSignature returns the value of RequestHeader.
func EncodeRequestSignature(sig [64]byte) string { return base64.RawURLEncoding.EncodeToString(sig[:]) }

// ParseRequestSignature parses the value of RequestHeader: base64url without padding, of
// exactly 64 bytes.
func ParseRequestSignature(s string) (sig [64]byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(sig) || strings.ContainsAny(s, "\r\n") || EncodeRequestSignature([64]byte(b)) != s {
		return sig, errors.New("signature is not base64url of 64 bytes")
	}
	return [64]byte(b), nil
}
