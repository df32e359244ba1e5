package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// landing says which transaction brought a content on chain. The lane's state decides
// that it won; a landing can only contradict it. Zero where the chain's history does not
// tell.
type landing struct {
	signature chain.Signature
	slot      uint64
}

// findLandings looks up which transactions brought the winners on chain; where nobody
// tells the landing stays zero. One that brought another content of a winner's position
// is an error, and nothing is settled: then the key that the lane shows was promised to
// more than one content, or an endpoint lies.
func (s *Service) findLandings(ctx context.Context, won []passedPosition, slot uint64) error {
	sent, err := s.sentFor(ctx, won)
	if err != nil {
		return err
	}
	signatures := make([]chain.Signature, len(sent))
	for i := range sent {
		signatures[i] = sent[i].signature
	}
	statuses, err := s.cfg.Chain.Statuses(ctx, signatures)
	if err != nil {
		s.log.Debug("transactions that landed were not found", "error", err)
	}
	for i, st := range statuses {
		if st == nil || st.Err != nil || st.Commitment != "finalized" {
			continue
		}
		if err := sent[i].of.landedAs(sent[i].content, landing{signatures[i], st.Slot}); err != nil {
			return err
		}
	}
	for i := range won {
		if p := &won[i]; p.landing.signature.IsZero() {
			// A wallet may have signed the same message anew: then only history has it.
			if err := s.findInHistory(ctx, p, slot); err != nil {
				return err
			}
		}
	}
	return nil
}

// landedAs takes what brought a content of p's position on chain.
func (p *passedPosition) landedAs(content ionet.Hash, at landing) error {
	if want := p.content.Hash(); content != want {
		return fmt.Errorf("find what landed: transaction %s brought %s to position %d of lane %s, whose key is that of %s: not settled; compare the endpoints (--rpc), and ask whether the first signer was stolen",
			at.signature, content, p.lane.position, p.lane.name, want)
	}
	p.landing = at
	return nil
}

func (s *Service) findInHistory(ctx context.Context, p *passedPosition, slot uint64) error {
	st, err := s.findStep(ctx, p.lane, slot, forDisplay)
	if err != nil {
		s.log.Debug("the transaction that landed was not found", "lane", p.lane.name, "position", p.lane.position, "error", err)
		return nil
	}
	content, err := st.decoded.Content(p.lane.address, p.lane.position, p.lane.c)
	if err != nil {
		return fmt.Errorf("find what landed: %w", err)
	}
	return p.landedAs(content.Hash(), st.landing)
}

// sentContent is a transaction that was sent for a position, and its content there.
type sentContent struct {
	of        *passedPosition
	content   ionet.Hash
	signature chain.Signature
}

// sentFor returns what was sent for the positions, the newest first: for the winners and
// for all others.
func (s *Service) sentFor(ctx context.Context, won []passedPosition) (list []sentContent, err error) {
	at := make(map[string]*passedPosition, len(won))
	names, positions := make([]string, len(won)), make([]int64, len(won))
	for i := range won {
		l := won[i].lane
		at[l.name], names[i], positions[i] = &won[i], l.name, int64(l.position)
	}
	rows, err := s.pool.Query(ctx, selectSent, names, positions)
	if err != nil {
		return nil, fmt.Errorf("load what was sent: %w", err)
	}
	var lane string
	var content, signature []byte
	_, err = pgx.ForEachRow(rows, []any{&lane, &content, &signature}, func() error {
		// An offer has no signature of its wallet yet, and so none that it could land by.
		if sig := chain.Signature(signature); !sig.IsZero() {
			list = append(list, sentContent{at[lane], ionet.Hash(content), sig})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load what was sent: %w", err)
	}
	return list, nil
}

const selectSent = `
SELECT c.lane, c.hash, a.signature FROM unnest($1::text[], $2::bigint[]) AS t (lane, position)
JOIN contents c ON c.lane = t.lane AND c.position = t.position
JOIN attempt_steps p ON p.content = c.hash JOIN attempts a ON a.message = p.message ORDER BY a.created_at DESC, a.message`
