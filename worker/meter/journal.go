package meter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// DefaultJournalBytes bounds a journal: about a hundred thousand jobs that are in no
// sealed log yet.
const DefaultJournalBytes = 256 << 20

// minJournalBytes is room for a few channels and what they serve at once.
const minJournalBytes = 1 << 20

// compactAbove is the file size from which a journal is written anew when most of it is
// about things that are gone.
const compactAbove = 1 << 20

// tempJournal is the name of a journal that is being written anew.
const tempJournal = ".meter-*"

// journal is the book and the file that it can be had from again. A change is applied
// to the book and queued at once; who needs it to be durable waits for its ticket, and
// all who wait share one sync.
type journal struct {
	mu   sync.Mutex
	book *book

	path   string
	header []byte
	limit  int64
	f      *os.File
	size   int64
	cut    int64 // bytes of an interrupted write that opening removed

	done     sync.Cond // on mu: synced, flushing or broken changed
	pending  []byte    // records that are in no file yet
	queued   uint64    // tickets given out, one for each record
	synced   uint64    // the last ticket that is durable
	flushing bool
	broken   error // a failed write: what the file holds is not known until it is read again
}

// openJournal opens or makes the journal of that worker on that network. What a crash
// left of a record at its end is removed: nothing was done on its account.
func openJournal(path string, network *ionet.Network, worker ionet.Key, limit int64) (*journal, error) {
	j := newJournal(path, network, worker, limit)
	if err := j.open(); err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return j, nil
}

func newJournal(path string, network *ionet.Network, worker ionet.Key, limit int64) *journal {
	if limit == 0 {
		limit = DefaultJournalBytes
	}
	id := network.ID()
	j := &journal{path: path, limit: max(limit, minJournalBytes), book: newBook(network, worker)}
	j.header = append(append([]byte(journalMagic), id[:]...), worker[:]...)
	j.done.L = &j.mu
	return j
}

func (j *journal) open() error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(j.path), tempJournal)) // by a crash while it was written anew
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	file, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j.replace(j.header)
	}
	if err != nil {
		return err
	}
	good, err := j.load(file)
	if err != nil {
		return err
	}
	j.size, j.cut = good, int64(len(file))-good
	if j.f, err = os.OpenFile(j.path, os.O_RDWR, 0o600); err != nil {
		return err
	}
	if j.cut == 0 {
		return nil
	}
	return errors.Join(j.f.Truncate(j.size), j.f.Sync())
}

// load applies all whole groups of a file and returns where they end.
func (j *journal) load(file []byte) (good int64, err error) {
	if !bytes.HasPrefix(file, []byte(journalMagic)) || len(file) < journalHeader {
		return 0, errors.New("it is not a journal")
	}
	if !bytes.Equal(file[:journalHeader], j.header) {
		return 0, errors.New("it belongs to another network or another worker's key: use another folder")
	}
	good = int64(journalHeader)
	for b := file[journalHeader:]; len(b) > 0; {
		group, rest, err := framed.Take(b)
		if err != nil {
			if framed.WholeLater(b, tagGroup) {
				return 0, fmt.Errorf("it is damaged at byte %d, before its end: put the file aside; what it holds of unpaid jobs is lost with it", good)
			}
			return good, nil
		}
		if err := j.book.applyGroup(group); err != nil {
			return 0, fmt.Errorf("group at byte %d: %w", good, err)
		}
		good += int64(len(b) - len(rest))
		b = rest
	}
	return good, nil
}

// Close closes the file. What was not waited for may be lost.
func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = errors.New("the journal is closed")
	}
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}

// add applies a record to the book and queues it. The caller holds mu.
func (j *journal) add(tag byte, payload ...[]byte) (ticket uint64, err error) {
	if j.broken != nil {
		return 0, j.broken
	}
	at := len(j.pending)
	j.pending = framed.Append(j.pending, tag, payload...)
	// The book keeps what it is given, the queue is written over.
	record := bytes.Clone(j.pending[at+framed.Head:])
	if err := j.book.apply(record); err != nil {
		j.pending = j.pending[:at]
		return 0, err
	}
	j.queued++
	return j.queued, nil
}

// wait returns once the ticket's record is durable, or can't be. One of those who wait
// writes for all.
func (j *journal) wait(ticket uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.synced < ticket && j.broken == nil {
		if j.flushing {
			j.done.Wait()
			continue
		}
		j.flush()
	}
	if j.synced >= ticket {
		return nil
	}
	return j.broken
}

// flush makes durable what is queued. The caller holds mu, which is free meanwhile.
func (j *journal) flush() {
	if j.wasteful() {
		j.rewrite()
		return
	}
	n, count := groupOf(j.pending)
	b, upto := framed.Append(nil, tagGroup, j.pending[:n]), j.synced+uint64(count)
	j.pending, j.flushing = bytes.Clone(j.pending[n:]), true
	j.mu.Unlock()
	_, err := j.f.WriteAt(b, j.size)
	if err == nil {
		err = j.f.Sync()
	}
	j.mu.Lock()
	j.flushing = false
	j.done.Broadcast()
	if err != nil {
		j.broken = fmt.Errorf("write journal %s: %w", j.path, err)
		return
	}
	j.size += int64(len(b))
	j.synced = upto
}

// wasteful reports whether most of the file is about things that are gone.
func (j *journal) wasteful() bool {
	return j.size > compactAbove && j.size > 2*int64(j.book.live+len(j.header))
}

// rewrite puts a file in place that holds the book alone, with all that is queued.
// Until the rename the old file is whole; after it the new one is, and was synced before.
func (j *journal) rewrite() {
	b, upto := j.whole(), j.queued
	j.pending, j.flushing = nil, true
	j.mu.Unlock()
	err := j.replace(b)
	j.mu.Lock()
	j.flushing = false
	j.done.Broadcast()
	if err != nil {
		j.broken = fmt.Errorf("write journal %s anew: %w", j.path, err)
		return
	}
	j.synced = upto
}

// whole is a file that holds the book alone.
func (j *journal) whole() []byte {
	b := bytes.Clone(j.header)
	for records := j.book.records(); len(records) > 0; {
		n, _ := groupOf(records)
		b = framed.Append(b, tagGroup, records[:n])
		records = records[n:]
	}
	return b
}

// groupOf returns how many bytes, and how many records, from the front make a group.
func groupOf(records []byte) (n, count int) {
	for n < len(records) {
		_, rest, err := framed.Take(records[n:])
		if end := len(records) - len(rest); err != nil || end > framed.MaxPayload-1 && n > 0 {
			break
		} else {
			n = end
		}
		count++
	}
	return n, count
}

func (j *journal) replace(file []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(j.path), tempJournal)
	if err != nil {
		return err
	}
	_, err = temp.Write(file)
	err = errors.Join(err, temp.Sync())
	if err == nil {
		err = os.Rename(temp.Name(), j.path)
	}
	if err != nil {
		return errors.Join(err, temp.Close(), os.Remove(temp.Name()))
	}
	if j.f != nil {
		j.f.Close()
	}
	j.f, j.size = temp, int64(len(file))
	return syncDir(filepath.Dir(j.path))
}

// full reports whether the journal can't promise room for n more bytes. Half of its
// bound is for what is over, so that a full one is not written anew at each record.
func (j *journal) full(n int) bool {
	return int64(j.book.live+n+len(j.header)) > j.limit/2
}

// short reports whether the journal is about to be full: what can be had again is forgotten.
func (j *journal) short() bool { return j.full(int(j.limit / 4)) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
