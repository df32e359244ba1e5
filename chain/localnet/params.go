package localnet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/mr-tron/base58"
)

// rpcError is a JSON-RPC error with Solana's codes.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

func (e *rpcError) Error() string { return e.Message }

// Error codes: JSON-RPC's, then Solana's.
const (
	codeParse          = -32700
	codeRequest        = -32600
	codeMethod         = -32601
	codeParams         = -32602
	codeInternal       = -32603
	codePreflight      = -32002
	codeSignature      = -32003
	codeCleanedUp      = -32001
	codeNotAvailable   = -32004
	codeSkipped        = -32007
	codeNoHistory      = -32011
	codeVersion        = -32015
	codeContextSlot    = -32016
	codeFilterNotFound = -32020
)

func rpcErrorf(code int, format string, args ...any) *rpcError {
	return &rpcError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *rpcError {
	return rpcErrorf(codeParams, "Invalid param: "+format, args...)
}

// commitment is how settled the state must be that a call reads.
type commitment int

const (
	finalized commitment = iota
	confirmed
	processed
)

func (c *commitment) UnmarshalText(b []byte) error {
	switch string(b) {
	case "finalized":
		*c = finalized
	case "confirmed":
		*c = confirmed
	case "processed":
		*c = processed
	default:
		return fmt.Errorf("unknown commitment %q, expected processed, confirmed or finalized", b)
	}
	return nil
}

func (c commitment) String() string { return [...]string{"finalized", "confirmed", "processed"}[c] }

// contextConfig is what nearly every method takes; missing fields mean finalized.
type contextConfig struct {
	Commitment     commitment `json:"commitment"`
	MinContextSlot *uint64    `json:"minContextSlot"`
}

// params are the positional parameters of a call.
type params []json.RawMessage

// given reports whether parameter i is there and not null.
func (p params) given(i int) bool {
	return i < len(p) && len(p[i]) > 0 && string(p[i]) != "null"
}

// into reads a required parameter.
func (p params) into(i int, v any) error {
	if !p.given(i) {
		return invalid("parameter %d is missing", i)
	}
	if err := json.Unmarshal(p[i], v); err != nil {
		return invalid("parameter %d: %v", i, err)
	}
	return nil
}

// optional reads a parameter if it is there.
func (p params) optional(i int, v any) error {
	if !p.given(i) {
		return nil
	}
	return p.into(i, v)
}

// key reads an address.
func (p params) key(i int) (k solana.PublicKey, err error) {
	var s string
	if err := p.into(i, &s); err != nil {
		return k, err
	}
	return parseKey(s)
}

func parseKey(s string) (k solana.PublicKey, err error) {
	b, err := base58.Decode(s)
	if err != nil || len(b) != len(k) {
		return k, invalid("%q is not an address (base58 of 32 bytes)", s)
	}
	copy(k[:], b)
	return k, nil
}

func parseSignature(s string) (sig solana.Signature, err error) {
	b, err := base58.Decode(s)
	if err != nil || len(b) != len(sig) {
		return sig, invalid("%q is not a signature (base58 of 64 bytes)", s)
	}
	copy(sig[:], b)
	return sig, nil
}

// decodeWire reads a transaction's or message's text in base58 (the default of old)
// or base64.
func decodeWire(s, encoding string) ([]byte, error) {
	switch encoding {
	case "", "base58":
		if len(s) > 1683 { // base58 of 1232 bytes; base64 is the way beyond that
			return nil, invalid("base58 encoded transaction too large: %d bytes (max: 1683)", len(s))
		}
		b, err := base58.Decode(s)
		if err != nil {
			return nil, invalid("invalid base58 encoding: %v", err)
		}
		return b, nil
	case "base64":
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, invalid("invalid base64 encoding: %v", err)
		}
		return b, nil
	}
	return nil, invalid("unsupported encoding: %s. Supported encodings: base58, base64", encoding)
}

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
