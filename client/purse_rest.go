package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// maxUnknown is how many requests of unknown outcome a worker may have, longestUnknown how
// long one may stay so: until then nothing more is asked of it. What a worker can hide is
// what those requests were signed for.
const (
	maxUnknown     = 8
	longestUnknown = 5 * time.Minute
)

// owes returns what a worker has yet to tell before it is used again, "" for nothing.
// Another channel, after this one was closed, begins anew. The caller holds p.mu.
func (p *Purse) owes(worker ionet.Key, now time.Time) string {
	for _, ch := range p.channels {
		if ch.worker != worker || ch.closing {
			continue
		}
		if len(ch.unknown) > maxUnknown {
			return fmt.Sprintf("has yet to tell what became of %d requests", len(ch.unknown))
		}
		for job, sent := range ch.unknown {
			if now.Sub(sent.Open) > longestUnknown {
				return fmt.Sprintf("does not tell what became of job %s on channel %s: close that channel to use it by another", job, ch.key)
			}
		}
	}
	return ""
}

// isKnown reports whether a worker has served us. The caller holds p.mu.
func (p *Purse) isKnown(worker ionet.Key) bool {
	if p.served[worker] {
		return true
	}
	for _, ch := range p.channels {
		if ch.worker == worker && !ch.spans.top().IsZero() {
			return true
		}
	}
	return false
}

// rest is how often a worker failed since it served us last, and how long it comes after
// all others.
type rest struct {
	until    time.Time
	pause    time.Duration
	failures int
}

// longestRest is the longest that a worker rests; one that only has no capacity rests
// longestWait at most.
const longestRest = 4 * time.Hour

// setBack puts a worker behind others for a while, longer each time. A stranger's first
// rest is longer: offers cost nothing, so there may be many.
func (p *Purse) setBack(f *workerFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.resting[f.worker]
	if r == nil {
		r = &rest{pause: time.Second / 2}
		if !f.busy && !p.isKnown(f.worker) {
			r.pause = time.Minute / 2
		}
		p.resting[f.worker] = r
	}
	longest := longestRest
	if f.busy {
		longest = longestWait
	} else {
		r.failures++
	}
	r.pause = min(2*r.pause, longest)
	r.until = p.cfg.Now().Add(max(r.pause, f.after))
}

// answers ends that: the worker's statement holds, and its answer came. The caller holds
// p.mu.
func (p *Purse) answers(worker ionet.Key) {
	delete(p.resting, worker)
	p.served[worker] = true
}

// standing is what is known of a worker. Those who served us come first, then strangers,
// then who failed lately; of two the one that failed less often.
type standing struct{ class, failures int }

func (s standing) compare(o standing) int {
	return cmp.Or(cmp.Compare(s.class, o.class), cmp.Compare(s.failures, o.failures))
}

// standing returns a worker's. The caller holds p.mu.
func (p *Purse) standing(worker ionet.Key, now time.Time) standing {
	var s standing
	if !p.isKnown(worker) {
		s.class = 1
	}
	if r := p.resting[worker]; r != nil {
		s.failures = r.failures
		if now.Before(r.until) {
			s.class = 2
		}
	}
	return s
}

// exploring is how often one request tries a cheaper stranger before those that we know.
const exploring = 10 * time.Minute

// explore puts a stranger first now and then, where it is cheaper. The caller holds p.mu.
func (p *Purse) explore(in *Inference, list []workerOffer, now time.Time) {
	if len(list) == 0 || now.Sub(p.explored) < exploring || p.standing(list[0].worker, now).class != 0 {
		return
	}
	best := list[0].model
	i := slices.IndexFunc(list, func(o workerOffer) bool {
		rank := cmp.Compare(in.preference(o.model.Unit), in.preference(best.Unit))
		return p.standing(o.worker, now) == standing{class: 1} && (rank < 0 || rank == 0 && comparePrices(o.model, best) < 0)
	})
	if i < 0 {
		return
	}
	p.explored = now
	stranger := list[i]
	copy(list[1:], list[:i])
	list[0] = stranger
}

// Strangers are asked for their offer before a channel is opened to one, for that holds a
// part of the reserve: reachTimeout for each, reachMany at once, maxReached in all. What
// is asked of one then is strangerPatience at most.
const (
	reachTimeout     = 2 * time.Second
	reachMany        = 16
	maxReached       = 256
	strangerPatience = 2 * time.Minute
)

// reach remembers, for one request, which strangers are there.
type reach struct {
	purse *Purse
	found map[ionet.Key]error
}

// check reports a fault where the first worker of the list is a stranger that is not there.
func (r *reach) check(ctx context.Context, list []workerOffer) error {
	if !r.isNeeded(list[0].worker) {
		return nil
	}
	if _, asked := r.found[list[0].worker]; !asked {
		if len(r.found) >= maxReached {
			return &workerFault{worker: list[0].worker, reason: "too many others do not answer"}
		}
		r.ask(ctx, list)
	}
	if err := r.found[list[0].worker]; err != nil {
		return &workerFault{worker: list[0].worker, reason: err.Error()}
	}
	return nil
}

// isNeeded reports whether a worker is asked: not one that served us, or has a channel.
func (r *reach) isNeeded(worker ionet.Key) bool {
	r.purse.mu.Lock()
	defer r.purse.mu.Unlock()
	return !r.purse.isKnown(worker) && r.purse.channelOf(worker) == nil
}

// ask asks the next strangers of the list all at once.
func (r *reach) ask(ctx context.Context, list []workerOffer) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for _, o := range list {
		if asked == reachMany {
			break
		}
		if !r.isNeeded(o.worker) {
			continue
		}
		asked++
		wait.Go(func() {
			err := r.purse.reaches(ctx, o)
			mu.Lock()
			defer mu.Unlock()
			r.found[o.worker] = err
		})
	}
	wait.Wait()
}

// reaches asks a worker for its offer.
func (p *Purse) reaches(ctx context.Context, o workerOffer) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	var w WorkerOffer
	if err := p.workerCall(ctx, http.MethodGet, o.offer.Endpoint, "/ionet/v1/offer", nil, &w); err != nil {
		return err
	}
	has, err := p.readOffer(w.Statement, o.model.Name, o.model.Unit.String())
	if err == nil && has.worker != o.worker {
		err = fmt.Errorf("at its endpoint is worker %s", has.worker)
	}
	return err
}
