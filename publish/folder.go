package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Folder is a store in a folder of the file system. Several processes may use
// one folder: of two that put different bytes under one name, one wins and the
// other gets ErrConflict.
type Folder struct{ dir string }

// tempPrefix begins the names of unfinished files. CheckName refuses names
// with a leading dot, so none of them can be read or served.
const tempPrefix = ".put-"

// NewFolder opens the store in dir and makes dir where it does not exist.
func NewFolder(dir string) (*Folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := makeDirs(abs); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Folder{abs}, nil
}

func openFolder(dir string) (*Folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open store: %s is not a folder", dir)
	}
	return &Folder{dir}, nil
}

// Dir returns the folder's path.
func (f *Folder) Dir() string { return f.dir }

// Put stores data under name. When it returns nil the file is durable; on an
// error the name either does not exist or holds complete bytes.
func (f *Folder) Put(ctx context.Context, name string, data []byte) error {
	if err := f.put(ctx, name, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (f *Folder) put(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(CheckName(name), ctx.Err()); err != nil {
		return err
	}
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes are more than %d", len(data), MaxSize)
	}
	target := f.path(name)
	dir := filepath.Dir(target)
	if err := makeDirs(dir); err != nil {
		return err
	}
	err := f.link(dir, target, data)
	if errors.Is(err, fs.ErrExist) {
		err = sameBytes(target, data)
	}
	if err != nil {
		return err
	}
	// The name may be there because of a process that stopped just before this
	// line, so the folder is synced in both cases.
	return syncDir(dir)
}

// link writes a synced temporary file and gives it its name. A link, unlike a
// rename, never replaces what is there. If we stop before it, a .put- file
// stays behind, which nobody reads.
func (f *Folder) link(dir, target string, data []byte) error {
	temp, err := writeTemp(dir, data)
	if err != nil {
		return err
	}
	return errors.Join(os.Link(temp, target), os.Remove(temp))
}

// writeTemp writes data to a new synced file in dir and returns its path.
func writeTemp(dir string, data []byte) (string, error) {
	temp, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return "", err
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return temp.Name(), nil
}

// Replace stores data under name whether or not the name exists, where CheckReplace
// lets it; readers see the old bytes or the new, never a part.
func (f *Folder) Replace(ctx context.Context, name string, data []byte) error {
	if err := f.replace(ctx, name, data); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func (f *Folder) replace(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(CheckName(name), ctx.Err()); err != nil {
		return err
	}
	if err := CheckReplace(name, data, nil); err != nil {
		return err // before anything is made in the folder
	}
	log := f.path("log")
	if err := makeDirs(log); err != nil {
		return err
	}
	// A former leader that wakes here must not put its older checkpoint over a newer one.
	unlock, err := lockDir(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()
	checkpoint, err := f.get(ctx, CheckpointName)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := CheckReplace(name, data, checkpoint); err != nil {
		return err
	}
	return f.rename(f.path(name), data)
}

// Overwrite is Replace without asking, for a folder of keys, which is no published store.
func (f *Folder) Overwrite(ctx context.Context, name string, data []byte) error {
	err := errors.Join(CheckName(name), ctx.Err())
	if err == nil {
		err = f.rename(f.path(name), data)
	}
	if err != nil {
		return fmt.Errorf("overwrite %s: %w", name, err)
	}
	return nil
}

// rename writes a synced temporary file and moves it over what is there.
func (f *Folder) rename(target string, data []byte) error {
	dir := filepath.Dir(target)
	if err := makeDirs(dir); err != nil {
		return err
	}
	temp, err := writeTemp(dir, data)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, target); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(dir)
}

// Remove removes the partial tiles of a full one that is there.
func (f *Folder) Remove(ctx context.Context, full string) error {
	prefix, err := PartialsOf(full)
	if err != nil {
		return fmt.Errorf("remove partial tiles: %w", err)
	}
	there, err := f.Has(ctx, full)
	if err == nil && !there {
		err = ErrNotFound
	}
	if err == nil {
		err = os.RemoveAll(f.path(prefix))
	}
	if err != nil {
		return fmt.Errorf("remove the partial tiles of %s: %w", full, err)
	}
	return nil
}

// Get returns the file of that name, or ErrNotFound.
func (f *Folder) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := f.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (f *Folder) get(ctx context.Context, name string) ([]byte, error) {
	if err := errors.Join(CheckName(name), ctx.Err()); err != nil {
		return nil, err
	}
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, ErrNotFound
	}
	return readLimited(file, MaxSize)
}

// Has reports whether there is a file of that name.
func (f *Folder) Has(ctx context.Context, name string) (bool, error) {
	if err := errors.Join(CheckName(name), ctx.Err()); err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	info, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	return !info.IsDir(), nil
}

func (f *Folder) path(name string) string {
	return filepath.Join(f.dir, filepath.FromSlash(path.Clean(name)))
}

func sameBytes(target string, data []byte) error {
	old, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, data) {
		return ErrConflict
	}
	return nil
}

// makeDirs is MkdirAll whose result survives a crash: each new folder's
// parent is synced.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readLimited reads all of r, or returns an error after limit bytes.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("file has more than %d bytes", limit)
	}
	return data, nil
}

// List returns the names below prefix ("" or one ending in "/"), sorted.
func (f *Folder) List(prefix string) ([]string, error) {
	if prefix != "" {
		if err := CheckName(strings.TrimSuffix(prefix, "/")); err != nil {
			return nil, fmt.Errorf("list store: %w", err)
		}
	}
	var names []string
	err := fs.WalkDir(os.DirFS(f.dir), path.Clean("./"+prefix), func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() && CheckName(name) == nil {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	return names, nil
}
