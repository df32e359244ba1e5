package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxBody bounds an answer that is read as a whole, as workers do; maxRoom bounds what all
// of them together hold, but for one.
const (
	maxBody = 64 << 20
	maxRoom = 256 << 20
)

// roomStep is what an answer takes of the room at a time.
const roomStep = 1 << 20

// room is the memory for answers that are read as a whole. Whoever finds it full waits for
// the one turn beyond it, so that of many answers that are half read one always ends.
type room struct {
	mu   sync.Mutex
	free int64
	turn chan struct{} // holds one token
}

func newRoom(size int64) *room { return &room{free: size, turn: make(chan struct{}, 1)} }

// take takes n bytes if they are free.
func (r *room) take(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free < n {
		return false
	}
	r.free -= n
	return true
}

func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
}

// held is what one answer has of the room, until it is let go.
type held struct {
	room *room
	n    int64
	turn bool
	once sync.Once
}

// grow takes another step, or the turn beyond the room.
func (h *held) grow(ctx context.Context) error {
	if h.turn {
		return nil
	}
	if h.room.take(roomStep) {
		h.n += roomStep
		return nil
	}
	select {
	case h.room.turn <- struct{}{}:
		h.turn = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for memory: %w", ctx.Err())
	}
}

func (h *held) letGo() {
	h.once.Do(func() {
		h.room.give(h.n)
		if h.turn {
			<-h.room.turn
		}
	})
}

// read reads a whole answer. The caller lets go what it holds.
func (r *room) read(ctx context.Context, from io.Reader, limit int64) ([]byte, *held, error) {
	h := &held{room: r}
	var b bytes.Buffer
	for {
		if err := h.grow(ctx); err != nil {
			h.letGo()
			return nil, nil, err
		}
		_, err := io.CopyN(&b, from, min(roomStep, limit+1-int64(b.Len())))
		if err == nil && int64(b.Len()) > limit {
			err = fmt.Errorf("answer has more than %d bytes", limit)
		}
		if errors.Is(err, io.EOF) {
			if spare := h.n - int64(b.Len()); spare > 0 {
				h.n -= spare
				r.give(spare)
			}
			return b.Bytes(), h, nil
		}
		if err != nil {
			h.letGo()
			return nil, nil, err
		}
	}
}

// heldBody is a whole answer whose room is free again when it is read or closed.
type heldBody struct {
	*bytes.Reader
	held *held
}

func (b heldBody) Read(to []byte) (int, error) {
	n, err := b.Reader.Read(to)
	if err != nil {
		b.held.letGo()
	}
	return n, err
}

func (b heldBody) Close() error {
	b.held.letGo()
	return nil
}
