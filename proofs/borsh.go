package proofs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// writer appends Borsh values; FORMAT.md, section 1.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)           { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)         { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)         { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)         { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) i64(v int64)          { w.u64(uint64(v)) }
func (w *writer) raw(v []byte)         { w.b = append(w.b, v...) }
func (w *writer) str(v string)         { w.u32(uint32(len(v))); w.b = append(w.b, v...) }
func (w *writer) vec(v []byte)         { w.u32(uint32(len(v))); w.b = append(w.b, v...) }
func (w *writer) money(a ionet.Amount) { w.u64(a.Base()) }

func (w *writer) flag(v bool) {
	if v {
		w.u8(1)
		return
	}
	w.u8(0)
}

var errEnds = errors.New("ends too early")

// reader takes Borsh values from the front of b. After the first error it
// yields zeros and keeps that error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(errEnds)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) i64() int64 { return int64(r.u64()) }

func (r *reader) b16() (v [16]byte) { copy(v[:], r.take(16)); return v }
func (r *reader) b32() (v [32]byte) { copy(v[:], r.take(32)); return v }
func (r *reader) b64() (v [64]byte) { copy(v[:], r.take(64)); return v }

func (r *reader) flag() bool {
	v := r.u8()
	if v > 1 {
		r.fail(fmt.Errorf("flag is %d, not 0 or 1", v))
	}
	return v == 1
}

func (r *reader) money() ionet.Amount {
	a, err := ionet.NewAmount(r.u64())
	if err != nil {
		r.fail(err)
	}
	return a
}

func (r *reader) vec() []byte { return r.take(int(r.u32())) }

// text reads a string of 1..limit bytes of printable ASCII.
func (r *reader) text(field string, limit int) string {
	s := string(r.vec())
	if err := checkText(field, s, limit); r.err == nil && err != nil {
		r.fail(err)
	}
	return s
}

// count reads a vector's length: low..high items of at least size bytes each.
func (r *reader) count(field string, low, high, size int) int {
	n := int(r.u32())
	if r.err == nil && (n < low || n > high) {
		r.fail(fmt.Errorf("%s has %d items, not %d..%d", field, n, low, high))
	}
	if r.err == nil && n*size > len(r.b) {
		r.fail(errEnds)
	}
	if r.err != nil {
		return 0
	}
	return n
}

// end returns the first error; bytes that are left over are one.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) != 0 {
		r.err = fmt.Errorf("%d trailing bytes", len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("parse %s: %w", what, r.err)
	}
	return nil
}

func checkText(field, s string, limit int) error {
	if len(s) == 0 || len(s) > limit {
		return fmt.Errorf("%s has %d bytes, not 1..%d", field, len(s), limit)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("%s is not printable ASCII", field)
		}
	}
	return nil
}
