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
	epoch    time.Duration // how long the mint of an epoch counts: its length, or the window where that is longer
	linked   bool          // a full signer's: it makes the lanes' keys itself, so a position is what it says
	lanes    map[ionet.Key]*head
	moves    []spend       // what may leave
	at       map[place]int // index into moves
	lamports []spend       // fees, in the order of signing
	messages map[ionet.Hash]int64
	forgot   time.Time // when something was last dropped; zero where nothing was
}

// head is the highest position of a lane that something was signed for.
type head struct {
	n        uint64
	bases    map[ionet.Hash]ionet.Key  // the C(n) that are taken -> the key that was stepped from; nil after a reopening: any
	contents map[ionet.Hash]ionet.Hash // content signed at n -> C(n+1)
	memos    map[ionet.Hash]ionet.Hash // of epochs: C(n+1) -> H(memo of the content at n), which n+1 names
	follows  map[ionet.Hash]ionet.Hash // the same for C(n), as it was when n began
}

func newHead(n uint64) *head {
	return &head{n: n, bases: map[ionet.Hash]ionet.Key{}, contents: map[ionet.Hash]ionet.Hash{}, memos: map[ionet.Hash]ionet.Hash{}}
}

func newHeads(p *Policy, linked bool) *heads {
	epoch := max(p.Window, time.Duration(p.Network.EpochSeconds)*time.Second)
	return &heads{window: p.Window, epoch: epoch, linked: linked, lanes: map[ionet.Key]*head{}, at: map[place]int{}, messages: map[ionet.Hash]int64{}}
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
		if refusal := l.sameKey(e); refusal != nil {
			return refusal
		}
		return l.sameBook(e, false)
	case e.n == l.n && !l.takes(e.c):
		return refuse("history", "lanes", "C(%d) of lane %s is none that was signed for", e.n, e.lane)
	case e.n == l.n+1 && !l.leadsTo(e.c):
		return refuse("history", "lanes", "C(%d) of lane %s follows from nothing that was signed at %d", e.n, e.lane, l.n)
	case e.n > l.n+1:
		return refuse("history", "lanes", "position %d of lane %s is ahead of the journal, which ends at %d: was the journal restored, or did another signer sign? If so, restart ionetd signer with --reopen", e.n, e.lane, l.n)
	}
	return l.sameBook(e, true)
}

// sameBook: an epoch names the memo of the one before it, as far as that was signed here.
// A co-signer, who can't tell by the keys which content stands where, signs one content
// of an epoch: the service publishes one memo, once for ever.
func (l *head) sameBook(e entry, linked bool) *Refusal {
	if e.kind != chain.KindEpoch {
		return nil
	}
	if _, same := l.contents[e.content]; !linked && e.n == l.n && len(l.contents) > 0 && !same {
		return refuse("epoch", "memo", "epoch %d has another content than the one that was signed; if the chain shows that the first did not land and never can, restart ionetd signer with --reopen epoch=%d", e.n, e.n)
	}
	before := l.follows
	if e.n == l.n+1 {
		before = l.memos
	} else if e.n != l.n {
		return nil
	}
	if len(before) == 0 {
		return nil
	}
	prev, known := before[e.c]
	for _, memo := range before { // a C that a co-signer never signed must go on from some book that it did
		known = known || !linked && memo == e.prev
	}
	if !known && !linked || known && prev != e.prev && !prev.IsZero() {
		return refuse("epoch", "memo", "epoch %d does not name the memo that was signed for epoch %d; if another was sealed, restart ionetd signer with --reopen epoch", e.n, e.n-1)
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

// step brings the entry's lane to its position.
func (h *heads) step(e entry) {
	l, known := h.lanes[e.lane]
	if !known || e.n != l.n {
		next := newHead(e.n)
		if known && e.n == l.n+1 {
			next.follows = l.memos
		}
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
	if e.kind == chain.KindEpoch {
		l.memos[e.next] = e.memo
	}
}

// reopen lets a lane go on at any position from the journal's, or from r.From, once.
// An epoch that a person says is open has no mint that landed, nor has any after it:
// their messages count no more.
func (h *heads) reopen(r Reopening) error {
	l, known := h.lanes[r.Lane]
	if !known {
		return fmt.Errorf("reopen lane %s: the journal knows nothing of it, so it is open", r.Lane)
	}
	if r.From != nil {
		l = newHead(*r.From)
		h.lanes[r.Lane] = l
		h.drop(func(s spend) bool { return s.kind == chain.KindEpoch && s.lane == r.Lane && s.n >= *r.From })
	}
	l.bases, l.follows = nil, nil
	clear(l.memos)
	return nil
}

// replay takes a line of the journal into account.
func (h *heads) replay(l line) error {
	h.pay(l.lamports, l.at)
	for _, e := range l.entries {
		at := l.at
		if h.linked && e.kind == chain.KindClaim {
			at += int64(repeatTime / time.Second)
		}
		h.note(e, at, true)
	}
	for _, r := range l.reopen {
		if err := h.reopen(r); err != nil {
			return err
		}
	}
	return nil
}
