package localnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/gagliardetto/solana-go"
)

// seed is where everything that looks like chance comes from.
type seed [32]byte

// newSeed makes the seed of a number; of 0, one that nobody knows.
func newSeed(n uint64) (s seed, err error) {
	if n == 0 {
		if _, err := rand.Read(s[:]); err != nil {
			return s, fmt.Errorf("make a seed: %w", err)
		}
		return s, nil
	}
	return sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("localnet/"), n)), nil
}

// hash derives 32 bytes for a purpose.
func (s seed) hash(purpose string) solana.Hash {
	return sha256.Sum256(append(s[:], purpose...))
}

// key derives a key pair for a purpose.
func (s seed) key(purpose string) solana.PrivateKey {
	h := s.hash(purpose)
	return solana.PrivateKey(ed25519.NewKeyFromSeed(h[:]))
}

// dice derives a source of choices for a purpose. It is not safe for concurrent use.
func (s seed) dice(purpose string) *mathrand.Rand {
	return mathrand.New(mathrand.NewChaCha8(s.hash(purpose)))
}

// seededStart is the time of slot 0 of a chain that is made from a seed and has no
// clock of its own: 2027-01-15.
const seededStart = 1_800_000_000

// seededClock tells the time by the number of slots.
func (b *bank) seededClock(slotTime time.Duration) func() time.Time {
	return func() time.Time {
		return time.Unix(seededStart, 0).Add(time.Duration(len(b.blocks)) * slotTime)
	}
}
