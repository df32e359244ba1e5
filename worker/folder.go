package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// ErrLocked reports a folder that another process uses.
var ErrLocked = errors.New("another process works in this folder: one key may sign one statement for a sample")

// Folder is where a worker keeps what must outlive it:
//
//	key.json        the host key, solana-keygen's format
//	network.toml    the network that the worker joined; never changes
//	provider        the wallet whose delegations this host takes, base58
//	delegation      envelope of the provider's delegation
//	delegation.txt  a delegation's text that waits for the wallet's signature
//	spool           statements that are not sealed yet
//	meter           journal of what is sold: package meter's
//	clock           boot [32] ‖ milliseconds u64: Unix time less that boot's clock, as the service told
//	refusal         why the service refused something last, and when: for status
//	evidence/       statements and acks that the service broke its word on
//	lock            held while a process works here
type Folder struct {
	dir  string
	lock *os.File
}

// OpenFolder makes the folder where it does not exist and takes its lock.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make worker folder: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return &Folder{dir: dir, lock: lock}, nil
}

// ReadFolder opens an existing folder for looking only: it takes no lock.
func ReadFolder(dir string) (*Folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open worker folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open worker folder: %s is not a folder", dir)
	}
	return &Folder{dir: dir}, nil
}

// Close frees the lock.
func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	if !keepsLock {
		err = errors.Join(err, os.Remove(filepath.Join(f.dir, "lock")))
	}
	return err
}

// KeyPath is where the host key is.
func (f *Folder) KeyPath() string { return filepath.Join(f.dir, "key.json") }

// MeterPath is where the journal of what is sold is.
func (f *Folder) MeterPath() string { return filepath.Join(f.dir, "meter") }

// Spool opens the worker's spool; limit 0 is DefaultSpoolBytes.
func (f *Folder) Spool(network ionet.Hash, worker ionet.Key, limit int64) (*Spool, error) {
	return openSpool(filepath.Join(f.dir, "spool"), network, worker, limit)
}

// Network returns the network file that the worker joined, or fs.ErrNotExist.
func (f *Folder) Network() ([]byte, error) {
	file, err := os.ReadFile(filepath.Join(f.dir, "network.toml"))
	if err != nil {
		return nil, fmt.Errorf("read the joined network: %w", err)
	}
	return file, nil
}

// Join keeps the network file. A folder that has joined another network is refused.
func (f *Folder) Join(file []byte) error {
	old, err := f.Network()
	if err == nil && !bytes.Equal(old, file) {
		return fmt.Errorf("join network %s: this folder belongs to %s: use another --dir", ionet.Key(ionet.HashOf(file)), ionet.Key(ionet.HashOf(old)))
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.write("network.toml", file)
}

// Provider returns the wallet whose delegations this host takes: the one that was named,
// else the one that signed the delegation that is here; zero for none.
func (f *Folder) Provider() (ionet.Key, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "provider"))
	if errors.Is(err, fs.ErrNotExist) {
		e, err := f.Delegation()
		if errors.Is(err, fs.ErrNotExist) {
			return ionet.Key{}, nil
		}
		return e.Signer, err
	}
	if err != nil {
		return ionet.Key{}, fmt.Errorf("read provider: %w", err)
	}
	k, err := ionet.ParseKey(strings.TrimSpace(string(b)))
	if err != nil {
		return ionet.Key{}, fmt.Errorf("read provider: %w", err)
	}
	return k, nil
}

// SetProvider keeps the wallet whose delegations this host takes.
func (f *Folder) SetProvider(wallet ionet.Key) error {
	return f.write("provider", []byte(wallet.String()+"\n"))
}

// clock returns what the service told of the time in a boot of this host; zeros where it
// told nothing.
func (f *Folder) clock() (boot ionet.Key, offset time.Duration, err error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "clock"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) != len(boot)+8 {
		return ionet.Key{}, 0, nil
	}
	if err != nil {
		return ionet.Key{}, 0, fmt.Errorf("read the time of this boot: %w", err)
	}
	return ionet.Key(b[:32]), time.Duration(binary.LittleEndian.Uint64(b[32:])) * time.Millisecond, nil
}

func (f *Folder) setClock(boot ionet.Key, offset time.Duration) error {
	return f.write("clock", binary.LittleEndian.AppendUint64(boot[:], uint64(offset.Milliseconds())))
}

// Delegation returns the provider's delegation, or fs.ErrNotExist.
func (f *Folder) Delegation() (proofs.Envelope, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "delegation"))
	if err != nil {
		return proofs.Envelope{}, fmt.Errorf("read delegation: %w", err)
	}
	e, err := oneEnvelope(b)
	if err != nil {
		return proofs.Envelope{}, fmt.Errorf("read delegation: %w", err)
	}
	return e, nil
}

// SetDelegation keeps the provider's delegation.
func (f *Folder) SetDelegation(e proofs.Envelope) error { return f.write("delegation", e.Append(nil)) }

// Draft returns the delegation's text that waits for a signature, or fs.ErrNotExist.
func (f *Folder) Draft() (string, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "delegation.txt"))
	if err != nil {
		return "", fmt.Errorf("read the text to sign: %w", err)
	}
	return string(b), nil
}

// SetDraft keeps a delegation's text until the wallet has signed it.
func (f *Folder) SetDraft(text string) error { return f.write("delegation.txt", []byte(text)) }

// keepEvidence keeps envelopes that show that the service broke its word and returns
// the file's path.
func (f *Folder) keepEvidence(name string, envelopes ...proofs.Envelope) (string, error) {
	if err := os.MkdirAll(filepath.Join(f.dir, "evidence"), 0o700); err != nil {
		return "", fmt.Errorf("keep evidence: %w", err)
	}
	var b []byte
	for _, e := range envelopes {
		b = e.Append(b)
	}
	name = filepath.Join("evidence", name)
	return filepath.Join(f.dir, name), f.write(name, b)
}

// write puts a whole, synced file in place.
func (f *Folder) write(name string, data []byte) error {
	path := filepath.Join(f.dir, name)
	temp, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
