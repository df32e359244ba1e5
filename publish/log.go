package publish

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet/proofs"
)

// CheckpointName is the one name whose file changes: the newest signed checkpoint of
// the receipt log.
const CheckpointName = "log/checkpoint"

// logPrefix begins the names of the receipt log, which are those of c2sp.org/tlog-tiles
// below it.
const logPrefix = "log/"

// TileName is where a tile of the receipt log lies.
func TileName(t proofs.Tile) string { return logPrefix + t.Path() }

// EntriesName is where the bundle of that many records lies that are the leaves of the
// tile of level 0 with the same index.
func EntriesName(index uint64, width int) string {
	return logPrefix + proofs.BundlePath(index, width)
}

// parseTile reads a name that TileName or EntriesName gives.
func parseTile(name string) (proofs.Tile, bool) {
	path, ok := strings.CutPrefix(name, logPrefix)
	if !ok {
		return proofs.Tile{}, false
	}
	t, _, err := proofs.ParseLogPath(path)
	return t, err == nil
}

// endOf returns how many records a log must have to contain a tile.
func endOf(t proofs.Tile) uint64 {
	high, low := bits.Mul64(t.Index, proofs.TileWidth)
	hashes, carry := bits.Add64(low, uint64(t.Width), 0)
	shift := 8 * t.Level
	if high != 0 || carry != 0 || hashes<<shift>>shift != hashes {
		return math.MaxUint64
	}
	return hashes << shift
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
	if endOf(t) <= size {
		return fmt.Errorf("%w: the checkpoint of size %d contains it", ErrConflict, size)
	}
	return nil
}

// PartialsOf returns the prefix of the names of a full tile's partial ones, or an error
// where the name is not that of a full tile.
func PartialsOf(name string) (string, error) {
	if t, ok := parseTile(name); !ok || t.Width != proofs.TileWidth {
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
