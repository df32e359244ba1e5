package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// flood is what somebody sends to /v1/statements.
type flood struct {
	coding, accept string
	body           io.Reader
}

func (h *house) pour(f flood) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url+"/v1/statements", f.body)
	check(h.t, err)
	req.Header.Set("Content-Type", client.StatementsMediaType)
	req.Header.Set(client.NetworkHeader, client.NetworkText(h.network.ID()))
	for name, value := range map[string]string{"Content-Encoding": f.coding, "Accept": f.accept} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := http.DefaultClient.Do(req)
	check(h.t, err)
	h.t.Cleanup(func() { res.Body.Close() })
	return res
}

// answered reads an answer of one JSON object.
func (h *house) answered(f flood) (out client.Results, status int) {
	h.t.Helper()
	res := h.pour(f)
	b, err := io.ReadAll(res.Body)
	check(h.t, err)
	if res.Header.Get("Content-Type") == client.ProblemMediaType {
		out.Problem = &client.Problem{}
		check(h.t, json.Unmarshal(b, out.Problem))
		return out, res.StatusCode
	}
	if err := json.Unmarshal(b, &out); err != nil {
		h.t.Fatalf("the answer is no JSON: %v: %.300s", err, b)
	}
	return out, res.StatusCode
}

// strangers are n statements with good signatures of a worker that nobody knows.
func (h *house) strangers(n int) []proofs.Envelope {
	h.t.Helper()
	all := make([]proofs.Envelope, n)
	for i := range all {
		body, err := proofs.Uptime{Epoch: 1, BeaconSlot: uint64(i), Devices: make([]proofs.UptimeDevice, 1)}.Encode()
		check(h.t, err)
		all[i] = h.sign(proofs.KindUptime, "stranger", body)
	}
	return all
}

// A hundred thousand statements are one request, answered line by line while it
// comes in, and neither side holds more than a part of it.
func TestLongStream(t *testing.T) {
	h := open(t)
	const total, each = 100_000, 2_500
	delegation := h.delegation(h.network.ID(), "ann", "host")
	pool := append(h.strangers(each-1), delegation)
	ids := make([]ionet.Hash, each)
	for i := range pool {
		ids[i] = pool[i].ID()
	}
	from, to := io.Pipe()
	go func() {
		var b []byte
		for i := range total {
			if b = pool[i%each].Append(b); len(b) > 32<<10 || i == total-1 {
				if _, err := to.Write(b); err != nil {
					return
				}
				b = b[:0]
			}
		}
		to.Close()
	}()
	before := heap()
	res := h.pour(flood{accept: "text/html;q=0.1, " + client.LinesMediaType, body: from})
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != client.LinesMediaType {
		t.Fatalf("status %d, %s", res.StatusCode, got)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	n, most := 0, uint64(0)
	for ; lines.Scan(); n++ {
		var r client.Result
		check(t, json.Unmarshal(lines.Bytes(), &r))
		want := client.Refused
		if pool[n%each].Kind == proofs.KindDelegation {
			if want = client.Duplicate; n < each {
				want = client.Accepted
			}
		}
		if r.ID != ids[n%each] || r.Status != want {
			t.Fatalf("result %d is %s of %s, want %s of %s: %v", n, r.Status, r.ID, want, ids[n%each], r.Problem)
		}
		if n%20_000 == 0 {
			most = max(most, heap())
		}
	}
	check(t, lines.Err())
	if n != total {
		t.Errorf("%d results for %d statements", n, total)
	}
	if most > before+48<<20 {
		t.Errorf("the heap grew from %d to %d MiB meanwhile", before>>20, most>>20)
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A body that comes to no good end is answered up to there, and says why.
func TestStreamsThatEndBadly(t *testing.T) {
	h := open(t)
	var good []byte
	for _, e := range h.strangers(1200) {
		good = e.Append(good)
	}
	ack := proofs.Envelope{Kind: proofs.KindAck, Body: []byte("x")}
	devices := make([]proofs.InventoryDevice, 64)
	for i := range devices {
		devices[i] = proofs.InventoryDevice{UUID: ionet.UUID{byte(i), 1}, Name: strings.Repeat("n", 60), PCI: "00000000:01:00.0", Driver: strings.Repeat("5", 30), VBIOS: strings.Repeat("9", 30)}
	}
	inventory, err := proofs.Inventory{Delegation: ionet.Hash{1}, Devices: devices}.Encode()
	check(t, err)
	unknown := h.sign(proofs.KindInventory, "stranger", inventory)
	large := unknown.Append(nil)
	noise := bytes.Repeat(make([]byte, 200), 1) // zeros parse as envelopes of kind 0
	forged := h.strangers(1)[0]
	forged.Signature[3] ^= 1
	for _, c := range []struct {
		name    string
		body    io.Reader
		coding  string
		results [2]int // from, to
		status  int
		kind    string
		says    string
	}{
		{"torn in the second chunk", bytes.NewReader(good[:len(good)-1]), "", [2]int{1199, 1199}, 200, client.MalformedEnvelope, "envelope 1199"},
		{"torn in the first", bytes.NewReader(good[:1000]), "", [2]int{}, 400, client.MalformedEnvelope, "envelope "},
		{"an ack first", bytes.NewReader(ack.Append(nil)), "", [2]int{}, 400, client.MalformedEnvelope, "envelope 0 is an ack that follows no statement"},
		{"two acks of one", bytes.NewReader(ack.Append(ack.Append(bytes.Clone(good)))), "", [2]int{1200, 1200}, 200, client.MalformedEnvelope, "envelope 1201 is an ack"},
		{"endless", repeating(large), "", [2]int{4000, client.MaxStream / len(large)}, 200, client.BodyTooLarge, "67108864 bytes"},
		{"endless acks", io.MultiReader(bytes.NewReader(good), repeating(ack.Append(nil))), "", [2]int{1200, 1200}, 200, client.MalformedEnvelope, "is an ack"},
		{"endless noise", repeating(noise), "", [2]int{1000, 2000}, 200, client.TooManyRefused, "more than 1000 statements"},
		{"endless forgeries", repeating(forged.Append(nil)), "", [2]int{1000, 2000}, 200, client.TooManyRefused, "no valid signature"},
		{"a gzip bomb of zeros", squeezed("gzip", io.LimitReader(repeating(noise), 1<<29)), "gzip", [2]int{}, 413, client.BodyTooLarge, "more than 16 times"},
		{"a gzip bomb of statements", squeezed("gzip", io.LimitReader(repeating(large), 1<<26)), "gzip", [2]int{}, 413, client.BodyTooLarge, "more than 16 times"},
		{"a zstd bomb of statements", squeezed("zstd", io.LimitReader(repeating(good[:len(good)/1200]), 1<<28)), "zstd", [2]int{}, 413, client.BodyTooLarge, "more than 16 times"},
		{"a bomb behind good statements", squeezed("zstd", io.MultiReader(bytes.NewReader(good), io.LimitReader(repeating(large), 20<<20))), "zstd", [2]int{1000, 1400}, 200, client.BodyTooLarge, "more than 16 times"},
		{"gzip that is none", bytes.NewReader(good), "gzip", [2]int{}, 400, client.MalformedEnvelope, "not whole gzip"},
		{"gzip that is empty", strings.NewReader(""), "gzip", [2]int{}, 400, client.MalformedEnvelope, "envelope"},
		{"torn gzip", bytes.NewReader(readAll(t, squeezed("gzip", bytes.NewReader(good)))[:9000]), "gzip", [2]int{}, 400, client.MalformedEnvelope, "not whole gzip"},
		{"zstd that is none", bytes.NewReader(good), "zstd", [2]int{}, 400, client.MalformedEnvelope, "not whole zstd"},
		{"zstd that is empty", strings.NewReader(""), "zstd", [2]int{}, 400, client.MalformedEnvelope, "envelope"},
		{"torn zstd", bytes.NewReader(readAll(t, squeezed("zstd", bytes.NewReader(good)))[:9000]), "zstd", [2]int{}, 400, client.MalformedEnvelope, "not whole zstd"},
		{"a window beyond bounds", bytes.NewReader(window(16 << 20)), "zstd", [2]int{}, 415, client.WrongMediaType, "window"},
		{"a second frame with a larger window", bytes.NewReader(append(readAll(t, squeezed("zstd", bytes.NewReader(good))), window(4<<20)...)), "zstd", [2]int{1000, 1200}, 200, client.WrongMediaType, "window"},
		{"another coding", bytes.NewReader(good), "br", [2]int{}, 415, client.WrongMediaType, `"br"`},
		{"two codings", bytes.NewReader(good), "gzip, gzip", [2]int{}, 415, client.WrongMediaType, "Content-Encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			before := heap()
			out, status := h.answered(flood{body: c.body, coding: c.coding})
			if n := len(out.Results); n < c.results[0] || n > c.results[1] {
				t.Errorf("%d results, want %d to %d", n, c.results[0], c.results[1])
			}
			if p := out.Problem; status != c.status || p == nil || p.Kind() != c.kind || !strings.Contains(p.Detail, c.says) {
				t.Errorf("status %d, it ends with %+v, want %d %s that says %q", status, p, c.status, c.kind, c.says)
			}
			out.Results = nil
			if after := heap(); after > before+32<<20 {
				t.Errorf("the heap grew from %d to %d MiB", before>>20, after>>20)
			}
		})
	}
	h.t = t
	if out, status := h.answered(flood{body: squeezed("gzip", bytes.NewReader(good)), coding: "GZIP"}); status != 200 || len(out.Results) != 1200 || out.Problem != nil {
		t.Errorf("good gzip: status %d, %d results, %v", status, len(out.Results), out.Problem)
	}
	if out, status := h.answered(flood{body: squeezed("zstd", bytes.NewReader(good)), coding: "zstd"}); status != 200 || len(out.Results) != 1200 || out.Problem != nil {
		t.Errorf("good zstd: status %d, %d results, %v", status, len(out.Results), out.Problem)
	}
}

// repeater gives the same bytes for ever.
type repeater struct {
	b  []byte
	at int
}

func repeating(b []byte) io.Reader { return &repeater{b: b} }

func (r *repeater) Read(b []byte) (n int, err error) {
	for n < len(b) {
		m := copy(b[n:], r.b[r.at:])
		n, r.at = n+m, (r.at+m)%len(r.b)
	}
	return n, nil
}

// squeezed compresses what r has.
func squeezed(coding string, r io.Reader) io.Reader {
	from, to := io.Pipe()
	go func() {
		var w io.WriteCloser = gzip.NewWriter(to)
		if coding == "zstd" {
			w, _ = zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		}
		_, err := io.Copy(w, r)
		if closing := w.Close(); err == nil {
			err = closing
		}
		to.CloseWithError(err)
	}()
	return from
}

// window is the beginning of a zstd frame that asks for a window of this size.
func window(size int) []byte {
	exponent := byte(0)
	for 1<<(10+exponent) < size {
		exponent++
	}
	return []byte{0x28, 0xB5, 0x2F, 0xFD, 0, exponent << 3, 0x01, 0, 0}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	check(t, err)
	return b
}

// TestServiceFailsMidway: what came after it is answered as well, to be sent again.
func TestServiceFailsMidway(t *testing.T) {
	h := open(t)
	all := h.strangers(3300)
	var b []byte
	for _, e := range all {
		b = e.Append(b)
	}
	half := len(b) * 1001 / len(all)
	gate := make(chan struct{})
	res := h.pour(flood{accept: client.LinesMediaType, body: io.MultiReader(bytes.NewReader(b[:half]), waiting(gate), bytes.NewReader(b[half:]))})
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var r client.Result
		check(t, json.Unmarshal(lines.Bytes(), &r))
		kind := client.UnknownWorker
		if n >= 1000 {
			kind = client.Busy
		}
		if r.ID != all[n].ID() || r.Problem == nil || r.Problem.Kind() != kind || kind == client.Busy && r.Problem.RetryAfter <= 0 {
			t.Fatalf("result %d is %+v, %v", n, r, r.Problem)
		}
		if n == 999 {
			h.pool.Close()
			close(gate)
		}
	}
	if n != len(all) {
		t.Errorf("%d results for %d statements: %v", n, len(all), lines.Err())
	}
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID(), Attempts: 1})
	check(t, err)
	_, err = c.Submit(t.Context(), []client.Presented{{Statement: all[0]}, {Statement: all[1]}})
	if p := (*client.Problem)(nil); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.RetryAfter != time.Second {
		t.Errorf("a body of one chunk gets %v, want 503 with Retry-After", err)
	}
}

// waiting has nothing, and ends when the gate opens.
func waiting(gate <-chan struct{}) io.Reader { return gateReader(gate) }

type gateReader <-chan struct{}

func (g gateReader) Read([]byte) (int, error) {
	<-g
	return 0, io.EOF
}

// watched notes the Content-Encoding of what goes out.
type watched struct{ codings []string }

func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	w.codings = append(w.codings, r.Header.Get("Content-Encoding"))
	return http.DefaultTransport.RoundTrip(r)
}

// The client sends small bodies as they are and large ones compressed, in one request.
func TestClientCompresses(t *testing.T) {
	h := open(t)
	w := &watched{}
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID(), Transport: w})
	check(t, err)
	all := h.strangers(2500)
	list := make([]client.Presented, len(all))
	for i := range all {
		list[i].Statement = all[i]
	}
	for _, n := range []int{2, 2500} {
		results, err := c.Submit(t.Context(), list[:n])
		if err != nil || len(results) != n || results[n-1].Problem.Kind() != client.UnknownWorker {
			t.Errorf("%d statements: %d results, %v", n, len(results), err)
		}
	}
	if got := strings.Join(w.codings, ","); got != ",zstd" {
		t.Errorf("codings %q", got)
	}
}
