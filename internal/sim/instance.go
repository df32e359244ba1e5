package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
)

// instance is one process of the service. Its passes are called by hand; it dies
// when its wires are cut, and what it held in memory is gone then.
type instance struct {
	run     *run
	name    string
	number  uint64
	starts  uint64
	skew    int64 // seconds that its clock is ahead of the chain's
	service *settlement.Service
	wires   *wires.Wires
	pool    *pgxpool.Pool
	rpc     *rpc.Client
}

func newInstance(r *run, name string, number uint64) *instance {
	return &instance{run: r, name: name, number: number, wires: &wires.Wires{}}
}

// alive reports whether the process runs and its wires let something through.
func (i *instance) alive() bool { return i.service != nil && !i.wires.IsCut() }

// start starts a process on the run's database, chain and published files, as
// after a kill -9 of the former one.
func (r *run) start(ctx context.Context, i *instance) (err error) {
	i.stop()
	i.starts++
	i.wires = &wires.Wires{}
	if r.store == nil {
		if r.store, err = publish.NewFolder(r.storeDir); err != nil {
			return err
		}
	}
	if r.eyes == nil {
		if r.eyes, err = pgxpool.New(ctx, r.world.dbs.url(r.database)); err != nil {
			return err
		}
	}
	if i.pool, err = i.wires.Pool(ctx, r.world.dbs.url(r.database), nil); err != nil {
		return err
	}
	var urls []string
	for _, f := range r.world.fronts {
		urls = append(urls, f.URL())
	}
	i.rpc, err = rpc.New(rpc.Config{Endpoints: urls, Transport: &line{i}, Pause: time.Microsecond, Rounds: 1})
	if err != nil {
		return err
	}
	cfg := r.world.config()
	cfg.Pool, cfg.Chain, cfg.Store, cfg.Now = i.pool, i.rpc, r.store, i.now
	cfg.Events = func(e settlement.Event) { r.tally.add("event "+string(e.Kind), 1) }
	cfg.Rand = r.entropy(i.number<<32 | i.starts)
	if i.service, err = settlement.New(ctx, cfg); err != nil {
		return fmt.Errorf("start instance %s: %w", i.name, err)
	}
	return nil
}

func (i *instance) now() time.Time { return time.Unix(i.run.world.unix.Load()+i.skew, 0) }

// stop ends the process without a word to anybody.
func (i *instance) stop() {
	i.wires.Cut()
	if i.pool != nil {
		i.pool.Close()
		i.rpc.Close()
	}
	i.service, i.pool, i.rpc = nil, nil, nil
}

// line is an instance's way to the chain. It keeps what is sent: once bytes have
// left, anybody may send them again.
type line struct{ i *instance }

// RoundTrip makes one call over the instance's wires.
func (l *line) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	q.Body.Close()
	if bytes.Contains(body, []byte(`"method":"sendTransaction"`)) && !l.i.wires.IsCut() {
		l.i.run.remember(q.Context(), body)
	}
	again := q.Clone(q.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return l.i.wires.RoundTrip(again)
}

// kept is how many of the transactions that were sent are remembered.
const kept = 400

// remember keeps the transaction of a sendTransaction call, once: anybody may
// send it again later. Bytes may leave only when what they do is committed.
func (r *run) remember(ctx context.Context, body []byte) {
	var call struct{ Params []json.RawMessage }
	var text string
	if json.Unmarshal(body, &call) != nil || len(call.Params) == 0 || json.Unmarshal(call.Params[0], &text) != nil {
		return
	}
	tx, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return
	}
	for _, known := range r.sent {
		if bytes.Equal(known, tx) {
			return
		}
	}
	r.sent = append(r.sent, tx)
	if len(r.sent) > kept {
		r.sent = r.sent[1:]
	}
	if err := r.checkCommitted(ctx, tx); err != nil && r.premature == nil {
		r.premature = err
	}
}

// checkCommitted: a transaction that leaves is in the database, live, and its
// contents are in the published store.
func (r *run) checkCommitted(ctx context.Context, tx []byte) error {
	d, err := chain.Decode(tx)
	if err != nil {
		return fmt.Errorf("an instance sends what is no transaction of ours: %w", err)
	}
	message := d.MessageHash()
	rows, err := r.eyes.Query(ctx, selectCommitted, message[:])
	if err != nil {
		return nil // the request's context ended: nothing is known
	}
	contents, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil
	}
	if len(contents) != len(d.Plan.Steps) {
		return fmt.Errorf("a %s left with %d of its %d contents committed", d.Plan.Kind, len(contents), len(d.Plan.Steps))
	}
	for _, hash := range contents {
		if _, err := r.store.Get(ctx, publish.ContentName(ionet.Hash(hash))); err != nil {
			return fmt.Errorf("a %s left before its content was published: %w", d.Plan.Kind, err)
		}
	}
	return nil
}

const selectCommitted = `
SELECT c.hash FROM attempts a JOIN attempt_steps p ON p.message = a.message JOIN contents c ON c.hash = p.content
WHERE a.message = $1 AND a.state <> 'dead'`

// pass makes one pass of the instance and keeps what it says.
func (r *run) pass(ctx context.Context, i *instance) error {
	r.lastErr = i.service.Settle(ctx)
	if r.rng.IntN(2) == 0 && i.alive() {
		r.said(i.service.PublishLog(ctx))
	}
	return r.lastErr
}

// class names an error in a way that every run repeats.
func class(err error) string {
	var p *settlement.Problem
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &p):
		return p.Type
	case errors.Is(err, settlement.ErrHalted):
		return "halted"
	}
	return "error"
}
