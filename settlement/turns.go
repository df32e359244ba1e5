package settlement

import (
	"context"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// turns lets each wallet hand in one claim at a time: the others of it wait.
type turns struct {
	mu     sync.Mutex
	queues map[ionet.Key]*turnQueue
}

// turnQueue is the requests of one wallet.
type turnQueue struct {
	free chan struct{} // has one element where nobody has the turn
	n    int           // who has it and who waits
}

// maxTurns is how many requests of one wallet there are at once: whoever double-clicks
// waits, whoever floods is refused.
const maxTurns = 8

// take waits for the wallet's turn; release ends it.
func (t *turns) take(ctx context.Context, wallet ionet.Key) (release func(), err error) {
	t.mu.Lock()
	if t.queues == nil {
		t.queues = map[ionet.Key]*turnQueue{}
	}
	q := t.queues[wallet]
	if q == nil {
		q = &turnQueue{free: make(chan struct{}, 1)}
		q.free <- struct{}{}
		t.queues[wallet] = q
	}
	if q.n >= maxTurns {
		t.mu.Unlock()
		return nil, NewProblem(ProblemBusy, "transaction", "%d claims of wallet %s are being handed in: try again", maxTurns, wallet).after(time.Second)
	}
	q.n++
	t.mu.Unlock()
	select {
	case <-q.free:
		return func() {
			q.free <- struct{}{}
			t.leave(wallet, q)
		}, nil
	case <-ctx.Done():
		t.leave(wallet, q)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(wallet ionet.Key, q *turnQueue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.n--; q.n == 0 {
		delete(t.queues, wallet)
	}
}
