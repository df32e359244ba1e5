package proofs

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
)

// memory holds a tree's stored hashes in the order of tlog.StoredHashIndex.
type memory []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(m)) {
			return nil, fmt.Errorf("read hash %d of %d", x, len(m))
		}
		out[i] = m[x]
	}
	return out, nil
}

// treeOf hashes records into a tree; it can't fail, for it reads only what it wrote.
func treeOf(records [][]byte) memory {
	m := make(memory, 0, 2*len(records))
	for i, r := range records {
		hashes, err := tlog.StoredHashes(int64(i), r, m)
		if err != nil {
			panic(err)
		}
		m = append(m, hashes...)
	}
	return m
}

// Root returns the RFC 6962 tree head over records; of none, H(""). It keeps one
// hash for each complete subtree, as a binary counter keeps its bits.
func Root(records [][]byte) ionet.Hash {
	var subtrees []tlog.Hash // of falling size
	for i, r := range records {
		h := tlog.RecordHash(r)
		for n := i; n&1 == 1; n >>= 1 {
			h = tlog.NodeHash(subtrees[len(subtrees)-1], h)
			subtrees = subtrees[:len(subtrees)-1]
		}
		subtrees = append(subtrees, h)
	}
	if len(subtrees) == 0 {
		return ionet.HashOf()
	}
	root := subtrees[len(subtrees)-1]
	for i := len(subtrees) - 2; i >= 0; i-- {
		root = tlog.NodeHash(subtrees[i], root)
	}
	return ionet.Hash(root)
}

// Prove returns the inclusion proof of record i: the sibling hashes from leaf
// to root.
func Prove(records [][]byte, i int) ([]ionet.Hash, error) {
	if i < 0 || i >= len(records) {
		return nil, fmt.Errorf("prove record %d of %d", i, len(records))
	}
	return treeOf(records).prove(len(records), i)
}

// prove returns the inclusion proof of record i of n.
func (m memory) prove(n, i int) ([]ionet.Hash, error) {
	if i < 0 || i >= n {
		return nil, fmt.Errorf("prove record %d of %d", i, n)
	}
	p, err := tlog.ProveRecord(int64(n), int64(i), m)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", i, err)
	}
	out := make([]ionet.Hash, len(p))
	for j, h := range p {
		out[j] = ionet.Hash(h)
	}
	return out, nil
}

// CheckProof verifies that record is the i-th of n under root.
func CheckProof(proof []ionet.Hash, root ionet.Hash, n, i int, record []byte) error {
	p := make(tlog.RecordProof, len(proof))
	for j, h := range proof {
		p[j] = tlog.Hash(h)
	}
	if err := tlog.CheckRecord(p, int64(n), tlog.Hash(root), int64(i), tlog.RecordHash(record)); err != nil {
		return fmt.Errorf("check inclusion of record %d of %d: %w", i, n, err)
	}
	return nil
}
