package proofs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
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

// tileStore is a log's published tiles.
type tileStore map[string][]byte

var errNoTile = errors.New("no such tile")

func (s tileStore) read(t Tile) ([]byte, error) {
	if data, ok := s[t.Path()]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", t.Path(), errNoTile)
}

// put publishes tiles. What is there stays as it is.
func (s tileStore) put(t interface{ Errorf(string, ...any) }, tiles []Tile) {
	for _, tile := range tiles {
		if was, ok := s[tile.Path()]; ok && !bytes.Equal(was, tile.Data) {
			t.Errorf("%s is written with other bytes", tile.Path())
		}
		s[tile.Path()] = bytes.Clone(tile.Data)
	}
}

// However a log grew, its tiles are those that tlog makes, each published once, and
// prove every record and every former size.
func TestTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 5, 255, 256, 257, 700, 2000}).Draw(t, "size")
		records := logOf(size)
		leaves := leavesOf(records)
		store := tileStore{}
		var sizes []int
		for at := 0; at < size; {
			step := min(size-at, rapid.SampledFrom([]int{1, 2, 100, 255, 256, 257, 1000}).Draw(t, "step"))
			tiles, err := Tiles(store.read, uint64(at), uint64(at+step), leaves[at:at+step])
			if err != nil {
				t.Fatal(err)
			}
			for _, tile := range tiles {
				if _, ok := store[tile.Path()]; ok {
					t.Errorf("%s is made twice", tile.Path())
				}
				got, isEntries, err := ParseLogPath(tile.Path())
				if err != nil || isEntries || got.Level != tile.Level || got.Index != tile.Index || got.Width != tile.Width {
					t.Errorf("%s parses as %+v (%v)", tile.Path(), got, err)
				}
			}
			store.put(t, tiles)
			at += step
			sizes = append(sizes, at)
			checkTiles(t, store, records[:at])
		}
		checkProofs(t, store, records, sizes)
	})
}

// checkTiles compares the tiles of a log of that size with those that tlog makes.
func checkTiles(t *rapid.T, store tileStore, records [][]byte) {
	m := treeOf(records)
	edge := map[string]bool{}
	for _, tile := range RightEdge(uint64(len(records))) {
		edge[tile.Path()] = true
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, int64(len(records))) {
		want, err := tlog.ReadTileData(tile, m)
		if err != nil {
			t.Fatal(err)
		}
		ours := Tile{Level: tile.L, Index: uint64(tile.N), Width: tile.W}
		if got := store[ours.Path()]; !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, want %d others", ours.Path(), len(got), len(want))
		}
		if tile.W < TileWidth != edge[ours.Path()] {
			t.Errorf("%s: right edge is %v", ours.Path(), edge)
		}
	}
	e, err := ReadEdge(uint64(len(records)), store.read)
	if err != nil {
		t.Fatal(err)
	}
	var f Frontier
	f.Append(records...)
	if got := e.Frontier(); got.Root() != f.Root() || got.Size() != f.Size() || len(got.roots) != len(f.roots) || e.Root() != f.Root() {
		t.Errorf("the edge of %d records makes another frontier", len(records))
	}
}

func checkProofs(t *rapid.T, store tileStore, records [][]byte, sizes []int) {
	size := uint64(len(records))
	root := Root(records)
	r := TileReader(size, root, store.read)
	for range 5 {
		i := uint64(rapid.IntRange(0, len(records)-1).Draw(t, "record"))
		proof, err := ProveInclusion(r, size, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckInclusion(proof, root, size, i, LeafHash(records[i])); err != nil {
			t.Error(err)
		}
		if CheckInclusion(proof, root, size, i, LeafHash([]byte("another"))) == nil {
			t.Errorf("record %d proves another", i)
		}
	}
	for _, n := range append(sizes, 0) {
		from := uint64(n)
		proof, err := ProveConsistency(r, from, size)
		if err != nil {
			t.Fatal(err)
		}
		old := Root(records[:n])
		if err := CheckConsistency(proof, old, from, root, size); err != nil {
			t.Error(err)
		}
		if CheckConsistency(proof, ionet.HashOf([]byte("another")), from, root, size) == nil {
			t.Errorf("another log of %d records is consistent", n)
		}
	}
}

// A spoilt tile proves nothing, and a tile of another width is no edge.
func TestTilesSpoilt(t *testing.T) {
	records := logOf(300)
	store := tileStore{}
	var e Edge
	store.put(t, e.Grow(leavesOf(records)))
	r := TileReader(300, Root(records), store.read)
	if _, err := ProveInclusion(r, 300, 7); err != nil {
		t.Fatal(err)
	}
	store["tile/0/000"][40] ^= 1
	if _, err := ProveInclusion(TileReader(300, Root(records), store.read), 300, 7); err == nil {
		t.Error("a spoilt tile makes a proof")
	}
	store["tile/0/001.p/44"] = store["tile/0/001.p/44"][:32]
	if _, err := ReadEdge(300, store.read); err == nil {
		t.Error("a short tile makes an edge")
	}
	delete(store, "tile/0/001.p/44")
	if _, err := ReadEdge(300, store.read); !errors.Is(err, errNoTile) {
		t.Errorf("a lost tile: got %v", err)
	}
	if _, err := ReadEdge(math.MaxUint64, store.read); err == nil {
		t.Error("a log beyond all numbers has an edge")
	}
	if _, err := Tiles(store.read, 5, 7, make([]ionet.Hash, 1)); err == nil {
		t.Error("one leaf for two records makes tiles")
	}
	if tiles := e.Grow(nil); tiles != nil || e.Size() != 300 {
		t.Errorf("no records make %d tiles", len(tiles))
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

func TestLogPaths(t *testing.T) {
	for path, want := range map[string]Tile{
		"tile/0/000": {0, 0, 256, nil}, "tile/1/007.p/3": {1, 7, 3, nil}, "tile/2/x001/234": {2, 1234, 256, nil},
		"tile/7/x001/x234/067.p/255": {7, 1_234_067, 255, nil}, "tile/0/999": {0, 999, 256, nil}, "tile/0/x001/000": {0, 1000, 256, nil},
	} {
		if got, entries, err := ParseLogPath(path); err != nil || entries || got.Path() != path || got.Level != want.Level || got.Index != want.Index || got.Width != want.Width {
			t.Errorf("%s parses as %+v (%v)", path, got, err)
		}
	}
	if got, entries, err := ParseLogPath("tile/entries/x001/000.p/9"); err != nil || !entries || got.Index != 1000 || got.Width != 9 || BundlePath(1000, 9) != "tile/entries/x001/000.p/9" {
		t.Errorf("a bundle's path parses as %+v, %v (%v)", got, entries, err)
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/00/000", "tile/0/0", "tile/0/0000", "tile/0/1234", "tile/0/x000/001", "tile/0/x1/234", "tile/8/000",
		"tile/-1/000", "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01", "tile/0/001.p/", "tile/0/001.p/5.p/5", "tile/0/+01", "tile/0/x001/x234",
		"tile/0/99x/999", "/tile/0/000", "tile/entries/1", "checkpoint", "tile/0/../000", "tile/0/x" + strings.Repeat("999/x", 9) + "999",
	} {
		if got, entries, err := ParseLogPath(path); err == nil {
			t.Errorf("%q parses as %+v, %v", path, got, entries)
		}
	}
}

func TestBundles(t *testing.T) {
	records := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte{1}, MaxRecord), []byte("b")}
	var b []byte
	for _, r := range records {
		b = must[[]byte](t)(AppendEntry(b, r))
	}
	got := must[[][]byte](t)(ParseBundle(b, len(records)))
	for i := range records {
		if !bytes.Equal(got[i], records[i]) {
			t.Errorf("record %d has %d bytes, want %d", i, len(got[i]), len(records[i]))
		}
	}
	if b[0] != 0 || b[1] != 1 {
		t.Error("lengths are not big-endian")
	}
	if _, err := AppendEntry(nil, make([]byte, MaxRecord+1)); err == nil {
		t.Error("a record that is too large fits")
	}
	for width, bad := range map[int][]byte{0: nil, 257: b, 3: b, 5: b, 4: b[:len(b)-1], 2: {0, 1, 7, 0}} {
		if _, err := ParseBundle(bad, width); err == nil {
			t.Errorf("%d bytes parse as a bundle of %d", len(bad), width)
		}
	}
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte{0, 1, 7, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		records, err := ParseBundle(b, width)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range records {
			if again, err = AppendEntry(again, r); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, b) || len(records) != width {
			t.Errorf("%x encodes again as %x", b, again)
		}
	})
}

func FuzzLogPath(f *testing.F) {
	for _, path := range []string{"tile/0/x001/234.p/5", "tile/entries/000", "tile/0/+01", "tile/1/x1/x2/003"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, entries, err := ParseLogPath(path)
		if err != nil {
			return
		}
		again := tile.Path()
		if entries {
			again = BundlePath(tile.Index, tile.Width)
		}
		if again != path || strings.Contains(path, "..") {
			t.Errorf("%q renders as %q", path, again)
		}
	})
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

func TestCheckpoint(t *testing.T) {
	c := LogCheckpoint{Size: 12345, Root: ionet.HashOf([]byte("root"))}
	signed := must[[]byte](t)(SignCheckpoint(testNetwork, key("service"), c))
	if got := must[LogCheckpoint](t)(OpenCheckpoint(testNetwork, public("service"), signed)); got != c {
		t.Errorf("got %+v, want %+v", got, c)
	}
	want := "io-settlement/" + ionet.Key(testNetwork).String() + "\n12345\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n\n— io-settlement/"
	if !strings.HasPrefix(string(signed), want) {
		t.Errorf("the note is %q, not %q...", signed, want)
	}
	// What any C2SP client makes of it: x/mod's own verifier, by the key's text.
	v := must[note.Verifier](t)(note.NewVerifier(must[string](t)(LogVerifierKey(testNetwork, public("service")))))
	n := must[*note.Note](t)(note.Open(signed, note.VerifierList(v)))
	if n.Text != c.Text(testNetwork) || len(n.Sigs) != 1 {
		t.Errorf("x/mod opens it as %+v", n)
	}
	if v.KeyHash() != logKey(testNetwork, public("service")).KeyHash() {
		t.Error("x/mod has another key hash")
	}
	// A witness adds a signature of his own.
	witness := noteSigner{noteKey{"witness.example", public("witness")}, key("witness")}
	cosigned := must[[]byte](t)(note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, witness))
	if got, err := OpenCheckpoint(testNetwork, public("service"), cosigned); err != nil || got != c {
		t.Errorf("with a witness: %+v (%v)", got, err)
	}
	for name, bad := range map[string][]byte{
		"cut":             signed[:len(signed)-1],
		"another size":    bytes.Replace(signed, []byte("12345"), []byte("12346"), 1),
		"nothing":         nil,
		"huge":            bytes.Repeat([]byte("x\n"), maxCheckpoint),
		"only a witness":  must[[]byte](t)(note.Sign(&note.Note{Text: n.Text}, witness)),
		"another network": must[[]byte](t)(SignCheckpoint(ionet.HashOf(), key("service"), c)),
		"another key":     must[[]byte](t)(SignCheckpoint(testNetwork, key("operator"), c)),
	} {
		if got, err := OpenCheckpoint(testNetwork, public("service"), bad); err == nil {
			t.Errorf("%s: opens as %+v", name, got)
		}
	}
}

func TestCheckpointTextRefuses(t *testing.T) {
	good := LogCheckpoint{Size: 10, Root: ionet.HashOf([]byte("root"))}.Text(testNetwork)
	if _, err := ParseCheckpointText(testNetwork, good); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(good, "\n")
	for _, bad := range []string{
		"", good[:len(good)-1], good + "\n", good + "extension\n", "x" + good, strings.Replace(good, "\n10\n", "\n010\n", 1), strings.Replace(good, "\n10\n", "\n+10\n", 1),
		strings.Replace(good, "\n10\n", "\n9223372036854775808\n", 1), strings.Replace(good, "\n10\n", "\n-1\n", 1), strings.Replace(good, "=", "", 1),
		lines[0] + "\n10\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n", lines[0] + "\r\n" + lines[1] + "\n" + lines[2] + "\n",
		strings.Replace(good, lines[2], lines[2][:len(lines[2])-2]+"B=", 1), lines[0] + "\n" + lines[1] + "\n" + lines[2][:8] + "\r" + lines[2][8:] + "\n",
	} {
		if got, err := ParseCheckpointText(testNetwork, bad); err == nil {
			t.Errorf("%q parses as %+v", bad, got)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(LogCheckpoint{Size: 10, Root: ionet.HashOf([]byte("root"))}.Text(testNetwork))
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCheckpointText(testNetwork, s); err == nil && c.Text(testNetwork) != s {
			t.Errorf("%q renders as %q", s, c.Text(testNetwork))
		}
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
