package signer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// heads is what the journal knows: of each lane the highest position that was signed
// for, and what may leave in the window. It is a function of the journal's lines.
type heads struct {
	window   time.Duration
	linked   bool // a full signer's: it makes the lanes' keys itself, so a position is what it says
	lanes    map[ionet.Key]*head
	moves    []spend       // what may leave
	at       map[place]int // index into moves
	lamports []spend       // fees, in the order of signing
	messages map[ionet.Hash]int64
}

// head is the highest position of a lane that something was signed for.
type head struct {
	n        uint64
	bases    map[ionet.Hash]ionet.Key  // the C(n) that are taken -> the key that was stepped from; nil after a reopening: any
	contents map[ionet.Hash]ionet.Hash // content signed at n -> C(n+1)
}

// place is where one of the contents that were signed for it can land. For a full
// signer it is a position. A co-signer can't tell whether the position that it is told
// is the one that the transaction steps: with a stolen lane secret none of the lanes'
// promises hold, and every message can land. So for it each message is a place.
type place struct {
	lane ionet.Key
	n    uint64
	kind chain.Kind
	each uint64 // counts messages; 0 in a full signer
}

// spend is something that counts in the window, from its last signing on.
type spend struct {
	place
	at     int64 // Unix seconds of the signer's clock
	amount uint64
}

func newHeads(window time.Duration, linked bool) *heads {
	return &heads{window: window, linked: linked, lanes: map[ionet.Key]*head{}, at: map[place]int{}, messages: map[ionet.Hash]int64{}}
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
	case l.bases == nil:
		return nil
	case !h.linked:
		return l.sameKey(e)
	case e.n == l.n && !l.takes(e.c):
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

// takes reports whether c is a C(n) of the lane's highest position.
func (l *head) takes(c ionet.Hash) bool {
	_, ok := l.bases[c]
	return ok
}

// sameKey: one C(n) has one key K(n), so a co-signer that is told the same position
// twice sees it stepped from the same key.
func (l *head) sameKey(e entry) *Refusal {
	if from, known := l.bases[e.c]; e.n == l.n && known && from != e.from {
		return refuse("lane-key", "message", "position %d of lane %s is stepped from %s, before it was from %s", e.n, e.lane, e.from, from)
	}
	return nil
}

// maxMints is how many messages of one epoch's mint a co-signer signs in a window: one,
// and again where it expired. Each of them could land with a stolen lane secret.
const maxMints = 3

// counts reports whether what e moves counts in the window.
func (h *heads) counts(e entry) bool {
	return !e.amount.IsZero() && (isLimited(e.kind) || !h.linked && e.kind == chain.KindEpoch)
}

// since is when the window began.
func (h *heads) since(now time.Time) int64 { return now.Add(-h.window).Unix() }

// isCounted reports whether the very same bytes, which land once, were signed in the
// window.
func (h *heads) isCounted(message ionet.Hash, now time.Time) bool {
	at, known := h.messages[message]
	return known && at > h.since(now)
}

// grows returns by how much signing e now raises what may leave in the window. Of all
// contents of a full signer's position one lands, so the position counts with the
// largest, from its last signing on: signed again in a later window, it counts there.
func (h *heads) grows(e entry, message ionet.Hash, now time.Time) uint64 {
	if h.isCounted(message, now) {
		return 0
	}
	i, known := h.at[place{e.lane, e.n, e.kind, 0}]
	if !known || !h.linked {
		return e.amount.Base()
	}
	was, is := h.moves[i], max(h.moves[i].amount, e.amount.Base())
	if was.at > h.since(now) {
		return is - was.amount
	}
	return is
}

// spent sums what counts of a kind at that time. An entry of the future counts too: a
// clock that was set back frees nothing.
func (h *heads) spent(list []spend, kind chain.Kind, now time.Time) (sum uint64) {
	since := h.since(now)
	for _, s := range list {
		if s.kind == kind && s.at > since {
			sum += s.amount // amounts are below 2^63 and limits too: admit stops long before it wraps
		}
	}
	return sum
}

// mints counts the messages of that epoch's mint in the window.
func (h *heads) mints(e entry, now time.Time) (n int) {
	since := h.since(now)
	for _, s := range h.moves {
		if s.kind == chain.KindEpoch && s.lane == e.lane && s.n == e.n && s.at > since {
			n++
		}
	}
	return n
}

// admit decides whether v may be signed at that time, by the order of lanes and the
// limits of the window; it changes nothing.
func (h *heads) admit(v verdict, p *Policy, now time.Time) *Refusal {
	for _, e := range v.entries {
		if refusal := h.order(e); refusal != nil {
			return refusal
		}
		if refusal := h.fits(e, v.message, p, now); refusal != nil {
			return refusal
		}
	}
	if h.isCounted(v.message, now) {
		return nil
	}
	if left := p.MaxLamports - min(p.MaxLamports, h.spent(h.lamports, 0, now)); v.lamports > left {
		return refuse("window", "budget", "it may cost %d lamports, of %d in %s %d are left", v.lamports, p.MaxLamports, h.window, left)
	}
	return nil
}

// fits holds the limit of e's kind.
func (h *heads) fits(e entry, message ionet.Hash, p *Policy, now time.Time) *Refusal {
	if !h.counts(e) {
		return nil
	}
	grows := h.grows(e, message, now)
	if e.kind == chain.KindEpoch {
		if grows > 0 && h.mints(e, now) >= maxMints {
			return refuse("window", "movements", "the mint of epoch %d was co-signed %d times in %s", e.n, maxMints, h.window)
		}
		return nil
	}
	limit, listed := p.Limits[e.kind]
	if !listed {
		return refuse("window", "movements", "this signer has no limit for a %s and signs none", e.kind)
	}
	if left := limit.Base() - min(limit.Base(), h.spent(h.moves, e.kind, now)); grows > left {
		return refuse("window", "movements", "the %s is %s base units, of %s in %s %d are left", e.kind, e.amount, limit, h.window, left)
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
	l, known := h.lanes[e.lane]
	if !known || e.n != l.n {
		next := &head{n: e.n, bases: map[ionet.Hash]ionet.Key{}, contents: map[ionet.Hash]ionet.Hash{}}
		if known && h.linked && e.n == l.n+1 {
			for _, c := range l.contents {
				next.bases[c] = ionet.Key{}
			}
		}
		h.lanes[e.lane], l = next, next
	}
	if l.bases == nil { // reopened at this position
		l.bases = map[ionet.Hash]ionet.Key{}
	}
	l.bases[e.c] = e.from
	l.contents[e.content] = e.next
	if !h.counts(e) {
		return
	}
	p := place{lane: e.lane, n: e.n, kind: e.kind}
	if i, known := h.at[p]; known && h.linked {
		s := &h.moves[i]
		s.at, s.amount = max(s.at, at), max(s.amount, e.amount.Base())
		return
	}
	if !h.linked {
		p.each = uint64(len(h.moves)) + 1
	}
	h.at[p] = len(h.moves)
	h.moves = append(h.moves, spend{p, at, e.amount.Base()})
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
		l = &head{n: *r.From, contents: map[ionet.Hash]ionet.Hash{}}
		h.lanes[r.Lane] = l
	}
	l.bases = nil
	return nil
}

// forget drops what has left the window: without it sums would take ever longer.
func (h *heads) forget(now time.Time) {
	since := h.since(now)
	old := func(s spend) bool { return s.at <= since }
	h.lamports = slices.DeleteFunc(h.lamports, old)
	maps.DeleteFunc(h.messages, func(_ ionet.Hash, at int64) bool { return at <= since })
	if slices.ContainsFunc(h.moves, old) {
		h.moves = slices.DeleteFunc(h.moves, old)
		clear(h.at)
		for i := range h.moves {
			if !h.linked {
				h.moves[i].each = uint64(i) + 1
			}
			h.at[h.moves[i].place] = i
		}
	}
}
