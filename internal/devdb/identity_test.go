package devdb

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunsAsAnyIdentity(t *testing.T) {
	t.Parallel()
	nobody, err := named()
	if err != nil {
		t.Fatal(err)
	}
	shelter := testDir(t)
	for _, c := range []struct {
		name    string
		private bool // the folder's parent lets in its owner alone
		choose  func(string) (identity, error)
	}{
		{"our own", true, identityOf},
		{"user namespace", true, func(postgres string) (identity, error) {
			id, err := namespaceOf(nobody)
			return id, errors.Join(err, id.probe(postgres))
		}},
		{"another user", false, needRoot(nobody, shelter)},
		{"another user, folder out of reach", true, needRoot(nobody, shelter)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bin, err := programs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			id, err := c.choose(filepath.Join(bin, "postgres"))
			if err != nil {
				t.Skipf("not possible here: %v", err)
			}
			parent := testDir(t)
			if c.private {
				if err := os.Chmod(parent, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(parent, "db")
			for _, sql := range []string{`CREATE TABLE kept (n int)`, `DROP TABLE kept`} {
				db, err := start(t.Context(), dir, Config{NoFsync: true}, c.choose)
				if err != nil {
					t.Fatal(err)
				}
				run(t, db.URL(), sql)
				stopTest(t, db)
			}
			place, moved := os.Readlink(filepath.Join(dir, "place"))
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
			if moved == nil {
				if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Remove left %s", place)
				}
			}
			if want := c.private && id.other; (moved == nil) != want {
				t.Errorf("data moved elsewhere: %v, want %v", moved == nil, want)
			}
		})
	}
}

func needRoot(ids [2]int, shelter string) func(string) (identity, error) {
	return func(string) (identity, error) {
		if os.Geteuid() != 0 {
			return identity{}, errors.New("only root may become another user")
		}
		id := credentialOf(ids)
		id.shelter = shelter
		return id, nil
	}
}

func TestPlatform(t *testing.T) {
	for _, c := range []struct{ goos, goarch, want string }{
		{"linux", "amd64", "linux-x64"},
		{"linux", "arm64", "linux-arm64"},
		{"linux", "386", "linux-ia32"},
		{"darwin", "arm64", "darwin-arm64"},
		{"darwin", "amd64", "darwin-x64"},
		{"windows", "amd64", ""},
		{"linux", "riscv64", ""},
	} {
		got, err := platform(c.goos, c.goarch)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("platform(%s, %s) = %q, %v; want %q", c.goos, c.goarch, got, err, c.want)
		}
	}
}

// The lock file pins every platform, by hash and not by the address of a registry.
func TestLockFile(t *testing.T) {
	var manifest struct {
		OptionalDependencies map[string]string
	}
	readJSON(t, "npm/package.json", &manifest)
	var locked struct {
		Packages map[string]struct{ Version, Resolved, Integrity string }
	}
	readJSON(t, "npm/package-lock.json", &locked)
	if len(locked.Packages) != len(manifest.OptionalDependencies)+1 {
		t.Errorf("%d packages are locked, want %d and the project", len(locked.Packages), len(manifest.OptionalDependencies))
	}
	for name, version := range manifest.OptionalDependencies {
		p := locked.Packages["node_modules/"+name]
		if p.Version != version || !strings.HasPrefix(p.Integrity, "sha512-") || p.Resolved != "" {
			t.Errorf("%s %s is locked as %+v", name, version, p)
		}
		if !strings.HasPrefix(version, majorVersion+".") {
			t.Errorf("%s is %s, want a version %s", name, version, majorVersion)
		}
	}
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := npmFiles.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestLinkLibrariesStaysInside(t *testing.T) {
	pkg := t.TempDir()
	if err := os.MkdirAll(filepath.Join(pkg, "native", "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(pkg, "native", "pg-symlinks.json")
	write := func(source, target string) {
		t.Helper()
		b, err := json.Marshal([]map[string]string{{"source": source, "target": target}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(list, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("native/lib/libpq.so.5.18", "native/lib/libpq.so.5")
	for range 2 { // the second finds the link made
		if err := linkLibraries(pkg); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.Readlink(filepath.Join(pkg, "native", "lib", "libpq.so.5"))
	if err != nil || got != "libpq.so.5.18" {
		t.Errorf("link is %q, %v; want libpq.so.5.18", got, err)
	}
	for _, bad := range [][2]string{{"../x", "native/lib/y"}, {"native/x", "/tmp/y"}, {"native/x", "native/../../y"}} {
		write(bad[0], bad[1])
		if err := linkLibraries(pkg); err == nil {
			t.Errorf("link %s -> %s was made", bad[1], bad[0])
		}
	}
}
