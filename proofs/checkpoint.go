package proofs

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/ionet-settlement/ionet"
)

// LogCheckpoint is a state of a network's receipt log, as the service signs it.
type LogCheckpoint struct {
	Size uint64
	Root ionet.Hash
}

// maxCheckpoint bounds a signed note: witnesses may have added their signatures.
const maxCheckpoint = 1 << 16

// LogOrigin returns the origin of a network's receipt log, which is its key's name too.
func LogOrigin(network ionet.Hash) string {
	return "io-settlement/" + ionet.Key(network).String()
}

// Text returns the note's text: origin, size and root in base64, a line each.
func (c LogCheckpoint) Text(network ionet.Hash) string {
	return LogOrigin(network) + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// ParseCheckpointText parses a note's text. It has no lines beyond the three.
func ParseCheckpointText(network ionet.Hash, text string) (LogCheckpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != LogOrigin(network) {
		return LogCheckpoint{}, fmt.Errorf("parse checkpoint: it is not three lines under %s", LogOrigin(network))
	}
	var c LogCheckpoint
	var err error
	if c.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return LogCheckpoint{}, fmt.Errorf("parse checkpoint: size: %w", err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return LogCheckpoint{}, errors.New("parse checkpoint: root is not base64 of 32 bytes")
	}
	c.Root = ionet.Hash(root)
	if c.Text(network) != text {
		return LogCheckpoint{}, errors.New("parse checkpoint: it is not in canonical form")
	}
	return c, nil
}

// SignCheckpoint returns the checkpoint as a signed note of keys.service.
func SignCheckpoint(network ionet.Hash, service ed25519.PrivateKey, c LogCheckpoint) ([]byte, error) {
	b, err := note.Sign(&note.Note{Text: c.Text(network)}, noteSigner{logKey(network, ionet.Key(service.Public().(ed25519.PublicKey))), service})
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return b, nil
}

// OpenCheckpoint verifies a signed note of the network's receipt log by keys.service.
// Other keys' signatures are passed over.
func OpenCheckpoint(network ionet.Hash, service ionet.Key, b []byte) (LogCheckpoint, error) {
	if len(b) > maxCheckpoint {
		return LogCheckpoint{}, fmt.Errorf("open checkpoint: %d bytes are more than %d", len(b), maxCheckpoint)
	}
	n, err := note.Open(b, note.VerifierList(logKey(network, service)))
	if err != nil {
		return LogCheckpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	return ParseCheckpointText(network, n.Text)
}

// LogVerifierKey returns the key as clients of C2SP logs are told it:
// "<origin>+<key hash>+<base64 of 0x01 ‖ key>".
func LogVerifierKey(network ionet.Hash, service ionet.Key) (string, error) {
	s, err := note.NewEd25519VerifierKey(LogOrigin(network), service[:])
	if err != nil {
		return "", fmt.Errorf("render verifier key: %w", err)
	}
	return s, nil
}

// noteKey is a note's verifier. Its rule is ZIP-215, as everywhere.
type noteKey struct {
	name string
	key  ionet.Key
}

func logKey(network ionet.Hash, service ionet.Key) noteKey {
	return noteKey{LogOrigin(network), service}
}

// Name implements note.Verifier.
func (k noteKey) Name() string { return k.name }

// KeyHash implements note.Verifier: the first 4 bytes of H(name ‖ "\n" ‖ 0x01 ‖ key).
func (k noteKey) KeyHash() uint32 {
	h := sha256.Sum256(append([]byte(k.name+"\n\x01"), k.key[:]...))
	return binary.BigEndian.Uint32(h[:4])
}

// Verify implements note.Verifier.
func (k noteKey) Verify(msg, sig []byte) bool { return verifyZIP215(k.key, msg, sig) }

// noteSigner implements note.Signer.
type noteSigner struct {
	noteKey
	secret ed25519.PrivateKey
}

// Sign implements note.Signer.
func (s noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.secret, msg), nil }
