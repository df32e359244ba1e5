package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/publish"
)

// walkLanes reads every lane's steps from position 0. A lane's own address
// lists them all, and only a SetAuthority by the former key can be one: the
// Token program refuses every other.
func (a *auditor) walkLanes(ctx context.Context) error {
	for _, l := range a.network.Lanes {
		if err := a.walkLane(ctx, l); err != nil {
			return fmt.Errorf("lane %s: %w", l.Name, err)
		}
		a.Progress("lane %s: %d positions", l.Name, len(a.lanes[l.Name]))
	}
	steps := a.lanes["epoch"]
	if len(steps) == 0 || steps[0].tx.signature != a.genesis.tx.signature {
		a.r.find(Genesis, "lane epoch", "genesis", "the genesis transaction at position 0", "another or none")
		return errStop
	}
	a.genesis = steps[0]
	return nil
}

func (a *auditor) walkLane(ctx context.Context, l ionet.Lane) error {
	signatures, err := a.history(ctx, l.Address)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	c := chain.FirstC(l.Address)
	var at ionet.Key // the authority after the last step
	for _, sig := range signatures {
		tx, err := a.transaction(ctx, sig)
		if err != nil {
			return fmt.Errorf("read transaction %s: %w", sig, err)
		}
		if tx.failed || !tx.hands(l.Address) {
			continue
		}
		n := uint64(len(a.lanes[l.Name]))
		object := fmt.Sprintf("lane %s position %d, transaction %s", l.Name, n, sig)
		step, content, err := tx.step(l.Address, n, c)
		if err != nil {
			a.r.find(a.during(tx), object, "transaction", "instructions of FORMAT.md section 11", err)
			return errStop
		}
		w := winner{lane: l.Name, content: content, tx: tx}
		if err := a.checkParties(tx.decoded); err != nil {
			a.r.find(a.epochOf(w), object, "transaction", "our lanes, fee payer and owners alone", err)
			return errStop
		}
		if n > 0 {
			same(a.r, a.epochOf(w), object, "lane-order", at, step.From)
		}
		if err := a.checkContent(ctx, w, object); err != nil {
			return err
		}
		a.lanes[l.Name] = append(a.lanes[l.Name], w)
		a.known[sig] = w
		at, c = step.To, content.Next()
	}
	return a.checkAuthority(l, at)
}

// checkParties returns what a lane's transaction does beside its content: it
// steps what is no lane of ours, or somebody else pays or signs for a source.
func (a *auditor) checkParties(d *chain.Decoded) error {
	n, p := a.network, d.Plan
	for _, s := range p.Steps {
		if _, ours := n.LaneName(s.Lane); !ours {
			return fmt.Errorf("it hands over %s, which is no lane", s.Lane)
		}
	}
	if p.Kind != chain.KindClaim && p.FeePayer != n.Keys.Operator {
		return fmt.Errorf("its fee payer is %s, not the operator", p.FeePayer)
	}
	if !p.Mint.IsZero() && p.Mint != n.Mint {
		return fmt.Errorf("its token is %s", p.Mint)
	}
	for source := range p.Owners {
		if err := a.checkSource(p, source); err != nil {
			return err
		}
	}
	return nil
}

// checkContent holds a content against the rules of its lane and against the
// published file of its hash.
func (a *auditor) checkContent(ctx context.Context, w winner, object string) error {
	c := w.content
	if !allowed(w.lane, c, a.network.Schedule.Epochs) {
		a.r.find(a.epochOf(w), object, "lane-kind", "a content that this lane may carry", c.Kind)
	}
	name := publish.ContentName(c.Hash())
	file, err := a.Store.Get(ctx, name)
	if err != nil {
		a.r.skip(a.epochOf(w), object, "published", name, err)
		return ctx.Err()
	}
	same(a.r, a.epochOf(w), object, "content", c.Hash(), ionet.HashOf(file))
	return nil
}

// allowed is the table of FORMAT.md, section 9, for a schedule of that many epochs.
func allowed(lane string, c chain.Content, epochs uint64) bool {
	prefix, _, numbered := strings.Cut(lane, "-")
	switch c.Kind {
	case chain.KindGenesis:
		return lane == "epoch" && c.N == 0
	case chain.KindEpoch:
		return lane == "epoch" && c.N > 0 && c.N <= epochs
	case chain.KindRetire:
		return lane == "epoch" && c.N == epochs+1
	case chain.KindSeal, chain.KindReceipts:
		return lane == "seal"
	case chain.KindPayout, chain.KindWithdrawal, chain.KindUnlock, chain.KindFees:
		return numbered && prefix == "pay"
	case chain.KindClaim:
		return numbered && prefix == "claim"
	case chain.KindFence:
		return numbered
	case chain.KindSkip:
		return lane != "epoch"
	}
	return false
}

// checkAuthority compares the lane's present state with its last step.
func (a *auditor) checkAuthority(l ionet.Lane, last ionet.Key) error {
	m, err := a.mint(l.Address)
	if err != nil {
		a.r.find(Genesis, "lane "+l.Name, "lane-state", "a lane", err)
		return nil
	}
	same(a.r, Genesis, "lane "+l.Name, "lane-supply", uint64(0), m.Supply)
	same(a.r, Genesis, "lane "+l.Name, "lane-freeze", ionet.Key{}, m.Freeze)
	if len(a.lanes[l.Name]) > 0 {
		same(a.r, Genesis, "lane "+l.Name, "lane-state", last, m.Authority)
	}
	return nil
}
