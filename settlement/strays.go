package settlement

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// Bounds on looking at references' own histories. Who was given one asks what became
// of it; a pass looks at some of those that were asked for since.
const (
	strayReferences = 4                // in one pass
	strayEntries    = 8                // of each, the newest
	strayEvery      = 10 * time.Second // between two looks at one
	strayFor        = time.Hour        // after somebody asked last
)

// lookForStrays finds transactions that name a reference and went astray: no vault's
// history has them. They are kept in suspense without a ledger entry, as no vault holds
// what they moved. Vaults' credits are the scan's.
func (s *Service) lookForStrays(ctx context.Context, slot uint64) error {
	now := s.now()
	rows, err := s.pool.Query(ctx, selectLookedFor, now.Add(-strayFor), now.Add(-strayEvery), strayReferences)
	if err != nil {
		return fmt.Errorf("load deposit references: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return fmt.Errorf("load deposit references: %w", err)
	}
	for _, raw := range list {
		if err := s.lookFor(ctx, ionet.Key(raw), slot); err != nil {
			return fmt.Errorf("look for deposit reference %s: %w", ionet.Key(raw), err)
		}
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, markLooked, raw, now)
			return err
		})
		if err != nil {
			return fmt.Errorf("mark a deposit reference: %w", err)
		}
	}
	return nil
}

const selectLookedFor = `
SELECT reference FROM deposit_references
WHERE asked_at > $1 AND (looked_at IS NULL OR looked_at < $2 AND looked_at < asked_at)
ORDER BY looked_at NULLS FIRST, reference LIMIT $3`

const markLooked = `UPDATE deposit_references SET looked_at = $2 WHERE reference = $1`

func (s *Service) lookFor(ctx context.Context, reference ionet.Key, slot uint64) error {
	page, err := s.cfg.Chain.HistoryPage(ctx, reference, chain.Signature{}, chain.Signature{}, slot)
	if err != nil {
		return err
	}
	page = page[:min(len(page), strayEntries)]
	var found []credit
	for _, e := range page {
		if e.Err != nil || e.Slot > slot || s.scanner.reads <= 0 {
			continue
		}
		s.scanner.reads--
		list, err := s.readCredits(ctx, e.Signature, func(t *rpc.Transaction) []credit {
			if len(s.creditsOf(t)) > 0 {
				return nil
			}
			return s.strayCredits(t)
		})
		if err != nil {
			return err
		}
		for i := range list {
			list[i].reference = reference
		}
		found = append(found, list...)
	}
	return s.book(ctx, found, slot)
}
