package web

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// defaultBodyWait is how long a chunk of statements may take to come; busyRetry after
// what time we ask to come again when we can't take more.
const (
	defaultBodyWait = 30 * time.Second
	busyRetry       = time.Second
)

// firstRead is how large a chunk's memory is at first. It doubles as bytes come, so that who
// sends little holds little.
const firstRead = 4 << 10

// fullChunk is room for a chunk and the envelope that makes it full.
const fullChunk = client.MaxBody + 1<<17

// envelopeHead is what an envelope has before its body; FORMAT.md, section 3.
const envelopeHead = 1 + 32 + 64 + 2

// stream reads envelopes back to back, a chunk of statements at a time.
type stream struct {
	body  *body
	begin func()   // a chunk begins: its time runs
	buf   []byte   // read and not yet handed on
	held  int      // bytes that the body holds for buf
	out   int      // and for the chunk that was handed on last
	ended bool     // nothing comes after buf
	first bool     // no chunk was handed on yet
	count int      // envelopes handed on
	late  *problem // why nothing comes after the chunk that was handed on last
}

// done reports whether all was handed on.
func (s *stream) done() bool { return s.ended && len(s.buf) == 0 && s.late == nil }

func (s *stream) close() {
	s.held, s.out = 0, 0
	s.body.close()
}

// next returns the statements that come next, each with the ack that follows it: at
// most client.MaxStatements, and more than client.MaxBody bytes only by the last of
// them; none at the end. The problem says why nothing comes after them. Of a body
// whose first chunk is not whole nothing is returned, nor of one that makes room for
// others. A chunk's memory counts as taken until the next one is asked for.
func (s *stream) next() ([]settlement.Submitted, *problem) {
	s.begin()
	if !s.first {
		s.body.anew()
	}
	s.drop(&s.out)
	if s.late != nil {
		return nil, s.late
	}
	c := chunk{s: s}
	p := c.fill()
	if p != nil && (s.first || s.body.madeRoom()) {
		s.buf = nil
		s.close() // somebody waits for it
		return nil, p
	}
	s.first = false
	list, err := parseStatements(s.buf[:c.end], s.count)
	if err != nil {
		return nil, malformed(err)
	}
	s.count += c.envelopes
	// The statements keep the memory that they were read into; what follows moves on.
	rest := s.buf[c.end:]
	s.out, s.held, s.buf = s.held, 0, nil
	if len(rest) > 0 && p == nil {
		if s.late = s.grow(len(rest)); s.late == nil {
			s.buf = append(s.buf, rest...)
		}
	}
	return list, p
}

// bytesOf is what a buffer of n bytes is of.
func bytesOf(n int) kind {
	if n <= smallBody {
		return smallBytes
	}
	return largeBytes
}

// drop gives back the bytes of a buffer.
func (s *stream) drop(n *int) {
	s.body.give(bytesOf(*n), *n)
	*n = 0
}

// grow makes room for n more bytes.
func (s *stream) grow(n int) *problem {
	if len(s.buf)+n <= cap(s.buf) {
		return nil
	}
	size := max(min(2*cap(s.buf), fullChunk), len(s.buf)+n, firstRead)
	if !s.body.take(bytesOf(size), size) {
		return busy("", "too many statements are coming in: send them again in a moment")
	}
	s.drop(&s.held)
	s.held = size
	s.buf = append(make([]byte, 0, size), s.buf...)
	return nil
}

// read reads what comes next behind buf.
func (s *stream) read() *problem {
	if p := s.grow(1); p != nil {
		return p
	}
	n, p, ended := s.body.read(s.buf[len(s.buf):cap(s.buf)])
	s.buf, s.ended = s.buf[:len(s.buf)+n], ended
	return p
}

// chunk is the part of a stream's buf that is handed on together.
type chunk struct {
	s                     *stream
	end                   int // of the last whole envelope
	envelopes, statements int
	acked                 bool // the last one is an ack
}

// fill reads until the chunk is full or the body ends.
func (c *chunk) fill() *problem {
	for {
		rest := c.s.buf[c.end:]
		switch size, kind, ok := sizeOf(rest); {
		case len(rest) > 0 && kind != proofs.KindAck && (c.statements == client.MaxStatements || c.end >= client.MaxBody):
			return nil
		case len(rest) > 0 && kind == proofs.KindAck && (c.statements == 0 || c.acked):
			return malformed(fmt.Errorf("envelope %d is an ack that follows no statement", c.s.count+c.envelopes))
		case ok:
			c.end, c.acked = c.end+size, kind == proofs.KindAck
			if c.envelopes++; !c.acked {
				c.statements++
			}
		case c.s.ended && len(rest) > 0:
			_, _, err := proofs.ParseEnvelope(rest)
			return malformed(fmt.Errorf("envelope %d: %w", c.s.count+c.envelopes, err))
		case c.s.ended:
			if c.s.count+c.envelopes == 0 {
				return malformed(errors.New("the body holds no envelope"))
			}
			return nil
		default:
			if p := c.s.read(); p != nil {
				return p
			}
		}
	}
}

// usualEnvelope is a little less than the statement of a host with one GPU.
const usualEnvelope = 256

// sizeOf returns the size and the kind of the envelope at the front of b, and whether
// all of it is there. The kind is known from the first byte on.
func sizeOf(b []byte) (size int, kind proofs.Kind, whole bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	kind = proofs.Kind(b[0])
	if len(b) < envelopeHead {
		return 0, kind, false
	}
	size = envelopeHead + int(binary.LittleEndian.Uint16(b[envelopeHead-2:]))
	return size, kind, len(b) >= size
}

// busy asks to come again, without the field if it names one.
func busy(field, detail string) *problem {
	p := settlement.NewProblem(settlement.ProblemBusy, field, "%s", detail)
	p.Retry = busyRetry
	return wireProblem(p)
}

func malformed(err error) *problem {
	return wireProblem(settlement.NewProblem(settlement.ProblemMalformedEnvelope, "body", "%v", err))
}

// parseStatements splits whole envelopes, of which the first is the body's n-th, into
// statements, each with the ack that follows it.
func parseStatements(b []byte, n int) ([]settlement.Submitted, error) {
	list := make([]settlement.Submitted, 0, 1+len(b)/usualEnvelope)
	for ; len(b) > 0; n++ {
		e, rest, err := proofs.ParseEnvelope(b)
		if err != nil {
			return nil, fmt.Errorf("envelope %d: %w", n, err)
		}
		b = rest
		if e.Kind != proofs.KindAck {
			list = append(list, settlement.Submitted{Envelope: e})
			continue
		}
		if len(list) == 0 || list[len(list)-1].Ack != nil {
			return nil, fmt.Errorf("envelope %d is an ack that follows no statement", n)
		}
		list[len(list)-1].Ack = &e
	}
	return list, nil
}
