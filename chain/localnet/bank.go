package localnet

import (
	"crypto/rand"
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
	now      func() time.Time
	depth    uint64 // blocks between the open block and the finalized one
	genesis  solana.Hash
	blocks   []block // by slot
	byHash   map[solana.Hash]uint64
	root     uint64 // finalized slot
	accounts *accounts
	history  *history

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
	skipped bool
	txs     []*record
	touched []solana.PublicKey // accounts written in it, each once
}

// open is the slot that transactions run in: what `processed` means here.
func (b *bank) open() uint64 { return uint64(len(b.blocks) - 1) }

// confirmed is the newest sealed slot.
func (b *bank) confirmed() uint64 { return b.blocks[b.open()].parent }

// slotAt returns the newest slot of a commitment.
func (b *bank) slotAt(c commitment) uint64 {
	switch c {
	case processed:
		return b.open()
	case confirmed:
		return b.confirmed()
	}
	return b.root
}

// start makes the first blocks, so that from the beginning some slot is finalized.
func (b *bank) start(slotTime time.Duration) error {
	if _, err := rand.Read(b.genesis[:]); err != nil {
		return fmt.Errorf("make genesis hash: %w", err)
	}
	behind := time.Duration(b.depth+1) * max(slotTime, 0)
	b.blocks = []block{{hash: b.genesis, time: b.now().Add(-behind).Unix()}}
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
	b.blocks = append(b.blocks, block{parent: parent, height: p.height + 1, time: max(p.time, b.now().Unix())})
}

// advance seals the open block, opens the next and moves the finalized slot.
func (b *bank) advance() error {
	slot := b.open()
	hash, err := b.seal(slot)
	if err != nil {
		return err
	}
	b.blocks[slot].hash = hash
	b.byHash[hash] = slot
	b.push(slot)
	b.finalize()
	b.wake()
	return nil
}

// seal makes the hash of a block: over its parent's, its transactions, and chance, so
// that two forks never share one.
func (b *bank) seal(slot uint64) (h solana.Hash, err error) {
	d := sha256.New()
	blk := &b.blocks[slot]
	parent := b.blocks[blk.parent].hash
	d.Write(parent[:])
	d.Write(binary.LittleEndian.AppendUint64(nil, slot))
	for _, r := range blk.txs {
		d.Write(r.tx.hash[:])
	}
	var chance [16]byte
	if _, err := rand.Read(chance[:]); err != nil {
		return h, fmt.Errorf("seal slot %d: %w", slot, err)
	}
	d.Write(chance[:])
	copy(h[:], d.Sum(nil))
	return h, nil
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
		b.accounts.settle(blk.touched, next)
		if next > keptWrites { // subscribers may still come for the newer ones
			b.blocks[next-keptWrites].touched = nil
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

// setTime shows the virtual machine the clock of slot, and the slot hashes when the
// transaction is one that reads them: they are too long to send for every slot.
func (b *bank) setTime(slot uint64, t *wireTx) error {
	if b.clockAt != slot {
		if err := b.svm.setClock(b.clock(slot)); err != nil {
			return err
		}
		b.clockAt = slot
	}
	if b.slotHashAt == slot || !(t.has(solana.AddressLookupTableProgramID) || t.has(solana.SysVarSlotHashesPubkey)) {
		return nil
	}
	var list []slotHash
	for s := slot; s > 0 && len(list) < slotHashes; {
		s = b.blocks[s].parent
		list = append(list, slotHash{Slot: s, Hash: b.blocks[s].hash})
	}
	if err := b.svm.setSlotHashes(list); err != nil {
		return err
	}
	b.slotHashAt = slot
	return nil
}

// write replaces an account in the open slot, in the mirror only.
func (b *bank) write(key solana.PublicKey, a *Account) {
	slot := b.open()
	if b.accounts.write(key, a, slot) {
		b.blocks[slot].touched = append(b.blocks[slot].touched, key)
	}
}

// set replaces an account in the open slot, in the virtual machine and here.
func (b *bank) set(key solana.PublicKey, a *Account) error {
	if err := b.svm.set(map[solana.PublicKey]*Account{key: a}); err != nil {
		return fmt.Errorf("set account %s: %w", key, err)
	}
	b.write(key, a)
	b.wake()
	return nil
}

// fork abandons the newest n slots, the open one among them: their transactions and
// account writes are undone, their hashes are unknown from now on, and the chain goes
// on in a new slot above them.
func (b *bank) fork(n int) error {
	if n < 1 || uint64(n) > b.open()-b.root {
		return fmt.Errorf("fork %d slots: only the %d above the finalized one can be undone", n, b.open()-b.root)
	}
	base := b.open() - uint64(n)
	for b.blocks[base].skipped {
		base--
	}
	var touched []solana.PublicKey
	for s := base + 1; s < uint64(len(b.blocks)); s++ {
		blk := &b.blocks[s]
		touched = append(touched, blk.touched...)
		if blk.hash != (solana.Hash{}) {
			delete(b.byHash, blk.hash)
		}
	}
	for s := b.open(); s > base; s-- {
		b.history.drop(b.blocks[s].txs)
		b.blocks[s] = block{parent: base, height: b.blocks[base].height, time: b.blocks[base].time, skipped: true}
	}
	if err := b.svm.set(b.accounts.undo(touched, base)); err != nil {
		return fmt.Errorf("put accounts back to slot %d: %w", base, err)
	}
	b.clockAt, b.slotHashAt = 0, 0
	b.push(base)
	b.wake()
	return nil
}
