package proofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
)

// TileWidth is the number of hashes of a full tile, and of records of a full bundle.
const TileWidth = 256

// tileHeight is the number of levels of the tree that a tile replaces: 2^8 = 256.
const tileHeight = 8

// Tile is a file of c2sp.org/tlog-tiles: Width hashes of complete subtrees of 256^Level
// records, from the Index*256-th on.
type Tile struct {
	Level int
	Index uint64
	Width int    // 1..256; less than 256 is a partial tile
	Data  []byte // Width hashes of 32 bytes; nil where only the name is meant
}

// Path returns the tile's name below the log's: "tile/<level>/<index>", with ".p/<width>"
// where it is partial.
func (t Tile) Path() string {
	return "tile/" + strconv.Itoa(t.Level) + "/" + tileNumber(t.Index) + partial(t.Width)
}

// BundlePath returns the name of a bundle of records below the log's.
func BundlePath(index uint64, width int) string {
	return "tile/entries/" + tileNumber(index) + partial(width)
}

// tileNumber renders n in groups of three digits, all but the last after an x: 1234 is
// x001/234.
func tileNumber(n uint64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/", n%1000) + s
	}
	return s
}

func partial(width int) string {
	if width == TileWidth {
		return ""
	}
	return ".p/" + strconv.Itoa(width)
}

// ParseLogPath parses a name below the log's: of a tile, or, where entries is true, of a
// bundle of records, whose level is then 0.
func ParseLogPath(path string) (t Tile, entries bool, err error) {
	bad := fmt.Errorf("parse path %.80q: it names no tile and no bundle", path)
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return Tile{}, false, bad
	}
	level, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return Tile{}, false, bad
	}
	if entries = level == "entries"; !entries {
		if t.Level, err = strconv.Atoi(level); err != nil || t.Level < 0 || t.Level >= maxLevels {
			return Tile{}, false, bad
		}
	}
	t.Width = TileWidth
	number, width, isPartial := strings.Cut(rest, ".p/")
	if isPartial {
		if t.Width, err = strconv.Atoi(width); err != nil || t.Width < 1 || t.Width >= TileWidth {
			return Tile{}, false, bad
		}
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(number)
	if t.Index, err = strconv.ParseUint(digits, 10, 63); err != nil {
		return Tile{}, false, bad
	}
	again := t.Path()
	if entries {
		again = BundlePath(t.Index, t.Width)
	}
	if again != path {
		return Tile{}, false, bad
	}
	return t, entries, nil
}

// maxLevels is how many levels of tiles a log of 2^63 records has.
const maxLevels = 8

// RightEdge returns the partial tiles of a log of that size, by level, without data:
// what a log needs to go on growing. A level without one is left out.
func RightEdge(size uint64) []Tile {
	var edge []Tile
	for level := 0; size>>(tileHeight*level) > 0 && level < maxLevels; level++ {
		n := size >> (tileHeight * level)
		if width := int(n % TileWidth); width > 0 {
			edge = append(edge, Tile{Level: level, Index: n / TileWidth, Width: width})
		}
	}
	return edge
}

// Edge is a log's right edge: the hashes of its partial tiles. From it and the hashes of
// new leaves come all tiles that the log's growth makes. The zero value is that of the
// empty log.
type Edge struct {
	size   uint64
	levels [maxLevels][]byte // hashes of the partial tile of each level
}

// ReadEdge reads the right edge of a log of that size; read returns the data of a tile
// that RightEdge names. That it is the log's is for Root to tell.
func ReadEdge(size uint64, read func(Tile) ([]byte, error)) (*Edge, error) {
	if size > maxIndex {
		return nil, fmt.Errorf("read the log's edge: size is %d, more than %d", size, uint64(maxIndex))
	}
	e := &Edge{size: size}
	for _, t := range RightEdge(size) {
		data, err := read(t)
		if err != nil {
			return nil, fmt.Errorf("read the log's edge: %s: %w", t.Path(), err)
		}
		if len(data) != 32*t.Width {
			return nil, fmt.Errorf("read the log's edge: %s has %d bytes, not %d", t.Path(), len(data), 32*t.Width)
		}
		e.levels[t.Level] = append([]byte(nil), data...)
	}
	return e, nil
}

// Size returns the number of records.
func (e *Edge) Size() uint64 { return e.size }

// Frontier returns the log's frontier.
func (e *Edge) Frontier() Frontier {
	f, t := Frontier{size: e.size}, newTreeHasher()
	for level := maxLevels - 1; level >= 0; level-- {
		var part Frontier // of the tile's hashes: its subtrees are the log's, one level up each
		for data := e.levels[level]; len(data) > 0; data = data[32:] {
			part.push(t, ionet.Hash(data[:32]))
		}
		f.roots = append(f.roots, part.roots...)
	}
	return f
}

// Root returns the tree head.
func (e *Edge) Root() ionet.Hash {
	f := e.Frontier()
	return f.Root()
}

// Grow adds records by their leaf hashes. It returns every tile that is new: the full
// ones that they filled, then the partial ones of the new right edge where that changed;
// all of a level before the next.
func (e *Edge) Grow(leaves []ionet.Hash) []Tile {
	if len(leaves) == 0 {
		return nil
	}
	var tiles []Tile
	t := newTreeHasher()
	raw := make([]byte, 0, 32*len(leaves))
	for i := range leaves {
		raw = append(raw, leaves[i][:]...)
	}
	for level := 0; level < maxLevels && len(raw) > 0; level++ {
		index := e.size >> (tileHeight * level) / TileWidth
		all := append(e.levels[level], raw...)
		raw = nil
		for ; len(all) >= 32*TileWidth; all = all[32*TileWidth:] {
			data := all[: 32*TileWidth : 32*TileWidth]
			tiles = append(tiles, Tile{Level: level, Index: index, Width: TileWidth, Data: data})
			h := t.tileRoot(data)
			raw = append(raw, h[:]...)
			index++
		}
		e.levels[level] = append([]byte(nil), all...)
		if len(all) > 0 {
			tiles = append(tiles, Tile{Level: level, Index: index, Width: len(all) / 32, Data: e.levels[level][:len(all):len(all)]})
		}
	}
	e.size += uint64(len(leaves))
	return tiles
}

// tileRoot returns the root of a full tile's hashes.
func (t *treeHasher) tileRoot(data []byte) ionet.Hash {
	var row [TileWidth]ionet.Hash
	for i := range row {
		row[i] = ionet.Hash(data[32*i : 32*i+32])
	}
	for n := TileWidth / 2; n > 0; n /= 2 {
		for i := range n {
			row[i] = t.nodeOf(&row[2*i], &row[2*i+1])
		}
	}
	return row[0]
}

// Tiles returns the tiles that a log's growth from one size to another makes, from the
// hashes of the leaves between: read returns the data of the former right edge's tiles.
func Tiles(read func(Tile) ([]byte, error), from, to uint64, leaves []ionet.Hash) ([]Tile, error) {
	if to < from || to-from != uint64(len(leaves)) {
		return nil, fmt.Errorf("make tiles: %d leaves for the records from %d to %d", len(leaves), from, to)
	}
	e, err := ReadEdge(from, read)
	if err != nil {
		return nil, err
	}
	return e.Grow(leaves), nil
}

// AppendEntry appends a record to a bundle: u16 big-endian length ‖ record.
func AppendEntry(bundle, record []byte) ([]byte, error) {
	if len(record) > MaxRecord {
		return nil, fmt.Errorf("append entry: a record of %d bytes is larger than %d", len(record), MaxRecord)
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(record)))
	return append(bundle, record...), nil
}

// ParseBundle returns the records of a bundle of that width. They share b's memory.
func ParseBundle(b []byte, width int) ([][]byte, error) {
	if width < 1 || width > TileWidth {
		return nil, fmt.Errorf("parse bundle: width is %d, not 1..%d", width, TileWidth)
	}
	records := make([][]byte, 0, width)
	for range width {
		if len(b) < 2 {
			return nil, errors.New("parse bundle: it ends too early")
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; len(b) < n {
			return nil, errors.New("parse bundle: it ends too early")
		}
		records = append(records, b[:n:n])
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("parse bundle: %d trailing bytes", len(b))
	}
	return records, nil
}

// TileReader reads the hashes of a log of that size and root from its tiles, each of
// which it checks against the root.
func TileReader(size uint64, root ionet.Hash, read func(Tile) ([]byte, error)) LogHashes {
	return tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}, tileSource(read))
}

// tileSource is a log's store of tiles, as tlog reads it.
type tileSource func(Tile) ([]byte, error)

// Height implements tlog.TileReader.
func (tileSource) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (s tileSource) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := s(Tile{Level: t.L, Index: uint64(t.N), Width: t.W})
		if err != nil {
			return nil, err
		}
		all[i] = data
	}
	return all, nil
}

// SaveTiles implements tlog.TileReader: this one has nowhere to keep them.
func (tileSource) SaveTiles([]tlog.Tile, [][]byte) {}
