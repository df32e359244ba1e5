package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// fence passes every pay and claim lane with an empty content that names the
// lease's token, and reports whether all of them are passed, finally, under the
// lease that is held now.
//
// Why: this database may be an older copy, or a former leader may have signed
// what it could not write down. Such a forgotten transaction names the open
// position of its lane, or a later one built on it. Once our empty content is
// the final winner of a position, neither can land ever again; if it landed
// first instead, the lane says so, recovery imports it, and the next position
// is fenced. Debts that are signed after that can't be paid a second time by
// anything that we do not know.
func (s *Service) fence(ctx context.Context, lanes []lane, live []attempt) (bool, error) {
	number := s.leaseNumber()
	if number == 0 {
		return false, errNotLeader
	}
	memo := proofs.FenceMemo{Instance: s.leaseToken()}.String()
	var need []lane
	done := true
	for _, l := range lanes {
		if !l.carriesDebts() || l.fenced == number {
			continue
		}
		done = false
		if !isFencing(live, l, memo) {
			need = append(need, l)
		}
	}
	if done {
		if s.fenced != number {
			s.fenced = number
			s.emit(Event{Kind: EventFence, Count: countDebtLanes(lanes)})
		}
		return true, nil
	}
	return false, s.passEmpty(ctx, chain.KindFence, memo, need)
}

// isFencing reports whether a live fence of that memo passes l. Fences of
// former leaders may live beside it.
func isFencing(live []attempt, l lane, memo string) bool {
	_, ok := liveOn(live, l, func(a attempt, st step) bool { return a.kind == chain.KindFence && st.content.Memo == memo })
	return ok
}

func countDebtLanes(lanes []lane) int {
	n := 0
	for _, l := range lanes {
		if l.carriesDebts() {
			n++
		}
	}
	return n
}

// passEmpty sends transactions that pass the open positions of lanes without
// moving anything, as many lanes at once as one transaction takes.
func (s *Service) passEmpty(ctx context.Context, kind chain.Kind, memo string, lanes []lane) error {
	var drafts []draft
	for part := range slices.Chunk(lanes, chain.MaxSteps) {
		drafts = append(drafts, draft{kind: kind, memo: memo, lanes: part})
	}
	return s.launchAll(ctx, drafts)
}

// openDebt is an open content of a lane's open position that carries debts.
type openDebt struct {
	lane    string
	content chain.Content
	held    bool // one of its payees is held; of a withdrawal see unpayableWithdrawals
}

// openDebts returns them for all lanes.
func (s *Service) openDebts(ctx context.Context) ([]openDebt, error) {
	rows, err := s.pool.Query(ctx, selectOpenDebts, s.now(), int16(chain.KindWithdrawal))
	if err != nil {
		return nil, fmt.Errorf("load open debts: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (openDebt, error) {
		var d openDebt
		var data []byte
		if err := row.Scan(&d.lane, &data, &d.held); err != nil {
			return d, err
		}
		var err error
		d.content, err = chain.ParseContent(data)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("load open debts: %w", err)
	}
	return list, nil
}

const selectOpenDebts = `
SELECT c.lane, c.bytes, bool_or(h.payee IS NOT NULL)
FROM lanes l JOIN contents c ON c.lane = l.name AND c.position = l.position AND c.state = 'open'
JOIN payments p ON p.content = c.hash AND p.state = 'signed'
LEFT JOIN held_payees h ON h.payee = p.payee AND h.retry_at > $1 AND c.kind <> $2
GROUP BY c.lane, c.hash, c.bytes ORDER BY c.lane, c.hash`

// retry looks after open positions whose contents carry debts:
//   - a payout without a live attempt is dead: the same content is signed again
//     for the same position, over a new blockhash;
//   - a payout with a payee that can't be paid is raced by an empty content. One
//     of the two wins; if it is the empty one, all its debts are free again;
//   - a claim is left to its wallet, which can have it again over a new blockhash,
//     until it is in the way: then an empty content passes it, whatever else is
//     alive on the lane.
func (s *Service) retry(ctx context.Context, lanes []lane, live []attempt) error {
	debts, err := s.openDebts(ctx)
	if err != nil {
		return err
	}
	unpayable, err := s.unpayableWithdrawals(ctx, debts)
	if err != nil {
		return err
	}
	inTheWay, err := s.claimsInTheWay(ctx)
	if err != nil {
		return err
	}
	var skip []lane
	var again []draft
	for _, d := range debts {
		l := laneNamed(lanes, d.lane)
		claim := d.content.Kind == chain.KindClaim
		_, alive := liveOn(live, l, anyAttempt)
		switch {
		case d.content.N != l.position: // passed since the lanes were loaded
		case claim && !inTheWay[d.lane]:
		case claim || d.held || unpayable[d.content.Hash()]:
			if _, skipping := liveOn(live, l, func(a attempt, _ step) bool { return a.kind == chain.KindSkip }); !skipping && !slices.Contains(skip, l) {
				skip = append(skip, l)
			}
		case !alive:
			again = append(again, draft{kind: d.content.Kind, movements: d.content.Movements, memo: d.content.Memo, lanes: []lane{l}})
		}
	}
	memo := proofs.SkipMemo{Instance: s.cfg.Instance}.String()
	return errors.Join(s.launchAll(ctx, again), s.passEmpty(ctx, chain.KindSkip, memo, skip))
}
