package publish

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/transparency-dev/tessera/api/layout"

	"github.com/ionet-settlement/ionet/proofs"
)

// Our names are those of Tessera, which has them from c2sp.org/tlog-tiles.
func TestTileNames(t *testing.T) {
	for _, index := range []uint64{0, 7, 999, 1000, 1234067, 999_999_999, 1 << 40, 1<<55 - 1} {
		for _, width := range []int{1, 9, 255, 256} {
			for _, level := range []int{0, 1, 5, 7} {
				tile := proofs.Tile{Level: level, Index: index, Width: width}
				name := TileName(tile)
				if want := layout.TilePath(uint64(level), index, uint8(width)); name != "log/"+want {
					t.Errorf("tile %d/%d of %d is %s, want log/%s", level, index, width, name, want)
				}
				if got, ok := parseTile(name); !ok || !reflect.DeepEqual(got, tile) || CheckName(name) != nil {
					t.Errorf("parse %s: got %v, %t", name, got, ok)
				}
			}
			name := EntriesName(index, width)
			if want := layout.EntriesPath(index, uint8(width)); name != "log/"+want {
				t.Errorf("entries %d of %d are %s, want log/%s", index, width, name, want)
			}
		}
	}
	for name, want := range map[string]uint64{
		"log/tile/0/000.p/3": 3, "log/tile/0/001": 512, "log/tile/1/000.p/2": 512, "log/tile/2/000": 1 << 24, "log/tile/entries/002.p/1": 513, "log/tile/7/255": 1<<64 - 1,
	} {
		tile, ok := parseTile(name)
		if got := endOf(tile); !ok || got != want {
			t.Errorf("%s ends at %d, want %d", name, got, want)
		}
	}
	for _, name := range []string{"tile/0/000", "log/tile/0/0", "log/tile/0/000.p/256", CheckpointName, "log/tile/entries"} {
		if tile, ok := parseTile(name); ok {
			t.Errorf("%s is a tile: %v", name, tile)
		}
	}
}

func checkpointOf(size uint64, root string) []byte {
	return fmt.Appendf(nil, "example.com/log\n%d\n%s\n\n— example.com/log %s\n", size, root, "c2ln")
}

// Many processes replace the checkpoint: the largest stays, and it never shrinks.
func TestFolderReplaceRace(t *testing.T) {
	ctx := context.Background()
	first := newFolder(t)
	var wg sync.WaitGroup
	for i := range 8 {
		f, err := NewFolder(first.Dir())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := range 25 {
				size := uint64(n*8+i) + 1
				if err := f.Replace(ctx, CheckpointName, checkpointOf(size, "a")); err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				data, err := f.Get(ctx, CheckpointName)
				if err != nil {
					t.Error(err)
					continue
				}
				if now, _, err := checkpointHead(data); err != nil || now < size {
					t.Errorf("after %d the checkpoint has size %d, %v", size, now, err)
				}
			}
		})
	}
	wg.Wait()
	data, err := first.Get(ctx, CheckpointName)
	if size, _, herr := checkpointHead(data); err != nil || herr != nil || size != 200 {
		t.Errorf("the last checkpoint has size %d, %v, %v, want 200", size, err, herr)
	}
}
