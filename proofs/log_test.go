package proofs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// logOf makes n records of differing sizes.
func logOf(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8)}, i%700)
	}
	return records
}

func leavesOf(records [][]byte) []ionet.Hash {
	leaves := make([]ionet.Hash, len(records))
	for i, r := range records {
		leaves[i] = LeafHash(r)
	}
	return leaves
}

// At every size the frontier's root is that of the whole tree, and it survives being
// written and read.
func TestFrontier(t *testing.T) {
	records := logOf(600)
	var f, byLeaves Frontier
	for n := range len(records) + 1 {
		if got, want := f.Root(), Root(records[:n]); got != want {
			t.Fatalf("root of %d: got %s, want %s", n, got, want)
		}
		b := must[[]byte](t)(f.MarshalBinary())
		again := must[Frontier](t)(ParseFrontier(b))
		if again.Size() != uint64(n) || again.Root() != f.Root() || !bytes.Equal(must[[]byte](t)(again.MarshalBinary()), b) {
			t.Fatalf("frontier of %d reads as one of %d", n, again.Size())
		}
		if n == len(records) {
			break
		}
		clone := f.Clone()
		clone.Append([]byte("another"))
		f.Append(records[n])
		if clone.Root() == f.Root() {
			t.Fatalf("after %d a clone has the root of another log", n)
		}
	}
	byLeaves.AppendLeaves(leavesOf(records)...)
	if byLeaves.Root() != f.Root() {
		t.Error("records and their leaf hashes make different roots")
	}
	var atOnce Frontier
	atOnce.Append(records...)
	if atOnce.Root() != f.Root() {
		t.Error("one call and many make different roots")
	}
}

func TestParseFrontierRefuses(t *testing.T) {
	var f Frontier
	f.Append(logOf(5)...)
	b := must[[]byte](t)(f.MarshalBinary())
	huge := bytes.Clone(b)
	huge[7] = 0x80
	for _, bad := range [][]byte{nil, b[:7], b[:len(b)-1], append(bytes.Clone(b), 0), append(bytes.Clone(b), make([]byte, 32)...), huge} {
		if got, err := ParseFrontier(bad); err == nil {
			t.Errorf("%x parses as a frontier of %d", bad, got.Size())
		}
	}
}

func TestLeafHash(t *testing.T) {
	for _, n := range []int{0, 1, 200, 1022, 1023, 1024, 1025, MaxRecord} {
		record := bytes.Repeat([]byte{7}, n)
		if got, want := LeafHash(record), ionet.HashOf([]byte{0}, record); got != want {
			t.Errorf("%d bytes: got %s, want %s", n, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { LeafHash(make([]byte, 500)) }); n != 0 {
		t.Errorf("a leaf's hash allocates %v times", n)
	}
}

// The fast hasher is SHA-256, whatever it hashed before; and it is the one in use.
func TestTreeHasher(t *testing.T) {
	fast, plain := newTreeHasher(), &treeHasher{}
	if fast.d == nil {
		t.Error("the library's state is not in the form that is known here: logs are made at half the speed")
	}
	rapid.Check(t, func(t *rapid.T) {
		record := rapid.SliceOfN(rapid.Byte(), 0, 1100).Draw(t, "record")
		want := ionet.HashOf([]byte{0}, record)
		if got := fast.leafOf(record); got != want || plain.leafOf(record) != want {
			t.Errorf("leaf of %d bytes: got %s, want %s", len(record), got, want)
		}
		left := LeafHash(record)
		if got := fast.nodeOf(&left, &want); got != ionet.HashOf([]byte{1}, left[:], want[:]) || plain.nodeOf(&left, &want) != got {
			t.Errorf("node: got %s", got)
		}
	})
	for n := range 1100 {
		record := bytes.Repeat([]byte{byte(n)}, n)
		if got, want := fast.leafOf(record), ionet.HashOf([]byte{0}, record); got != want {
			t.Errorf("leaf of %d bytes: got %s, want %s", n, got, want)
		}
	}
	records := logOf(1000)
	leaves := LeafHashes(records)
	var f Frontier
	f.Append(records...)
	if n := testing.AllocsPerRun(10, func() { var f Frontier; f.Append(records...) }); n > 20 {
		t.Errorf("a log of 1,000 records allocates %v times", n)
	}
	var g Frontier
	g.AppendLeaves(leaves...)
	if g.Root() != f.Root() {
		t.Error("LeafHashes are not the leaves' hashes")
	}
}

// The proofs that c2sp.org and RFC 6962 know no proof for.
func TestProofEdges(t *testing.T) {
	records := logOf(9)
	root, empty := Root(records), ionet.HashOf()
	m := treeOf(records)
	if _, err := ProveInclusion(m, 9, 9); err == nil {
		t.Error("a record beyond the log is proven")
	}
	if _, err := ProveConsistency(m, 9, 8); err == nil {
		t.Error("a log that went back is proven")
	}
	if CheckInclusion(nil, root, 9, 9, LeafHash(nil)) == nil || CheckInclusion(nil, root, math.MaxUint64, 1, LeafHash(nil)) == nil {
		t.Error("a record beyond the log is included")
	}
	if err := CheckInclusion(nil, LeafHash([]byte("x")), 1, 0, LeafHash([]byte("x"))); err != nil {
		t.Errorf("a log of one: %v", err)
	}
	one := []ionet.Hash{root}
	for _, c := range []struct {
		name     string
		proof    []ionet.Hash
		old      ionet.Hash
		from     uint64
		root     ionet.Hash
		to       uint64
		wantGood bool
	}{
		{"from nothing", nil, empty, 0, root, 9, true},
		{"from nothing to nothing", nil, empty, 0, empty, 0, true},
		{"from nothing that is something", nil, root, 0, root, 9, false},
		{"from nothing with a proof", one, empty, 0, root, 9, false},
		{"of one size", nil, root, 9, root, 9, true},
		{"of one size with a proof", one, root, 9, root, 9, false},
		{"of one size and two roots", nil, empty, 9, root, 9, false},
		{"back", nil, root, 9, root, 8, false},
		{"without a proof", nil, Root(records[:4]), 4, root, 9, false},
		{"beyond all numbers", nil, root, 9, root, math.MaxUint64, false},
	} {
		if err := CheckConsistency(c.proof, c.old, c.from, c.root, c.to); (err == nil) != c.wantGood {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzFrontier(f *testing.F) {
	var frontier Frontier
	frontier.Append(logOf(11)...)
	f.Add(must[[]byte](f)(frontier.MarshalBinary()))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseFrontier(b)
		if err != nil {
			return
		}
		if again, _ := got.MarshalBinary(); !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x", b, again)
		}
		got.Append([]byte("x"))
		got.Root()
	})
}

// BenchmarkLog compares making a log of records with hashing them alone: the frontier,
// and all tiles; metrics are per record.
func BenchmarkLog(b *testing.B) {
	const n = 1 << 16
	for _, size := range []int{200, 500} {
		records := make([][]byte, n)
		for i := range records {
			records[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
		}
		b.Run(fmt.Sprintf("sha256-%d", size), func(b *testing.B) {
			for b.Loop() {
				for _, r := range records {
					sha256.Sum256(r)
				}
			}
			perItem(b, n)
		})
		b.Run(fmt.Sprintf("frontier-%d", size), func(b *testing.B) {
			for b.Loop() {
				var f Frontier
				f.Append(records...)
				f.Root()
			}
			perItem(b, n)
		})
		b.Run(fmt.Sprintf("tiles-%d", size), func(b *testing.B) {
			for b.Loop() {
				var e Edge
				e.Grow(LeafHashes(records))
				e.Root()
			}
			perItem(b, n)
		})
	}
}
