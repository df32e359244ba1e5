package proofs

import (
	"crypto/ed25519"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
)

// MaxAckTree is the largest number of statements under one signature of the
// service, and MaxAckBody the size of such an ack's body in bytes.
const (
	MaxAckTree = 1 << 16
	MaxAckBody = ackHead + 32*maxAckPath
	ackHead    = 32 + 8 + 2 + 4 + 4 + 4
	maxAckPath = 16
)

// Arrival is the epoch and sample in which the service received a statement.
type Arrival struct {
	Epoch  uint64
	Sample uint16
}

// Ack is the service's signed answer: the statement arrived then. One signature
// covers a tree of statements with one arrival, and each ack leads from its
// statement to that tree's root: FORMAT.md, section 5. An ack whose statement is
// missing from the book proves omission.
type Ack struct {
	Statement ionet.Hash
	Arrival   Arrival
	Index     uint32 // of the statement in the tree
	Size      uint32 // of the tree, 1..MaxAckTree
	Path      []ionet.Hash
}

// Encode returns the body of an ack.
func (a Ack) Encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("encode ack: %w", err)
	}
	w := writer{b: make([]byte, 0, ackHead+32*len(a.Path))}
	w.ackHead(a, len(a.Path))
	for _, h := range a.Path {
		w.raw(h[:])
	}
	return w.b, nil
}

// ackHead appends what an ack has before the hashes of its path.
func (w *writer) ackHead(a Ack, path int) {
	w.raw(a.Statement[:])
	w.arrival(a.Arrival)
	w.u32(a.Index)
	w.u32(a.Size)
	w.u32(uint32(path))
}

// ParseAck parses the body of an ack.
func ParseAck(body []byte) (Ack, error) {
	r := reader{b: body}
	a := Ack{Statement: r.b32(), Arrival: Arrival{Epoch: r.u64(), Sample: r.u16()}, Index: r.u32(), Size: r.u32()}
	if n := r.count("path", 0, maxAckPath, 32); n > 0 {
		a.Path = make([]ionet.Hash, n)
	}
	for i := range a.Path {
		a.Path[i] = r.b32()
	}
	return ended(&r, "ack", a, a.check)
}

func (a Ack) check() error {
	switch {
	case a.Size == 0 || a.Size > MaxAckTree:
		return fmt.Errorf("size is %d, not in 1..%d", a.Size, MaxAckTree)
	case a.Index >= a.Size:
		return fmt.Errorf("index is %d of %d", a.Index, a.Size)
	}
	if want := pathLength(a.Index, a.Size); len(a.Path) != want {
		return fmt.Errorf("path has %d hashes, not %d", len(a.Path), want)
	}
	return nil
}

// pathLength is the length of the inclusion path of record index of size: one
// hash for each level up to where the way of the last record is met, from there
// on one for each complete subtree on the left.
func pathLength(index, size uint32) int {
	below := bits.Len32(index ^ (size - 1))
	return below + bits.OnesCount32(index>>below)
}

// Root returns the tree head that the ack leads to; RFC 9162, section 2.1.3.2. It
// means nothing for an ack that does not encode.
func (a Ack) Root() ionet.Hash {
	h := tlog.RecordHash(a.Statement[:])
	index, last := a.Index, a.Size-1
	for _, sibling := range a.Path {
		for index&1 == 0 && index == last && last > 0 { // no sibling on this level
			index, last = index>>1, last>>1
		}
		if index&1 == 1 {
			h = tlog.NodeHash(tlog.Hash(sibling), h)
		} else {
			h = tlog.NodeHash(h, tlog.Hash(sibling))
		}
		index, last = index>>1, last>>1
	}
	return ionet.Hash(h)
}

// Contradicts reports whether a and b, both signed by the service, can't both be
// true: they are of one statement and tell different arrivals. Index, size and
// path may differ from one answer to the next.
func (a Ack) Contradicts(b Ack) bool {
	return a.Statement == b.Statement && a.Arrival != b.Arrival
}

// SignAcks answers statements that arrived together: an envelope for each id, in
// that order, all with one signature (one for each MaxAckTree of them).
func SignAcks(network ionet.Hash, key ed25519.PrivateKey, arrival Arrival, ids []ionet.Hash) []Envelope {
	envelopes := make([]Envelope, 0, len(ids))
	for part := range slices.Chunk(ids, MaxAckTree) {
		levels := ackLevels(part)
		e := Envelope{Kind: KindAck, Signer: ionet.Key(key.Public().(ed25519.PublicKey))}
		// All bodies lie in one piece of memory.
		w := writer{b: make([]byte, 0, len(part)*(ackHead+32*(len(levels)-1)))}
		for i, id := range part {
			start := len(w.b)
			w.ackHead(Ack{Statement: id, Arrival: arrival, Index: uint32(i), Size: uint32(len(part))}, pathLength(uint32(i), uint32(len(part))))
			w.pathIn(levels, i)
			if e.Body = w.b[start:len(w.b):len(w.b)]; i == 0 {
				e = Sign(network, KindAck, key, e.Body)
			}
			envelopes = append(envelopes, e)
		}
	}
	return envelopes
}

// ackLevels hashes the records ids into a tree, level by level from the leaves to
// the root. A last node without a sibling is the last one of the next level too.
func ackLevels(ids []ionet.Hash) [][]tlog.Hash {
	level := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		level[i] = tlog.RecordHash(id[:])
	}
	levels := [][]tlog.Hash{level}
	for len(level) > 1 {
		next := make([]tlog.Hash, 0, (len(level)+1)/2)
		for pair := range slices.Chunk(level, 2) {
			h := pair[0]
			if len(pair) == 2 {
				h = tlog.NodeHash(h, pair[1])
			}
			next = append(next, h)
		}
		level = next
		levels = append(levels, level)
	}
	return levels
}

// pathIn appends the path of record i.
func (w *writer) pathIn(levels [][]tlog.Hash, i int) {
	for _, level := range levels[:len(levels)-1] {
		if i^1 < len(level) {
			w.raw(level[i^1][:])
		}
		i >>= 1
	}
}

// arrival appends an arrival as statements and acks have it.
func (w *writer) arrival(a Arrival) {
	w.u64(a.Epoch)
	w.u16(a.Sample)
}

// promise appends what the service signs of its acks.
func (w *writer) promise(at Arrival, size uint32, root ionet.Hash) {
	w.arrival(at)
	w.u32(size)
	w.raw(root[:])
}
