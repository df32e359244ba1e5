package chain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// ReadKeypair reads a key file of solana-keygen: a JSON array of the 64 bytes
// of an Ed25519 private key. A file that others may read, and one whose public
// half does not belong to its seed, is refused.
func ReadKeypair(path string) (ed25519.PrivateKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("read keypair: %w", err)
	}
	// json decodes into []byte only from base64, so numbers go through a wider type.
	var numbers []uint16
	if err := json.Unmarshal(text, &numbers); err != nil || len(numbers) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("read keypair: %s is not a JSON array of 64 bytes", path)
	}
	key := make(ed25519.PrivateKey, len(numbers))
	for i, n := range numbers {
		if n > 255 {
			return nil, fmt.Errorf("read keypair: %s is not a JSON array of 64 bytes", path)
		}
		key[i] = byte(n)
	}
	if !bytes.Equal(key, ed25519.NewKeyFromSeed(key.Seed())) {
		return nil, fmt.Errorf("read keypair: %s holds a public key that is not that of its seed", path)
	}
	return key, nil
}

// WriteKeypair writes key for ReadKeypair, readable by its owner only. When it
// returns nil the file is durable. An existing file is never overwritten: the
// error then is fs.ErrExist.
func WriteKeypair(path string, key ed25519.PrivateKey) error {
	numbers := make([]uint16, len(key))
	for i, b := range key {
		numbers[i] = uint16(b)
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		return fmt.Errorf("write keypair: %w", err)
	}
	return writePrivate(path, append(text, '\n'))
}

// ReadSecret reads a lane secret: a JSON array of its 32 bytes.
func ReadSecret(path string) (Secret, error) {
	text, err := readPrivate(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read lane secret: %w", err)
	}
	var s Secret
	var numbers []uint16
	if err := json.Unmarshal(text, &numbers); err != nil || len(numbers) != len(s) {
		return Secret{}, fmt.Errorf("read lane secret: %s is not a JSON array of 32 bytes", path)
	}
	for i, n := range numbers {
		if n > 255 {
			return Secret{}, fmt.Errorf("read lane secret: %s is not a JSON array of 32 bytes", path)
		}
		s[i] = byte(n)
	}
	return s, nil
}

// WriteSecret writes s for ReadSecret, under the rules of WriteKeypair.
func WriteSecret(path string, s Secret) error {
	numbers := make([]uint16, len(s))
	for i, b := range s {
		numbers[i] = uint16(b)
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		return fmt.Errorf("write lane secret: %w", err)
	}
	return writePrivate(path, append(text, '\n'))
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder, want a file", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(f, 4096))
}

// writePrivate makes a complete, synced file appear at path or none at all:
// a link, unlike a rename, refuses to replace what is there.
func writePrivate(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// cause is what went wrong with a file, without the name of a temporary one.
func cause(err error) error {
	var (
		p *fs.PathError
		l *os.LinkError
	)
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
