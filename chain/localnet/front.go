package localnet

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxBody bounds a request: a batch of a few hundred calls.
const maxBody = 4 << 20

// FrontConfig says how another front end over the chain begins.
type FrontConfig struct {
	// Listen is as in Config.
	Listen string
	// View and Faults are in force from its first call on.
	View   View
	Faults []Fault
}

// Front is one RPC and websocket endpoint over the chain, with its own view of it and
// its own faults. A node has one from its start; Node.Front makes more.
type Front struct {
	n         *Node
	index     int
	address   string // host:port of the RPC
	wsAddress string
	hub       *hub

	seen     View          // under the bank's lock
	minority *bank         // the abandoned fork that a frozen front shows, likewise
	calls    atomic.Uint64 // turns of seen.Lags

	mu        sync.Mutex
	listeners []net.Listener
	server    *http.Server // nil while it is down
	faults    []*Fault
	lastFault int
	dice      *rand.Rand
}

// newFront opens a front's ports. It serves once begin is called.
func (n *Node) newFront(c FrontConfig) (*Front, error) {
	listeners, err := listen(c.Listen)
	if err != nil {
		return nil, err
	}
	f := &Front{n: n, listeners: listeners}
	f.address, f.wsAddress = listeners[0].Addr().String(), listeners[len(listeners)-1].Addr().String()
	f.hub = newHub(f)
	return f, nil
}

// Front starts another front end over the same chain. It ends with Close, or with the
// node.
func (n *Node) Front(c FrontConfig) (*Front, error) {
	f, err := n.newFront(c)
	if err != nil {
		return nil, err
	}
	if err = f.SetView(c.View); err == nil {
		for _, x := range c.Faults {
			_, bad := f.Inject(x)
			err = errors.Join(err, bad)
		}
	}
	if err != nil {
		closeAll(f.listeners)
		return nil, fmt.Errorf("start a front: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended.Err() != nil {
		closeAll(f.listeners)
		return nil, errors.New("start a front: the node is closed")
	}
	n.lastFront++
	f.index = n.lastFront
	n.fronts = append(n.fronts, f)
	f.begin()
	return f, nil
}

// Fronts are all front ends, the node's own first.
func (n *Node) Fronts() []*Front {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.fronts)
}

// begin starts the goroutines of a new front.
func (f *Front) begin() {
	s := f.n.bank.seed
	f.dice, f.hub.dice = s.dice(fmt.Sprintf("front %d", f.index)), s.dice(fmt.Sprintf("notices %d", f.index))
	f.serve()
	f.n.running.Go(func() { f.hub.run(f.n.ended) })
}

// serve answers at the listeners. The caller holds f.mu or is alone.
func (f *Front) serve() {
	f.server = &http.Server{
		Handler: http.HandlerFunc(f.serveHTTP), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(f.n.log.Handler(), slog.LevelDebug),
	}
	for _, l := range f.listeners {
		server := f.server
		f.n.running.Go(func() { server.Serve(l) })
	}
}

// URL is the address of the front's JSON-RPC.
func (f *Front) URL() string { return "http://" + f.address }

// WSURL is the address of the front's websocket.
func (f *Front) WSURL() string { return "ws://" + f.wsAddress }

// Down closes the front's ports and cuts all its connections: who calls is refused.
func (f *Front) Down() error {
	f.mu.Lock()
	server, listeners := f.server, f.listeners
	f.server, f.listeners = nil, nil
	f.mu.Unlock()
	if server == nil {
		return nil
	}
	f.hub.cut()
	closeAll(listeners) // the server may not have heard of them yet
	err := server.Close()
	f.hub.cut() // also what became a websocket since
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Up opens the ports again.
func (f *Front) Up() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		return nil
	}
	listeners, err := reopen(f.address, f.wsAddress)
	if err != nil {
		return err
	}
	f.listeners = listeners
	f.serve()
	return nil
}

// reopen takes the ports again, for which it waits a little: while they were free the
// system may have given one to a connection that is about to end.
func reopen(addresses ...string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, a := range slices.Compact(addresses) {
		l, err := net.Listen("tcp", a)
		for try := 0; try < reopenTries && errors.Is(err, syscall.EADDRINUSE); try++ {
			time.Sleep(reopenPause)
			l, err = net.Listen("tcp", a)
		}
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("listen again: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// How often and after which pause a port that is taken is tried again.
const (
	reopenTries = 30
	reopenPause = 100 * time.Millisecond
)

// Close ends the front and forgets it. The node's own ends with the node only.
func (f *Front) Close() error {
	if f.index == 0 {
		return errors.New("close a front: it is the node's own")
	}
	f.n.mu.Lock()
	f.n.fronts = slices.DeleteFunc(slices.Clone(f.n.fronts), func(o *Front) bool { return o == f })
	f.n.mu.Unlock()
	f.n.bank.mu.Lock()
	delete(f.n.bank.pins, f)
	f.n.bank.mu.Unlock()
	return f.end()
}

// end closes the front for good.
func (f *Front) end() error {
	err := f.Down()
	f.hub.closeAll()
	return err
}

// SetView changes what the front shows, from its next call on.
func (f *Front) SetView(w View) error {
	b := f.n.bank
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := w.check(b); err != nil {
		return err
	}
	delete(b.pins, f)
	f.minority = nil
	if w.Frozen {
		if w.FrozenAt == 0 {
			w.FrozenAt = b.confirmed()
		}
		b.pins[f] = w.FrozenAt
	}
	f.seen = w
	f.calls.Store(0)
	f.hub.wake()
	return nil
}

// View is what the front shows.
func (f *Front) View() View {
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	return f.seen
}

// Heal ends all faults of the front and shows the chain as it is.
func (f *Front) Heal() error {
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	f.hub.tamper(Notices{})
	return errors.Join(f.SetView(View{}), f.Up())
}

// serveHTTP answers a POST with one call or a batch of them, CORS preflights, and
// /health; browsers of any origin may ask, as at a validator.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if f.n.admin && f.index == 0 && r.URL.Path == "/admin" {
		f.n.serveAdmin(w, r)
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case isUpgrade(r):
		f.serveWS(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/health":
		io.WriteString(w, "ok")
	case r.Method != http.MethodPost:
		http.Error(w, "Used HTTP Method is not allowed. POST or OPTIONS is required", http.StatusMethodNotAllowed)
	default:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "request body is too large or cut", http.StatusRequestEntityTooLarge)
			return
		}
		f.reply(w, r, body)
	}
}

// reply answers a body, under the fault that strikes it if there is one.
func (f *Front) reply(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	x := f.strikes(methodsIn(body))
	if x == nil {
		w.Write(f.answer(body, f.call))
		return
	}
	f.n.log.Debug("inject a fault", "front", f.index, "do", x.Do, "answer", x.Answer)
	x.serve(f, w, r, body)
}
