package localnet

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// outQueue is how many messages may wait for a client. One that reads slower is
	// cut off: it would see a past that is not there any more.
	outQueue = 8192
	// maxSubscriptions bounds one connection.
	maxSubscriptions = 10_000
	writeWait        = 10 * time.Second
)

// hub tells a front's subscribers of changes. One goroutine polls every subscription after each
// change of the bank; changes that come while it works are taken together.
type hub struct {
	f      *Front
	signal chan struct{}

	mu     sync.Mutex
	conns  map[*conn]struct{}
	lastID uint64
	closed bool
	cuts   int // how often all connections were cut
	faults Notices
	dice   *rand.Rand
}

// conn is one websocket. Its subscriptions are the hub's, under the hub's lock.
type conn struct {
	ws   *websocket.Conn
	out  chan []byte
	late [][]byte // notices that come behind those of the next change
	told int      // notices sent
	subs map[uint64]*subscription
}

// subscription is polled under the bank's read lock and the hub's lock: it returns what
// is new since the last time, and whether it has said all that it will ever say.
type subscription struct {
	notification string
	poll         poller
}

func newHub(f *Front) *hub {
	return &hub{f: f, signal: make(chan struct{}, 1), conns: map[*conn]struct{}{}}
}

// wake is called under the bank's lock: it must not block.
func (h *hub) wake() {
	select {
	case h.signal <- struct{}{}:
	default:
	}
}

func (h *hub) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.signal:
			h.tell()
		}
	}
}

// tell polls every subscription and queues what they say.
func (h *hub) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.f.n.bank.mu.RLock()
	defer h.f.n.bank.mu.RUnlock()
	v := h.f.viewAt(h.f.calls.Load()) // notices take no call's turn
	for c := range h.conns {
		late := c.late
		c.late = nil
		for _, id := range slices.Sorted(maps.Keys(c.subs)) {
			s := c.subs[id]
			news, done := s.poll(v)
			for _, said := range news {
				h.notify(c, encode(notice{"2.0", s.notification, noticeParams{said, id}}))
			}
			if done {
				delete(c.subs, id)
			}
		}
		for _, b := range late {
			h.queue(c, b)
		}
	}
}

type notice struct {
	Version string       `json:"jsonrpc"`
	Method  string       `json:"method"`
	Params  noticeParams `json:"params"`
}

type noticeParams struct {
	Result       any    `json:"result"`
	Subscription uint64 `json:"subscription"`
}

// queue hands a message to a client's writer, or cuts off a client that is too slow.
// The hub's lock must be held.
func (h *hub) queue(c *conn, b []byte) {
	if _, ok := h.conns[c]; !ok {
		return
	}
	select {
	case c.out <- b:
	default:
		h.remove(c)
	}
}

// remove forgets a connection; its writer ends and closes it.
func (h *hub) remove(c *conn) {
	if _, ok := h.conns[c]; ok {
		delete(h.conns, c)
		close(c.out)
	}
}

// cut ends every connection; clients may come again.
func (h *hub) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cuts++
	for c := range h.conns {
		h.remove(c)
	}
}

func (h *hub) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.conns {
		h.remove(c)
	}
}

func isUpgrade(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// upgrader accepts any origin, as the RPC does.
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// serveWS serves one websocket until the client or the node ends it.
func (f *Front) serveWS(w http.ResponseWriter, r *http.Request) {
	f.hub.mu.Lock()
	cuts := f.hub.cuts
	f.hub.mu.Unlock()
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client has its answer
	}
	ws.SetReadLimit(maxBody)
	c := &conn{ws: ws, out: make(chan []byte, outQueue), subs: map[uint64]*subscription{}}
	f.hub.mu.Lock()
	if f.hub.closed || f.hub.cuts != cuts { // cut before it was known
		f.hub.mu.Unlock()
		ws.Close()
		return
	}
	f.hub.conns[c] = struct{}{}
	f.hub.mu.Unlock()
	f.n.running.Go(c.write)
	for {
		_, body, err := ws.ReadMessage()
		if err != nil {
			break
		}
		f.handle(c, body)
	}
	f.hub.mu.Lock()
	f.hub.remove(c)
	f.hub.mu.Unlock()
}

// write sends what is queued until the queue is closed.
func (c *conn) write() {
	defer c.ws.Close()
	for b := range c.out {
		c.ws.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.ws.WriteMessage(websocket.TextMessage, b); err != nil {
			break
		}
	}
	for range c.out { // whoever queues must not find a full queue with no reader
	}
}

// handle answers one message. A new subscription begins to speak only when its number
// is on the way to the client.
func (f *Front) handle(c *conn, body []byte) {
	var begin []func()
	answer := f.answer(body, func(method string, p params) (any, error) {
		id, start, err := f.subscribe(c, method, p)
		if start != nil {
			begin = append(begin, start)
		}
		return id, err
	})
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if answer != nil {
		f.hub.queue(c, answer)
	}
	for _, start := range begin {
		start()
	}
	f.hub.wake()
}

// subscribe answers a ...Subscribe or ...Unsubscribe call.
func (f *Front) subscribe(c *conn, method string, p params) (result any, begin func(), err error) {
	f.n.log.Debug("call", "method", method)
	if kind, ok := strings.CutSuffix(method, "Unsubscribe"); ok && subscriptions[kind] != nil {
		err := f.unsubscribe(c, p)
		return err == nil, nil, err
	}
	kind, ok := strings.CutSuffix(method, "Subscribe")
	if !ok || subscriptions[kind] == nil {
		return nil, nil, rpcErrorf(codeMethod, "Method not found")
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if len(c.subs) >= maxSubscriptions {
		return nil, nil, rpcErrorf(codeInternal, "Internal Error: Subscription refused. Node subscription limit reached")
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	poll, err := subscriptions[kind](f.viewAt(f.calls.Load()), p)
	if err != nil {
		return nil, nil, err
	}
	f.hub.lastID++
	id := f.hub.lastID
	return id, func() { c.subs[id] = &subscription{kind + "Notification", poll} }, nil
}

func (f *Front) unsubscribe(c *conn, p params) error {
	var id json.Number
	if err := p.into(0, &id); err != nil {
		return err
	}
	number, err := id.Int64()
	if err != nil {
		return invalid("%q is not a subscription", id)
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if _, ok := c.subs[uint64(number)]; !ok {
		return rpcErrorf(codeParams, "Invalid subscription id.")
	}
	delete(c.subs, uint64(number))
	return nil
}
