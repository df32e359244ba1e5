package signer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Report is what a journal knows, for people.
type Report struct {
	Lanes    []LaneReport // those of the network that something was signed for, in its order
	Windows  []WindowReport
	Lamports uint64 // that count in the window
}

// LaneReport is the highest position of a lane.
type LaneReport struct {
	Name     string
	Position uint64
	Contents int  // signed for at it
	Reopened bool // any C is taken at the next position that is not past
}

// WindowReport is what counts of a kind. Signed is false for a kind without a limit.
type WindowReport struct {
	Kind   chain.Kind
	Signed bool
	Limit  ionet.Amount // base units
	Spent  ionet.Amount
}

// ReadJournal reads the journal at path as it is now, without taking it from the
// signer that writes it. A journal that is not there is an empty one.
func ReadJournal(path string, p *Policy, now time.Time) (Report, error) {
	if err := p.check(); err != nil {
		return Report{}, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newHeads(p, true).report(p, now), nil
	}
	if err != nil {
		return Report{}, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	var lines []line
	full := true // a co-signer's entries name the keys that it was shown
	_, _, err = readLines(f, p.Network.ID(), func(l line) error {
		lines = append(lines, l)
		full = full && !slices.ContainsFunc(l.entries, func(e entry) bool { return !e.from.IsZero() })
		return nil
	})
	if err != nil && !errors.Is(err, errNoNewline) {
		return Report{}, fmt.Errorf("read journal %s: %w", path, err)
	}
	h := newHeads(p, full)
	for _, l := range lines {
		if err := h.replay(l); err != nil {
			return Report{}, fmt.Errorf("read journal %s: %w", path, err)
		}
	}
	return h.report(p, now), nil
}

// Report tells what the server's journal knows.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.heads.report(&s.policy, s.now())
}

// IsNew reports whether the journal began with this server.
func (s *Server) IsNew() bool { return s.journal.fresh }

func (h *heads) report(p *Policy, now time.Time) Report {
	r := Report{Lamports: h.spent(h.lamports, 0, now)}
	for _, l := range p.Network.Lanes {
		if head, ok := h.lanes[l.Address]; ok {
			r.Lanes = append(r.Lanes, LaneReport{Name: l.Name, Position: head.n, Contents: len(head.contents), Reopened: head.bases == nil})
		}
	}
	for _, kind := range limited {
		limit, signed := p.Limits[kind]
		spent, err := ionet.NewAmount(h.spent(h.moves, kind, now))
		if err != nil {
			spent = limit // can't be: what was signed stayed below a limit
		}
		r.Windows = append(r.Windows, WindowReport{kind, signed, limit, spent})
	}
	return r
}
