package client

import (
	"errors"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// spans are the parts of a channel that jobs account for: [from, to) in base units,
// ascending, with a gap between any two.
type spans []span

type span struct{ from, to ionet.Amount }

var errSpanTaken = errors.New("another job of the channel has that part of it already")

// add accounts for a job. A job of a part that another has is an error.
func (s *spans) add(from, to ionet.Amount) error {
	if from == to {
		return nil
	}
	i, _ := slices.BinarySearchFunc(*s, from, func(x span, from ionet.Amount) int { return x.from.Cmp(from) })
	if i > 0 && (*s)[i-1].to.Cmp(from) > 0 || i < len(*s) && to.Cmp((*s)[i].from) > 0 {
		return errSpanTaken
	}
	*s = slices.Insert(*s, i, span{from, to})
	if i+1 < len(*s) && (*s)[i+1].from == to {
		(*s)[i].to = (*s)[i+1].to
		*s = slices.Delete(*s, i+1, i+2)
	}
	if i > 0 && (*s)[i-1].to == from {
		(*s)[i-1].to = (*s)[i].to
		*s = slices.Delete(*s, i, i+1)
	}
	return nil
}

// top is the end of the last part: what the channel is known to have spent.
func (s spans) top() ionet.Amount {
	if len(s) == 0 {
		return ionet.Amount{}
	}
	return s[len(s)-1].to
}

// known is the sum of all parts, at most top.
func (s spans) known() (sum ionet.Amount) {
	for _, x := range s {
		part, _ := x.to.Sub(x.from) // from < to
		sum, _ = sum.Add(part)      // at most top
	}
	return sum
}

// isGapless reports whether jobs account for all up to top.
func (s spans) isGapless() bool { return len(s) == 0 || len(s) == 1 && s[0].from.IsZero() }

// has reports whether jobs account for all of [from, to) already.
func (s spans) has(from, to ionet.Amount) bool {
	return slices.ContainsFunc(s, func(x span) bool { return x.from.Cmp(from) <= 0 && to.Cmp(x.to) <= 0 })
}
