package settlement

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/chain/rpc"
	iwires "github.com/ionet-settlement/ionet/internal/wires"
)

// fault says how a step fails: lost before it arrives, or after it took effect.
type fault = iwires.Outcome

const (
	lost    = iwires.Lost
	unheard = iwires.Unheard
)

var errWire = iwires.ErrCut

// wires are the connections of a service that a test can cut; see internal/wires.
type wires struct {
	iwires.Wires
	reads bool // only calls of the chain that read are steps
}

// arm makes the n-th step from now fail.
func (w *wires) arm(n int, f fault, dies bool) {
	w.Count(nil)
	if w.reads {
		w.Count(func(method string) bool { return method != "sendTransaction" })
	}
	w.Arm(iwires.Fault{Step: n, Outcome: f, Dies: dies})
}

func (w *wires) disarm() string                  { return w.Disarm() }
func (w *wires) dropping(drop bool)              { w.Drop(drop) }
func (w *wires) before(hook func(method string)) { w.Hook(hook) }
func (w *wires) silence(method string)           { w.Mute(method) }
func (w *wires) failed() string                  { return w.Fired() }
func (w *wires) isCut() bool                     { return w.IsCut() }

// pool opens a pool whose connections are w's.
func (w *wires) pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := w.Pool(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
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
