package web

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// answers writes the results of statements as they come: one JSON object, or one
// object a line where the sender asks for client.LinesMediaType. Where the connection
// is gone nobody is left to tell: the sender asks again.
type answers struct {
	w     *bufio.Writer
	to    http.ResponseWriter
	in    *stream // what they answer
	lines bool
	n     int
	text  []byte // of the last result, and memory for the next
	ack   []byte // its envelope
}

// newAnswers begins the answer. One that is of several chunks goes out while the
// request still comes in.
func newAnswers(w http.ResponseWriter, r *http.Request, in *stream) *answers {
	a := &answers{to: w, in: in, lines: asksForLines(r)}
	size := 16 << 10
	if in.done() {
		size = min(size, 1<<10*max(in.count, 1)) // most hosts send one statement at a time
	}
	a.w = bufio.NewWriterSize(a, size)
	if !in.done() {
		// HTTP/2 has it always. In HTTP/1 a connection whose request was not read to its
		// end is of no more use, and we can't say so later.
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Connection", "close")
	}
	media := "application/json"
	if a.lines {
		media = client.LinesMediaType
	}
	w.Header().Set("Content-Type", media)
	if !a.lines {
		_, _ = io.WriteString(a.w, `{"results":[`)
	}
	return a
}

func asksForLines(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for media := range strings.SplitSeq(accept, ",") {
			media, _, _ = strings.Cut(media, ";")
			if strings.TrimSpace(media) == client.LinesMediaType {
				return true
			}
		}
	}
	return false
}

func (a *answers) add(r client.Result) {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // its fields can't fail
	}
	a.write(append(b, '\n'))
}

// addAcked is add for a statement that is stored: nearly all are. It writes what add
// would, without asking each value what it is.
func (a *answers) addAcked(r *settlement.Result) {
	b := append(a.text[:0], `{"id":"`...)
	b = hex.AppendEncode(b, r.ID[:])
	b = append(b, `","status":"`...)
	b = append(b, r.Status...)
	b = append(b, `","ack":"`...)
	a.ack = r.Ack.Append(a.ack[:0])
	b = base64.StdEncoding.AppendEncode(b, a.ack)
	a.text = append(b, '"', '}', '\n')
	a.write(a.text)
}

func (a *answers) write(line []byte) {
	if !a.lines && a.n > 0 {
		_ = a.w.WriteByte(',')
	}
	a.n++
	_, _ = a.w.Write(line)
}

// Write waits for who reads the answers. Of a body that was ended what is left goes out
// as long as the connection lets it.
func (a *answers) Write(b []byte) (n int, err error) {
	a.waits(func() int {
		n, err = a.to.Write(b)
		return n
	})
	return n, err
}

// waits has f wait for the peer.
func (a *answers) waits(f func() int) {
	begun := a.in.body.begin(false)
	if n := f(); begun {
		a.in.body.came(n)
	}
}

// flush hands out what was added.
func (a *answers) flush() {
	if a.w.Flush() != nil {
		return
	}
	a.waits(func() int {
		_ = http.NewResponseController(a.to).Flush()
		return 0
	})
}

// end ends the answer. The problem says why the rest of the stream was not read.
func (a *answers) end(p *problem) {
	tail := struct {
		Problem *client.Problem `json:"problem"`
	}{}
	var b []byte
	if p != nil {
		tail.Problem = &p.Problem
		b, _ = json.Marshal(tail)
	}
	switch {
	case a.lines && p != nil:
		_, _ = a.w.Write(append(b, '\n'))
	case !a.lines && p != nil:
		_, _ = a.w.Write(append([]byte("],"), b[1:]...))
	case !a.lines:
		_, _ = io.WriteString(a.w, "]}\n")
	}
	_ = a.w.Flush()
}
