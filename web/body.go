package web

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// Statements are signatures and hashes and hardly compress. What does is none: it is
// read no further than this, so that a few bytes can't make us work for long.
const (
	maxRatio = 16
	ratioOff = smallBody // decoded bytes from which on the ratio counts
)

// body is a request's body, decoded and bounded.
type body struct {
	*holder
	r       io.Reader // decoded
	coding  string
	n       int64 // decoded bytes so far
	decoder io.Closer
}

// openBody prepares to decode a body. The caller closes it, also one with a problem.
func openBody(r *http.Request, from *holder) (*body, *problem) {
	b := &body{holder: from, coding: strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))}
	if len(r.Header.Values("Content-Encoding")) > 1 {
		b.coding = strings.Join(r.Header.Values("Content-Encoding"), ", ")
	}
	switch b.coding {
	case "", "identity":
		b.r = from
		if r.ContentLength > client.MaxStream {
			return b, tooLarge()
		}
		return b, nil
	case "gzip", "x-gzip":
		b.r = &lateGzip{from: bufio.NewReader(from)}
		return b, b.enter(gzips)
	case "zstd":
		return b, b.openZstd()
	}
	p := newProblem(http.StatusUnsupportedMediaType, client.WrongMediaType, "The Content-Encoding is not accepted", "Content-Encoding",
		fmt.Sprintf("Content-Encoding is %q: send gzip, zstd, or none", b.coding))
	p.headers = http.Header{"Accept-Encoding": {"gzip, zstd"}}
	return b, p
}

// enter takes a place for a decoder.
func (b *body) enter(k kind) *problem {
	if b.take(k, 1) {
		return nil
	}
	return busy("Content-Encoding", "too many compressed bodies are being read: send it again without Content-Encoding, or in a moment")
}

// close gives back all that the body holds; it may be called again.
func (b *body) close() {
	if b.decoder != nil {
		_ = b.decoder.Close()
		b.decoder = nil
	}
	b.holder.close()
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
func (b *body) openZstd() *problem {
	from := bufio.NewReaderSize(b.holder, 4<<10)
	head, err := from.Peek(zstd.HeaderMaxSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return b.broken(err)
	}
	var header zstd.Header
	if len(head) > 0 && header.Decode(head) != nil {
		return b.broken(errors.New("it does not begin with a zstd frame"))
	}
	window, place := uint64(smallWindow), smallZstds
	if header.WindowSize > smallWindow {
		window, place = largeWindow, largeZstds
	}
	if p := b.enter(place); p != nil {
		return p
	}
	// A later frame of the body that wants a larger window is an error.
	d, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return b.broken(err)
	}
	b.r, b.decoder = d, d.IOReadCloser()
	return nil
}

// read fills buf with what comes next, as io.Reader does.
func (b *body) read(buf []byte) (int, *problem, bool) {
	n, err := b.r.Read(buf)
	b.n += int64(n)
	switch {
	case b.n > client.MaxStream:
		return 0, tooLarge(), false
	case b.n > ratioOff && b.n > maxRatio*b.total:
		return 0, newProblem(http.StatusRequestEntityTooLarge, client.BodyTooLarge, "The request is too large", "Content-Encoding",
			fmt.Sprintf("the body is compressed more than %d times, which statements hardly are: send it without Content-Encoding", maxRatio)), false
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

func slowBody() *problem {
	return newProblem(http.StatusRequestTimeout, client.SlowBody, "The request came too slowly", "body",
		fmt.Sprintf("the body came too slowly: send %d statements, or the last of them, faster, or fewer at once", client.MaxStatements))
}

// broken says why the body can't be read to its end.
func (b *body) broken(err error) *problem {
	var timeout interface{ Timeout() bool }
	ended := b.why()
	switch {
	case ended != nil:
		return ended
	case errors.As(err, &timeout) && timeout.Timeout():
		return slowBody()
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
