package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// buryDead applies the dead rule to attempts that the finalized height has passed and
// marks the dead ones: their positions may be tried again. Their debts stay in
// flight until the positions' winners are known. It returns those that live on:
// whatever is not known is not dead.
//
// All lanes are read in one call of each endpoint, and all the dead are marked in one
// SQL transaction: outsiders decide how many claims die.
func (s *Service) buryDead(ctx context.Context, expired []*attempt) (alive []*attempt, err error) {
	var lanes []lane
	for _, a := range expired {
		if l := a.steps[0].lane; !slices.ContainsFunc(lanes, func(k lane) bool { return k.address == l.address }) {
			lanes = append(lanes, l)
		}
	}
	var dead []*attempt
	for part := range slices.Chunk(lanes, maxEverywhere) {
		index := make(map[ionet.Key]int, len(part))
		keys := make([]ionet.Key, len(part))
		for i, l := range part {
			index[l.address], keys[i] = i, l.address
		}
		views, err := s.cfg.Chain.Everywhere(ctx, keys)
		if err != nil {
			// The others are tended all the same.
			s.log.Warn("dead rule could not be applied", "error", err)
		}
		for _, a := range expired {
			// One lane that still shows the attempt's key is enough: a transaction
			// passes all of its lanes or none.
			i, ok := index[a.steps[0].lane.address]
			switch {
			case !ok:
			case err == nil && s.isDeadBy(views, i, a):
				dead = append(dead, a)
			default:
				alive = append(alive, a)
			}
		}
	}
	return alive, s.bury(ctx, dead)
}

// maxEverywhere is how many lanes one look at every endpoint takes.
const maxEverywhere = 100

func (s *Service) isDeadBy(views []rpc.View, i int, a *attempt) bool {
	l := a.steps[0].lane
	st, err := stepIn(a.tx, l.address)
	if err != nil {
		s.log.Warn("dead rule could not be applied", "kind", a.kind.String(), "lane", l.name, "position", l.position, "error", err)
		return false
	}
	for _, v := range views {
		err := v.CheckDead(i, st.From, a.blockhash.LastValidHeight)
		if err == nil {
			continue
		}
		if !errors.Is(err, rpc.ErrAlive) && !errors.Is(err, rpc.ErrPassed) {
			s.log.Warn("dead rule could not be applied", "kind", a.kind.String(), "lane", l.name, "position", l.position, "error", err)
		}
		return false
	}
	return len(views) > 0
}

func (s *Service) bury(ctx context.Context, dead []*attempt) error {
	if len(dead) == 0 {
		return nil
	}
	messages := make([][]byte, len(dead))
	for i, a := range dead {
		messages[i] = a.message[:]
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, markDead, messages)
		return err
	})
	if err != nil {
		return fmt.Errorf("bury %s: %w", kindsOf(dead), err)
	}
	for _, a := range dead {
		s.log.Info("attempt is dead", "kind", a.kind.String(), "lane", a.steps[0].lane.name, "position", a.steps[0].lane.position, "signature", a.signature.String(), "reason", a.reason)
	}
	return nil
}

const markDead = `UPDATE attempts SET state = 'dead' WHERE message = ANY ($1::bytea[]) AND state = 'live'`
