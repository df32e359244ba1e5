package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A meter adds up the time during which at least one call of a kind is under way:
// calls side by side count once.
type meter struct {
	mu    sync.Mutex
	open  int
	since time.Time
	busy  time.Duration
	calls int
}

func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open++; m.open == 1 {
		m.since = time.Now()
	}
	m.calls++
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open--; m.open == 0 {
		m.busy += time.Since(m.since)
	}
}

// meters are those of one run. both holds what either does, so that the rest is our
// own code.
type meters struct{ database, chain, both meter }

func (m *meters) begin(one *meter) {
	one.begin()
	m.both.begin()
}

func (m *meters) end(one *meter) {
	one.end()
	m.both.end()
}

// RoundTrip meters a call of the chain, its answer's body included.
func (m *meters) RoundTrip(r *http.Request) (*http.Response, error) {
	m.begin(&m.chain)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		m.end(&m.chain)
		return nil, err
	}
	resp.Body = &meteredBody{resp.Body, sync.OnceFunc(func() { m.end(&m.chain) })}
	return resp, nil
}

// tracer meters what goes to the database.
type tracer struct{ m *meters }

func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t.m.begin(&t.m.database)
	return ctx
}

func (t tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {
	t.m.end(&t.m.database)
}

func (t tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	t.m.begin(&t.m.database)
	return ctx
}

func (t tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (t tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {
	t.m.end(&t.m.database)
}
