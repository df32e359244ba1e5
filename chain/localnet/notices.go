package localnet

import "fmt"

// Notices are the faults of a front's subscriptions. Each number is how many notices of
// a hundred it strikes, by chance from the chain's seed.
type Notices struct {
	Lose   int `json:"lose,omitempty"`   // never sent
	Double int `json:"double,omitempty"` // sent twice
	Late   int `json:"late,omitempty"`   // sent behind those of the next change
	// CutAfter ends each connection once so many notices were sent on it; 0: never.
	CutAfter int `json:"cut_after,omitempty"`
}

func (x Notices) check() error {
	for _, n := range []struct {
		name string
		n    int
	}{{"lose", x.Lose}, {"double", x.Double}, {"late", x.Late}} {
		if n.n < 0 || n.n > 100 {
			return fmt.Errorf("notices: %s is %d of a hundred", n.name, n.n)
		}
	}
	if x.CutAfter < 0 {
		return fmt.Errorf("notices: cut_after %d is negative", x.CutAfter)
	}
	return nil
}

// SetNotices changes the faults of the front's subscriptions.
func (f *Front) SetNotices(x Notices) error {
	if err := x.check(); err != nil {
		return err
	}
	f.hub.tamper(x)
	return nil
}

func (h *hub) tamper(x Notices) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = x
}

func (h *hub) strikes(percent int) bool { return percent > 0 && h.dice.IntN(100) < percent }

// notify queues a notice, under the front's faults. The hub's lock must be held.
func (h *hub) notify(c *conn, b []byte) {
	switch {
	case h.strikes(h.faults.Lose):
		return
	case h.strikes(h.faults.Late):
		c.late = append(c.late, b)
		return
	}
	h.queue(c, b)
	if h.strikes(h.faults.Double) {
		h.queue(c, b)
	}
	if c.told++; h.faults.CutAfter > 0 && c.told >= h.faults.CutAfter {
		h.remove(c)
	}
}
