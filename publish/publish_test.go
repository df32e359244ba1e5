package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newFolder(t *testing.T) *Folder {
	t.Helper()
	f, err := NewFolder(filepath.Join(t.TempDir(), "a", "store"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFolderKeepsFirstBytes(t *testing.T) {
	ctx, f := context.Background(), newFolder(t)
	if _, err := f.Get(ctx, "contents/ab"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get before Put: got %v, want ErrNotFound", err)
	}
	for range 2 {
		if err := f.Put(ctx, "contents/ab", []byte("one")); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Put(ctx, "contents/ab", []byte("two")); !errors.Is(err, ErrConflict) {
		t.Errorf("Put of other bytes: got %v, want ErrConflict", err)
	}
	got, err := f.Get(ctx, "contents/ab")
	if err != nil || string(got) != "one" {
		t.Errorf("Get: got %q, %v, want one", got, err)
	}
	if _, err := f.Get(ctx, "contents"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of a folder: got %v, want ErrNotFound", err)
	}
	entries, err := os.ReadDir(filepath.Join(f.Dir(), "contents"))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v, want one file", entries, err)
	}
}

func TestFolderHas(t *testing.T) {
	ctx, f := context.Background(), newFolder(t)
	if err := f.Put(ctx, "books/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"books/a": true, "books/b": false, "contents/a": false, "books": false} {
		if got, err := f.Has(ctx, name); err != nil || got != want {
			t.Errorf("Has %s: got %t, %v, want %t", name, got, err, want)
		}
	}
	if _, err := f.Has(ctx, "books/../a"); err == nil {
		t.Error("Has looks outside of the folder")
	}
}

// Many writers of one name with different bytes: one wins, and a reader sees
// no other bytes at any time.
func TestFolderRace(t *testing.T) {
	ctx, f := context.Background(), newFolder(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []int
	for i := range 16 {
		wg.Go(func() {
			err := f.Put(ctx, "books/x.zst", bytes.Repeat([]byte{byte(i)}, 100_000))
			if err == nil {
				mu.Lock()
				won = append(won, i)
				mu.Unlock()
			} else if !errors.Is(err, ErrConflict) {
				t.Errorf("Put: got %v, want ErrConflict", err)
			}
			data, err := f.Get(ctx, "books/x.zst")
			if err != nil || len(data) != 100_000 || bytes.Count(data, data[:1]) != len(data) {
				t.Errorf("Get: %d bytes of mixed content, %v", len(data), err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("writers %v won, want one", won)
	}
}

func TestFolderIgnoresUnfinishedFiles(t *testing.T) {
	ctx, f := context.Background(), newFolder(t)
	if err := f.Put(ctx, "books/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Dir(), "books", tempPrefix+"123"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	names, err := f.List("books/")
	if err != nil || !slices.Equal(names, []string{"books/a"}) {
		t.Errorf("List: got %v, %v, want books/a", names, err)
	}
	if names, err := f.List("nothing/"); err != nil || len(names) != 0 {
		t.Errorf("List of a folder that is not there: got %v, %v", names, err)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "network/9xQ.toml", "log/tile/0/x001/067", "contents/00ff"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.hidden", ".put-1", `a\b`, "a b", "a%2e", "ä", "a\x00", "a:b", strings.Repeat("a", 256)}
	for _, name := range bad {
		if err := CheckName(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
		if err := newFolder(t).Put(context.Background(), name, nil); err == nil {
			t.Errorf("Put %q is accepted", name)
		}
	}
}

func TestPutReportsWriteErrors(t *testing.T) {
	f := newFolder(t)
	if err := os.WriteFile(filepath.Join(f.Dir(), "books"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(context.Background(), "books/a", []byte("a")); err == nil {
		t.Error("Put below a file is accepted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Put(ctx, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after cancel: got %v, want context.Canceled", err)
	}
}

func TestHTTP(t *testing.T) {
	ctx, f := context.Background(), newFolder(t)
	if err := f.Put(ctx, "books/a", []byte("book")); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(f.Dir()))))
	mux.HandleFunc("/broken/books/a", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	mux.HandleFunc("/cut/books/a", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "only this")
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, base := range []string{server.URL + "/files", server.URL + "/files/"} {
		r, err := Open(base)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Get(ctx, "books/a"); err != nil || string(got) != "book" {
			t.Errorf("Get: got %q, %v, want book", got, err)
		}
		if _, err := r.Get(ctx, "books/b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get of a missing file: got %v, want ErrNotFound", err)
		}
		if _, err := r.Get(ctx, "../secret"); err == nil {
			t.Error("Get of a traversal is accepted")
		}
	}
	for _, path := range []string{"/broken", "/cut"} {
		r, err := Open(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(ctx, "books/a"); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("Get from %s: got %v, want an error that is not ErrNotFound", path, err)
		}
	}
	small, err := NewHTTP(server.URL+"/files", nil)
	if err != nil {
		t.Fatal(err)
	}
	small.limit = 3
	if _, err := small.Get(ctx, "books/a"); err == nil {
		t.Error("a file above the limit is accepted")
	}
}

func TestOpen(t *testing.T) {
	for _, location := range []string{"ftp://x/y", "http://", "https://host/?q=1", filepath.Join(t.TempDir(), "missing")} {
		if r, err := Open(location); err == nil {
			t.Errorf("Open(%q) gives %T", location, r)
		}
	}
	dir := t.TempDir()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(context.Background(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: got %v, want ErrNotFound", err)
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "a/./b", "a//b"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		p := (&Folder{dir}).path(name)
		if rel, err := filepath.Rel(dir, p); err != nil || filepath.ToSlash(rel) != name {
			t.Errorf("%q lies at %s", name, fmt.Sprint(rel, err))
		}
	})
}

// A refused URL is not repeated: it may have a key in it.
func TestNewHTTPHidesKeys(t *testing.T) {
	for _, base := range []string{"https://files.example/x?key=secret", "https://user:secret@files.example/#a", "ftp://files.example/secret", "https://%zz/secret"} {
		if _, err := NewHTTP(base, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", base, err)
		}
	}
}
