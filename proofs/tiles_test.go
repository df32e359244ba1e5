package proofs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

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
