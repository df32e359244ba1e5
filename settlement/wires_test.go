package settlement

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// fault says how a step fails.
type fault int

const (
	lost    fault = iota // it never arrives
	unheard              // it arrives and takes effect, the answer is lost
)

func (f fault) String() string { return [...]string{"lost", "unheard"}[f] }

// wires are a service's connections to database and chain, which fail at one
// counted step. A step is what may change something outside: a commit, a
// statement that changes a row outside a transaction, a call of the chain.
type wires struct {
	mu    sync.Mutex
	armed bool
	left  int // steps to go until the fault
	fault fault
	dies  bool // the process is dead from the fault on: nothing gets through
	fired string
	dead  bool
	reads bool                // only calls of the chain that read count
	drop  bool                // what is sent to the chain is accepted and forgotten
	hook  func(method string) // runs before each call of the chain
	mute  string              // calls of the chain that fail; "": none
}

var errWire = errors.New("the wire was cut by the test")

// arm makes the n-th step from now fail.
func (w *wires) arm(n int, f fault, dies bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.left, w.fault, w.dies, w.fired, w.dead = true, n, f, dies, "", false
}

// disarm ends the fault and returns the step that failed, "" where none did.
func (w *wires) disarm() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.dead = false, false
	return w.fired
}

// dropping makes the chain's nodes forget what they are sent.
func (w *wires) dropping(drop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop = drop
}

// before sets what runs before each call of the chain; nil: nothing.
func (w *wires) before(hook func(method string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// silence makes calls of one method fail until it is called with "".
func (w *wires) silence(method string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = method
}

// failed returns the step that failed since the wires were armed, "" where
// none has yet.
func (w *wires) failed() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fired
}

// isCut reports whether nothing gets through.
func (w *wires) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// step counts one step and returns whether it fails, and how.
func (w *wires) step(what string) (fault, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return lost, true
	}
	if !w.armed {
		return 0, false
	}
	if w.left--; w.left > 0 {
		return 0, false
	}
	w.armed, w.fired, w.dead = false, what, w.dies
	return w.fault, true
}

// pool opens a pool whose connections are w's.
func (w *wires) pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 4
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if w.isCut() {
			return nil, errWire
		}
		c, err := dial(ctx, network, addr)
		return &wire{Conn: c, w: w}, err
	}
	cfg.ConnConfig.Tracer = tracer{}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// tracer tells the wire which statement comes next.
type tracer struct{}

func (tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c, ok := conn.PgConn().Conn().(*wire)
	if !ok {
		return ctx
	}
	sql := strings.ToLower(strings.TrimSpace(d.SQL))
	changes := strings.HasPrefix(sql, "insert") || strings.HasPrefix(sql, "update") || strings.HasPrefix(sql, "delete")
	if sql == "commit" || changes && conn.PgConn().TxStatus() == 'I' {
		line, _, _ := strings.Cut(sql, "\n")
		c.next = "sql " + line
	}
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// wire is one connection to the database.
type wire struct {
	net.Conn
	w    *wires
	next string // statement that the next write carries, if it counts
	cut  bool   // the next answer is lost
}

func (c *wire) Write(b []byte) (int, error) {
	if c.next == "" {
		if c.w.isCut() {
			return 0, c.fail()
		}
		return c.Conn.Write(b)
	}
	what := c.next
	c.next = ""
	f, failed := c.w.step(what)
	if failed && f == lost {
		return 0, c.fail()
	}
	c.cut = failed
	return c.Conn.Write(b)
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut {
		// The server has answered, so the statement has taken effect.
		return 0, c.fail()
	}
	return n, err
}

func (c *wire) fail() error {
	c.Conn.Close()
	return errWire
}

// client opens an rpc client whose calls are w's.
func (w *wires) client(t testing.TB, url string) *rpc.Client {
	t.Helper()
	c, err := rpc.New(rpc.Config{Endpoints: []string{url}, Transport: w, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// RoundTrip counts a call of the chain as a step.
func (w *wires) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, method, _ := strings.Cut(string(body), `"method":"`)
	method, _, _ = strings.Cut(method, `"`)
	w.mu.Lock()
	drop, hook, mute := w.drop && method == "sendTransaction", w.hook, w.mute == method
	w.mu.Unlock()
	if mute {
		return nil, errWire
	}
	if hook != nil {
		hook(method)
	}
	if drop {
		const answer = `{"jsonrpc":"2.0","id":1,"result":"forgotten"}`
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer)), Header: http.Header{}, Request: r}, nil
	}
	f, failed := fault(0), w.isCut()
	if w.counts(method) {
		f, failed = w.step("rpc " + method)
	}
	if failed && f == lost {
		return nil, errWire
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(strings.NewReader(string(body)))
	resp, err := http.DefaultTransport.RoundTrip(again)
	if failed && err == nil {
		resp.Body.Close()
		return nil, fmt.Errorf("%w after %s", errWire, method)
	}
	return resp, err
}

func (w *wires) counts(method string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return (method == "sendTransaction") != w.reads
}
