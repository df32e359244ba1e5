package chain

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

// Secret is the lane secret: with it (and only with it) the one-time keys of
// all lanes can be made. It moves no money. It never prints: every fmt verb,
// slog and JSON show "[lane secret]".
type Secret [32]byte

// NewSecret draws a secret from the operating system.
func NewSecret() Secret {
	var s Secret
	rand.Read(s[:]) // never fails: crypto/rand ends the program instead
	return s
}

const redacted = "[lane secret]"

// Format implements fmt.Formatter: no verb shows the secret.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String returns a constant.
func (s Secret) String() string { return redacted }

// MarshalText keeps the secret out of JSON, TOML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Key returns the one-time key of the position whose C is c:
//
//	K(n) = Ed25519 key with seed HKDF-SHA256(ikm = secret, salt = none, info = C(n))
func (s Secret) Key(c ionet.Hash) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, s[:], nil, string(c[:]), ed25519.SeedSize)
	if err != nil {
		panic(err) // only for lengths that 32 is not
	}
	return ed25519.NewKeyFromSeed(seed)
}

// Public returns the public half of K(n), the lane's mint authority while
// position n is open.
func (s Secret) Public(c ionet.Hash) ionet.Key { return PublicOf(s.Key(c)) }

// PublicOf returns the public half of key.
func PublicOf(key ed25519.PrivateKey) ionet.Key {
	return ionet.Key(key.Public().(ed25519.PublicKey))
}

// LaneAddress returns the address of the lane of that name: CreateWithSeed of
// the lane key, the name and the token program.
func LaneAddress(laneKey ionet.Key, name string) ionet.Key {
	return withSeed(laneKey, name, tokenProgram)
}

// MintAddress returns the address of the operator's token; it is derived, so
// that the network file can be written before the first transaction. It follows
// from the address of the epoch lane: one token has one such lane, whose position
// 0 mints the genesis supply, and no second network can be made of it.
func MintAddress(operator, epochLane ionet.Key) ionet.Key {
	return withSeed(operator, mintSeed(epochLane), tokenProgram)
}

func mintSeed(epochLane ionet.Key) string {
	return ionet.HashOf([]byte("io/mint/1"), epochLane[:]).String()[:32]
}

// GenesisReference returns the address whose history leads from the mint to
// the genesis transaction.
func GenesisReference(mint ionet.Key) ionet.Key { return withSeed(mint, "io/genesis/1", memoProgram) }

// TokenAccount returns the associated token account of owner for mint.
func TokenAccount(owner, mint ionet.Key) ionet.Key {
	a, _, err := solana.FindAssociatedTokenAddress(solana.PublicKey(owner), solana.PublicKey(mint))
	if err != nil {
		panic(err) // no bump of 255 leaves the curve: has probability 2^-255
	}
	return ionet.Key(a)
}

// withSeed is H(base ‖ seed ‖ owner); seeds are at most 32 bytes.
func withSeed(base ionet.Key, seed string, owner ionet.Key) ionet.Key {
	return ionet.Key(ionet.HashOf(base[:], []byte(seed), owner[:]))
}
