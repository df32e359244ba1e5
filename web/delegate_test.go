package web

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/nodedeps"
	"github.com/ionet-settlement/ionet/proofs"
)

// chromium returns a browser to try pages in, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no chromium, chromium-browser or google-chrome in PATH: the page is not tried in a browser")
	return ""
}

// playFolder holds the script beside the installed npm packages.
func playFolder(t *testing.T, script string) string {
	t.Helper()
	project := fstest.MapFS{}
	from := filepath.Join("testdata", "browser")
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		check(t, err)
		project[name] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	installed, err := nodedeps.Ensure(t.Context(), "browser", project)
	check(t, err)
	dir := t.TempDir()
	check(t, os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")))
	b, err := os.ReadFile(filepath.Join(from, script))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, script), b, 0o644))
	return dir
}

// A provider whose wallet is in his browser delegates three workers by one signature, and
// each of them finds it.
func TestDelegatePage(t *testing.T) {
	browser := chromium(t)
	dir := playFolder(t, "delegate.mjs")
	h := open(t)
	workers := []ionet.Key{public("host"), public("new host"), public("third host")}
	other := h.delegate("other", 500, 9000, workers[0])
	h.accept(h.inventory("host", other.ID(), 1))
	ann := public("ann")
	given, err := json.Marshal(map[string]any{
		"chromium": browser, "url": h.url, "name": h.network.Name, "seed": hex.EncodeToString(keyOf("ann").Seed()),
		"address": map[string]string{"text": ann.String(), "hex": hex.EncodeToString(ann[:])},
		"workers": workers, "other": public("other"), "shots": os.Getenv("IONET_SCREENSHOTS"),
	})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "delegate.mjs", string(given))
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Fatalf("%v:\n%s", err, out)
	}
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	for _, worker := range workers {
		list, err := c.DelegationsBy(t.Context(), worker, ann)
		check(t, err)
		all := 0
		for _, d := range list {
			e, _, err := proofs.ParseEnvelope(d.Envelope)
			check(t, err)
			check(t, e.Verify(h.network.ID()))
			text, err := proofs.ParseDelegation(h.network.ID(), e.Signer, e.Body)
			check(t, err)
			if text.Provider != ann || !text.Has(worker) {
				t.Errorf("delegation %s is %+v", d.ID, text)
			}
			if len(text.Workers) == 3 && text.Payout == ann && text.Expires-text.Issued == 365*24*3600 {
				all++
			}
		}
		if all == 0 {
			t.Errorf("worker %s finds no delegation of all three", worker)
		}
	}
}

// The policy names the page's only script and style by their hashes, so that a change
// of the one changes the other.
func TestDelegatePolicy(t *testing.T) {
	for _, element := range []string{"script", "style"} {
		if n := len(regexp.MustCompile("<"+element+"[ >]").FindAll(delegateHTML, -1)); n != 1 {
			t.Errorf("%d elements %s", n, element)
		}
		if hash := hashOf(delegateHTML, element); hash == hashOf(nil, element) || !strings.HasPrefix(hash, "'sha256-") {
			t.Errorf("the policy has %s for %s", hash, element)
		}
	}
	for _, never := range []string{"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style=", " onclick=", "https://"} {
		if strings.Contains(string(delegateHTML), never) {
			t.Errorf("the page has %s", never)
		}
	}
}
