package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// openFor serves the same service with little patience.
func (h *house) openFor(wait time.Duration) {
	h.t.Helper()
	server := httptest.NewServer(Handler(Config{Service: h.service, Files: h.folder, BodyWait: wait}))
	h.t.Cleanup(server.Close)
	h.url = server.URL
}

// openGates serves the same service with all patience, and returns what bounds its bodies.
func (h *house) openGates() *gates {
	h.t.Helper()
	serving := newHandler(Config{Service: h.service, Files: h.folder, BodyWait: time.Hour})
	server := httptest.NewServer(serving.routes())
	h.t.Cleanup(server.Close)
	h.url = server.URL
	return serving.gates
}

// A sender that stops in the middle is told so, keeps no place, and is answered for
// what it sent before; others are served meanwhile.
func TestSlowBodies(t *testing.T) {
	h := open(t)
	h.openFor(300 * time.Millisecond)
	all := h.strangers(1100)
	var good []byte
	for _, e := range all {
		good = e.Append(good)
	}
	for _, c := range []struct {
		name, coding string
		before       []byte
		results      int
		status       int
	}{
		{"in the first envelope", "", good[:50], 0, 408},
		{"in the second chunk", "", good[:len(good)-7], 1000 + 99, 200},
		{"between two statements", "", all[0].Append(nil), 0, 408},
		{"before anything", "", nil, 0, 408},
		{"before a gzip header", "gzip", nil, 0, 408},
		{"in a zstd header", "zstd", window(1 << 20)[:5], 0, 408},
		{"in a zstd block", "zstd", readAll(t, squeezed("zstd", bytes.NewReader(good)))[:20_000], 0, 408},
		{"in a gzip block", "gzip", readAll(t, squeezed("gzip", bytes.NewReader(good)))[:20_000], 0, 408},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res := slow(t, h, c.coding, c.before)
			b, err := io.ReadAll(res.Body)
			check(t, err)
			var out client.Results
			if res.StatusCode != http.StatusOK {
				out.Problem = &client.Problem{}
				check(t, json.Unmarshal(b, out.Problem))
			} else {
				check(t, json.Unmarshal(b, &out))
			}
			if res.StatusCode != c.status || len(out.Results) != c.results || out.Problem == nil || out.Problem.Kind() != client.SlowBody {
				t.Errorf("status %d, %d results, ends with %+v", res.StatusCode, len(out.Results), out.Problem)
			}
		})
	}
}

// slow sends these bytes of a body and no more, and reads the answer.
func slow(t *testing.T, h *house, coding string, before []byte) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(h.stall(t, coding, before)), nil)
	check(t, err)
	return res
}

// stall sends these bytes of a body and no more.
func (h *house) stall(t *testing.T, coding string, before []byte) net.Conn {
	t.Helper()
	return h.stallOf(t, coding, before, 900_000)
}

// stallOf is stall of a body that says it has so many bytes.
func (h *house) stallOf(t *testing.T, coding string, before []byte, size int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	head := fmt.Sprintf("POST /v1/statements HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%s: %s\r\nContent-Length: %d\r\n",
		client.StatementsMediaType, client.NetworkHeader, client.NetworkText(h.network.ID()), size)
	if coding != "" {
		head += "Content-Encoding: " + coding + "\r\n"
	}
	_, err = conn.Write(append([]byte(head+"\r\n"), before...))
	check(t, err)
	return conn
}

// Who asks for much memory waits for others who do, and nobody else does.
func TestLargeWindowsAreFew(t *testing.T) {
	h := open(t)
	g := h.openGates()
	g.slowGrace, g.roomGrace = time.Minute, time.Minute // they are not late yet
	e := h.strangers(1)[0]
	var conns []net.Conn
	for range largeDecoders {
		// A frame of a large window whose first block never ends.
		conns = append(conns, h.stall(t, "zstd", append(append(window(8 << 20)[:6], 0, 0x35, 0x0c), make([]byte, 50)...)))
	}
	frame := append(window(8 << 20)[:6], 0x01, 0, 0)
	var out client.Results
	status := 0
	for range 500 { // until they are all in
		if out, status = h.answered(flood{coding: "zstd", body: bytes.NewReader(frame)}); status == http.StatusTooManyRequests {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if status != http.StatusTooManyRequests || out.Problem.Kind() != client.Busy || out.Problem.RetryAfter != time.Second {
		t.Errorf("one more gets status %d, %+v", status, out.Problem)
	}
	for _, coding := range []string{"zstd", "gzip"} {
		if out, status := h.answered(flood{coding: coding, body: squeezed(coding, bytes.NewReader(e.Append(nil)))}); status != 404 || out.Problem.Kind() != client.UnknownWorker {
			t.Errorf("a small one of %s gets status %d, %+v", coding, status, out.Problem)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	for range 500 {
		if _, status = h.answered(flood{coding: "zstd", body: bytes.NewReader(frame)}); status == http.StatusBadRequest {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after they ended the next gets status %d", status)
}

// Large bodies that stall take no more memory than there is for them: the rest is told to
// come again, and a host with its one statement is served as ever.
func TestLargeBodiesAreBounded(t *testing.T) {
	h := open(t)
	h.openGates().free[largeBytes] = 6 << 20
	big := bytes.Repeat([]byte{7}, 600<<10)
	big[97], big[98] = 0xff, 0xff // the first envelope is a whole one, and so on
	before, away := heap(), 0
	answers := make(chan int, 30)
	for range cap(answers) {
		conn := h.stall(t, "", big)
		go func() {
			status := 0 // it waits for more
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				status = res.StatusCode
				if res.Header.Get("Retry-After") == "" {
					status = -status
				}
			}
			answers <- status
		}()
	}
	one := h.strangers(1)[0].Append(nil)
	for range 20 {
		if out, status := h.answered(flood{body: bytes.NewReader(one)}); status != 404 || out.Problem.Kind() != client.UnknownWorker {
			t.Errorf("one statement meanwhile gets status %d, %+v", status, out.Problem)
		}
	}
	if after := heap(); after > before+24<<20 {
		t.Errorf("the heap grew from %d to %d MiB", before>>20, after>>20)
	}
	for range cap(answers) {
		switch status := <-answers; status {
		case 0:
		case http.StatusTooManyRequests:
			away++
		default:
			t.Errorf("one of them gets status %d", status)
		}
	}
	if away < 15 || away == cap(answers) {
		t.Errorf("%d of %d are told to come again", away, cap(answers))
	}
}
