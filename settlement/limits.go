package settlement

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ionet-settlement/ionet"
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

// Each worker may send so many statements at once, which is more than it makes in a day,
// and from then on so many in each sample, in which it makes one.
const (
	burst  = 2048 // or two epochs' worth for each that a worker is remembered without a sample
	refill = 16
)

// buckets limits what a key that signs well can send. Of each that sent of late it
// remembers when all that it sent would have been sent at the steady rate: the generic
// cell rate algorithm. What is past is as good as forgotten.
type buckets struct {
	mu   sync.Mutex
	due  map[ionet.Key]int64 // Unix nanoseconds
	most int                 // how many are remembered before those that are past go
}

// maxBuckets bounds what is remembered: beyond it all begin anew.
const maxBuckets = 1 << 18

// take takes one from the bucket of a key, or says how long to wait.
func (b *buckets) take(key ionet.Key, now time.Time, interval time.Duration, burst int) (wait time.Duration) {
	at := now.UnixNano()
	due := max(b.due[key], at) + int64(interval)
	if wait := time.Duration(due - at - int64(burst)*int64(interval)); wait > 0 {
		return wait
	}
	b.due[key] = due
	return 0
}

// sweep forgets what is past, where much is remembered.
func (b *buckets) sweep(now time.Time) {
	if b.due == nil {
		b.due, b.most = map[ionet.Key]int64{}, 1024
	}
	if len(b.due) < b.most {
		return
	}
	maps.DeleteFunc(b.due, func(_ ionet.Key, due int64) bool { return due <= now.UnixNano() })
	if len(b.due) >= maxBuckets {
		clear(b.due)
	}
	b.most = max(1024, 2*len(b.due))
}

// limit refuses uptime statements whose signer sends too many; their signatures were
// looked at, so that nobody uses up what is another's.
func (s *Service) limit(items []*item) {
	now, interval := s.now(), time.Duration(s.clock.SampleSeconds())*time.Second/refill
	many := max(burst, 2*reach*int(s.clock.Samples))
	b := &s.intake.buckets
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	for _, it := range items {
		if it.problem != nil || !it.isUptime() {
			continue
		}
		if wait := b.take(it.envelope.Signer, now, interval, many); wait > 0 {
			it.problem = NewProblem(ProblemRateLimited, "signer", "worker %s has sent %d statements in a short time: it may send %d in each sample now", it.envelope.Signer, many, refill).after(max(wait, time.Second))
		}
	}
}
