package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// Kinds of a journal's lines.
const (
	noteOpen    = "open"    // an opening or a top-up was signed: Channel, Worker, Endpoint, Nonce, Statement
	noteAcked   = "acked"   // the service took the latest opening: Channel, Statement is its ack
	noteSigned  = "signed"  // a voucher of Cumulative may have left: Channel
	noteSent    = "sent"    // a request may have left: Channel, Job and what proves it; Cumulative as in signed
	notePaid    = "paid"    // its worker's statement has Before and After: Channel, Job
	noteFree    = "free"    // it costs nothing: Channel, Job
	noteVoid    = "void"    // the service refused the first opening: Channel
	noteClosing = "closing" // the channel was asked to close: Channel, Statement
	noteLeft    = "left"    // the worker is not used any more: Worker, Reason
	noteAgain   = "again"   // it is used again, as a person decided: Worker
)

// purseNote is a line of the journal. The last of a kind counts.
type purseNote struct {
	Kind       string        `json:"kind"`
	Channel    ionet.Key     `json:"channel,omitzero"`
	Worker     ionet.Key     `json:"worker,omitzero"`
	Endpoint   string        `json:"endpoint,omitempty"`
	Statement  []byte        `json:"statement,omitempty"`
	Job        ID            `json:"job,omitzero"`
	Sent       *sentRequest  `json:"sent,omitempty"`
	Cumulative ionet.Amount  `json:"cumulative,omitzero"`
	Before     *ionet.Amount `json:"before,omitempty"`
	After      *ionet.Amount `json:"after,omitempty"`
	Reason     string        `json:"reason,omitempty"`
}

// sentRequest is what is needed to check a job's statement when its answer was lost.
type sentRequest struct {
	Path    string       `json:"path"`
	Model   string       `json:"model"`
	Unit    string       `json:"unit"`
	Price   ionet.Amount `json:"price"`
	Per     uint32       `json:"per"`
	Bound   ionet.Amount `json:"bound"` // the most that it was thought to cost
	Most    ionet.Amount `json:"most"`  // what the session key signed that it may cost
	Salt    ionet.Hash   `json:"salt"`
	Request ionet.Hash   `json:"request"`
	Time    int64        `json:"time"` // Unix seconds
	Wrong   bool         `json:"-"`    // its statement was wrong: it is not asked for again
	Open    time.Time    `json:"-"`    // since when its outcome is not known, or since this start
}

// most is what a worker can bill for the request.
func (s *sentRequest) most() ionet.Amount { return larger(s.Most, s.Bound) }

// purseJournal is an append-only file of JSON lines. Many who wait for the same disk
// share one fsync. After a failed write it takes nothing more: what the file then holds is
// known only to the next start.
type purseJournal struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64
	written uint64 // lines
	failed  error

	syncing sync.Mutex
	synced  uint64 // lines that are durable
}

// readJournal returns the lines of the file at path and the length of those that are
// whole. A torn end is what a crash leaves of lines that nobody was told of; damage
// before that is an error, for a line that is skipped may be a voucher.
func readJournal(path string) (notes []purseNote, whole int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r, torn := bufio.NewReaderSize(f, 1<<16), false
	for number := 1; ; number++ {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		ended := err != nil
		if len(bytes.TrimSpace(line)) > 0 {
			var n purseNote
			bad := ended || json.Unmarshal(line, &n) != nil || n.Kind == ""
			if torn && !bad {
				return nil, 0, fmt.Errorf("line %d of %s is damaged, and whole ones follow it: restore the file; vouchers that it forgets are still the workers'", number-1, path)
			}
			if torn = torn || bad; !bad {
				notes, whole = append(notes, n), whole+int64(len(line))
			}
		}
		if ended {
			return notes, whole, nil
		}
	}
}

// openJournal opens the file for appending behind its whole lines.
func openJournal(path string, whole int64) (*purseJournal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(whole)
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err = errors.Join(err, f.Sync(), syncFolder(filepath.Dir(path))); err != nil {
		f.Close()
		return nil, err
	}
	return &purseJournal{path: path, file: f, size: whole}, nil
}

// add appends lines and returns what to hand to sync. They are not durable yet.
func (j *purseJournal) add(notes ...purseNote) (uint64, error) {
	text, err := noteLines(notes)
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return 0, j.failed
	}
	if _, err := j.file.Write(text); err != nil {
		j.failed = fmt.Errorf("write the purse's journal: %w; start again when the disk is well", err)
		return 0, j.failed
	}
	j.size += int64(len(text))
	j.written += uint64(len(notes))
	return j.written, nil
}

func noteLines(notes []purseNote) ([]byte, error) {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, n := range notes {
		if err := lines.Encode(n); err != nil {
			return nil, fmt.Errorf("write the purse's journal: %w", err)
		}
	}
	return text.Bytes(), nil
}

// sync returns when all lines up to that of add are durable.
func (j *purseJournal) sync(upTo uint64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= upTo {
		return nil // whoever had the lock before synced ours too
	}
	j.mu.Lock()
	file, written, err := j.file, j.written, j.failed
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		err = fmt.Errorf("sync the purse's journal: %w; start again when the disk is well", err)
		j.mu.Lock()
		j.failed = err
		j.mu.Unlock()
		return err
	}
	j.synced = written
	return nil
}

// rewrite puts a file with these lines alone in the journal's place. The caller sees to it
// that nothing is added meanwhile. Before the rename the old file stands, after it the
// new one: both tell the same.
func (j *purseJournal) rewrite(notes []purseNote) error {
	text, err := noteLines(notes)
	if err != nil {
		return err
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	f, err := os.CreateTemp(filepath.Dir(j.path), ".journal-*") // mode 0600
	if err != nil {
		return fmt.Errorf("rewrite the purse's journal: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("rewrite the purse's journal: %w", errors.Join(err, f.Close()))
	}
	j.file.Close()
	j.file, j.size = f, int64(len(text))
	j.written += uint64(len(notes))
	// Lines added from now on go to the new file, so its name must be durable first.
	if err := syncFolder(filepath.Dir(j.path)); err != nil {
		j.failed = fmt.Errorf("rewrite the purse's journal: %w", err)
		return j.failed
	}
	j.synced = j.written
	return nil
}

func (j *purseJournal) bytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

func (j *purseJournal) close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		j.failed = errors.New("the purse is closed")
		return errors.Join(j.file.Sync(), j.file.Close())
	}
	return j.file.Close()
}
