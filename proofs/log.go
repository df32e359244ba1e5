package proofs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
)

// LeafHash returns the hash of a record as a leaf of an RFC 6962 tree: H(0x00 ‖ record).
func LeafHash(record []byte) ionet.Hash {
	var buf [1024]byte // on the stack, and the hash's own calls stay few
	if len(record) < len(buf) {
		n := copy(buf[1:], record)
		return sha256.Sum256(buf[:1+n])
	}
	d := sha256.New()
	d.Write(buf[:1])
	d.Write(record)
	var h ionet.Hash
	d.Sum(h[:0])
	return h
}

// nodeHash returns H(0x01 ‖ left ‖ right).
func nodeHash(left, right *ionet.Hash) ionet.Hash {
	var buf [1 + 2*32]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[33:], right[:])
	return sha256.Sum256(buf[:])
}

// Frontier is all that a log needs to remember of its records to grow: the roots of its
// complete subtrees, one for each bit of its size. The zero value is the empty log. A
// copy of it is a state of its own only until either appends; see Clone.
type Frontier struct {
	size  uint64
	roots []ionet.Hash // of falling size
}

// Size returns the number of records.
func (f *Frontier) Size() uint64 { return f.size }

// Clone returns a frontier that grows by itself.
func (f *Frontier) Clone() Frontier {
	return Frontier{size: f.size, roots: append([]ionet.Hash(nil), f.roots...)}
}

// Append adds records.
func (f *Frontier) Append(records ...[]byte) {
	t := newTreeHasher()
	for _, r := range records {
		f.push(t, t.leafOf(r))
	}
}

// AppendLeaves adds records by their leaf hashes.
func (f *Frontier) AppendLeaves(leaves ...ionet.Hash) {
	t := newTreeHasher()
	for _, h := range leaves {
		f.push(t, h)
	}
}

// push joins subtrees as adding 1 carries bits.
func (f *Frontier) push(t *treeHasher, h ionet.Hash) {
	n := len(f.roots)
	for carry := f.size; carry&1 == 1; carry >>= 1 {
		n--
		h = t.nodeOf(&f.roots[n], &h)
	}
	f.roots = append(f.roots[:n], h)
	f.size++
}

// Root returns the RFC 6962 tree head; of no records H("").
func (f *Frontier) Root() ionet.Hash {
	if len(f.roots) == 0 {
		return ionet.HashOf()
	}
	root := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		root = nodeHash(&f.roots[i], &root)
	}
	return root
}

// MarshalBinary returns size u64 ‖ the roots of the complete subtrees, largest first.
func (f *Frontier) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+32*len(f.roots)), f.size)
	for _, h := range f.roots {
		b = append(b, h[:]...)
	}
	return b, nil
}

// ParseFrontier parses what MarshalBinary returned.
func ParseFrontier(b []byte) (Frontier, error) {
	r := reader{b: b}
	f := Frontier{size: r.u64()}
	if f.size > maxIndex {
		r.fail(fmt.Errorf("size is %d, more than %d", f.size, uint64(maxIndex)))
	}
	if r.err == nil {
		f.roots = make([]ionet.Hash, bits.OnesCount64(f.size))
		for i := range f.roots {
			f.roots[i] = r.b32()
		}
	}
	if err := r.end("frontier"); err != nil {
		return Frontier{}, err
	}
	return f, nil
}

// LogHashes reads hashes of a log in the numbering of tlog.StoredHashIndex; see TileReader.
type LogHashes = tlog.HashReader

// ProveInclusion returns the proof that record index is in the log of that size: the
// sibling hashes from leaf to root (RFC 6962, 2.1.1).
func ProveInclusion(r LogHashes, size, index uint64) ([]ionet.Hash, error) {
	if index >= size || size > maxIndex {
		return nil, fmt.Errorf("prove record %d of %d", index, size)
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), r)
	if err != nil {
		return nil, fmt.Errorf("prove record %d of %d: %w", index, size, err)
	}
	return hashesOf(p), nil
}

// CheckInclusion verifies that the record with that leaf hash is number index of the
// size under root.
func CheckInclusion(proof []ionet.Hash, root ionet.Hash, size, index uint64, leaf ionet.Hash) error {
	if index >= size || size > maxIndex {
		return fmt.Errorf("check inclusion of record %d of %d: there is none", index, size)
	}
	if err := tlog.CheckRecord(tlogHashes(proof), int64(size), tlog.Hash(root), int64(index), tlog.Hash(leaf)); err != nil {
		return fmt.Errorf("check inclusion of record %d of %d: %w", index, size, err)
	}
	return nil
}

// ProveConsistency returns the proof that the log of size to begins with that of size
// from (RFC 6962, 2.1.2); it is empty where from is 0 or to.
func ProveConsistency(r LogHashes, from, to uint64) ([]ionet.Hash, error) {
	if from > to || to > maxIndex {
		return nil, fmt.Errorf("prove that %d records begin with %d", to, from)
	}
	if from == 0 || from == to {
		return []ionet.Hash{}, nil
	}
	p, err := tlog.ProveTree(int64(to), int64(from), r)
	if err != nil {
		return nil, fmt.Errorf("prove that %d records begin with %d: %w", to, from, err)
	}
	return hashesOf(p), nil
}

// CheckConsistency verifies that the log of size to under root begins with that of size
// from under old.
func CheckConsistency(proof []ionet.Hash, old ionet.Hash, from uint64, root ionet.Hash, to uint64) error {
	switch {
	case from > to || to > maxIndex:
		return fmt.Errorf("check consistency of %d with %d records: it went back", to, from)
	case (from == 0 || from == to) && len(proof) > 0:
		return fmt.Errorf("check consistency of %d with %d records: its proof must be empty", to, from)
	case from == 0 && old != ionet.HashOf(), from == to && old != root:
		return fmt.Errorf("check consistency of %d with %d records: the roots differ", to, from)
	case from == 0 || from == to:
		return nil
	}
	if err := tlog.CheckTree(tlogHashes(proof), int64(to), tlog.Hash(root), int64(from), tlog.Hash(old)); err != nil {
		return fmt.Errorf("check consistency of %d with %d records: %w", to, from, err)
	}
	return nil
}

func hashesOf(in []tlog.Hash) []ionet.Hash {
	out := make([]ionet.Hash, len(in))
	for i, h := range in {
		out[i] = ionet.Hash(h)
	}
	return out
}

func tlogHashes(in []ionet.Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(in))
	for i, h := range in {
		out[i] = tlog.Hash(h)
	}
	return out
}
