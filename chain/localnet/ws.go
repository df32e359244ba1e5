package localnet

import (
	"context"
	"encoding/json"
	"net/http"
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

// hub tells subscribers of changes. One goroutine polls every subscription after each
// change of the bank; changes that come while it works are taken together.
type hub struct {
	n      *Node
	signal chan struct{}

	mu     sync.Mutex
	conns  map[*conn]struct{}
	lastID uint64
	closed bool
}

// conn is one websocket. Its subscriptions are the hub's, under the hub's lock.
type conn struct {
	ws   *websocket.Conn
	out  chan []byte
	subs map[uint64]*subscription
}

// subscription is polled under the bank's read lock and the hub's lock: it returns what
// is new since the last time, and whether it has said all that it will ever say.
type subscription struct {
	notification string
	poll         func(*bank) (news []any, done bool)
}

func newHub(n *Node) *hub {
	return &hub{n: n, signal: make(chan struct{}, 1), conns: map[*conn]struct{}{}}
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
	h.n.bank.mu.RLock()
	defer h.n.bank.mu.RUnlock()
	for c := range h.conns {
		for id, s := range c.subs {
			news, done := s.poll(h.n.bank)
			for _, v := range news {
				h.queue(c, encode(notice{"2.0", s.notification, noticeParams{v, id}}))
			}
			if done {
				delete(c.subs, id)
			}
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
func (n *Node) serveWS(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client has its answer
	}
	ws.SetReadLimit(maxBody)
	c := &conn{ws: ws, out: make(chan []byte, outQueue), subs: map[uint64]*subscription{}}
	n.hub.mu.Lock()
	if n.hub.closed {
		n.hub.mu.Unlock()
		ws.Close()
		return
	}
	n.hub.conns[c] = struct{}{}
	n.hub.mu.Unlock()
	n.running.Go(c.write)
	for {
		_, body, err := ws.ReadMessage()
		if err != nil {
			break
		}
		n.handle(c, body)
	}
	n.hub.mu.Lock()
	n.hub.remove(c)
	n.hub.mu.Unlock()
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
func (n *Node) handle(c *conn, body []byte) {
	var begin []func()
	answer := n.answer(body, func(method string, p params) (any, error) {
		id, start, err := n.subscribe(c, method, p)
		if start != nil {
			begin = append(begin, start)
		}
		return id, err
	})
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if answer != nil {
		n.hub.queue(c, answer)
	}
	for _, start := range begin {
		start()
	}
	n.hub.wake()
}

// subscribe answers a ...Subscribe or ...Unsubscribe call.
func (n *Node) subscribe(c *conn, method string, p params) (result any, begin func(), err error) {
	n.log.Debug("call", "method", method)
	if kind, ok := strings.CutSuffix(method, "Unsubscribe"); ok && subscriptions[kind] != nil {
		err := n.unsubscribe(c, p)
		return err == nil, nil, err
	}
	kind, ok := strings.CutSuffix(method, "Subscribe")
	if !ok || subscriptions[kind] == nil {
		return nil, nil, rpcErrorf(codeMethod, "Method not found")
	}
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if len(c.subs) >= maxSubscriptions {
		return nil, nil, rpcErrorf(codeInternal, "Internal Error: Subscription refused. Node subscription limit reached")
	}
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	poll, err := subscriptions[kind](n.bank, p)
	if err != nil {
		return nil, nil, err
	}
	n.hub.lastID++
	id := n.hub.lastID
	return id, func() { c.subs[id] = &subscription{kind + "Notification", poll} }, nil
}

func (n *Node) unsubscribe(c *conn, p params) error {
	var id json.Number
	if err := p.into(0, &id); err != nil {
		return err
	}
	number, err := id.Int64()
	if err != nil {
		return invalid("%q is not a subscription", id)
	}
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if _, ok := c.subs[uint64(number)]; !ok {
		return rpcErrorf(codeParams, "Invalid subscription id.")
	}
	delete(c.subs, uint64(number))
	return nil
}
