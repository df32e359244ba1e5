package localnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/gagliardetto/solana-go"
)

// frame reads the body of an answer of the virtual machine. The first read past the
// end sets err; reads after it return zero values.
type frame struct {
	b   []byte
	err error
}

var errShortFrame = errors.New("read answer of the virtual machine: it is cut short")

func (f *frame) take(n int) []byte {
	if f.err != nil || n < 0 || n > len(f.b) {
		f.err = errShortFrame
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

func (f *frame) u8() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *frame) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *frame) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (f *frame) key() (k solana.PublicKey) {
	copy(k[:], f.take(len(k)))
	return k
}

func (f *frame) blob() []byte { return f.take(int(f.u32())) }

// account reads one account; nil is an absent one.
func (f *frame) account() *Account {
	if f.u8() == 0 {
		return nil
	}
	a := &Account{Lamports: f.u64(), Owner: f.key(), Executable: f.u8() == 1}
	a.Data = bytes.Clone(f.blob()) // the frame's buffer must not stay alive for it
	return a
}

func (f *frame) accounts() (map[solana.PublicKey]*Account, error) {
	n := f.u32()
	m := make(map[solana.PublicKey]*Account, min(n, 1<<16))
	for ; n > 0 && f.err == nil; n-- {
		k := f.key()
		m[k] = f.account()
	}
	return m, f.err
}

// tailBuffer keeps the last bytes written to it.
type tailBuffer struct {
	mu  sync.Mutex
	max int
	b   []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append([]byte(nil), t.b[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
