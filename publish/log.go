package publish

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// CheckpointName is the one name whose file changes: the newest signed checkpoint of
// the receipt log.
const CheckpointName = "log/checkpoint"

// How c2sp.org/tlog-tiles cuts a log.
const (
	TileWidth = 256 // hashes of a full tile, and entries of a full bundle
	tileBits  = 8
	maxLevel  = 63
)

// TileName is where the hashes with that index of a level lie: log/tile/1/x001/234.
// Less than TileWidth of them are a partial tile, whose name ends in .p/<width>.
func TileName(level int, index uint64, width int) string {
	return fmt.Sprintf("log/tile/%d/%s", level, numberName(index, width))
}

// EntriesName is where the entries with that index lie, that are the leaves of the tile
// of level 0 with the same index.
func EntriesName(index uint64, width int) string {
	return "log/tile/entries/" + numberName(index, width)
}

// numberName renders x001/x234/067, three digits an element.
func numberName(index uint64, width int) string {
	name := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		name = fmt.Sprintf("x%03d/%s", index%1000, name)
	}
	if width < TileWidth {
		name += ".p/" + strconv.Itoa(width)
	}
	return name
}

// tile is what the name of a tile or bundle says.
type tile struct {
	level int // of a bundle 0
	index uint64
	width int
}

// end returns how many leaves a log must have to contain the tile.
func (t tile) end() uint64 {
	hashes := t.index<<tileBits + uint64(t.width)
	shift := tileBits * t.level
	if t.index>>(64-tileBits) != 0 || shift >= 64 || hashes<<shift>>shift != hashes {
		return 1<<64 - 1
	}
	return hashes << shift
}

// parseTile reads a name that TileName or EntriesName gives.
func parseTile(name string) (t tile, ok bool) {
	rest, ok := strings.CutPrefix(name, "log/tile/")
	if !ok {
		return tile{}, false
	}
	of, rest, _ := strings.Cut(rest, "/")
	if of != "entries" {
		level, err := strconv.Atoi(of)
		if err != nil || level < 0 || level > maxLevel {
			return tile{}, false
		}
		t.level = level
	}
	t.width = TileWidth
	number, width, partial := strings.Cut(rest, ".p/")
	if partial {
		var err error
		if t.width, err = strconv.Atoi(width); err != nil || t.width < 1 || t.width >= TileWidth {
			return tile{}, false
		}
	}
	index, err := strconv.ParseUint(strings.NewReplacer("x", "", "/", "").Replace(number), 10, 64)
	if err != nil {
		return tile{}, false
	}
	t.index = index
	again := TileName(t.level, t.index, t.width)
	if of == "entries" {
		again = EntriesName(t.index, t.width)
	}
	return t, again == name
}

// checkpointHead reads the size of a checkpoint, and the lines that say which log of
// which size has which root. Signatures are not looked at: who writes here holds the key.
func checkpointHead(file []byte) (size uint64, head []byte, err error) {
	lines := bytes.SplitN(file, []byte("\n"), 4)
	if len(lines) < 4 {
		return 0, nil, fmt.Errorf("a checkpoint of %d lines", len(lines))
	}
	size, err = strconv.ParseUint(string(lines[1]), 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("a checkpoint of size %.40q", lines[1])
	}
	return size, bytes.Join(lines[:3], []byte("\n")), nil
}

// CheckReplace, which every Store's Replace asks, refuses to replace what somebody may have relied on. A checkpoint may
// give way to a larger one, or to the same with other signatures. A tile or bundle may
// give way to other bytes while no checkpoint contains it: it was put by somebody who
// stopped before the checkpoint, and whose database then lost what the tile says.
// checkpoint is the file that is there, nil where there is none.
func CheckReplace(name string, data, checkpoint []byte) error {
	var size uint64
	var head []byte
	if checkpoint != nil {
		var err error
		if size, head, err = checkpointHead(checkpoint); err != nil {
			return fmt.Errorf("the store's checkpoint: %w", err)
		}
	}
	if name == CheckpointName {
		newSize, newHead, err := checkpointHead(data)
		switch {
		case err != nil:
			return err
		case newSize < size, newSize == size && head != nil && !bytes.Equal(head, newHead):
			return fmt.Errorf("%w: a checkpoint of size %d that does not give way to one of size %d", ErrConflict, size, newSize)
		}
		return nil
	}
	t, ok := parseTile(name)
	if !ok {
		return fmt.Errorf("%w: it is no name that may change", ErrConflict)
	}
	if t.end() <= size {
		return fmt.Errorf("%w: the checkpoint of size %d contains it", ErrConflict, size)
	}
	return nil
}

// PartialsOf returns the prefix of the names of a full tile's partial ones, or an error
// where the name is not that of a full tile.
func PartialsOf(name string) (string, error) {
	if t, ok := parseTile(name); !ok || t.width != TileWidth {
		return "", fmt.Errorf("%.100q is not the name of a full tile", name)
	}
	return name + ".p/", nil
}

// CacheControl is how long a reader may keep what is under a name: for ever, but for the
// checkpoint.
func CacheControl(name string) string {
	if name == CheckpointName {
		return "no-cache"
	}
	return "public, max-age=31536000, immutable"
}
