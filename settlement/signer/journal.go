package signer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ionet-settlement/ionet"
)

// journal is the file of what was signed; one process at a time holds it.
type journal struct {
	path   string
	file   *os.File
	sum    chainOf
	heads  *heads
	broken error // a write whose end is unknown: nothing is signed until the file is opened anew
	fresh  bool  // the file was not there
}

// openJournal opens the journal at path, or begins one, and replays it. A last line
// that a crash cut is taken off; whatever was synced counts.
func openJournal(path string, network ionet.Hash, h *heads) (j *journal, err error) {
	f, fresh, err := openOrCreate(path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j = &journal{path: path, file: f, heads: h, fresh: fresh}
	err = lockFile(f)
	if err == nil {
		err = j.load(network)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), f.Close())
	}
	return j, nil
}

func openOrCreate(path string) (f *os.File, fresh bool, err error) {
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return nil, false, err
		}
		return f, true, syncFolder(filepath.Dir(path))
	}
	return f, false, err
}

// load replays the file and leaves its end where the next line goes, durable.
func (j *journal) load(network ionet.Hash) error {
	sum, good, err := readLines(j.file, network, j.heads.replay)
	noNewline := errors.Is(err, errNoNewline)
	if err != nil && !noNewline {
		return err
	}
	j.sum = sum
	if err := j.file.Truncate(good); err != nil {
		return err
	}
	if _, err := j.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	switch {
	case good == 0:
		_, err = io.WriteString(j.file, j.sum.begin(network))
	case noNewline:
		_, err = io.WriteString(j.file, "\n")
	default:
		err = nil
	}
	return errors.Join(err, j.file.Sync())
}

// recall reads the file again into heads that have forgotten nothing: of the messages
// that were signed only those are known that the old ones know.
func (j *journal) recall(p *Policy) error {
	h := newHeads(p, j.heads.linked)
	size, err := j.file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, _, err = readLines(io.NewSectionReader(j.file, 0, size), p.Network.ID(), h.replay)
	}
	if err != nil {
		j.broken = err
		return fmt.Errorf("read journal %s again: %w", j.path, err)
	}
	h.messages, j.heads = j.heads.messages, h
	return nil
}

// write appends one line. When it returns nil the line is durable: only then may
// signatures for it leave. After an error nobody knows what the file holds, so
// nothing more is signed until it is opened again, which counts what it finds.
func (j *journal) write(l line) error {
	if j.broken != nil {
		return fmt.Errorf("write journal: %w; restart the signer once that is mended", j.broken)
	}
	_, err := io.WriteString(j.file, j.sum.seal(l))
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = err
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// reopen opens lanes again, and says so in the file.
func (j *journal) reopen(lanes []Reopening, now time.Time) error {
	if len(lanes) == 0 {
		return nil
	}
	l := line{at: now.Unix(), reopen: lanes}
	if err := j.heads.replay(l); err != nil {
		return err
	}
	return j.write(l)
}

func (j *journal) close() error { return j.file.Close() }

func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it can't be done there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
