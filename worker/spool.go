package worker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// DefaultSpoolBytes bounds a spool: more than a month of statements of a host with
// eight GPUs, one a minute.
const DefaultSpoolBytes = 64 << 20

// compactAbove is the file size from which a spool is written anew when most of
// it is about things that are gone.
const compactAbove = 1 << 18

// tempSpool is the name of a spool that is being written anew.
const tempSpool = ".spool-*"

// ErrSpoolFull reports a spool that holds as much as it may: nothing new is signed
// until epochs are sealed.
var ErrSpoolFull = errors.New("spool is full")

// Spool is the durable queue of a worker: one file to which records are appended.
// A method that changes it returns nil only when the change is synced. It is not
// safe for concurrent use.
type Spool struct {
	state
	path   string
	f      *os.File
	header []byte
	size   int64 // of the file
	limit  int64
	cut    int64 // bytes of an interrupted write that opening removed
	broken error // a failed write that could not be undone
}

// openSpool opens or makes the spool of that worker on that network. What a crash
// left of a record at the end of the file is removed: it was never acted on.
func openSpool(path string, network ionet.Hash, worker ionet.Key, limit int64) (*Spool, error) {
	if limit == 0 {
		limit = DefaultSpoolBytes
	}
	header := append([]byte(spoolMagic), network[:]...)
	s := &Spool{state: newState(), path: path, header: append(header, worker[:]...), limit: limit}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open spool %s: %w", path, err)
	}
	return s, nil
}

func (s *Spool) open() error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(s.path), tempSpool)) // by a crash while the spool was written anew
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	file, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rewrite() // a new spool is as durable as what comes into it
	}
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(file, []byte(spoolMagic)) || len(file) < spoolHeader {
		return errors.New("it is not a spool")
	}
	if !bytes.Equal(file[:spoolHeader], s.header) {
		return errors.New("it belongs to another network or another worker's key: use another folder")
	}
	good, err := s.load(file[spoolHeader:])
	if err != nil {
		return err
	}
	s.size = int64(spoolHeader) + good
	s.cut = int64(len(file)) - s.size
	if s.f, err = os.OpenFile(s.path, os.O_RDWR, 0o600); err != nil {
		return err
	}
	if s.cut == 0 {
		return nil
	}
	return errors.Join(s.f.Truncate(s.size), s.f.Sync())
}

// load applies all whole records and returns their length.
func (s *Spool) load(b []byte) (good int64, err error) {
	for len(b) > 0 {
		payload, rest, err := framed.Take(b)
		if err != nil {
			if framed.WholeAfter(b) {
				return 0, fmt.Errorf("it is damaged at byte %d, before its end: put the file aside and start with a new one", int64(spoolHeader)+good)
			}
			return good, nil
		}
		if err := s.apply(bytes.Clone(payload)); err != nil {
			return 0, fmt.Errorf("record at byte %d: %w", int64(spoolHeader)+good, err)
		}
		good += int64(len(b) - len(rest))
		b = rest
	}
	return good, nil
}

// Close closes the file.
func (s *Spool) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// append makes the records durable, then applies them. When it returns an error
// the spool is as it was before, or broken for good.
func (s *Spool) append(records []byte) error {
	s.shrink(len(records))
	if s.broken != nil {
		return s.broken
	}
	_, err := s.f.WriteAt(records, s.size)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		// After a failed sync the kernel may have dropped the pages: what the file
		// holds is not known until it is read again.
		s.broken = fmt.Errorf("write spool %s: %w", s.path, err)
		return s.broken
	}
	s.size += int64(len(records))
	for len(records) > 0 {
		payload, rest, err := framed.Take(records)
		if err == nil {
			err = s.apply(bytes.Clone(payload))
		}
		if err != nil {
			s.broken = fmt.Errorf("write spool %s: %w", s.path, err)
			return s.broken
		}
		records = rest
	}
	return nil
}

// AddReading keeps a reading, which waits for its beacon.
func (s *Spool) AddReading(u proofs.Uptime) error {
	body, err := u.Encode()
	if err != nil {
		return fmt.Errorf("keep a reading: %w", err)
	}
	record := framed.Append(nil, tagReading, body)
	// Its statement and the answer to that need room as well.
	if err := s.room(len(record) + envelopeHead + ackRoom + refusalRoom); err != nil {
		return err
	}
	return s.append(record)
}

// AddStatement keeps a statement; once it returns nil the statement may be sent.
// An uptime statement takes the place of its sample's reading.
func (s *Spool) AddStatement(e proofs.Envelope) error {
	return s.append(framed.Append(nil, tagStatement, e.Append(nil)))
}

// AddAck keeps the service's ack of a statement.
func (s *Spool) AddAck(e proofs.Envelope) error {
	return s.append(framed.Append(nil, tagAck, e.Append(nil)))
}

// Refuse notes that the service refused a statement for good.
func (s *Spool) Refuse(id ionet.Hash, problem string) error {
	return s.append(framed.Append(nil, tagRefused, id[:], []byte(problem[:min(len(problem), maxProblem)])))
}

// GiveUp drops a reading that can get no beacon any more.
func (s *Spool) GiveUp(epoch uint64, sample uint16) error {
	return s.append(framed.Append(nil, tagGivenUp, moment{epoch, sample}.encode()))
}

// Seal drops the uptime statements of all epochs up to that one.
func (s *Spool) Seal(epoch uint64) error {
	if err := s.append(framed.Append(nil, tagSealed, binary.LittleEndian.AppendUint64(nil, epoch))); err != nil {
		return err
	}
	if live := s.live(); s.size > compactAbove && s.size > 2*live {
		return s.rewrite()
	}
	return nil
}

// SkipTo notes that samples up to that one are over without a statement.
func (s *Spool) SkipTo(epoch uint64, sample uint16) error {
	if m := (moment{epoch, sample}); s.read.before(m) {
		return s.append(framed.Append(nil, tagChain, s.last[:], m.encode(), s.signed.encode()))
	}
	return nil
}

// NewLife notes that this key signed up to that sample without this spool's knowledge:
// nothing up to there is signed again, and the chain of statements begins anew, for
// another statement may already name the last one that we know.
func (s *Spool) NewLife(epoch uint64, sample uint16) error {
	return s.append(framed.Append(nil, tagNewLife, moment{epoch, sample}.encode()))
}

// Back drops readings of samples after that one: they were made by a wrong clock.
func (s *Spool) Back(epoch uint64, sample uint16) error {
	if m := (moment{epoch, sample}); m.before(s.read) {
		return s.append(framed.Append(nil, tagBack, m.encode()))
	}
	return nil
}

// Recast puts readings where place says that they belong, and returns the samples whose
// readings are gone for good. Either all of it is durable or nothing.
func (s *Spool) Recast(place func(proofs.Uptime) (m moment, ok bool)) (lost []moment, err error) {
	lost, changed := s.recast(place)
	if !changed {
		return nil, nil
	}
	if err := s.rewrite(); err != nil {
		s.broken = fmt.Errorf("put readings in their places: %w", err)
		return nil, s.broken
	}
	return lost, nil
}

// rewrite puts a file in place that holds the state alone. Until the rename the old
// file is whole; after it the new one is, and was synced before.
func (s *Spool) rewrite() error {
	if s.broken != nil {
		return s.broken
	}
	b := append(bytes.Clone(s.header), s.records()...)
	temp, err := os.CreateTemp(filepath.Dir(s.path), tempSpool)
	if err != nil {
		return fmt.Errorf("write spool anew: %w", err)
	}
	_, err = temp.Write(b)
	err = errors.Join(err, temp.Sync())
	if err == nil {
		err = os.Rename(temp.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write spool anew: %w", err), temp.Close(), os.Remove(temp.Name()))
	}
	if s.f != nil {
		s.f.Close()
	}
	s.f, s.size = temp, int64(len(b))
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		s.broken = fmt.Errorf("write spool anew: %w", err)
		return s.broken
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
