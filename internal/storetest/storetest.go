// Package storetest holds every kind of published store to the same obligations.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Run tests the stores that open makes, each empty.
func Run(t *testing.T, open func(t *testing.T) publish.Store) {
	for name, test := range map[string]func(*testing.T, publish.Store){"put": testPut, "race": testRace, "replace": testReplace, "remove": testRemove} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func testPut(t *testing.T, s publish.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "contents/ab"); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("Get before Put: got %v, want ErrNotFound", err)
	}
	large := bytes.Repeat([]byte("0123456789"), 2_000_000)
	for name, data := range map[string][]byte{"contents/ab": []byte("one"), "books/large.zst": large} {
		if has, err := s.Has(ctx, name); err != nil || has {
			t.Errorf("Has %s before Put: %t, %v", name, has, err)
		}
		for range 2 {
			if err := s.Put(ctx, name, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Put(ctx, name, []byte("two")); !errors.Is(err, publish.ErrConflict) {
			t.Errorf("Put of other bytes to %s: got %v, want ErrConflict", name, err)
		}
		if got, err := s.Get(ctx, name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("Get %s: got %d bytes, %v, want the %d that were put", name, len(got), err, len(data))
		}
		if has, err := s.Has(ctx, name); err != nil || !has {
			t.Errorf("Has %s: %t, %v, want it", name, has, err)
		}
	}
	if _, err := s.Get(ctx, "contents"); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("Get of what names begin with: got %v, want ErrNotFound", err)
	}
	for _, name := range []string{"", "/a", "a//b", "../a", "a/.b", "a b"} {
		if err := s.Put(ctx, name, []byte("x")); err == nil {
			t.Errorf("Put to %q: no error", name)
		}
		if _, err := s.Get(ctx, name); err == nil || errors.Is(err, publish.ErrNotFound) {
			t.Errorf("Get of %q: %v, want a refusal", name, err)
		}
	}
}

// Many writers of one name with different bytes: one wins.
func testRace(t *testing.T, s publish.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[byte]bool{}
	for i := range byte(8) {
		wg.Go(func() {
			err := s.Put(ctx, "books/x.zst", bytes.Repeat([]byte{i}, 10_000))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won[i] = true
			} else if !errors.Is(err, publish.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.Get(ctx, "books/x.zst")
	if err != nil || len(won) != 1 || len(got) != 10_000 || !won[got[0]] {
		t.Errorf("writers %v won, the store holds %d bytes, %v", won, len(got), err)
	}
}

func checkpointOf(size uint64, root string) []byte {
	return fmt.Appendf(nil, "example.com/log\n%d\n%s\n\n— example.com/log %s\n", size, root, "c2ln")
}

func testReplace(t *testing.T, s publish.Store) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name string, data []byte) {
		t.Helper()
		before, _ := s.Get(ctx, name)
		if err := s.Replace(ctx, name, data); err == nil {
			t.Errorf("replace %s by %q: it was taken", name, data)
		}
		if after, _ := s.Get(ctx, name); !bytes.Equal(before, after) {
			t.Errorf("replace %s: refused, and it holds %q now", name, after)
		}
	}
	is := func(name string, want []byte) {
		t.Helper()
		if got, err := s.Get(ctx, name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	refused(publish.CheckpointName, []byte("five"))
	refused("books/a.zst", []byte("b"))
	must(s.Replace(ctx, publish.CheckpointName, checkpointOf(300, "a")))
	must(s.Replace(ctx, publish.CheckpointName, checkpointOf(300, "a")))
	again := append(checkpointOf(300, "a"), "— another c2ln\n"...)
	must(s.Replace(ctx, publish.CheckpointName, again))
	refused(publish.CheckpointName, checkpointOf(299, "a"))
	refused(publish.CheckpointName, checkpointOf(300, "b"))
	refused(publish.CheckpointName, []byte("example.com/log\nmany\nc\n\n"))
	must(s.Replace(ctx, publish.CheckpointName, checkpointOf(301, "b")))
	is(publish.CheckpointName, checkpointOf(301, "b"))

	// What the checkpoint contains stays; what is above it may be another.
	for _, name := range []string{publish.TileName(proofs.Tile{Level: 0, Index: 1, Width: 45}), publish.TileName(proofs.Tile{Level: 0, Index: 0, Width: 256}), publish.EntriesName(1, 45), publish.TileName(proofs.Tile{Level: 1, Index: 0, Width: 1})} {
		must(s.Put(ctx, name, []byte("one")))
		refused(name, []byte("two"))
	}
	for _, name := range []string{publish.TileName(proofs.Tile{Level: 0, Index: 1, Width: 46}), publish.EntriesName(1, 46), publish.TileName(proofs.Tile{Level: 1, Index: 0, Width: 2}), publish.TileName(proofs.Tile{Level: 0, Index: 1, Width: 256})} {
		must(s.Put(ctx, name, []byte("one")))
		must(s.Replace(ctx, name, []byte("two")))
		is(name, []byte("two"))
	}
}

func testRemove(t *testing.T, s publish.Store) {
	ctx := t.Context()
	full := publish.TileName(proofs.Tile{Level: 0, Index: 1234, Width: proofs.TileWidth})
	var partial []string
	for _, width := range []int{1, 7, 255} {
		partial = append(partial, publish.TileName(proofs.Tile{Level: 0, Index: 1234, Width: width}))
	}
	others := []string{publish.TileName(proofs.Tile{Level: 0, Index: 1235, Width: 7}), publish.EntriesName(1234, 7)}
	for _, name := range append(partial, others...) {
		if err := s.Put(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(ctx, full); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("remove before the full tile is there: %v, want publish.ErrNotFound", err)
	}
	for _, name := range []string{partial[0], publish.CheckpointName, "books/a", "log/tile/0"} {
		if err := s.Remove(ctx, name); err == nil {
			t.Errorf("remove the partial tiles of %s: no error", name)
		}
	}
	if err := s.Put(ctx, full, []byte("full")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Remove(ctx, full); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range partial {
		if has, err := s.Has(ctx, name); err != nil || has {
			t.Errorf("%s: %t, %v, want none", name, has, err)
		}
	}
	for _, name := range append(others, full) {
		if has, err := s.Has(ctx, name); err != nil || !has {
			t.Errorf("%s: %t, %v, want it", name, has, err)
		}
	}
}
