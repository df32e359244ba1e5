package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// restoreLog is the leader's: where the database lacks what is published of the receipt
// log it is taken from there, and nothing is signed before. It compares where that was not
// done since this instance began, or something was odd since. Cut anywhere, it begins
// again where the log's head is. In this order:
//
//	compare     the records that are missing, after those that the database has, lead to the
//	            root that we signed; else the database has others, and nothing is imported
//	deposits    that sessions reserved of are read from the chain
//	records     some thousand in each SQL transaction, with all that they mean
func (s *Service) restoreLog(ctx context.Context, final finalView) error {
	l := &s.receipts
	l.turn.Lock()
	defer l.turn.Unlock()
	stand, _, _ := l.now()
	if stand == logUnlooked || stand == logBehind {
		if err := s.lookAtLog(ctx); err != nil {
			return err
		}
	}
	stand, last, head := l.now()
	if stand != logBehind {
		return nil // a contradiction stops what depends on the log; see mayAppend and recorded
	}
	if err := s.checkMissing(ctx, last.LogCheckpoint); err != nil {
		return fmt.Errorf("rebuild the receipt log: %w", err)
	}
	if stand, _, _ = l.now(); stand != logBehind {
		return nil
	}
	if err := s.scanDeposits(ctx, final); err != nil {
		return fmt.Errorf("rebuild the receipt log: %w", err)
	}
	err := s.eachMissing(ctx, head.Size, last.Size, func(records [][]byte) error { return s.importRecords(ctx, records) })
	if err != nil {
		return fmt.Errorf("rebuild the receipt log: %w", err)
	}
	s.log.Info("the receipt log was rebuilt from what is published", "from", head.Size, "to", last.Size)
	s.emit(Event{Kind: EventRecovery, Count: int(last.Size - head.Size), Detail: fmt.Sprintf("%d records of the receipt log read from the published store", last.Size-head.Size)})
	return s.lookAtLog(ctx)
}

// checkMissing compares what the missing records lead to with the checkpoint.
func (s *Service) checkMissing(ctx context.Context, c proofs.LogCheckpoint) error {
	head, f, err := readLogFrontier(ctx, s.pool)
	if err != nil {
		return err
	}
	err = s.eachMissing(ctx, head.Size, c.Size, func(records [][]byte) error {
		f.Append(records...)
		return nil
	})
	if err != nil {
		return err
	}
	if root := f.Root(); root != c.Root {
		_, last, _ := s.receipts.now()
		s.stands(logForked, fmt.Sprintf("the %d records of the database, with those published behind them, lead to root %s, the checkpoint of size %d has %s", head.Size, root, c.Size, c.Root), last, head)
	}
	return nil
}

// rebuildChunk is how many records are read at once: whole bundles.
const rebuildChunk = 64 * proofs.TileWidth

// eachMissing calls f with the published records from..to, in order, some at a time.
func (s *Service) eachMissing(ctx context.Context, from, to uint64, f func([][]byte) error) error {
	for from < to {
		end := min(to, (from/rebuildChunk+1)*rebuildChunk)
		first, count := from/proofs.TileWidth, (end-1)/proofs.TileWidth-from/proofs.TileWidth+1
		bundles := make([][][]byte, count)
		errs := make([]error, count)
		s.each(int(count), func(i int) { bundles[i], errs[i] = s.readBundle(ctx, first+uint64(i), to) })
		if err := errors.Join(errs...); err != nil {
			return err
		}
		var records [][]byte
		for _, b := range bundles {
			records = append(records, b...)
		}
		if err := f(records[from-first*proofs.TileWidth : end-first*proofs.TileWidth]); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// readBundle reads a bundle of a published log of that size. A partial one may have given
// way to the full one, which begins with it.
func (s *Service) readBundle(ctx context.Context, index, size uint64) ([][]byte, error) {
	width := int(min(proofs.TileWidth, size-index*proofs.TileWidth))
	there := width
	data, err := s.cfg.Store.Get(ctx, publish.EntriesName(index, width))
	if errors.Is(err, publish.ErrNotFound) && width < proofs.TileWidth {
		there = proofs.TileWidth
		data, err = s.cfg.Store.Get(ctx, publish.EntriesName(index, there))
	}
	if err != nil {
		return nil, err
	}
	records, err := proofs.ParseBundle(data, there)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", publish.EntriesName(index, there), err)
	}
	return records[:width], nil
}
