package settlement

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// How much of what it acked an instance remembers: the first and the last statement of
// each while, for some whiles.
const (
	recallWhile = time.Second
	recallKept  = 16
)

// recall is what this instance acked in the last seconds. A database that lacks one of it
// was put back under us. The lease tells that too, but only of a database in which it
// was renewed meanwhile: not where its holder is dead, nor between two renewals.
type recall struct {
	mu     sync.Mutex
	whiles []ackedWhile // the newest last
}

type ackedWhile struct {
	since       time.Time
	first, last ackedStatement
}

// ackedStatement is the primary key of a statement.
type ackedStatement struct {
	epoch uint64
	id    ionet.Hash
}

// remember is called before the ack leaves.
func (r *recall) remember(now time.Time, a ackedStatement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.whiles); n > 0 && now.Sub(r.whiles[n-1].since) < recallWhile {
		r.whiles[n-1].last = a
		return
	}
	if len(r.whiles) == recallKept {
		r.whiles = append(r.whiles[:0], r.whiles[1:]...)
	}
	r.whiles = append(r.whiles, ackedWhile{now, a, a})
}

// all returns the keys, column by column.
func (r *recall) all() (epochs []int64, ids [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.whiles {
		for _, a := range []ackedStatement{w.first, w.last} {
			epochs, ids = append(epochs, int64(a.epoch)), append(ids, a.id[:])
		}
	}
	return epochs, ids
}

func (r *recall) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whiles = nil
}

// What is in no frozen epoch must be there: it was committed before it was acked.
const countForgotten = `
SELECT count(*) FROM unnest($1::bigint[], $2::bytea[]) AS a (epoch, id)
WHERE (a.epoch = 0 OR a.epoch > (SELECT frozen_through FROM intake))
  AND NOT EXISTS (SELECT FROM statements s WHERE s.epoch = a.epoch AND s.id = a.id)`

// recollect begins anew where the database lacks what this instance acked: workers
// present it again then, and epochs stay open for a grace. It reports whether that is so.
func (s *Service) recollect(ctx context.Context) (bool, error) {
	epochs, ids := s.recall.all()
	if len(ids) == 0 {
		return false, nil
	}
	var missing int
	if err := s.pool.QueryRow(ctx, countForgotten, epochs, ids).Scan(&missing); err != nil {
		return false, fmt.Errorf("look for what was acked: %w", err)
	}
	if missing == 0 {
		return false, nil
	}
	s.recall.forget()
	s.begin(draw(s.cfg.Rand))
	s.log.Warn("the database lacks statements that this instance acked: it was put back; workers are asked to present them again")
	return true, nil
}
