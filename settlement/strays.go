package settlement

import (
	"context"
	"errors"
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
	strayRest       = time.Minute      // of one whose history does not tell
	maxStray        = 4096             // that rest
)

// lookForStrays finds transactions that name a reference and went astray: no vault's
// history has them. They are kept in suspense without a ledger entry, as no vault holds
// what they moved. Vaults' credits are the scan's. A reference whose history does not
// tell holds up no other one.
func (s *Service) lookForStrays(ctx context.Context, slot uint64) error {
	now := s.now()
	list, err := s.lookedFor(ctx, now)
	if err != nil {
		return err
	}
	var errs []error
	for _, reference := range list {
		if err := s.lookFor(ctx, reference, slot); err != nil {
			if errors.Is(err, errNotLeader) || ctx.Err() != nil {
				return err
			}
			s.scanner.strayed(reference, now)
			errs = append(errs, fmt.Errorf("look for deposit reference %s: %w", reference, err))
			continue
		}
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, markLooked, reference[:], now)
			return err
		})
		if err != nil {
			return fmt.Errorf("mark a deposit reference: %w", err)
		}
	}
	return errors.Join(errs...)
}

// lookedFor returns the references whose turn it is. Those that did not tell rest.
func (s *Service) lookedFor(ctx context.Context, now time.Time) ([]ionet.Key, error) {
	resting := [][]byte{}
	for reference, since := range s.scanner.stray {
		if now.Before(since.Add(strayRest)) {
			resting = append(resting, reference[:])
		} else {
			delete(s.scanner.stray, reference)
		}
	}
	rows, err := s.pool.Query(ctx, selectLookedFor, now.Add(-strayFor), now.Add(-strayEvery), strayReferences, resting)
	if err != nil {
		return nil, fmt.Errorf("load deposit references: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k ionet.Key, err error) {
		var raw []byte
		err = row.Scan(&raw)
		copy(k[:], raw)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("load deposit references: %w", err)
	}
	return list, nil
}

// strayed remembers a reference whose history did not tell.
func (sc *scanner) strayed(reference ionet.Key, now time.Time) {
	if sc.stray == nil || len(sc.stray) >= maxStray {
		sc.stray = map[ionet.Key]time.Time{}
	}
	sc.stray[reference] = now
}

const selectLookedFor = `
SELECT reference FROM deposit_references
WHERE asked_at > $1 AND (looked_at IS NULL OR looked_at < $2 AND looked_at < asked_at) AND reference <> ALL ($4::bytea[])
ORDER BY looked_at NULLS FIRST, reference LIMIT $3`

const markLooked = `UPDATE deposit_references SET looked_at = $2 WHERE reference = $1`

// lookFor books what the newest transactions of one reference's history say. What can't
// be read of them is the error, and keeps none of the others out.
func (s *Service) lookFor(ctx context.Context, reference ionet.Key, slot uint64) error {
	page, err := s.cfg.Chain.HistoryPage(ctx, reference, chain.Signature{}, chain.Signature{}, slot)
	if err != nil {
		return err
	}
	page = page[:min(len(page), strayEntries)]
	var found []credit
	var errs []error
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
			errs = append(errs, err)
			continue
		}
		for i := range list {
			list[i].reference = reference
		}
		found = append(found, list...)
	}
	return errors.Join(s.book(ctx, found, slot), errors.Join(errs...))
}
