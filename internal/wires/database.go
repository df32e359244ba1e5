package wires

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool opens a pool whose connections are w's. Settings are added to those of url,
// as in a start-up message: lock_timeout and the like.
func (w *Wires) Pool(ctx context.Context, url string, settings map[string]string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	cfg.MaxConns = 4
	for k, v := range settings {
		cfg.ConnConfig.RuntimeParams[k] = v
	}
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if w.IsCut() {
			return nil, ErrCut
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wire{Conn: c, w: w}, nil
	}
	cfg.ConnConfig.Tracer = tracer{}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	return pool, nil
}

// tracer tells the wire which statement comes next.
type tracer struct{}

func (tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c, ok := conn.PgConn().Conn().(*wire)
	if !ok {
		return ctx
	}
	sql := strings.ToLower(strings.Join(strings.Fields(d.SQL), " "))
	change := changeOf(sql)
	switch {
	case strings.HasPrefix(sql, "begin"):
		c.changes = nil
	case sql == "commit":
		c.next = strings.TrimSpace("commit " + strings.Join(c.changes, ", "))
		c.changes = nil
	case change != "" && conn.PgConn().TxStatus() == 'I':
		c.next = "sql " + change
	case change != "" && !slices.Contains(c.changes, change):
		c.changes = append(c.changes, change)
	}
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (tracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	c, ok := conn.PgConn().Conn().(*wire)
	if !ok {
		return ctx
	}
	for _, q := range d.Batch.QueuedQueries {
		if change := changeOf(strings.ToLower(q.SQL)); change != "" && !slices.Contains(c.changes, change) {
			c.changes = append(c.changes, change)
		}
	}
	if len(c.changes) > 0 && conn.PgConn().TxStatus() == 'I' {
		c.next = "sql " + strings.Join(c.changes, ", ")
		c.changes = nil
	}
	return ctx
}

func (tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// changeOf names what a statement changes, as "insert contents"; "" where it
// changes nothing. A WITH clause that changes rows is named by its own verb.
func changeOf(sql string) string {
	words := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(sql))
	for i, word := range words {
		switch {
		case word == "insert" && i+2 < len(words) && words[i+1] == "into":
			return "insert " + words[i+2]
		case word == "delete" && i+2 < len(words) && words[i+1] == "from":
			return "delete " + words[i+2]
		case word == "update" && i+1 < len(words) && (i == 0 || words[i-1] == "as"):
			return "update " + words[i+1] + setting(words[i+2:])
		}
		if i == 0 && word != "with" && word != "update" {
			break
		}
	}
	return ""
}

// setting names the first column that an update sets.
func setting(words []string) string {
	for i, word := range words {
		if word == "set" && i+1 < len(words) {
			return "." + words[i+1]
		}
	}
	return ""
}

// wire is one connection to the database. pgx uses it from one goroutine at a time.
type wire struct {
	net.Conn
	w       *Wires
	changes []string // what the open transaction has changed so far
	next    string   // step that the next write carries, if it counts
	after   func()   // runs once the server has answered
	cut     bool     // the next answer is lost
}

func (c *wire) Write(b []byte) (int, error) {
	if c.next == "" {
		if c.w.IsCut() {
			return 0, c.fail()
		}
		return c.Conn.Write(b)
	}
	what := c.next
	c.next = ""
	m := c.w.step(what)
	if m.outcome == Lost || m.outcome == Refused {
		return 0, c.fail()
	}
	c.after, c.cut = m.after, m.outcome == Unheard
	return c.Conn.Write(b)
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if after := c.after; after != nil && n > 0 {
		c.after = nil
		after()
	}
	if c.cut {
		// The server has answered, so the statement has taken effect.
		return 0, c.fail()
	}
	return n, err
}

func (c *wire) fail() error {
	c.Conn.Close()
	return ErrCut
}
