package settlement

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// logbook is what this instance knows of the receipt log: how far it had grown when this
// instance last looked. A log that is behind, or another, is that of a database that was
// put back: to go on there would fork what is published. See loglook.go.
type logbook struct {
	conflicts atomic.Int32 // batches that look which job ids were used
	policy    atomic.Pointer[feeRules]
	following int // in place of maxFollowing, where not 0

	mu   sync.Mutex
	seen logMark
}

// logMark is a size of the log and its root there.
type logMark struct {
	size uint64
	root ionet.Hash
}

// feeRules is the policy that is known to be in force in an epoch.
type feeRules struct {
	epoch  uint64
	policy *emissions.Policy
}

// lastSeen returns what this instance knows of the log: what it saw when it appended, or
// when it compared, whichever is more: others append too.
func (s *Service) lastSeen() logMark {
	s.logbook.mu.Lock()
	seen := s.logbook.seen
	s.logbook.mu.Unlock()
	if _, _, head := s.receipts.now(); head.Size > seen.size {
		seen = logMark{head.Size, head.Root}
	}
	return seen
}

// saw is called after each commit.
func (l *logbook) saw(size uint64, root ionet.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size >= l.seen.size {
		l.seen = logMark{size, root}
	}
}

// most is about how many jobs that waited one transaction lets follow.
func (l *logbook) most() int { return cmp.Or(l.following, maxFollowing) }

func (l *logbook) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = logMark{}
}

// putBack is called where the log is not the one that this instance knows: nothing is
// appended before it was compared anew, and workers present again what they were acked.
func (s *Service) putBack() {
	s.log.Warn("the database lacks records of the receipt log that this instance saw: it was put back; nothing is appended before it was compared with what is published")
	s.doubtLog()
	s.logbook.forget()
	s.intake.fees.forgetLogged()
	s.begin(draw(s.cfg.Rand))
}

// feePolicy returns the policy by which fees of an epoch that has begun are split; a busy
// Problem while that is open. What was known once stays so.
func (s *Service) feePolicy(ctx context.Context, q querier, epoch uint64) (*emissions.Policy, error) {
	if r := s.logbook.policy.Load(); r != nil && r.epoch == epoch {
		return r.policy, nil
	}
	p, err := s.policyFrom(ctx, q, epoch)
	if err != nil {
		return nil, err
	}
	s.logbook.policy.Store(&feeRules{epoch, p})
	return p, nil
}
