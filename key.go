package ionet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mr-tron/base58"
)

// Key is a 32-byte Ed25519 public key or Solana address; text is base58.
type Key [32]byte

// maxKeyText is the longest base58 text of 32 bytes.
const maxKeyText = 44

// ParseKey parses base58 of exactly 32 bytes; String(ParseKey(s)) == s.
func ParseKey(s string) (Key, error) {
	// Decoding takes time quadratic in the length: a stranger's megabyte stops here.
	if len(s) > maxKeyText {
		return Key{}, fmt.Errorf("key has %d characters, more than %d", len(s), maxKeyText)
	}
	b, err := base58.Decode(s)
	if err != nil {
		return Key{}, fmt.Errorf("key %q is not base58: %w", s, err)
	}
	if len(b) != len(Key{}) {
		return Key{}, fmt.Errorf("key %q has %d bytes, not 32", s, len(b))
	}
	return Key(b), nil
}

// String returns base58.
func (k Key) String() string { return base58.Encode(k[:]) }

// IsZero reports whether k is all zeros (the System program, never a wallet).
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKey.
func (k *Key) UnmarshalText(text []byte) error {
	v, err := ParseKey(string(text))
	if err != nil {
		return err
	}
	*k = v
	return nil
}

// Hash is a SHA-256 digest; text is 64 lowercase hexadecimal digits.
type Hash [32]byte

// HashOf returns SHA-256 over the concatenation of parts.
func HashOf(parts ...[]byte) Hash {
	d := sha256.New()
	for _, p := range parts {
		d.Write(p)
	}
	var h Hash
	d.Sum(h[:0])
	return h
}

// ParseHash parses 64 lowercase hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 64 || strings.ToLower(s) != s {
		return h, fmt.Errorf("hash %q is not 64 lowercase hexadecimal digits", s)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("hash %q is not 64 lowercase hexadecimal digits", s)
	}
	return h, nil
}

// String returns lowercase hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zeros, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(text []byte) error {
	v, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = v
	return nil
}

// UUID names a device: the 16 bytes of NVML's GPU UUID; text is NVML's own
// form, "GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b".
type UUID [16]byte

// ParseUUID parses NVML's text form, lowercase.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	rest, ok := strings.CutPrefix(s, "GPU-")
	if !ok || len(rest) != 36 || rest[8] != '-' || rest[13] != '-' || rest[18] != '-' || rest[23] != '-' || strings.ToLower(rest) != rest {
		return u, fmt.Errorf("device %q is not of the form GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	if _, err := hex.Decode(u[:], []byte(strings.ReplaceAll(rest, "-", ""))); err != nil || u.String() != s {
		return UUID{}, fmt.Errorf("device %q is not of the form GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	return u, nil
}

// String returns NVML's text form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return "GPU-" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MarshalText is String.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is ParseUUID.
func (u *UUID) UnmarshalText(text []byte) error {
	v, err := ParseUUID(string(text))
	if err != nil {
		return err
	}
	*u = v
	return nil
}
