package worker

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// What a spool has to keep is bounded before it is promised: a reading is taken only where
// it, its statement and its ack fit besides those of all that waits already.
const (
	recordSize   = framed.Head + 1 // and the payload
	envelopeSize = recordSize + envelopeHead
	ackRoom      = envelopeSize + proofs.MaxAckBody
	refusalRoom  = recordSize + len(ionet.Hash{}) + maxProblem
	fixedRecords = recordSize + 8 + recordSize + momentSize + recordSize + 32 + 2*momentSize // sealed, life, chain
)

// maxProblem bounds a refusal's kind that is kept: a proxy may give a long one.
const maxProblem = 64

// live is how many bytes the file has once it is written anew.
func (s *Spool) live() int64 {
	n := len(s.header) + fixedRecords
	for _, it := range s.items {
		n += envelopeSize + len(it.e.Body)
		if it.ack != nil {
			n += envelopeSize + len(it.ack.Body)
		}
		if it.refused != "" {
			n += recordSize + len(it.id) + len(it.refused)
		}
	}
	for _, u := range s.readings {
		n += recordSize + readingSize(len(u.Devices))
	}
	return int64(n)
}

// promised is how much live may grow by without another reading: by the answers to all
// statements, and by the statements that readings become.
func (s *Spool) promised() int64 {
	n := len(s.readings) * (envelopeHead + ackRoom + refusalRoom)
	for _, it := range s.items {
		if it.ack == nil && it.refused == "" {
			n += ackRoom
		}
		if it.refused == "" {
			n += refusalRoom
		}
	}
	return int64(n)
}

// readingSize is the length of an uptime statement's body; FORMAT.md.
func readingSize(devices int) int { return 8 + 2 + 8 + 4*32 + 4 + 20*devices }

// capacity is what live and promised may come to. The rest of the bound is for records
// that are over: without it the file would be written anew at each append.
func (s *Spool) capacity() int64 { return s.limit - s.limit/16 }

// percent is how full the spool is.
func (s *Spool) percent() int { return int((s.live() + s.promised()) * 100 / max(s.capacity(), 1)) }

// room returns ErrSpoolFull where n bytes more may not be promised.
func (s *Spool) room(n int) error {
	if need := s.live() + s.promised(); need+int64(n) > s.capacity() {
		return fmt.Errorf("%w: of its %d bytes %d are taken, with the room for what the service has yet to answer", ErrSpoolFull, s.capacity(), need)
	}
	return nil
}

// shrink writes the file anew where n bytes more would put it over the bound and that
// helps. What was promised is kept all the same where it does not, or fails.
func (s *Spool) shrink(n int) {
	if s.broken != nil || s.size+int64(n) <= s.limit {
		return
	}
	if live := s.live(); live == s.size || live+int64(n) > s.limit {
		return
	}
	if err := s.rewrite(); err != nil {
		return // the old file is whole, or the spool is broken
	}
}

// nearlyFull is the percentage from which on a person is told.
const nearlyFull = 80
