package proofs

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
)

// ReadHeader is the header of a signed request for what is its signer's own to read;
// FORMAT.md, section 4.
const ReadHeader = "Ionet-Read"

// maxReadAge is how many seconds a signed request may be older or newer than the
// reader's clock.
const maxReadAge = 300

const readPrefix = "io-settlement/v1/read\n"

// ErrReadTime reports a signed request that is too old, or of a time to come.
var ErrReadTime = errors.New("the request was not signed in the last five minutes")

// readBytes is what the signature is over.
func readBytes(network ionet.Hash, at int64, method, target string) []byte {
	b := append([]byte(readPrefix), network[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	return append(b, method+" "+target...)
}

// SignRead returns the header's value for a request of method and target, which is its
// path, and where it has a query, "?" and that: "<key>.<unix seconds>.<signature>".
func SignRead(network ionet.Hash, key ed25519.PrivateKey, at time.Time, method, target string) string {
	signature := ed25519.Sign(key, readBytes(network, at.Unix(), method, target))
	signer := ionet.Key(key.Public().(ed25519.PublicKey))
	return signer.String() + "." + strconv.FormatInt(at.Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// VerifyRead returns who signed a request. That the signer may read what he asks for is
// the caller's to know.
func VerifyRead(network ionet.Hash, header string, now time.Time, method, target string) (ionet.Key, error) {
	signer, at, signature, err := parseRead(header)
	if err != nil {
		return ionet.Key{}, fmt.Errorf("verify request: %w", err)
	}
	if age := now.Unix() - at; age > maxReadAge || age < -maxReadAge {
		return ionet.Key{}, fmt.Errorf("verify request: %w", ErrReadTime)
	}
	if err := CheckKey(signer); err != nil {
		return ionet.Key{}, fmt.Errorf("verify request: %w", err)
	}
	if !verifyZIP215(signer, readBytes(network, at, method, target), signature) {
		return ionet.Key{}, fmt.Errorf("verify request by %s: %w", signer, ErrSignature)
	}
	return signer, nil
}

func parseRead(header string) (signer ionet.Key, at int64, signature []byte, err error) {
	words := strings.Split(header, ".")
	if len(header) > 200 || len(words) != 3 {
		return signer, 0, nil, fmt.Errorf("%s is not of the form <key>.<unix seconds>.<signature>", ReadHeader)
	}
	if signer, err = ionet.ParseKey(words[0]); err != nil {
		return signer, 0, nil, err
	}
	if at, err = strconv.ParseInt(words[1], 10, 64); err != nil || checkTimes(at) != nil || strconv.FormatInt(at, 10) != words[1] {
		return signer, 0, nil, fmt.Errorf("time %.30q is not Unix seconds", words[1])
	}
	signature, err = base64.RawURLEncoding.DecodeString(words[2])
	if err != nil || len(signature) != ed25519.SignatureSize || base64.RawURLEncoding.EncodeToString(signature) != words[2] {
		return signer, 0, nil, errors.New("signature is not base64url of 64 bytes")
	}
	return signer, at, signature, nil
}
