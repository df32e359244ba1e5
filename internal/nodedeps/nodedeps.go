// Package nodedeps installs a small embedded npm project once per machine user
// and says where it lies, so that a Go program can start a Node child without
// asking anyone to run npm.
//
// A project is a file tree with package.json, package-lock.json and whatever
// scripts belong to it. It is installed by `npm ci` into
//
//	<user cache dir>/ionet-settlement/node/<name>-<first 16 hex digits of its hash>
//
// where the hash covers the path and content of every file. The folder appears by
// one rename, after npm is done: a folder that exists is complete. What a killed
// install leaves behind is a folder with a different name, which the next install
// of the same project removes. Several processes at once take turns by a file lock.
//
// No package script runs (--ignore-scripts). Lock files carry integrity hashes but
// no registry address, so whatever registry npm is configured with is used.
package nodedeps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// minNode is the oldest major version of Node that the embedded projects run on.
const minNode = 20

// waitNPM is how long npm's pipes may stay open after it was told to stop.
const waitNPM = 3 * time.Second

// Ensure returns the folder that holds the files and their node_modules,
// installing it first when this user has not done so yet. name is a short label
// (letters, digits, '-'). The folder is shared and must not be written to.
//
// An error about a missing or old Node names the remedy; one of npm's carries the
// end of its output.
func Ensure(ctx context.Context, name string, files fs.FS) (dir string, err error) {
	hash, err := hashTree(files)
	if err != nil {
		return "", fmt.Errorf("hash npm project %s: %w", name, err)
	}
	root, env, err := cacheRoot()
	if err != nil {
		return "", fmt.Errorf("find a folder for npm project %s: %w", name, err)
	}
	if _, err := nodePath("node"); err != nil {
		return "", err
	}
	dir = filepath.Join(root, name+"-"+hash)
	if isDir(dir) {
		return dir, nil
	}
	release, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", fmt.Errorf("lock npm project %s: %w", name, err)
	}
	defer release()
	if isDir(dir) {
		return dir, nil // another process installed it while we waited
	}
	if err := install(ctx, dir, files, env); err != nil {
		return "", fmt.Errorf("install npm project %s: %w", name, err)
	}
	return dir, nil
}

// hashTree names a tree by its content: for every file in lexical order its path, a
// zero byte, its length, a zero byte, its bytes.
func hashTree(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00%d\x00", p, len(b))
		h.Write(b)
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// cacheRoot is the folder that holds the installed projects, and what npm needs in
// its environment there: without a usable home it also lacks a place for its cache.
func cacheRoot() (root string, env []string, err error) {
	if cache, err := os.UserCacheDir(); err == nil {
		root = filepath.Join(cache, "ionet-settlement", "node")
		if writable(root) == nil {
			return root, nil, nil
		}
	}
	root = filepath.Join(os.TempDir(), "ionet-settlement-"+strconv.Itoa(os.Getuid()), "node")
	if err := writable(root); err != nil {
		return "", nil, fmt.Errorf("%w (set HOME or TMPDIR to a folder that can be written to)", err)
	}
	// The temp folder is everybody's: somebody else's folder of our name is a trap.
	if err := checkPrivate(filepath.Dir(root)); err != nil {
		return "", nil, err
	}
	return root, []string{"npm_config_cache=" + filepath.Join(root, ".npm")}, nil
}

// writable makes the folder if need be and tries to make a file in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// install runs npm in a folder beside dir and renames it to dir. The caller holds
// the project's lock, so what matches the temporary name is a dead process's.
func install(ctx context.Context, dir string, files fs.FS, env []string) error {
	if err := checkNode(ctx); err != nil {
		return err
	}
	stale, err := filepath.Glob(dir + ".tmp-*")
	if err != nil {
		return err
	}
	for _, s := range stale {
		if err := os.RemoveAll(s); err != nil {
			return fmt.Errorf("remove what a killed install left: %w", err)
		}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, files); err != nil {
		return fmt.Errorf("write project files: %w", err)
	}
	if err := npmCI(ctx, tmp, env); err != nil {
		return err
	}
	// After this rename the project is complete and visible to every process; if
	// we stop before it, the next install removes tmp.
	return os.Rename(tmp, dir)
}

func npmCI(ctx context.Context, dir string, env []string) error {
	npm, err := nodePath("npm")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = waitNPM
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("run npm ci: %w; it said:\n%s\n(the first install needs an npm registry: check `npm config get registry` and the network)",
			err, tail(out.String(), 1500))
	}
	return nil
}

// checkNode refuses a Node that is older than minNode.
func checkNode(ctx context.Context) error {
	node, err := nodePath("node")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask node for its version: %w", err)
	}
	return checkVersion(strings.TrimSpace(string(out)))
}

func checkVersion(v string) error {
	major, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return fmt.Errorf("read node's version %q: %w", v, err)
	}
	if n < minNode {
		return fmt.Errorf("node is %s, need %d or newer (install a current Node from nodejs.org or your package manager)", v, minNode)
	}
	return nil
}

func nodePath(program string) (string, error) {
	p, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("find %s: %w (install Node %d or newer, with npm, and put it on PATH)", program, err, minNode)
	}
	return p, nil
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}

// lockPoll is how often a held lock is tried again: flock has no wait that a
// context could end.
const lockPoll = 50 * time.Millisecond

// lock takes the exclusive lock on path. The kernel lets it go when the process
// dies. The lock file itself stays: removing it would let two processes hold "it".
func lock(ctx context.Context, path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := tryLock(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}
