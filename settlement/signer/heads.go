package signer

import (
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// heads is what the journal knows: of each lane the highest position that was signed
// for, and what may leave in the window. It is a function of the journal's lines.
type heads struct {
	window   time.Duration
	linked   bool // a position must begin with a C that the one before led to
	lanes    map[ionet.Key]*head
	moves    []spend // exposures that grew, in the order of signing
	lamports []spend // fees, in the order of signing
}

// head is the highest position of a lane that something was signed for.
type head struct {
	n        uint64
	bases    map[ionet.Hash]bool         // the C(n) that are taken; nil after a reopening: any
	contents map[ionet.Hash]ionet.Hash   // content signed at n -> C(n+1)
	exposed  map[chain.Kind]ionet.Amount // the most that one of them moves, by kind
}

// spend is something that counts in the window from its time on.
type spend struct {
	at     int64 // Unix seconds of the signer's clock
	kind   chain.Kind
	amount uint64
}

func newHeads(window time.Duration, linked bool) *heads {
	return &heads{window: window, linked: linked, lanes: map[ionet.Key]*head{}}
}

// maxContents bounds the contents of one position: as many claims as may be prepared
// for one lane, and far fewer than would fill a memory.
const maxContents = 4096

// knows reports whether e's content was signed for before at a lane's highest position.
func (h *heads) knows(e entry) bool {
	l, known := h.lanes[e.lane]
	if !known || l.n != e.n {
		return false
	}
	_, same := l.contents[e.content]
	return same
}

// order refuses a position that is past, and one that this signer's own history does
// not lead to.
//
// A lane's first entry may be anywhere: a journal begins with the lanes as they are.
// After it a full signer signs position n+1 only on a content that it signed at n. A
// co-signer is not asked at each position (others of the m of n are; skips need none
// of them), so for it positions only never go back.
func (h *heads) order(e entry) *Refusal {
	l, known := h.lanes[e.lane]
	switch {
	case !known:
		return nil
	case e.n < l.n:
		return refuse("past", "lanes", "position %d of lane %s is past: %d was signed for; if the chain shows that nothing passed it, restart ionetd signer with --reopen LANE=%d", e.n, e.lane, l.n, e.n)
	case e.n == l.n && len(l.contents) >= maxContents && !h.knows(e):
		return refuse("crowd", "lanes", "position %d of lane %s has %d contents already", e.n, e.lane, len(l.contents))
	case !h.linked || l.bases == nil:
		return nil
	case e.n == l.n && !l.bases[e.c]:
		return refuse("history", "lanes", "C(%d) of lane %s is none that was signed for", e.n, e.lane)
	case e.n == l.n+1 && !l.leadsTo(e.c):
		return refuse("history", "lanes", "C(%d) of lane %s follows from nothing that was signed at %d", e.n, e.lane, l.n)
	case e.n > l.n+1:
		return refuse("history", "lanes", "position %d of lane %s is ahead of the journal, which ends at %d: was the journal restored, or did another signer sign? If so, restart ionetd signer with --reopen", e.n, e.lane, l.n)
	}
	return nil
}

func (l *head) leadsTo(c ionet.Hash) bool {
	for _, next := range l.contents {
		if next == c {
			return true
		}
	}
	return false
}

// grows returns by how much e raises what may leave with its position. Of all
// contents signed for one position one lands, so a position counts with the largest,
// and the same content, signed again over another blockhash, with nothing.
func (h *heads) grows(e entry) uint64 {
	l, known := h.lanes[e.lane]
	if !known || l.n != e.n {
		return e.amount.Base()
	}
	was := l.exposed[e.kind].Base()
	return max(was, e.amount.Base()) - was
}

// spent sums what counts at that time. An entry of the future counts too: a clock
// that was set back frees nothing.
func (h *heads) spent(list []spend, kind chain.Kind, now time.Time) (sum uint64) {
	for _, s := range list {
		if s.kind == kind && s.at > now.Add(-h.window).Unix() {
			sum += s.amount // amounts are below 2^63 and limits too: admit stops long before it wraps
		}
	}
	return sum
}

// admit decides whether v may be signed at that time, by the order of lanes and the
// limits of the window; it changes nothing.
func (h *heads) admit(v verdict, p *Policy, now time.Time) *Refusal {
	for _, e := range v.entries {
		if refusal := h.order(e); refusal != nil {
			return refusal
		}
		if grows := h.grows(e); grows > 0 && isLimited(e.kind) {
			limit, listed := p.Limits[e.kind]
			if !listed {
				return refuse("window", "movements", "this signer has no limit for a %s and signs none", e.kind)
			}
			if left := limit.Base() - min(limit.Base(), h.spent(h.moves, e.kind, now)); grows > left {
				return refuse("window", "movements", "the %s is %s base units, of %s in %s %d are left", e.kind, e.amount, limit, h.window, left)
			}
		}
	}
	if left := p.MaxLamports - min(p.MaxLamports, h.spent(h.lamports, 0, now)); v.lamports > left {
		return refuse("window", "budget", "it may cost %d lamports, of %d in %s %d are left", v.lamports, p.MaxLamports, h.window, left)
	}
	return nil
}

func isLimited(kind chain.Kind) bool {
	for _, k := range limited {
		if k == kind {
			return true
		}
	}
	return false
}

// note takes an entry into account that was signed at that time.
func (h *heads) note(e entry, at int64) {
	grows := h.grows(e)
	l, known := h.lanes[e.lane]
	if !known || e.n != l.n {
		next := &head{n: e.n, bases: map[ionet.Hash]bool{e.c: true}, contents: map[ionet.Hash]ionet.Hash{}, exposed: map[chain.Kind]ionet.Amount{}}
		if known && e.n == l.n+1 {
			for _, c := range l.contents {
				next.bases[c] = true
			}
		}
		h.lanes[e.lane], l = next, next
	}
	if l.bases == nil { // reopened at this position
		l.bases = map[ionet.Hash]bool{}
	}
	l.bases[e.c] = true
	l.contents[e.content] = e.next
	if e.amount.Cmp(l.exposed[e.kind]) > 0 {
		l.exposed[e.kind] = e.amount
	}
	if grows > 0 && isLimited(e.kind) {
		h.moves = append(h.moves, spend{at, e.kind, grows})
	}
}

// pay notes lamports that our fee payer may lose.
func (h *heads) pay(lamports uint64, at int64) {
	if lamports > 0 {
		h.lamports = append(h.lamports, spend{at: at, amount: lamports})
	}
}

// reopen lets a lane go on at any position from the journal's, or from r.From, once.
func (h *heads) reopen(r Reopening) error {
	l, known := h.lanes[r.Lane]
	if !known {
		return fmt.Errorf("reopen lane %s: the journal knows nothing of it, so it is open", r.Lane)
	}
	if r.From != nil {
		l = &head{n: *r.From, contents: map[ionet.Hash]ionet.Hash{}, exposed: map[chain.Kind]ionet.Amount{}}
		h.lanes[r.Lane] = l
	}
	l.bases = nil
	return nil
}

// forget drops what has left the window: without it sums would take ever longer.
func (h *heads) forget(now time.Time) {
	h.moves, h.lamports = h.within(h.moves, now), h.within(h.lamports, now)
}

func (h *heads) within(list []spend, now time.Time) []spend {
	since, i := now.Add(-h.window).Unix(), 0
	for i < len(list) && list[i].at <= since {
		i++
	}
	if i < len(list)/2 || i == 0 {
		return list
	}
	return append([]spend(nil), list[i:]...)
}
