package nodedeps

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// project is an npm project whose only dependency is a folder inside it, so that
// installing needs npm but no registry.
func project(extra string) fstest.MapFS {
	lock := `{
  "name": "probe", "version": "0.0.0", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {"name": "probe", "version": "0.0.0", "dependencies": {"inner": "file:inner"}},
    "inner": {"version": "1.0.0"},
    "node_modules/inner": {"resolved": "inner", "link": true}
  }
}`
	return fstest.MapFS{
		"package.json":       {Data: []byte(`{"name":"probe","version":"0.0.0","dependencies":{"inner":"file:inner"}}`)},
		"package-lock.json":  {Data: []byte(lock)},
		"inner/package.json": {Data: []byte(`{"name":"inner","version":"1.0.0","main":"index.js"}`)},
		"inner/index.js":     {Data: []byte(`module.exports = 'inner ` + extra + `'`)},
		"main.cjs":           {Data: []byte(`console.log(require('inner'))`)},
	}
}

// home points the user's cache folder into a temporary one.
func home(t *testing.T) string {
	t.Helper()
	h := t.TempDir()
	t.Setenv("HOME", h)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(h, "cache"))
	return h
}

func TestEnsureInstallsOnceForManyCallers(t *testing.T) {
	home(t)
	files := project("a")
	var wg sync.WaitGroup
	dirs := make([]string, 4)
	errs := make([]error, 4)
	for i := range dirs {
		wg.Go(func() { dirs[i], errs[i] = Ensure(t.Context(), "probe", files) })
	}
	wg.Wait()
	for i := range dirs {
		if errs[i] != nil || dirs[i] != dirs[0] {
			t.Fatalf("caller %d: got %q, %v, want %q", i, dirs[i], errs[i], dirs[0])
		}
	}
	out, err := exec.Command("node", filepath.Join(dirs[0], "main.cjs")).CombinedOutput()
	if err != nil || string(out) != "inner a\n" {
		t.Fatalf("run installed script: got %q, %v", out, err)
	}
	mark := filepath.Join(dirs[0], "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := Ensure(t.Context(), "probe", files); err != nil || again != dirs[0] {
		t.Fatalf("second Ensure: got %q, %v", again, err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("second Ensure installed anew: %v", err)
	}
	other, err := Ensure(t.Context(), "probe", project("b"))
	if err != nil || other == dirs[0] {
		t.Errorf("changed content: got folder %q, %v, want another than the first", other, err)
	}
}

func TestEnsureRemovesWhatAKilledInstallLeft(t *testing.T) {
	home(t)
	files := project("killed")
	hash, err := hashTree(files)
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := cacheRoot()
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(root, "probe-"+hash+".tmp-1234")
	if err := os.MkdirAll(filepath.Join(half, "node_modules"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := Ensure(t.Context(), "probe", files)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + ".tmp-*"); len(left) != 0 {
		t.Errorf("temporary folders left: %v", left)
	}
}

func TestEnsureFailureLeavesNoFolder(t *testing.T) {
	home(t)
	files := project("broken")
	files["package-lock.json"] = &fstest.MapFile{Data: []byte(`{"lockfileVersion": 3, "packages": {}}`)}
	dir, err := Ensure(t.Context(), "probe", files)
	if err == nil || !strings.Contains(err.Error(), "npm ci") {
		t.Fatalf("got %q, %v, want an error of npm ci", dir, err)
	}
	root, _, _ := cacheRoot()
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("folder %s left behind", e.Name())
		}
	}
}

func TestEnsureWithoutHome(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dir, err := Ensure(t.Context(), "probe", project("homeless"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(dir, tmp) {
		t.Errorf("got folder %s, want one under %s", dir, tmp)
	}
}

func TestCacheRootRefusesASharedFallback(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("TMPDIR", t.TempDir())
	root, _, err := cacheRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(root), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cacheRoot(); err == nil {
		t.Error("accepted a fallback folder that everybody may write to")
	}
}

func TestEnsureWithoutNode(t *testing.T) {
	home(t)
	t.Setenv("PATH", t.TempDir())
	_, err := Ensure(t.Context(), "probe", project("x"))
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "install Node 20") {
		t.Errorf("got %v, want a hint to install Node", err)
	}
}

func TestCheckVersion(t *testing.T) {
	for _, c := range []struct {
		version string
		ok      bool
	}{
		{"v20.0.0", true}, {"v22.3.1", true}, {"v100.0.0", true},
		{"v18.20.2", false}, {"v19.9.0", false}, {"", false}, {"vx.1", false},
	} {
		if err := checkVersion(c.version); (err == nil) != c.ok {
			t.Errorf("%q: got %v, want ok %v", c.version, err, c.ok)
		}
	}
}

func TestLockHonoursContextAndRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	release, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: got %v, want deadline exceeded", err)
	}
	release()
	again, err := lock(t.Context(), path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	again()
}

// TestLockFilesNameNoRegistry holds for every npm project of this repository.
func TestLockFilesNameNoRegistry(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if d.Name() != "package-lock.json" {
			return nil
		}
		found++
		var lock struct {
			Packages map[string]struct {
				Resolved string `json:"resolved"`
			} `json:"packages"`
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &lock); err != nil {
			return err
		}
		for name, e := range lock.Packages {
			if strings.Contains(e.Resolved, "://") {
				t.Errorf("%s: %s names a registry: %s", p, name, e.Resolved)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("checked %d lock files", found)
}
