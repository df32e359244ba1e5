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

// ackedStatement is what a statement is found by; at is zero for other kinds than uptime.
type ackedStatement struct {
	epoch uint64
	id    ionet.Hash
	at    workerSample
}

func (it *item) recalled() ackedStatement {
	a := ackedStatement{epoch: it.epoch(), id: it.id}
	if it.isUptime() {
		a.at = it.slot()
	}
	return a
}

// remember is called before acks leave, with the first and the last of them.
func (r *recall) remember(now time.Time, first, last ackedStatement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.whiles); n > 0 && now.Sub(r.whiles[n-1].since) < recallWhile {
		r.whiles[n-1].last = last
		return
	}
	if len(r.whiles) == recallKept {
		r.whiles = append(r.whiles[:0], r.whiles[1:]...)
	}
	r.whiles = append(r.whiles, ackedWhile{now, first, last})
}

// all returns what is remembered, the newest last.
func (r *recall) all() []ackedStatement {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []ackedStatement
	for _, w := range r.whiles {
		list = append(list, w.first, w.last)
	}
	return list
}

func (r *recall) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whiles = nil
}

// What is in no frozen epoch must be there: it was committed before it was acked.
const countForgotten = `
SELECT i.frozen_through,
       (SELECT count(*) FROM unnest($1::bigint[], $2::bytea[]) AS a (epoch, id)
        WHERE (a.epoch = 0 OR a.epoch > i.frozen_through)
          AND NOT EXISTS (SELECT FROM statements s WHERE s.epoch = a.epoch AND s.id = a.id))
FROM intake i`

// recollect begins anew where the database lacks what this instance acked: workers
// present it again then, and epochs stay open for a grace. It reports whether that is so.
func (s *Service) recollect(ctx context.Context) (bool, error) {
	list := s.recall.all()
	if len(list) == 0 {
		return false, nil
	}
	forgot, err := s.lacks(ctx, list)
	if err != nil {
		return false, fmt.Errorf("look for what was acked: %w", err)
	}
	if !forgot {
		return false, nil
	}
	s.recall.forget()
	s.begin(draw(s.cfg.Rand))
	s.log.Warn("the database lacks statements that this instance acked: it was put back; workers are asked to present them again")
	return true, nil
}

// lacks reports whether the database has not all of list that must be there.
func (s *Service) lacks(ctx context.Context, list []ackedStatement) (bool, error) {
	var n slots
	var epochs []int64
	var ids [][]byte
	for i := range list {
		if a := &list[i]; a.at.epoch != 0 {
			n.add(a.at)
		} else {
			epochs, ids = append(epochs, int64(a.epoch)), append(ids, a.id[:])
		}
	}
	at, err := uptimesAt(ctx, s.pool, &n)
	if err != nil {
		return false, err
	}
	// Rows leave the table only after their epoch was frozen: what is frozen is read last.
	var frozen, missing int64
	if err := s.pool.QueryRow(ctx, countForgotten, epochs, ids).Scan(&frozen, &missing); err != nil {
		return false, err
	}
	for _, a := range list {
		if a.at.epoch > uint64(frozen) && find(at[a.at], a.id) == nil {
			missing++
		}
	}
	return missing > 0, nil
}
