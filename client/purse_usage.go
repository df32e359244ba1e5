package client

import (
	"bytes"
	"encoding/json"

	"github.com/ionet-settlement/ionet/proofs"
)

// used is how many units an answer itself says that it took.
type used struct {
	units uint64
	known bool
}

// wireUsage is usage as OpenAI's API has it.
type wireUsage struct {
	Prompt     uint64 `json:"prompt_tokens"`
	Completion uint64 `json:"completion_tokens"`
	Total      uint64 `json:"total_tokens"`
}

func (w *wireUsage) tokens() used {
	if w == nil {
		return used{}
	}
	return used{max(w.Total, w.Prompt+w.Completion), true}
}

// usedUnits reads a whole answer.
func usedUnits(unit string, body []byte) used {
	var said struct {
		Usage *wireUsage        `json:"usage"`
		Data  []json.RawMessage `json:"data"`
	}
	if len(body) == 0 || json.Unmarshal(body, &said) != nil {
		return used{}
	}
	switch {
	case unit == proofs.UnitToken.String():
		return said.Usage.tokens()
	case unit == proofs.UnitImage.String() && said.Data != nil:
		return used{uint64(len(said.Data)), true}
	}
	return used{}
}

// maxLine bounds the line of a stream that is looked at; those that tell usage are short.
const maxLine = 64 << 10

// streamUsage reads usage out of a stream of events as it passes.
type streamUsage struct {
	line []byte
	long bool // the line has more than is looked at
	used used // the most that was told
}

// take reads what came.
func (s *streamUsage) take(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\r\n")
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if s.long = s.long || len(s.line)+len(part) > maxLine; !s.long {
			s.line = append(s.line, part...)
		}
		if i < 0 {
			return
		}
		s.end()
		b = b[i+1:]
	}
}

// end reads a whole line.
func (s *streamUsage) end() {
	data, isData := bytes.CutPrefix(s.line, []byte("data:"))
	if isData && !s.long && bytes.Contains(data, []byte(`"usage"`)) {
		var said struct {
			Usage *wireUsage `json:"usage"`
		}
		if json.Unmarshal(data, &said) == nil {
			if u := said.Usage.tokens(); u.known && u.units >= s.used.units {
				s.used = u
			}
		}
	}
	s.line, s.long = s.line[:0], false
}
