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
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

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
	urls := make([]string, len(r.endpoints))
	for n := range urls {
		urls[n] = fmt.Sprintf("%s/%d", r.world.node.URL(), n)
	}
	i.rpc, err = rpc.New(rpc.Config{Endpoints: urls, Transport: &line{i}, Pause: time.Microsecond, Rounds: 1})
	if err != nil {
		return err
	}
	cfg := r.world.config()
	cfg.Pool, cfg.Chain, cfg.Store, cfg.Now = i.pool, i.rpc, r.store, i.now
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

// mood is how an endpoint answers.
type mood int

const (
	well   mood = iota
	down        // no connection
	busy        // 429
	ill         // 503 with a page of HTML
	cut         // half an answer
	lossy       // what is sent takes effect, the answer is lost
	hollow      // what is sent is accepted and forgotten
	moods
)

func (m mood) String() string {
	return [...]string{"well", "down", "busy", "ill", "cut", "lossy", "hollow"}[m]
}

// line is an instance's way to the chain: the endpoints with their moods, and
// behind them the wires that count steps.
type line struct{ i *instance }

var errDown = errors.New("connection refused by the simulation")

// RoundTrip makes one call of an endpoint, whose number is its path.
func (l *line) RoundTrip(q *http.Request) (*http.Response, error) {
	r := l.i.run
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	q.Body.Close()
	n := int(q.URL.Path[len(q.URL.Path)-1] - '0')
	m := r.endpoints[n]
	sends := bytes.Contains(body, []byte(`"method":"sendTransaction"`))
	if sends && m != down && m != busy && m != ill {
		r.remember(body)
	}
	switch m {
	case down:
		return nil, errDown
	case busy:
		return reply(q, http.StatusTooManyRequests, "slow down"), nil
	case ill:
		return reply(q, http.StatusServiceUnavailable, "<html><body>503</body></html>"), nil
	case hollow:
		if sends {
			return reply(q, http.StatusOK, `{"jsonrpc":"2.0","id":1,"result":"forgotten"}`), nil
		}
	}
	again := q.Clone(q.Context())
	again.URL.Path = ""
	again.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := l.i.wires.RoundTrip(again)
	if err != nil || m == well || m == hollow || m == lossy && !sends {
		return resp, err
	}
	heard, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if m == lossy || err != nil {
		return nil, errDown
	}
	return reply(q, http.StatusOK, string(heard[:len(heard)/2])), nil
}

func reply(q *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: q,
	}
}

// kept is how many of the transactions that were sent are remembered.
const kept = 400

// remember keeps the transaction of a sendTransaction call, once: anybody may
// send it again later.
func (r *run) remember(body []byte) {
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
}

// pass makes one pass of the instance and keeps what it says.
func (r *run) pass(ctx context.Context, i *instance) error {
	r.lastErr = i.service.Settle(ctx)
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
