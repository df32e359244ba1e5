package localnet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gagliardetto/solana-go"
)

// Snapshot is all of a chain's state at one moment. It is never changed, so it can be
// restored any number of times, at the node that took it.
type Snapshot struct {
	bank     *bank // whose it is
	shift    time.Duration
	blocks   []block
	byHash   map[solana.Hash]uint64
	root     uint64
	kept     uint64
	accounts *accounts
	history  *history
	held     []held
	banned   map[[32]byte]bool
	airdrops uint32
}

// Snapshot copies the state: blocks, accounts, history and what is held back. Fronts,
// their views and faults, the pace and the script are not part of it. It takes about as
// long as copying a few maps; accounts and transactions themselves are shared.
func (n *Node) Snapshot() *Snapshot {
	b := n.bank
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Snapshot{
		bank: b, shift: b.shift, blocks: cloneBlocks(b.blocks), byHash: maps.Clone(b.byHash), root: b.root, kept: b.kept,
		accounts: b.accounts.clone(), history: b.history.clone(), held: slices.Clone(b.held), banned: maps.Clone(b.banned),
		airdrops: n.airdrops,
	}
}

// Restore puts the chain back to a snapshot of it, so that the same calls have the same
// results as after the snapshot. Every front is healed, every websocket is cut, the rest
// of the script is forgotten.
func (n *Node) Restore(s *Snapshot) error {
	b := n.bank
	if s.bank != b {
		return errors.New("restore a snapshot: it is another chain's")
	}
	n.mu.Lock()
	n.steps, n.chaos = nil, nil
	n.mu.Unlock()
	var errs []error
	for _, f := range n.Fronts() {
		errs = append(errs, f.Heal())
		f.hub.cut()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.svm.set(b.accounts.change(s.accounts)); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	b.shift, b.blocks, b.byHash, b.root, b.kept = s.shift, cloneBlocks(s.blocks), maps.Clone(s.byHash), s.root, s.kept
	b.accounts, b.history = s.accounts.clone(), s.history.clone()
	b.held, b.banned = slices.Clone(s.held), maps.Clone(s.banned)
	b.clockAt, b.slotHashAt = 0, 0
	n.airdrops = s.airdrops
	return nil
}

// cloneBlocks copies the blocks; only the open one's lists still grow.
func cloneBlocks(blocks []block) []block {
	blocks = slices.Clone(blocks)
	open := &blocks[len(blocks)-1]
	open.txs, open.touched = slices.Clip(open.txs), slices.Clip(open.touched)
	return blocks
}

// clone copies the maps. Lists are shared and clipped: both sides append to copies.
func (s *accounts) clone() *accounts {
	c := &accounts{now: maps.Clone(s.now), owned: make(map[solana.PublicKey]map[solana.PublicKey]struct{}, len(s.owned)), pending: maps.Clone(s.pending)}
	for owner, set := range s.owned {
		c.owned[owner] = maps.Clone(set)
	}
	for k, list := range c.pending {
		c.pending[k] = slices.Clip(list)
		s.pending[k] = c.pending[k]
	}
	return c
}

// change is what must be set in the virtual machine to come from s to other.
func (s *accounts) change(other *accounts) map[solana.PublicKey]*Account {
	list := map[solana.PublicKey]*Account{}
	for k, a := range other.now {
		if s.now[k] != a {
			list[k] = a
		}
	}
	for k := range s.now {
		if other.now[k] == nil {
			list[k] = nil
		}
	}
	return list
}

func (h *history) clone() *history {
	c := &history{byID: maps.Clone(h.byID), byMessage: maps.Clone(h.byMessage), byAddress: maps.Clone(h.byAddress), count: h.count}
	for k, list := range c.byAddress {
		c.byAddress[k] = slices.Clip(list)
		h.byAddress[k] = c.byAddress[k]
	}
	return c
}
