package meter

import (
	"bytes"
	"encoding/json"
)

// events cuts a stream of server-sent events into whole ones, and reads what they tell
// of cost. What goes on to the renter are the back end's own bytes.
type events struct {
	hide bool // the chunk that tells usage is for us alone

	part []byte // an event that is not whole

	usage    usage
	produced uint64 // counted choices, where usage is not told
	done     bool   // "data: [DONE]" came
	failed   bool   // an event told an error
}

// maxEvent bounds what is held back of an event that does not end: a longer one goes on
// unread.
const maxEvent = 256 << 10

// take takes what came and returns what goes on: whole events, but for one that is
// hidden.
func (s *events) take(b []byte) (on []byte) {
	s.part = append(s.part, b...)
	for {
		n := eventEnd(s.part)
		if n == 0 {
			break
		}
		event := s.part[:n]
		if !s.read(event) {
			on = append(on, event...)
		}
		s.part = s.part[n:]
	}
	if len(s.part) > maxEvent {
		on, s.part = append(on, s.part...), nil
	}
	s.part = append([]byte(nil), s.part...)
	return on
}

// rest is what is left when the stream ended without a blank line.
func (s *events) rest() (on []byte) {
	if len(s.part) > 0 && !s.read(s.part) {
		on = s.part
	}
	s.part = nil
	return on
}

// eventEnd returns where the first event ends, after its blank line; 0 where it does not.
func eventEnd(b []byte) int {
	end := 0
	for _, blank := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		if i := bytes.Index(b, []byte(blank)); i >= 0 && (end == 0 || i+len(blank) < end) {
			end = i + len(blank)
		}
	}
	return end
}

// read reads an event and reports whether it is to be hidden.
func (s *events) read(event []byte) (hidden bool) {
	data := eventData(event)
	if len(data) == 0 {
		return false
	}
	if string(data) == "[DONE]" {
		s.done = true
		return false
	}
	var c chunk
	if json.Unmarshal(data, &c) != nil {
		return false
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		s.failed = true
	}
	s.produced += c.produces()
	// The last that tells usage counts: where each chunk tells it, it grows.
	if u := c.Usage.tokens(); u.known {
		s.usage = u
		return s.hide && len(c.Choices) == 0
	}
	return false
}

// eventData joins the data lines of an event.
func eventData(event []byte) []byte {
	var data []byte
	for line := range bytes.FieldsFuncSeq(event, func(r rune) bool { return r == '\n' || r == '\r' }) {
		rest, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		if data != nil {
			data = append(data, '\n')
		}
		data = append(data, bytes.TrimPrefix(rest, []byte(" "))...)
	}
	return bytes.TrimSpace(data)
}
