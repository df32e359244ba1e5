package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStatusShowsRefusal: what the service refused last is there without asking it.
func TestStatusShowsRefusal(t *testing.T) {
	server, dir := serve(t), filepath.Join(t.TempDir(), "host")
	_, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--provider", strings.Repeat("1", 31)+"2")
	check(t, err)
	out, err := do(t, "status", "--dir", dir)
	check(t, err)
	if strings.Contains(out, "refusal") {
		t.Errorf("before any refusal:\n%s", out)
	}
	check(t, os.WriteFile(filepath.Join(dir, "refusal"), []byte("2026-01-02T03:04:05Z\ninventory refused: device GPU-1 is bound to worker 9aB (device-bound)\n"), 0o600))
	out, err = do(t, "status", "--dir", dir)
	check(t, err)
	if !strings.Contains(out, "last refusal by the service, 2026-01-02T03:04:05Z: inventory refused: device GPU-1 is bound to worker 9aB (device-bound)\n") {
		t.Errorf("after a refusal:\n%s", out)
	}
}
