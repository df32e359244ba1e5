package main

import (
	"sync"

	"github.com/ionet-settlement/ionet/settlement"
)

// eventLines shows the service's events as lines. Accepted statements are too many
// for a line each: they are counted and told when their epoch's book is published.
type eventLines struct {
	print    func(format string, args ...any)
	decimals int

	mu       sync.Mutex
	accepted map[uint64]int // epoch -> uptime statements
}

func (l *eventLines) show(e settlement.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == settlement.EventStatements {
		if l.accepted == nil {
			l.accepted = map[uint64]int{}
		}
		l.accepted[e.Epoch] += e.Count
		return
	}
	if e.Kind == settlement.EventPublished {
		l.print("epoch %d closes: %d uptime statements accepted", e.Epoch, l.accepted[e.Epoch])
		for k := range l.accepted {
			if k <= e.Epoch {
				delete(l.accepted, k)
			}
		}
	}
	l.print("%s", e.Line(l.decimals))
}
