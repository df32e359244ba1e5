package settlement

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// onWires returns the same network with a service whose database is reached by w.
func (b *books) onWires(w *wires, url string) *books {
	b.t.Helper()
	other := *b
	other.url = url
	other.open(w.pool(b.t, url))
	return &other
}

// bookFiles returns the names of all published books.
func (b *books) bookFiles() []string {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.store.Dir(), "books", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return names
}

// CloseDue dies at each of its commits, before it and after it; the next process
// finishes, and always with the same one book.
func TestCloseDiesAtEachStep(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.play(1, h)
	b.toClose(1)
	ready := b.copyDatabase()
	want := b.closeDue(1)
	for _, f := range []fault{lost, unheard} {
		steps := 0
		for n := 1; ; n++ {
			w := &wires{}
			url := pgtest.Copy(t, ready)
			dying := b.onWires(w, url)
			b.goTo(b.now().Unix() + testGrace)
			dying.lead()
			w.arm(n, f, true)
			c, err := dying.CloseDue(t.Context())
			step := w.disarm()
			if step == "" {
				if err != nil || c.Memo != want.Memo {
					t.Fatalf("no step failed, and close gives %v, %v", c, err)
				}
				break
			}
			steps++
			if err == nil && f == lost {
				t.Errorf("step %d, %s, was %s without an error", n, step, f)
			}
			next := b.on(url)
			b.goTo(b.now().Unix() + testGrace)
			next.lead()
			again, err := next.CloseDue(t.Context())
			if err != nil || again == nil || again.Memo != want.Memo {
				t.Errorf("after step %d, %s, %s: %v, %v", n, step, f, again, err)
			}
		}
		if steps != 5 { // the announcement, freeze, the snapshot of the inputs, judge, publish
			t.Errorf("%d steps were %s, want 5", steps, f)
		}
	}
	if files := b.bookFiles(); len(files) != 1 {
		t.Errorf("published books are %q, want one", files)
	}
}

// While the book can't be published the epoch stays frozen; nothing is minted for
// a book that nobody can read.
func TestCloseNeedsTheStore(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	b.toClose(1)
	b.lead()
	block := filepath.Join(b.store.Dir(), "books")
	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := b.CloseDue(t.Context()); err == nil || !strings.Contains(err.Error(), "publish") {
		t.Fatalf("close without a store: %v, %v", c, err)
	}
	if e, err := b.Epoch(t.Context(), 1); err != nil || e.State != EpochFrozen || e.Memo != "" || !e.BookRoot.IsZero() {
		t.Errorf("epoch is %+v (%v)", e, err)
	}
	var p *Problem
	if _, err := b.DeviceVerdicts(t.Context(), uuidOf("gpu 0"), 1); !errors.As(err, &p) || p.Type != ProblemUnknownEpoch || p.Retry == 0 {
		t.Errorf("verdicts before the book: %v", err)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	b.closeDue(1)
}

// A file that another build compressed otherwise is taken for what it is; anything
// else under the book's name stops the closing.
func TestCloseFindsAFileOfItsName(t *testing.T) {
	b := newBooks(t)
	b.toClose(1)
	ready := b.copyDatabase()
	book := b.book(b.closeDue(1))
	name := filepath.Join(b.store.Dir(), filepath.FromSlash(publish.BookName(book.Root())))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		file []byte
		ok   bool
	}{
		// Zstandard frames may follow each other: an empty one changes nothing.
		"the same book, other bytes": {append(bytes.Clone(good), 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00), true},
		"not a book":                 {[]byte("x"), false},
	} {
		t.Run(what, func(t *testing.T) {
			if err := os.Chmod(name, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			other := b.on(pgtest.Copy(t, ready))
			b.goTo(b.now().Unix() + testGrace)
			other.lead()
			if _, err := other.CloseDue(t.Context()); (err == nil) != c.ok {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// Submit dies at each of its steps; the worker sends again and has its ack.
func TestSubmitDiesAtEachStep(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	empty := b.copyDatabase()
	b.toSample(1, 0)
	all := []proofs.Envelope{h.delegation, h.inventory, h.uptime(1, 0, nil)}
	for _, f := range []fault{lost, unheard} {
		steps := 0
		for n := 1; ; n++ {
			w := &wires{}
			url := pgtest.Copy(t, empty)
			dying := b.onWires(w, url)
			w.arm(n, f, true)
			_, err := dying.Submit(t.Context(), plain(all...))
			step := w.disarm()
			if step == "" {
				break
			}
			steps++
			if err == nil {
				t.Errorf("step %d, %s, was %s without an error", n, step, f)
			}
			next := b.on(url)
			for i, r := range next.submit(plain(all...)...) {
				if want := map[fault]Status{lost: Accepted, unheard: Duplicate}[f]; r.Status != want {
					t.Errorf("after step %d, %s, %s: %s is %s (%v), want %s", n, step, f, all[i].Kind, r.Status, r.Problem, want)
				}
				next.checkAck(all[i], r)
			}
			if got := next.count(`SELECT (SELECT count(*) FROM statements) + (SELECT count(*) FROM uptimes) + (SELECT count(*) FROM inventories) + (SELECT count(*) FROM delegations)`); got != 5 {
				t.Errorf("after step %d, %s, %s: %d rows, want 5", n, step, f, got)
			}
		}
		if steps != 1 { // one commit stores all
			t.Errorf("%d steps were %s, want 1", steps, f)
		}
	}
}
