package emissions

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// A key is a weight's place in the queue for the units that rounding down left
// over. The smaller key, word by word, is served first: the remainder's
// complement, the UUID as two big-endian words and, for UUIDs that stand twice,
// the weight.
type key [4]uint64

func keyOf(w *Weight, remainder uint64) key {
	return key{^remainder, binary.BigEndian.Uint64(w.UUID[:8]), binary.BigEndian.Uint64(w.UUID[8:]), w.Weight}
}

// A rank is a bucket of keys around a pivot: the first digit (byte) at which they
// differ from it, and what they have there. Of the keys below the pivot those
// that differ earlier are the smaller, of those above it the larger. So the 256
// ranks of each level, first to last, and then those of each level from the other
// side, last to first, are in the order of the keys. The pivot itself is among
// those that differ below at the last level, as its largest.
type rank uint16

const (
	levels = 32 // digits of a key
	ranks  = 2 * levels * 256
)

// rankAt returns the rank of a key whose first word that is not the pivot's is x
// and starts at the given level; for the pivot itself the word is the last one.
// There are no branches, for nobody could predict them.
func rankAt(level int, x, pivot uint64) rank {
	digit := (bits.Len64(x^pivot|1) - 1) / 8 // from the right, where the first difference is
	_, above := bits.Sub64(pivot, x, 0)
	level = (level + 7 - digit) ^ int(above*(2*levels-1)) // above the pivot: 63 - level
	return rank(level)<<8 | rank(x>>(8*digit&63))&255
}

// single reports whether all keys of the rank are one: they share every digit.
func (r rank) single() bool {
	level := r >> 8
	return level == levels-1 || level == levels
}

// A tally counts the keys of each rank.
type tally [ranks]uint64

// add ranks weights and their remainders around p and counts them. UUIDs are
// read only where remainders do not decide.
func (t *tally) add(p key, weights []Weight, remainders []uint64, into []rank) {
	remainders, into = remainders[:len(weights)], into[:len(weights)]
	for i := range weights {
		level, x, y := 0, ^remainders[i], p[0]
		if x == y {
			w := &weights[i]
			level, x, y = 8, binary.BigEndian.Uint64(w.UUID[:8]), p[1]
			if x == y {
				level, x, y = 16, binary.BigEndian.Uint64(w.UUID[8:]), p[2]
			}
			if x == y {
				level, x, y = 24, w.Weight, p[3]
			}
		}
		r := rankAt(level, x, y)
		into[i] = r
		t[r]++
	}
}

// find returns the rank of the u-th key, counted from one, and which one of that
// rank it is.
func (t *tally) find(u uint64) (r rank, nth uint64) {
	for t[r] < u {
		u -= t[r]
		r++
	}
	return r, u
}

// common counts the digits of each step-th of weights and their remainders, and
// returns the key that has at each level the digit that most have there. It leaves
// t at zero.
//
// As a pivot it halves what was counted: where more than half of the keys share
// their first digits, each of these is the most frequent at its level, so the
// pivot has them too, and those keys differ from it later. So no rank but its own,
// which is of one key, has more than half of the keys.
func (t *tally) common(weights []Weight, remainders []uint64, step int) (pivot key) {
	for i := 0; i < len(weights); i += step {
		for word, x := range keyOf(&weights[i], remainders[i]) {
			for level := 8*word + 7; level >= 8*word; level-- {
				t[level<<8|int(x&255)]++
				x >>= 8
			}
		}
	}
	for level := range levels {
		counts := t[level<<8 : (level+1)<<8]
		digit := slices.Index(counts, slices.Max(counts))
		pivot[level/8] = pivot[level/8]<<8 | uint64(digit)
	}
	*t = tally{}
	return pivot
}

// A queue is what still competes for units: some of a split's weights, their
// remainders and where they stand. As only who is among its first matters, it is
// sorted only once it is short.
type queue struct {
	weights    []Weight
	remainders []uint64
	at         []int
}

// short is the length below which sorting takes less time than clearing a tally.
const short = 64

// part is how many times less than all weights the common key of a part counts.
const part = 16

// serve gives one unit to the first u in the order of keys; all weights are
// ranked, and at least u have a remainder.
//
// Each round gives to all whose rank is before that of the u-th, and goes on with
// those of the same rank, around another pivot. However UUIDs and weights were
// chosen, three rounds at most halve the queue. Two rounds are usual, of which the
// second is brief.
func (s *split) serve(u uint64) error {
	last, u := s.tally.find(u)
	q, err := s.serveAll(last)
	slow := 0 // rounds since one halved the queue
	for before := len(s.weights); err == nil && len(q.at) > short && !last.single(); {
		if slow++; len(q.at) <= before/2 {
			slow = 0
		}
		before = len(q.at)
		*s.tally = tally{}
		s.tally.add(s.pivot(&q, slow), q.weights, q.remainders, s.ranks)
		last, u = s.tally.find(u)
		err = s.serveQueue(&q, last)
	}
	if err != nil {
		return err
	}
	if !last.single() {
		q.sort()
	}
	return s.addUnits(q.at[:u])
}

// pivot returns the next pivot: any while rounds halve the queue, and when they do
// not, first the common key of a part, which costs less, then that of all.
func (s *split) pivot(q *queue, slow int) key {
	switch slow {
	case 0:
		i := len(q.at) / 2
		return keyOf(&q.weights[i], q.remainders[i])
	case 1:
		return s.tally.common(q.weights, q.remainders, part)
	}
	return s.tally.common(q.weights, q.remainders, 1)
}

// sort brings at, and no more, into the order of keys.
func (q *queue) sort() {
	type place struct {
		key key
		at  int
	}
	places := make([]place, len(q.at))
	for j, i := range q.at {
		places[j] = place{keyOf(&q.weights[j], q.remainders[j]), i}
	}
	slices.SortFunc(places, func(a, b place) int { return slices.Compare(a.key[:], b.key[:]) })
	for j := range places {
		q.at[j] = places[j].at
	}
}

// serveAll gives one unit to each weight whose rank is before last, and returns
// those whose rank is last.
func (s *split) serveAll(last rank) (q queue, err error) {
	q.at = make([]int, 0, s.tally[last])
	amounts := s.amounts[:len(s.ranks)]
	for i, r := range s.ranks {
		_, one := bits.Sub64(uint64(r), uint64(last), 0)
		if amounts[i], err = ionet.NewAmount(amounts[i].Base() + one); err != nil {
			return queue{}, err
		}
		if r == last {
			q.at = append(q.at, i)
		}
	}
	// Their weights are copied together, for later rounds to read in a straight line.
	q.weights = make([]Weight, len(q.at))
	q.remainders = make([]uint64, len(q.at))
	for j, i := range q.at {
		q.weights[j] = s.weights[i]
		_, q.remainders[j] = s.divider.share(s.weights[i].Weight)
	}
	return q, nil
}

// serveQueue is serveAll for a queue whose ranks are known; it keeps those of rank
// last.
func (s *split) serveQueue(q *queue, last rank) error {
	n := 0
	for j, i := range q.at {
		switch r := s.ranks[j]; {
		case r < last:
			if err := s.addUnit(i); err != nil {
				return err
			}
		case r == last:
			q.at[n], q.weights[n], q.remainders[n] = i, q.weights[j], q.remainders[j]
			n++
		}
	}
	q.at, q.weights, q.remainders = q.at[:n], q.weights[:n], q.remainders[:n]
	return nil
}

// addUnits gives one unit to each of the weights at the given places.
func (s *split) addUnits(at []int) error {
	for _, i := range at {
		if err := s.addUnit(i); err != nil {
			return err
		}
	}
	return nil
}

// addUnit gives one unit to a weight; it cannot leave total, let alone the range.
func (s *split) addUnit(i int) (err error) {
	s.amounts[i], err = ionet.NewAmount(s.amounts[i].Base() + 1)
	return err
}
