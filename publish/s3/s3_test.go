package s3

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/ionet-settlement/ionet/internal/storetest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// serve starts an S3 service with one bucket; front may change what clients see of it.
func serve(t *testing.T, front func(http.Handler) http.Handler) (base, location string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("published"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(front(gofakes3.New(backend).Server()))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return server.URL + "/published/net/one", "s3://published/net/one?region=us-east-1&insecure=true&endpoint=" + strings.TrimPrefix(server.URL, "http://")
}

func asItIs(h http.Handler) http.Handler { return h }

func newStore(t *testing.T, front func(http.Handler) http.Handler) *Store {
	t.Helper()
	_, location := serve(t, front)
	s, err := Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) publish.Store { return newStore(t, asItIs) })
}

// A service without conditional writes, as some say so and others don't.
func TestStoreWithoutConditions(t *testing.T) {
	refuses := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != "") {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	ignores := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-None-Match")
			r.Header.Del("If-Match")
			h.ServeHTTP(w, r)
		})
	}
	for name, front := range map[string]func(http.Handler) http.Handler{"it refuses them": refuses, "it ignores them": ignores} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, front)
			ctx := t.Context()
			for range 2 {
				if err := s.Put(ctx, "books/a.zst", []byte("one")); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Put(ctx, "books/a.zst", []byte("two")); !errors.Is(err, publish.ErrConflict) {
				t.Errorf("Put of other bytes: %v, want ErrConflict", err)
			}
			for _, size := range []string{"1", "2"} {
				if err := s.Replace(ctx, publish.CheckpointName, []byte("log\n"+size+"\nroot\n\n")); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Replace(ctx, publish.CheckpointName, []byte("log\n1\nroot\n\n")); !errors.Is(err, publish.ErrConflict) {
				t.Errorf("a smaller checkpoint: %v, want ErrConflict", err)
			}
		})
	}
}

// Once the service was seen to keep to conditions, a file costs one request.
func TestOneRequestAFile(t *testing.T) {
	var requests atomic.Int32
	s := newStore(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			h.ServeHTTP(w, r)
		})
	})
	for _, name := range []string{"books/a.zst", "books/b.zst"} {
		requests.Store(0)
		if err := s.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the second file took %d requests", n)
	}
	if err := s.Put(t.Context(), "books/a.zst", []byte("b")); !errors.Is(err, publish.ErrConflict) {
		t.Errorf("other bytes: %v, want ErrConflict", err)
	}
}

// Of two processes that have read one checkpoint, one replaces it; the other is told.
func TestReplaceRace(t *testing.T) {
	var mu sync.Mutex
	var meanwhile func()
	s := newStore(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			f := meanwhile
			if r.Method == http.MethodPut {
				meanwhile = nil
			} else {
				f = nil
			}
			mu.Unlock()
			if f != nil {
				f()
			}
			h.ServeHTTP(w, r)
		})
	})
	replace := func(size string) error {
		return s.Replace(t.Context(), publish.CheckpointName, []byte("log\n"+size+"\nroot\n\n"))
	}
	for _, sizes := range [][2]string{{"1", "2"}, {"3", "4"}} {
		mu.Lock()
		meanwhile = func() {
			if err := replace(sizes[1]); err != nil {
				t.Error(err)
			}
		}
		mu.Unlock()
		if err := replace(sizes[0]); err == nil {
			t.Errorf("a checkpoint of %s went over one of %s", sizes[0], sizes[1])
		}
		got, err := s.Get(t.Context(), publish.CheckpointName)
		if err != nil || string(got) != "log\n"+sizes[1]+"\nroot\n\n" {
			t.Errorf("the checkpoint is %q, %v", got, err)
		}
	}
}

// What the service writes there anybody reads by plain HTTP.
func TestReadByHTTP(t *testing.T) {
	base, location := serve(t, asItIs)
	s, err := Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{publish.TileName(proofs.Tile{Level: 0, Index: 1234, Width: 256}), publish.EntriesName(3, 17), "network/abc.toml"}
	for _, name := range names {
		if err := s.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := publish.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if got, err := r.Get(t.Context(), name); err != nil || string(got) != name {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := r.Get(t.Context(), "network/abd.toml"); !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("what is not there: %v, want ErrNotFound", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, location := serve(t, asItIs)
	for _, wrong := range []string{
		"s3:///prefix", "s3://", "https://published/", "s3://key:secret@published", "s3://published?tls=1", "s3://published?insecure=1", "s3://published/../x", "s3://published/a b#c",
		strings.Replace(location, "published", "another", 1),
	} {
		if s, err := Open(t.Context(), wrong); err == nil {
			t.Errorf("%s: opened %s", wrong, s)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the key: %v", wrong, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := Open(t.Context(), location); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("without keys: %v, want a hint", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(dead, location); err == nil {
		t.Error("opened without an answer")
	}
}
