package localnet

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gagliardetto/solana-go"
)

const (
	// maxAge is how many blocks a blockhash can be used: a block of height h accepts
	// the hashes of the blocks h-1-maxAge to h-1.
	maxAge = 150
	// rememberedSlots is how far back getSignatureStatuses looks without
	// searchTransactionHistory, and the slot hashes reach.
	rememberedSlots = 300
	slotHashes      = 512
	// keptWrites is for how many finalized slots the list of written accounts stays.
	keptWrites = 1024
)

// bank is the chain: blocks, accounts and history, all under one lock. Its newest
// block is open: transactions run in it as they come. Everything before it is sealed.
type bank struct {
	mu       sync.RWMutex
	svm      *svm
	log      *slog.Logger
	seed     seed
	now      func() time.Time
	shift    time.Duration // of now, see SetTime
	depth    uint64        // blocks between the open block and the finalized one
	genesis  solana.Hash
	blocks   []block // by slot
	byHash   map[solana.Hash]uint64
	root     uint64            // finalized slot
	keep     uint64            // for how many slots behind the open one the views are kept
	kept     uint64            // oldest slot whose accounts are known
	pins     map[*Front]uint64 // slots that frozen fronts show
	accounts *accounts
	history  *history
	held     []held            // transactions that land later, in their order
	banned   map[[32]byte]bool // messages that never land

	clockAt     uint64 // slot that the virtual machine's clock shows
	slotHashAt  uint64 // slot for which its slot hashes were set
	wake        func() // called after each change, under the lock
	rentPerByte uint64
}

// block is one slot. A skipped one holds nothing: a fork passed over it.
type block struct {
	hash    solana.Hash
	parent  uint64
	height  uint64
	time    int64
	root    uint64 // the finalized slot when it was the open one
	skipped bool
	txs     []*record
	touched []solana.PublicKey // accounts written in it, each once
}

// open is the slot that transactions run in: what `processed` means here.
func (b *bank) open() uint64 { return uint64(len(b.blocks) - 1) }

// confirmed is the newest sealed slot.
func (b *bank) confirmed() uint64 { return b.blocks[b.open()].parent }

// start makes the first blocks, so that from the beginning some slot is finalized.
func (b *bank) start(slotTime time.Duration) error {
	b.genesis = b.seed.hash("genesis")
	behind := time.Duration(b.depth+1) * max(slotTime, 0)
	b.blocks = []block{{hash: b.genesis, time: b.time().Add(-behind).Unix()}}
	b.byHash = map[solana.Hash]uint64{b.genesis: 0}
	b.push(0)
	for b.open() <= b.depth {
		if err := b.advance(); err != nil {
			return err
		}
	}
	return nil
}

// push opens a block on parent in the next slot.
func (b *bank) push(parent uint64) {
	p := &b.blocks[parent]
	b.blocks = append(b.blocks, block{parent: parent, height: p.height + 1, time: max(p.time, b.time().Unix()), root: b.root})
}

// time is the chain's clock, in the open slot's terms.
func (b *bank) time() time.Time { return b.now().Add(b.shift) }

// advance seals the open block, opens the next and moves the finalized slot.
func (b *bank) advance() error {
	slot := b.open()
	hash := b.seal(slot)
	b.blocks[slot].hash = hash
	b.byHash[hash] = slot
	b.push(slot)
	b.finalize()
	err := b.landHeld()
	b.wake()
	return err
}

// seal makes the hash of a block: over its parent's, its number, its transactions,
// and the seed. No slot is used twice, so two forks never share one.
func (b *bank) seal(slot uint64) (h solana.Hash) {
	d := sha256.New()
	blk := &b.blocks[slot]
	parent := b.blocks[blk.parent].hash
	d.Write(parent[:])
	d.Write(binary.LittleEndian.AppendUint64(nil, slot))
	for _, r := range blk.txs {
		d.Write(r.tx.hash[:])
	}
	chance := b.seed.hash("block")
	d.Write(chance[:])
	copy(h[:], d.Sum(nil))
	return h
}

// finalize moves the root to the block that lies depth below the open one. A fork can
// make the chain shorter for a while; the root waits then.
func (b *bank) finalize() {
	height := b.blocks[b.open()].height
	if height < b.depth {
		return
	}
	for next := b.root + 1; next < b.open() && b.blocks[next].height <= height-b.depth; next++ {
		blk := &b.blocks[next]
		if blk.skipped {
			continue
		}
		b.root = next
	}
	b.blocks[b.open()].root = b.root
	b.forget()
}

// forget drops the states that no view needs any more: those before the slot that was
// final keep slots ago, or when the oldest pinned slot was open.
func (b *bank) forget() {
	open := b.open()
	needed := b.blocks[open-min(open, b.keep)].root
	for _, slot := range b.pins {
		needed = min(needed, b.blocks[slot].root)
	}
	for b.kept < needed {
		b.kept++
		b.accounts.settle(b.blocks[b.kept].touched, b.kept)
		if b.kept > keptWrites { // subscribers may still come for the newer ones
			b.blocks[b.kept-keptWrites].touched = nil
		}
	}
}

// hashFor is what getLatestBlockhash answers at slot: the block's own hash when it is
// sealed, else its parent's; and the last block height that surely accepts it.
func (b *bank) hashFor(slot uint64) (solana.Hash, uint64) {
	if slot == b.open() {
		slot = b.blocks[slot].parent
	}
	return b.blocks[slot].hash, b.blocks[slot].height + maxAge
}

// knows reports whether a transaction with this blockhash may run in the bank of
// slot: in the open one, or, for a simulation, in a sealed one.
func (b *bank) knows(hash solana.Hash, slot uint64) bool {
	from, ok := b.byHash[hash]
	if !ok || from > slot || (from == slot && slot == b.open()) {
		return false
	}
	last := b.blocks[slot].height
	if slot == b.open() {
		last-- // its own hash is not made yet
	}
	return b.blocks[from].height+maxAge >= last
}

// clock is the Clock sysvar as of slot.
func (b *bank) clock(slot uint64) clock {
	epoch := slot / slotsPerEpoch
	return clock{
		slot: slot, now: b.blocks[slot].time,
		epoch: epoch, epochStart: b.blocks[epoch*slotsPerEpoch].time, schedule: epoch + 1,
	}
}

// account returns an account at the end of slot; the clock is made on the spot.
func (b *bank) account(key solana.PublicKey, slot uint64) *Account {
	a := b.accounts.at(key, slot)
	if a != nil && key == solana.SysVarClockPubkey {
		return &Account{Lamports: a.Lamports, Owner: a.Owner, Data: b.clock(slot).bytes()}
	}
	return a
}

// timeTasks show the virtual machine the clock of slot, and the slot hashes when the
// transaction is one that reads them: they are too long to send for every slot.
func (b *bank) timeTasks(slot uint64, t *wireTx) (tasks []task, err error) {
	if b.clockAt != slot {
		tasks = append(tasks, task{opClock, b.clock(slot).bytes()})
		b.clockAt = slot
	}
	if b.slotHashAt == slot || !(t.has(solana.AddressLookupTableProgramID) || t.has(solana.SysVarSlotHashesPubkey)) {
		return tasks, nil
	}
	var list []slotHash
	for s := slot; s > 0 && len(list) < slotHashes; {
		s = b.blocks[s].parent
		list = append(list, slotHash{Slot: s, Hash: b.blocks[s].hash})
	}
	hashes, err := slotHashesTask(list)
	if err != nil {
		return nil, err
	}
	b.slotHashAt = slot
	return append(tasks, hashes), nil
}

// write replaces an account in the open slot, in the mirror only.
func (b *bank) write(key solana.PublicKey, a *Account) {
	slot := b.open()
	if b.accounts.write(key, a, slot) {
		b.blocks[slot].touched = append(b.blocks[slot].touched, key)
	}
}

// set replaces accounts in the open slot, in the virtual machine and here; nil
// removes one.
func (b *bank) set(list map[solana.PublicKey]*Account) error {
	if err := b.svm.set(list); err != nil {
		return fmt.Errorf("set %d accounts: %w", len(list), err)
	}
	for k, a := range list {
		b.write(k, a)
	}
	b.wake()
	return nil
}
