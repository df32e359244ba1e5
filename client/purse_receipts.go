package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// KeptReceipt is what a purse keeps of a job: the worker's signed statement, and the salt
// that ties it to request and answer. A line of receipts/<day>.jsonl.
type KeptReceipt struct {
	Job       ID           `json:"job"`
	ID        ionet.Hash   `json:"id"` // of the statement
	Session   ionet.Hash   `json:"session"`
	Channel   ionet.Key    `json:"channel"`
	Worker    ionet.Key    `json:"worker"`
	Endpoint  string       `json:"endpoint"` // where the worker was
	Time      int64        `json:"time"`     // when the worker served it, Unix seconds
	Path      string       `json:"path"`
	Model     string       `json:"model"`
	Unit      string       `json:"unit"`
	Units     uint64       `json:"units"`
	Price     ionet.Amount `json:"price"` // of per units, base units
	Per       uint32       `json:"per"`
	Fee       ionet.Amount `json:"fee"`
	Before    ionet.Amount `json:"before"`
	After     ionet.Amount `json:"after"`
	Salt      ionet.Hash   `json:"salt"`
	Request   ionet.Hash   `json:"request"`   // H(salt ‖ path ‖ "\n" ‖ body)
	Response  ionet.Hash   `json:"response"`  // H(salt ‖ body)
	Answered  bool         `json:"answered"`  // the answer came, and is what the statement says
	Statement []byte       `json:"statement"` // the envelope, base64
}

// evidence is what is kept of a worker that broke its word.
type evidence struct {
	Reason    string       `json:"reason"`
	Sent      *sentRequest `json:"sent,omitempty"`
	Statement []byte       `json:"statement,omitempty"`
	Answer    []byte       `json:"answer,omitempty"`
	Receipt   *KeptReceipt `json:"receipt,omitempty"`
}

// evidence writes a file; it is for people, and no money rests on it.
func (p *Purse) evidence(job ID, x evidence) {
	b, err := json.MarshalIndent(x, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(p.cfg.Dir, "evidence", job.String()+".json"), append(b, '\n'), 0o600)
	}
	if err != nil {
		p.log.Error("keep evidence", "error", err)
	}
}

// receiptFiles has the file of the day open. Those who wait for the disk share an fsync.
type receiptFiles struct {
	dir string

	mu      sync.Mutex
	day     string
	file    *os.File
	written uint64

	syncing sync.Mutex
	synced  uint64
}

// add returns when the receipt is durable.
func (r *receiptFiles) add(now time.Time, kept *KeptReceipt) error {
	line, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	r.mu.Lock()
	err = r.roll(now.UTC().Format(time.DateOnly))
	if err == nil {
		_, err = r.file.Write(line)
		r.written++
	}
	number := r.written
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("keep receipt of job %s: %w", kept.Job, err)
	}
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.synced >= number {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("keep receipt of job %s: %w", kept.Job, err)
	}
	r.synced = r.written
	return nil
}

// roll opens the file of the day. What a crash tore off at its end is ended with a line
// break, so that the next line is whole.
func (r *receiptFiles) roll(day string) error {
	if r.day == day && r.file != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(r.dir, "receipts", day+".jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 0 {
		last := []byte{0}
		if _, err := f.ReadAt(last, size-1); err != nil || last[0] != '\n' {
			if _, err := f.Write([]byte{'\n'}); err != nil {
				f.Close()
				return err
			}
		}
	}
	if err := syncFolder(filepath.Join(r.dir, "receipts")); err != nil {
		f.Close()
		return err
	}
	if r.file != nil {
		if err := errors.Join(r.file.Sync(), r.file.Close()); err != nil {
			f.Close()
			r.file = nil
			return err
		}
	}
	r.day, r.file = day, f
	return nil
}

func (r *receiptFiles) bodies(job ID, request, answer []byte) error {
	dir := filepath.Join(r.dir, "bodies")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, job.String()+".request"), request, 0o600),
		os.WriteFile(filepath.Join(dir, job.String()+".answer"), answer, 0o600))
}

func (r *receiptFiles) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	return errors.Join(r.file.Sync(), r.file.Close())
}

// ReadReceipts returns what the purse in dir keeps, the oldest first, each job once. It may
// be read while a process has the purse.
func ReadReceipts(dir string) ([]KeptReceipt, error) {
	files, err := filepath.Glob(filepath.Join(dir, "receipts", "*.jsonl"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "journal")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read receipts: %s is no purse's folder", dir)
	}
	slices.Sort(files)
	var list []KeptReceipt
	seen := map[ionet.Hash]bool{}
	for _, name := range files {
		if err := readLines(name, func(r KeptReceipt) {
			if !seen[r.ID] {
				seen[r.ID] = true
				list = append(list, r)
			}
		}); err != nil {
			return nil, fmt.Errorf("read receipts: %w", err)
		}
	}
	return list, nil
}

// readLines reads a file's whole lines; a torn one is what a crash left.
func readLines(name string, each func(KeptReceipt)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var kept KeptReceipt
		if json.Unmarshal(line, &kept) == nil && !kept.ID.IsZero() {
			each(kept)
		}
	}
}
