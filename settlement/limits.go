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
	maxInHandBytes = 64 << 20
	inHandRetry    = time.Second
)

// admission counts what is in hand.
type admission struct{ statements, bytes atomic.Int64 }

// enter counts the statements of a request in until release is called, or refuses them.
func (a *admission) enter(submitted []Submitted) (release func(), p *Problem) {
	n, size := int64(len(submitted)), int64(0)
	for i := range submitted {
		size += int64(len(submitted[i].Envelope.Body))
		if ack := submitted[i].Ack; ack != nil {
			size += int64(len(ack.Body))
		}
	}
	release = func() {
		a.statements.Add(-n)
		a.bytes.Add(-size)
	}
	statements, bytes := a.statements.Add(n), a.bytes.Add(size)
	if statements > maxInHand || bytes > maxInHandBytes {
		release()
		return nil, NewProblem(ProblemBusy, "", "more comes in than can be stored: send the statements again in a moment").after(inHandRetry)
	}
	return release, nil
}
