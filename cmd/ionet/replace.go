package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile writes a file as a whole: under its name there is what was there
// before, or all that write wrote. A link stays one, and what it leads to is
// replaced; anything but a regular file is refused.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	target, mode, err := replaceable(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, cause(err))
	}
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, cause(err))
	}
	defer func() {
		if err != nil {
			_ = f.Close() // what came before is told
			err = fmt.Errorf("write %s: %w", name, errors.Join(cause(err), os.Remove(f.Name())))
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}

// cause is what went wrong with a file, without the name of a temporary one.
func cause(err error) error {
	var (
		p *fs.PathError
		l *os.LinkError
	)
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// replaceable returns the file that a name leads to, which may be missing, and
// the permissions that its successor gets. Only what is certainly a regular file,
// or certainly nothing, may be replaced: a device, a pipe behind a link, a link
// that leads nowhere are not.
func replaceable(name string) (target string, mode fs.FileMode, err error) {
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return name, 0o644, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, errors.New("it exists and is no regular file")
	}
	if target, err = filepath.EvalSymlinks(name); err != nil {
		return "", 0, err
	}
	found, err := os.Lstat(target)
	if err != nil {
		return "", 0, err
	}
	if !os.SameFile(info, found) {
		return "", 0, errors.New("it is a link that can't be followed")
	}
	return target, info.Mode().Perm(), nil
}
