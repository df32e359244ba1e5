package web

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// kind is something that bodies take of this process while they are read, and of which
// there is only so much: bytes that are decoded and not yet handed on, and decoders.
// A slow sender holds what it sent and no more, so that many of them hold little; and
// large bodies do not keep small ones out, such as the one statement that a host sends.
type kind int

const (
	smallBytes kind = iota // of the bodies that are not larger than smallBody yet
	largeBytes             // of the others
	gzips
	smallZstds // with a window of smallWindow
	largeZstds // with one of largeWindow
	kinds
)

const (
	smallBody   = 64 << 10
	smallBudget = 32 << 20
	largeBudget = 128 << 20

	// A zstd decoder takes the window that the sender names: RFC 9659 has 8 MiB as the
	// largest. Those that ask for much wait for each other, not the rest for them.
	smallWindow, largeWindow                  = 1 << 20, 8 << 20
	zipDecoders, smallDecoders, largeDecoders = 512, 64, 4
)

// A sender is late by the time that we waited for it, less what its bytes of the chunk at
// hand take at the rate. Who is later than the grace is ended: at the slow rate always,
// at the other one where somebody else needs what it holds. Only time counts in which
// nothing of it was there to read, or no answer was taken, however long we took for the rest.
const (
	slowRate, slowGrace = 4 << 10, 10 * time.Second
	roomRate, roomGrace = 64 << 10, 250 * time.Millisecond

	// A body that was ended has goneWait to give back what it holds before another one is
	// ended in its place, and endedWait to take its answer.
	goneWait, endedWait = time.Second, 10 * time.Second
)

// gates bounds what all bodies together take while they are read. Where something runs
// out, the senders that keep us waiting make room for others, the latest first, so that
// those who send something and stand still keep nobody out.
type gates struct {
	slowGrace, roomGrace time.Duration

	mu      sync.Mutex
	free    [kinds]int
	waiting map[*holder]struct{} // for their peers
}

func newGates() *gates {
	return &gates{
		slowGrace: slowGrace, roomGrace: roomGrace, waiting: map[*holder]struct{}{},
		free: [kinds]int{smallBytes: smallBudget, largeBytes: largeBudget, gzips: zipDecoders, smallZstds: smallDecoders, largeZstds: largeDecoders},
	}
}

// holder is a body's part of the gates, and how its bytes come in.
type holder struct {
	gates *gates
	from  io.Reader       // the body as it comes
	end   func(read bool) // ends what waits for the peer, a read or a write; it must not wait itself
	total int64           // bytes that came

	// Guarded by gates.mu.
	has    [kinds]int
	moved  int           // bytes of the chunk at hand
	waited time.Duration // for them
	since  time.Time     // we wait since then; zero when we do not
	read   bool          // to read, not to write
	timer  *time.Timer   // ends who is slow; runs while we wait to read
	ended  *problem
	closed bool
	gone   chan struct{} // closed when it holds nothing any more
}

func (g *gates) newHolder(from io.Reader, end func(read bool)) *holder {
	h := &holder{gates: g, from: from, end: end, gone: make(chan struct{})}
	h.timer = time.AfterFunc(time.Hour, h.endIfSlow)
	h.timer.Stop()
	return h
}

// errEnded ends a body whose ended says why.
var errEnded = errors.New("the body was ended")

// Read waits for the sender, as long as it may take.
func (h *holder) Read(b []byte) (int, error) {
	if !h.begin(true) {
		return 0, errEnded
	}
	n, err := h.from.Read(b)
	h.total += int64(n)
	if !h.came(n) {
		return 0, errEnded
	}
	return n, err
}

// begin begins to wait for the peer, to read or to write, and reports false where the
// body was ended. Who takes his answers slowly makes room as well, but is not timed here.
func (h *holder) begin(read bool) bool {
	g := h.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.ended != nil {
		return false
	}
	h.since, h.read = time.Now(), read
	g.waiting[h] = struct{}{}
	if read {
		h.timer.Reset(g.slowGrace - h.late(slowRate, h.since))
	}
	return true
}

// came ends the wait: n bytes moved.
func (h *holder) came(n int) bool {
	g := h.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	h.timer.Stop()
	delete(g.waiting, h)
	h.waited += time.Since(h.since)
	h.since = time.Time{}
	h.moved += n
	return h.ended == nil
}

// anew begins a chunk: what was late of the one before is forgiven.
func (h *holder) anew() {
	h.gates.mu.Lock()
	defer h.gates.mu.Unlock()
	h.moved, h.waited = 0, 0
}

// late is for how long we have waited more than a peer takes that moves so many bytes a
// second.
func (h *holder) late(rate int, now time.Time) time.Duration {
	waited := h.waited
	if !h.since.IsZero() {
		waited += now.Sub(h.since)
	}
	return waited - time.Duration(h.moved)*time.Second/time.Duration(rate)
}

// endIfSlow is called by the timer, which may be one of a wait that is over.
func (h *holder) endIfSlow() {
	h.gates.mu.Lock()
	defer h.gates.mu.Unlock()
	if h.since.IsZero() || h.ended != nil {
		return
	}
	if left := h.gates.slowGrace - h.late(slowRate, time.Now()); left > 0 {
		h.timer.Reset(left)
		return
	}
	h.stop(slowBody())
}

func (h *holder) stop(why *problem) {
	h.ended = why
	h.end(h.read)
}

// why says why the body was ended, if it was.
func (h *holder) why() *problem {
	h.gates.mu.Lock()
	defer h.gates.mu.Unlock()
	return h.ended
}

// madeRoom reports whether somebody waits for what the body holds.
func (h *holder) madeRoom() bool {
	p := h.why()
	return p != nil && p.Kind() == client.Busy
}

// take takes n of k, or reports that too little is left though all who are late made room.
func (h *holder) take(k kind, n int) bool {
	g := h.gates
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.free[k] < n {
		latest := g.latest(k)
		if latest == nil {
			return false
		}
		latest.stop(busy("", "others needed the place of a body that came slowly: send it again in a moment, fewer statements at once or faster"))
		g.mu.Unlock()
		select {
		case <-latest.gone:
		case <-time.After(goneWait):
		}
		g.mu.Lock()
	}
	g.free[k] -= n
	h.has[k] += n
	return true
}

// latest returns the body that has of k and is later than any other such, or none.
func (g *gates) latest(k kind) (latest *holder) {
	now, most := time.Now(), g.roomGrace
	for h := range g.waiting {
		if late := h.late(roomRate, now); h.has[k] > 0 && h.ended == nil && late > most {
			latest, most = h, late
		}
	}
	return latest
}

// give gives back n of k, which it took.
func (h *holder) give(k kind, n int) {
	h.gates.mu.Lock()
	defer h.gates.mu.Unlock()
	h.gates.free[k] += n
	h.has[k] -= n
}

// close gives back all.
func (h *holder) close() {
	h.gates.mu.Lock()
	defer h.gates.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.timer.Stop()
	for k := range h.has {
		h.gates.free[k] += h.has[k]
		h.has[k] = 0
	}
	close(h.gone)
}
