package settlement

import (
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// rest is for how long a kind is not asked for again, and why.
type rest struct {
	since time.Time
	until time.Time
	why   string
}

// longestRest is how long a kind rests at most that goes on being refused.
const longestRest = 30 * time.Second

// errRefused reports what a signer's policy does not allow. Nothing of it was
// persisted, and it is not asked for again for a while.
var errRefused = errors.New("a signer refuses it")

// resting returns why no transaction of that kind is signed at the moment.
func (k *signers) resting(kind chain.Kind) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.rests[kind]; ok && k.now().Before(r.until) {
		return fmt.Errorf("%w: %s", errRefused, r.why)
	}
	return nil
}

// refused lets a kind rest: for a second at first, and as long as it has been refused
// where that goes on. It reports whether the reason is another than before.
func (k *signers) refused(kind chain.Kind, why string) (told bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	r, again := k.rests[kind]
	if !again {
		r.since = now
	}
	told = r.why != why
	r.why, r.until = why, now.Add(min(max(now.Sub(r.since), time.Second), longestRest))
	k.rests[kind] = r
	return told
}

// allow ends the rest of the kinds of which all were signed.
func (k *signers) allow(jobs []*signing, errs []error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	refused := map[chain.Kind]bool{}
	for i, j := range jobs {
		refused[j.kind] = refused[j.kind] || errors.Is(errs[i], errRefused)
	}
	for i, j := range jobs {
		if errs[i] == nil && !refused[j.kind] {
			delete(k.rests, j.kind)
		}
	}
}

// refusal makes a signer's refusal visible, once for each reason, and lets the kind
// rest. A claim's faults may be its wallet's, so of claims only a limit that was
// reached concerns the others.
func (s *Service) refusal(kind chain.Kind, r *signer.Refusal) error {
	s.metrics.refusals.WithLabelValues(kind.String(), r.Rule).Inc()
	if kind != chain.KindClaim || r.Rule == "window" {
		if s.signers.refused(kind, r.Error()) {
			s.log.Warn("a signer refuses to sign", "kind", kind.String(), "rule", r.Rule, "field", r.Field, "detail", r.Detail)
			s.emit(Event{Kind: EventRefused, Detail: fmt.Sprintf("%s: %s", kind, r)})
		}
	}
	return fmt.Errorf("%w: %s", errRefused, r.Error())
}

// unrefused leaves out the drafts whose kind a signer refused a moment ago: preparing
// them would ask the chain again and again for nothing.
func (s *Service) unrefused(drafts []draft) (list []draft, err error) {
	told := map[chain.Kind]bool{}
	for _, d := range drafts {
		why := s.signers.resting(d.kind)
		if why == nil {
			list = append(list, d)
		} else if !told[d.kind] {
			told[d.kind], err = true, errors.Join(err, fmt.Errorf("sign %s: %w", d.kind, why))
		}
	}
	return list, err
}
