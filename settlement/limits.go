package settlement

import (
	"sync/atomic"
	"time"
)

// What all requests together may have in hand: a third of a second of work, or so many
// bytes. More is refused at once, before anything of it is looked at, so that it costs
// neither memory nor those who are in.
const (
	maxInHand      = 1 << 15
	maxInHandBytes = 96 << 20
	eachInHand     = 1 << 10 // bytes of what is made of a statement: its item, its answer
	inHandRetry    = time.Second
)

// admission counts what is in hand.
type admission struct{ statements, bytes atomic.Int64 }

// inHand is what one request counts for.
type inHand struct {
	of                *admission
	statements, bytes int64
}

// enter counts the statements of a request in until it leaves, or refuses them.
func (a *admission) enter(submitted []Submitted) (*inHand, *Problem) {
	h := &inHand{of: a, statements: int64(len(submitted)), bytes: eachInHand * int64(len(submitted))}
	for i := range submitted {
		h.bytes += int64(len(submitted[i].Envelope.Body))
		if ack := submitted[i].Ack; ack != nil {
			h.bytes += int64(len(ack.Body))
		}
	}
	statements, bytes := a.statements.Add(h.statements), a.bytes.Add(h.bytes)
	if statements > maxInHand || bytes > maxInHandBytes {
		h.leave()
		return nil, NewProblem(ProblemBusy, "", "more comes in than can be stored: send the statements again in a moment").after(inHandRetry)
	}
	return h, nil
}

// keep gives the places of all but n statements back: what is decided keeps nobody out
// while the rest of its request takes long. Their bytes are in memory until it leaves.
func (h *inHand) keep(n int) {
	h.of.statements.Add(int64(n) - h.statements)
	h.statements = int64(n)
}

func (h *inHand) leave() {
	h.keep(0)
	h.of.bytes.Add(-h.bytes)
}
