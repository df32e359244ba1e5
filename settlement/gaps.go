package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// Bounds on transactions that are in a vault's history and can't be read: one that an
// endpoint lacks, or tells otherwise than the others, must not hold up all that came later.
const (
	maxGaps  = 1024             // of one vault that are remembered; the others are met again by a walk from the cursor
	anewFrom = 10 * time.Minute // while there are any, a walk begins at the cursor that often
)

// gap is a transaction of a vault's history that was not read yet, and why.
type gap struct {
	entry rpc.Entry
	err   error
}

// isTold reports whether every endpoint answered, and that was no use: to wait for it may
// be in vain.
func (g gap) isTold() bool {
	return errors.Is(g.err, rpc.ErrNotFound) || errors.Is(g.err, rpc.ErrDisagree)
}

// unkept is what a walk could not read and had no room to remember. While there is any,
// walks begin at the cursor, which stays where it is.
type unkept struct {
	n      int
	last   gap
	untold bool // one of them may be told yet
}

// keep remembers what could not be read, as far as there is room.
func (w *walk) keep(open []gap) {
	n := min(len(open), maxGaps-len(w.gaps))
	w.gaps = append(w.gaps, open[:n]...)
	for _, g := range open[n:] {
		w.unkept.n, w.unkept.last = w.unkept.n+1, g
		w.unkept.untold = w.unkept.untold || !g.isTold()
	}
}

// isWhole reports whether everything that walks met was read.
func (w *walk) isWhole() bool { return len(w.gaps) == 0 && w.unkept.n == 0 }

// gapsError names one of the transactions that were not read, nil where all were.
func (w *walk) gapsError(v vault) error {
	if w.isWhole() {
		return nil
	}
	one := w.unkept.last
	if len(w.gaps) > 0 {
		one = w.gaps[0]
	}
	return fmt.Errorf("read the history of the %s: %d of its transactions can't be read, such as %s: %w: if this lasts, give endpoints with full history only (--rpc)",
		v.name, len(w.gaps)+w.unkept.n, one.entry.Signature, one.err)
}

// isTold reports whether all that endpoints can tell at the moment was read.
func (w *walk) isTold() bool {
	return !w.unkept.untold && !slices.ContainsFunc(w.gaps, func(g gap) bool { return !g.isTold() })
}

// isGap reports whether the transaction is one that could not be read.
func (w *walk) isGap(e rpc.Entry) bool {
	return slices.ContainsFunc(w.gaps, func(g gap) bool { return g.entry.Signature == e.Signature })
}

// fillGaps tries again what could not be read, as far as this pass may.
func (s *Service) fillGaps(ctx context.Context, w *walk, slot uint64) error {
	n := min(len(w.gaps), s.scanner.reads)
	if n == 0 {
		return nil
	}
	s.scanner.reads -= n
	list := make([]rpc.Entry, n)
	for i := range list {
		list[i] = w.gaps[i].entry
	}
	// What the history of another vault has told meanwhile needs no look.
	list, err := s.unread(ctx, list)
	if err != nil {
		return err
	}
	open, err := s.readEntries(ctx, list, slot)
	if err != nil {
		return err
	}
	w.gaps = append(slices.Clone(w.gaps[n:]), open...)
	return nil
}

// readEntries reads these transactions and books what they credit, all in one SQL
// transaction, and returns those that could not be read. A crash before its commit leaves
// them to the next walk.
func (s *Service) readEntries(ctx context.Context, list []rpc.Entry, slot uint64) (open []gap, err error) {
	all, errs := make([][]credit, len(list)), make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(scanSenders)
	for i, e := range list {
		group.Go(func() error {
			all[i], errs[i] = s.readCredits(ctx, e.Signature, s.creditsOf)
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.book(ctx, slices.Concat(all...), slot); err != nil {
		return nil, err
	}
	for i, e := range list {
		switch {
		case errs[i] != nil:
			open = append(open, gap{e, errs[i]})
		case len(all[i]) == 0:
			s.scanner.rest(e.Signature)
		}
	}
	return open, nil
}
