package signer

import (
	"maps"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

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
	line   int64 // when the journal had its last line
}

// maxMints is how many messages of one epoch's mint a co-signer signs in an epoch's
// length, or in a window where that is longer: one, and again where it expired. Each of
// them could land with a stolen lane secret.
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
	if was := h.moves[i]; was.at > h.since(now) {
		return max(was.amount, e.amount.Base()) - was.amount
	}
	return e.amount.Base()
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

// mints counts the messages of that epoch's mint in an epoch's length.
func (h *heads) mints(e entry, now time.Time) (n int) {
	since := now.Add(-h.epoch).Unix()
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
			return refuse("window", "movements", "the mint of epoch %d was co-signed %d times in %s", e.n, maxMints, h.epoch)
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

// note takes an entry into account that was signed at that time; line tells that the
// journal has it of then.
func (h *heads) note(e entry, at int64, line bool) {
	h.step(e)
	if !h.counts(e) {
		return
	}
	p := place{lane: e.lane, n: e.n, kind: e.kind}
	if i, known := h.at[p]; known && h.linked {
		s := &h.moves[i]
		if s.at <= at-int64(h.window/time.Second) {
			s.amount = 0
		}
		s.at, s.amount = max(s.at, at), max(s.amount, e.amount.Base())
		if line {
			s.line = at
		}
		return
	}
	if !h.linked {
		p.each = uint64(len(h.moves)) + 1
	}
	h.at[p] = len(h.moves)
	h.moves = append(h.moves, spend{p, at, e.amount.Base(), at})
}

// pay notes lamports that our fee payer may lose.
func (h *heads) pay(lamports uint64, at int64) {
	if lamports > 0 {
		h.lamports = append(h.lamports, spend{at: at, amount: lamports})
	}
}

// forget drops what left the window a window ago: without it sums would take ever longer.
func (h *heads) forget(now time.Time) {
	since, mints := now.Add(-2*h.window).Unix(), now.Add(-2*h.epoch).Unix()
	old := func(s spend) bool { return s.at <= since && (s.kind != chain.KindEpoch || s.at <= mints) }
	maps.DeleteFunc(h.messages, func(_ ionet.Hash, at int64) bool { return at <= since })
	if !slices.ContainsFunc(h.moves, old) && !slices.ContainsFunc(h.lamports, old) {
		return
	}
	h.forgot = now
	h.lamports = slices.DeleteFunc(h.lamports, old)
	h.drop(old)
}

// drop takes moves out, and finds the places of the others anew.
func (h *heads) drop(gone func(spend) bool) {
	h.moves = slices.DeleteFunc(h.moves, gone)
	clear(h.at)
	for i := range h.moves {
		if !h.linked {
			h.moves[i].each = uint64(i) + 1
		}
		h.at[h.moves[i].place] = i
	}
}

// misses reports whether something may be dropped that counts at that time: the clock
// was set far ahead, and back.
func (h *heads) misses(now time.Time) bool {
	return !h.forgot.IsZero() && now.Before(h.forgot.Add(-h.window))
}

// repeatTime is how long a full signer's journal has no other line of a claim's
// content: anybody can ask for claims in anybody's name, again and again over newer
// blockhashes. Read back, a claim counts for so much longer.
const repeatTime = time.Minute

// repeats reports whether the journal needs no line for v: all of it are contents of
// claims, of which it has one of a moment ago.
func (h *heads) repeats(v verdict, now time.Time) bool {
	if !h.linked || v.lamports > 0 {
		return false
	}
	for _, e := range v.entries {
		i, known := h.at[place{e.lane, e.n, e.kind, 0}]
		if !known || e.kind != chain.KindClaim || !h.knows(e) || h.moves[i].line > now.Unix() || h.moves[i].line <= now.Add(-repeatTime).Unix() {
			return false
		}
	}
	return len(v.entries) > 0
}
