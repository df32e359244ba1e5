package settlement

import (
	"runtime"
	"sync"
)

// stage is work that is done in batches: while its workers are busy, what comes is the
// next batch. So one alone is worked on at once, and many share what a batch costs; no
// timer decides. Workers are goroutines that end when there is nothing left.
type stage struct {
	work    func([]*item) // it takes care of each item, whatever happens
	batch   int           // items at once
	workers int           // batches at once

	mu      sync.Mutex
	waiting []*item
	busy    int
}

// add hands items over. How many wait is bounded by who calls: see admission.
func (g *stage) add(items []*item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, items...)
	for n := len(items); n > 0 && g.busy < g.workers; n -= g.batch {
		g.busy++
		go g.run()
	}
}

func (g *stage) run() {
	for {
		// Those who are ready to hand something over come first: where processors are
		// scarce batches grow, and cost less.
		runtime.Gosched()
		batch := g.take()
		if batch == nil {
			return
		}
		g.work(batch)
	}
}

// take returns the next batch, or nil where the worker is to end.
func (g *stage) take() []*item {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), g.batch)
	if n == 0 {
		g.waiting = nil // what it grew to is given back
		g.busy--
		return nil
	}
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return batch
}

// countdown lets one wait for many.
type countdown struct {
	sync.WaitGroup
}

func newCountdown(n int) *countdown {
	c := &countdown{}
	c.Add(n)
	return c
}
