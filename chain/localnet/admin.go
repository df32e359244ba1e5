package localnet

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/gagliardetto/solana-go"
)

// State is what GET /admin answers.
type State struct {
	Slot      uint64 `json:"slot"`
	Confirmed uint64 `json:"confirmed"`
	Finalized uint64 `json:"finalized"`
	Time      int64  `json:"time"` // of the open block, Unix seconds
	// SlotMS is the pace; 0 while only `advance` makes slots.
	SlotMS    int64        `json:"slot_ms"`
	Fronts    []FrontState `json:"fronts"`
	Held      []HeldState  `json:"held"`
	Never     int          `json:"never"` // transactions that never land
	Script    []Step       `json:"script"`
	Chaos     *Chaos       `json:"chaos"`
	Snapshots []string     `json:"snapshots"`
	Failures  []string     `json:"failures"` // of the script's steps, newest last
}

// FrontState is one front of a State.
type FrontState struct {
	Front     int     `json:"front"`
	RPC       string  `json:"rpc"`
	Websocket string  `json:"websocket"`
	Down      bool    `json:"down"`
	View      View    `json:"view"`
	Faults    []Fault `json:"faults"`
	Notices   Notices `json:"notices"`
}

// HeldState is a transaction that lands later: at Slot, or in the last block that it can.
type HeldState struct {
	Signature solana.Signature `json:"signature"`
	Slot      uint64           `json:"slot,omitempty"`
	Last      bool             `json:"last,omitempty"`
}

// State tells what is in force.
func (n *Node) State() State {
	s := State{Fronts: []FrontState{}, Held: []HeldState{}}
	for _, f := range n.Fronts() {
		s.Fronts = append(s.Fronts, f.state())
	}
	n.bank.mu.RLock()
	b := n.bank
	s.Slot, s.Confirmed, s.Finalized, s.Time, s.Never = b.open(), b.confirmed(), b.root, b.blocks[b.open()].time, len(b.banned)
	for _, h := range b.held {
		s.Held = append(s.Held, HeldState{Signature: h.tx.id(), Slot: h.slot, Last: h.last})
	}
	n.bank.mu.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	s.SlotMS = n.slotTime.Milliseconds()
	s.Script = slices.Clone(n.steps)
	if n.chaos != nil {
		c := n.chaos.Chaos
		s.Chaos = &c
	}
	s.Snapshots = slices.Sorted(maps.Keys(n.snapshots))
	s.Failures = slices.Clone(n.failures)
	return s
}

func (f *Front) state() FrontState {
	s := FrontState{Front: f.index, RPC: f.URL(), Websocket: f.WSURL(), View: f.View(), Faults: f.Faults()}
	f.mu.Lock()
	s.Down = f.server == nil
	f.mu.Unlock()
	f.hub.mu.Lock()
	s.Notices = f.hub.faults
	f.hub.mu.Unlock()
	return s
}

// serveAdmin answers GET with the State, POST with what a command returned: {"result":
// ...} or, with status 400, {"error": "..."}. Pages of a browser are refused: whoever
// can read the RPC must not thereby command the chain.
func (n *Node) serveAdmin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	refuse := func(status int, reason string) {
		w.WriteHeader(status)
		w.Write(encode(map[string]string{"error": reason}))
	}
	switch {
	case r.Header.Get("Origin") != "":
		refuse(http.StatusForbidden, "the admin interface is not for web pages")
	case r.Method == http.MethodGet:
		w.Write(encode(n.State()))
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "expected GET or POST")
	default:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, "the command is too large or cut")
			return
		}
		c, err := ParseCommand(body)
		if err == nil && c.Do == "down" && c.Front <= 0 {
			err = errors.New("command down: front 0 serves /admin, and nobody could bring it up again: name another front, or have a script take it down and up")
		}
		var result any
		if err == nil {
			result, err = n.Apply(c)
		}
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		w.Write(encode(map[string]any{"result": result}))
	}
}
