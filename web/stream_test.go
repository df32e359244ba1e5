package web

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// pieces gives what it has in reads of these sizes, in turn.
type pieces struct {
	b     []byte
	sizes []int
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	size := min(p.sizes[p.n%len(p.sizes)], len(p.b), len(b))
	p.n++
	copy(b, p.b[:size])
	p.b = p.b[size:]
	return size, nil
}

func streamOf(g *gates, r io.Reader) *stream {
	from := g.newHolder(r, func(bool) {})
	return &stream{body: &body{holder: from, r: from}, begin: func() {}, first: true}
}

// drawBody draws statements, some with an ack, that sum up to a few chunks.
func drawBody(r *rapid.T) (body []byte, want []settlement.Submitted) {
	large := rapid.IntRange(1, 40).Draw(r, "one in so many is large")
	ack := rapid.IntRange(1, 20).Draw(r, "one in so many has an ack")
	n := rapid.IntRange(1, 3*client.MaxStatements).Draw(r, "statements")
	for i := range n {
		size := i % 50
		if i%large == 0 {
			size = rapid.IntRange(0, 1<<16-1).Draw(r, "size")
		}
		if len(body) > 4<<20 {
			break
		}
		e := proofs.Envelope{Kind: proofs.Kind(i % 47), Signer: ionet.Key{byte(i), byte(i >> 8)}, Body: bytes.Repeat([]byte{48}, size)}
		body = e.Append(body)
		s := settlement.Submitted{Envelope: e}
		if i%ack == 0 {
			a := proofs.Envelope{Kind: proofs.KindAck, Body: bytes.Repeat([]byte{byte(i)}, i%700)}
			body, s.Ack = a.Append(body), &a
		}
		want = append(want, s)
	}
	return body, want
}

// However a body comes in, each statement of it is handed on once, in order and with
// its own ack, in chunks of bounded size, and no memory stays taken.
func TestStreamChunks(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b, want := drawBody(r)
		torn := rapid.IntRange(0, 2).Draw(r, "torn") == 0
		if torn {
			b = b[:len(b)-rapid.IntRange(1, min(len(b), 200)).Draw(r, "missing")]
			var err error
			if want, err = parseStatements(wholeOf(b), 0); err != nil {
				t.Fatal(err)
			}
		}
		g := newGates()
		in := streamOf(g, &pieces{b: b, sizes: rapid.SliceOfN(rapid.IntRange(1, 70_000), 1, 5).Draw(r, "reads")})
		var got []settlement.Submitted
		var ended *problem
		for first := true; ; first = false {
			list, p := in.next()
			if p != nil && first && len(list) > 0 {
				r.Fatal("a torn body of one chunk is taken in part")
			}
			if first && p != nil {
				want = nil
			}
			size := 0
			for i := range list {
				size += envelopeHead + len(list[i].Envelope.Body)
			}
			if len(list) > client.MaxStatements || size > client.MaxBody+1<<16+1<<10*client.MaxStatements {
				r.Fatalf("a chunk of %d statements, %d bytes", len(list), size)
			}
			got = append(got, list...)
			if ended = p; p != nil || len(list) == 0 {
				break
			}
		}
		whole := len(wholeOf(b)) == len(b) && len(b) > 0
		if (ended == nil) != whole || ended != nil && ended.Kind() != client.MalformedEnvelope {
			r.Fatalf("it ends with %v, whole %t", ended, whole)
		}
		same := func(a, b settlement.Submitted) bool {
			one := func(a, b proofs.Envelope) bool {
				return a.Kind == b.Kind && a.Signer == b.Signer && bytes.Equal(a.Body, b.Body)
			}
			return one(a.Envelope, b.Envelope) && (a.Ack == nil) == (b.Ack == nil) && (a.Ack == nil || one(*a.Ack, *b.Ack))
		}
		if !slices.EqualFunc(got, want, same) {
			r.Fatalf("%d statements, want %d", len(got), len(want))
		}
		in.close()
		if !g.empty() {
			r.Fatal("memory stays taken")
		}
	})
}

func (g *gates) empty() bool {
	return g.free == newGates().free && len(g.waiting) == 0
}

// wholeOf returns the whole envelopes at the front of b.
func wholeOf(b []byte) []byte {
	end := 0
	for {
		size, _, ok := sizeOf(b[end:])
		if !ok {
			return b[:end]
		}
		end += size
	}
}

// Where memory is short a body is told to come again, and what it took is given back.
func TestStreamWithoutMemory(t *testing.T) {
	e := proofs.Envelope{Kind: 1, Body: make([]byte, 60_000)}
	one := e.Append(nil)
	for name, c := range map[string]struct {
		free  int
		count int
		first bool
	}{
		"none at all":       {smallBody, 2, true},
		"too little":        {300_000, 6, true},
		"none for the next": {largeBudget, 40, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGates()
			g.free[largeBytes] = c.free
			in := streamOf(g, bytes.NewReader(bytes.Repeat(one, c.count)))
			list, p := in.next()
			if (p != nil) != c.first {
				t.Fatalf("the first chunk has %d statements and %v", len(list), p)
			}
			others := 0
			if !c.first {
				others, g.free[largeBytes] = g.free[largeBytes], 0
				_, p = in.next()
			}
			if p == nil || p.Kind() != client.Busy || p.Status != http.StatusTooManyRequests || p.RetryAfter != busyRetry || p.headers.Get("Retry-After") != "1" {
				t.Errorf("it ends with %+v", p)
			}
			in.close()
			if got := g.free[largeBytes] + others; got != c.free || g.free[smallBytes] != smallBudget {
				t.Errorf("%d and %d bytes stay taken", c.free-got, smallBudget-g.free[smallBytes])
			}
		})
	}
}

func FuzzStream(f *testing.F) {
	e := proofs.Envelope{Kind: 17, Body: []byte("body")}
	a := proofs.Envelope{Kind: proofs.KindAck, Body: []byte("ack")}
	f.Add(a.Append(e.Append(nil)))
	f.Add(e.Append(a.Append(nil)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > client.MaxStatements*envelopeHead {
			return // more chunks than one
		}
		g := newGates()
		in := streamOf(g, &pieces{b: b, sizes: []int{1, 100, 7}})
		list, p := in.next()
		want, err := parseStatements(b, 0)
		if (p == nil) != (err == nil && len(b) > 0) || p == nil && len(list) != len(want) {
			t.Fatalf("%d statements, %v; want %d, %v", len(list), p, len(want), err)
		}
		in.close()
		if !g.empty() {
			t.Fatal("memory stays taken")
		}
	})
}
