package web

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// How much memory bodies may take while they are read. A slow sender holds what it
// sent and no more, so that many of them hold little; and large bodies do not keep
// small ones out, such as the one statement that a host sends.
const (
	smallBody   = 64 << 10
	smallBudget = 32 << 20  // of all bodies together that are not larger yet
	largeBudget = 128 << 20 // of the others; decoded and not yet handed on

	// A zstd decoder takes the window that the sender names: RFC 9659 has 8 MiB as the
	// largest. Those that ask for much wait for each other, not the rest for them.
	smallWindow, largeWindow                  = 1 << 20, 8 << 20
	zipDecoders, smallDecoders, largeDecoders = 512, 64, 4
)

// Statements are signatures and hashes and hardly compress. What does is none: it is
// read no further than this, so that a few bytes can't make us work for long.
const (
	maxRatio = 16
	ratioOff = 1 << 20 // decoded bytes from which on the ratio counts
)

// gates bounds what bodies that are read take of this process: bytes that are free, and
// decoders of gzip, and of zstd with a small and a large window.
type gates struct {
	freeSmall, freeLarge  atomic.Int64
	zips, windows, larges chan struct{}
}

func newGates() *gates {
	g := &gates{zips: make(chan struct{}, zipDecoders), windows: make(chan struct{}, smallDecoders), larges: make(chan struct{}, largeDecoders)}
	g.freeSmall.Store(smallBudget)
	g.freeLarge.Store(largeBudget)
	return g
}

// free is the budget that a body of n bytes takes from.
func (g *gates) free(n int) *atomic.Int64 {
	if n <= smallBody {
		return &g.freeSmall
	}
	return &g.freeLarge
}

// take takes n bytes, or reports that too few are left.
func (g *gates) take(n int) bool {
	free := g.free(n)
	if free.Add(int64(-n)) < 0 {
		free.Add(int64(n))
		return false
	}
	return true
}

// give gives back what take took.
func (g *gates) give(n int) { g.free(n).Add(int64(n)) }

// enter takes a place for a decoder, and returns how to leave it.
func enter(gate chan struct{}) (leave func(), p *problem) {
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, nil
	default:
		return nil, busy("too many compressed bodies are being read: send it again in a moment, or without Content-Encoding")
	}
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// body is a request's body, decoded and bounded.
type body struct {
	sent   counted   // as it came
	r      io.Reader // decoded
	coding string
	n      int64 // decoded bytes so far
	close  func()
}

// openBody prepares to decode a body. The caller closes it.
func (g *gates) openBody(r *http.Request) (*body, *problem) {
	b := &body{sent: counted{r: r.Body}, coding: strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))), close: func() {}}
	if len(r.Header.Values("Content-Encoding")) > 1 {
		b.coding = strings.Join(r.Header.Values("Content-Encoding"), ", ")
	}
	switch b.coding {
	case "", "identity":
		if r.ContentLength > client.MaxStream {
			return nil, tooLarge()
		}
		b.r = &b.sent
		return b, nil
	case "gzip", "x-gzip":
		b.r = &lateGzip{from: bufio.NewReader(&b.sent)}
		var p *problem
		b.close, p = enter(g.zips)
		return b, p
	case "zstd":
		return b, g.openZstd(b)
	}
	p := newProblem(http.StatusUnsupportedMediaType, client.WrongMediaType, "The Content-Encoding is not accepted", "Content-Encoding",
		fmt.Sprintf("Content-Encoding is %q: send gzip, zstd, or none", b.coding))
	p.headers = http.Header{"Accept-Encoding": {"gzip, zstd"}}
	return nil, p
}

// lateGzip reads the header with the first bytes, so that an empty or slow body is
// found out where every other is.
type lateGzip struct {
	from *bufio.Reader
	zip  *gzip.Reader
}

func (l *lateGzip) Read(b []byte) (n int, err error) {
	if l.zip == nil {
		if l.zip, err = gzip.NewReader(l.from); err != nil {
			l.zip = nil
			return 0, err
		}
	}
	return l.zip.Read(b)
}

// openZstd waits for the frame's header, which says how much memory it needs.
func (g *gates) openZstd(b *body) *problem {
	from := bufio.NewReaderSize(&b.sent, 4<<10)
	head, err := from.Peek(zstd.HeaderMaxSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return b.broken(err)
	}
	var header zstd.Header
	if len(head) > 0 && header.Decode(head) != nil {
		return b.broken(errors.New("it does not begin with a zstd frame"))
	}
	window, gate := uint64(smallWindow), g.windows
	if header.WindowSize > smallWindow {
		window, gate = largeWindow, g.larges
	}
	leave, p := enter(gate)
	if p != nil {
		return p
	}
	// A later frame of the body that wants a larger window is an error.
	d, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		leave()
		return b.broken(err)
	}
	b.r, b.close = d, func() { d.Close(); leave() }
	return nil
}

// read fills buf with what comes next, as io.Reader does.
func (b *body) read(buf []byte) (int, *problem, bool) {
	n, err := b.r.Read(buf)
	b.n += int64(n)
	switch {
	case b.n > client.MaxStream:
		return 0, tooLarge(), false
	case b.n > ratioOff && b.n > maxRatio*b.sent.n:
		return 0, newProblem(http.StatusRequestEntityTooLarge, client.BodyTooLarge, "The request is too large", "body",
			fmt.Sprintf("the body is compressed more than %d times: statements are not", maxRatio)), false
	case err == nil:
		return n, nil, false
	case errors.Is(err, io.EOF):
		return n, nil, true
	}
	return 0, b.broken(err), false
}

func tooLarge() *problem {
	return wireProblem(settlement.NewProblem(settlement.ProblemBodyTooLarge, "body", "the body has more than %d bytes", client.MaxStream))
}

// broken says why the body can't be read to its end.
func (b *body) broken(err error) *problem {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return newProblem(http.StatusRequestTimeout, client.SlowBody, "The request came too slowly", "body",
			fmt.Sprintf("the body came too slowly: send %d statements, or the last of them, faster, or fewer at once", client.MaxStatements))
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return newProblem(http.StatusUnsupportedMediaType, client.WrongMediaType, "The Content-Encoding is not accepted", "Content-Encoding",
			fmt.Sprintf("body: its zstd window is larger than %d bytes, or than that of the body's first frame", largeWindow))
	}
	what := "the body ended early"
	if b.coding != "" && b.coding != "identity" {
		what = "the body is not whole " + b.coding
	}
	return wireProblem(settlement.NewProblem(settlement.ProblemMalformedEnvelope, "body", "%s: %v", what, err))
}
