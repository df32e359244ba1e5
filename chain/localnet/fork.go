package localnet

import (
	"fmt"
	"maps"

	"github.com/gagliardetto/solana-go"
)

// Fork says what a fork abandons and what becomes of it.
type Fork struct {
	// Slots is how many of the newest slots are abandoned, the open one among them.
	Slots int `json:"slots"`
	// Then is what becomes of their transactions.
	Then Afterwards `json:"then,omitempty"`
	// After is how many slots after the fork that happens; 0 is at once.
	After uint64 `json:"after,omitempty"`
	// Error is how a transaction fails that does, in the RPC's form of an error;
	// {"InstructionError":[0,{"Custom":1}]} when empty.
	Error TxError `json:"error,omitzero"`
}

// Afterwards is what becomes of abandoned transactions. What can't land by then, because
// its blockhash was abandoned or is too old, does not.
type Afterwards string

// What may become of abandoned transactions.
const (
	Forgotten Afterwards = ""       // nothing, unless somebody sends them again
	Again     Afterwards = "again"  // they land again, in their order
	Never     Afterwards = "never"  // whoever sends them again is answered, and they are dropped
	Turned    Afterwards = "turned" // they land again, those that failed with success, the others with Error
)

func (p *Fork) check() error {
	switch p.Then {
	case Forgotten, Again, Never, Turned:
		return nil
	}
	return fmt.Errorf("fork: unknown fate %q of its transactions, expected again, never, turned or none", p.Then)
}

// forkWith abandons slots and does with their transactions as the plan says.
func (b *bank) forkWith(p Fork) error {
	if err := p.check(); err != nil {
		return err
	}
	lost, err := b.fork(p.Slots)
	if err != nil {
		return err
	}
	for _, r := range lost {
		h := held{tx: r.tx, slot: b.open() + p.After}
		switch p.Then {
		case Forgotten:
			continue
		case Never:
			b.banned[r.tx.hash] = true
			continue
		case Turned:
			if r.err == nil {
				h.failure = p.Error.orDefault()
			}
		}
		b.hold(h)
	}
	err = b.landHeld()
	b.wake()
	return err
}

// fork abandons the newest n slots, the open one among them: their transactions and
// account writes are undone, their hashes are unknown from now on, and the chain goes
// on in a new slot above them. It returns the transactions in their order.
func (b *bank) fork(n int) (lost []*record, err error) {
	if n < 1 || uint64(n) > b.open()-b.root {
		return nil, fmt.Errorf("fork %d slots: only the %d above the finalized one can be undone", n, b.open()-b.root)
	}
	base := b.unskipped(b.open() - uint64(n))
	b.leaveBehind(base)
	var touched []solana.PublicKey
	for s := base + 1; s <= b.open(); s++ {
		blk := &b.blocks[s]
		touched = append(touched, blk.touched...)
		lost = append(lost, blk.txs...)
		if blk.hash != (solana.Hash{}) {
			delete(b.byHash, blk.hash)
		}
	}
	for s := b.open(); s > base; s-- {
		b.history.drop(b.blocks[s].txs)
		b.blocks[s] = block{parent: base, height: b.blocks[base].height, time: b.blocks[base].time, root: b.blocks[base].root, skipped: true}
	}
	if err := b.svm.set(b.accounts.undo(touched, base)); err != nil {
		return nil, fmt.Errorf("put accounts back to slot %d: %w", base, err)
	}
	b.clockAt, b.slotHashAt = 0, 0
	b.push(base)
	return lost, nil
}

// leaveBehind lets the fronts that are frozen on what a fork to base abandons go on
// showing it.
func (b *bank) leaveBehind(base uint64) {
	var then *bank
	for f, slot := range b.pins {
		if slot <= base {
			continue
		}
		if then == nil {
			then = b.standing()
		}
		f.minority = then
		delete(b.pins, f) // it needs nothing of this fork
	}
}

// standing is a copy of the chain to be read only.
func (b *bank) standing() *bank {
	return &bank{
		svm: b.svm, log: b.log, seed: b.seed, now: b.now, depth: b.depth, genesis: b.genesis, keep: b.keep, kept: b.kept,
		blocks: cloneBlocks(b.blocks), byHash: maps.Clone(b.byHash), root: b.root,
		accounts: b.accounts.clone(), history: b.history.clone(), rentPerByte: b.rentPerByte, wake: func() {},
	}
}
