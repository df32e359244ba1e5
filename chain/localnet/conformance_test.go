package localnet

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ionet-settlement/ionet/internal/nodedeps"
)

// calls collects the methods that a client called, from the node's debug log.
type calls struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (c *calls) Enabled(context.Context, slog.Level) bool { return true }
func (c *calls) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *calls) WithGroup(string) slog.Handler            { return c }

func (c *calls) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "call" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[a.Value.String()] = true
		return true
	})
	return nil
}

// take returns what was called since it was last asked.
func (c *calls) take() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = map[string]bool{}
	return seen
}

// documented reads README.md's table: method to the clients that call it.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-zA-Z]+)` \\|.*\\| ([^|]+) \\|$")
	table := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		table[m[1]] = strings.Split(m[2], ", ")
	}
	return table
}

// TestReadmeListsEveryMethod holds the README to the code, both ways.
func TestReadmeListsEveryMethod(t *testing.T) {
	have := map[string]bool{}
	for m := range methods {
		have[m] = true
	}
	for kind := range subscriptions {
		have[kind+"Subscribe"] = true
	}
	table := documented(t)
	for m := range have {
		if table[m] == nil {
			t.Errorf("README.md does not list %s", m)
		}
	}
	for m := range table {
		if !have[m] {
			t.Errorf("README.md lists %s, which does not exist", m)
		}
	}
}

// TestClients runs each official client's script against one chain, and holds the
// README's table to what they really called.
func TestClients(t *testing.T) {
	seen := &calls{seen: map[string]bool{}}
	n := ownNode(t, Config{SlotTime: 20 * time.Millisecond, Logger: slog.New(seen)})
	called := map[string]map[string]bool{}
	t.Run("solana-go", func(t *testing.T) { useSolanaGo(t, n) })
	called["solana-go"] = seen.take()
	dir := clientFolder(t)
	for client, args := range map[string][]string{"kit": {"kit.mjs", n.URL(), n.WSURL()}, "web3.js": {"web3.mjs", n.URL()}} {
		t.Run(client, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Fatalf("%v:\n%s", err, out)
			}
		})
		called[client] = seen.take()
	}
	if t.Failed() {
		return
	}
	for method, clients := range documented(t) {
		for _, c := range clients {
			if !called[c][method] {
				t.Errorf("README.md says that %s is tested by %s, which did not call it", method, c)
			}
		}
	}
	for client, methods := range called {
		for _, m := range sortedKeys(methods) {
			if !strings.HasSuffix(m, "Unsubscribe") && !slices.Contains(documented(t)[m], client) {
				t.Errorf("README.md does not say that %s is tested by %s", m, client)
			}
		}
	}
}

func sortedKeys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

// clientFolder holds the scripts beside the installed npm clients. Only the package
// files name the installation, so that an edited script needs no new one.
func clientFolder(t *testing.T) string {
	t.Helper()
	project := fstest.MapFS{}
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		project[name] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	installed, err := nodedeps.Ensure(t.Context(), "localnet-clients", project)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kit.mjs", "web3.mjs"} {
		b, err := os.ReadFile(filepath.Join("testdata", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
