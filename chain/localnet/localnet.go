// Package localnet is a Solana chain on this machine for development and tests: the
// real virtual machine with the real System, SPL Token, Associated Token, Memo and
// Compute Budget programs, under a JSON-RPC and websocket interface that official
// clients take for a validator's.
//
// LiteSVM, in a Node child behind a pipe, executes; everything else is here: slots,
// blockhashes and their age, signatures, duplicates, fees in history, the three
// commitments, the RPC. A transaction runs when it is sent, in the open slot, which
// is what `processed` means; the slot before it is `confirmed`; `finalized` lies
// FinalityDepth blocks behind. Reads at any commitment see the state as of that
// slot's end, and Fork abandons slots that are not finalized yet, with all they did.
//
// Differences from a validator are listed in README.md; nothing of the product may
// know that it talks to this package.
package localnet

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gagliardetto/solana-go"
)

// Node is a running chain. Its methods may be called from several goroutines.
type Node struct {
	bank     *bank
	log      *slog.Logger
	faucet   solana.PrivateKey
	identity solana.PublicKey
	airdrops uint32 // under the bank's lock
	admin    bool   // it is served
	rate     chan time.Duration

	mu        sync.Mutex
	slotTime  time.Duration // 0: no clock runs
	pace      time.Duration // of Resume
	fronts    []*Front      // the node's own first
	lastFront int           // number of the newest
	steps     []Step        // of the script, waiting for their slots
	failures  []string      // of the script's steps
	chaos     *chaos
	snapshots map[string]*Snapshot // that commands took

	stop    context.CancelFunc
	ended   context.Context
	running sync.WaitGroup
	closed  sync.Once
	failed  error
}

// Start starts a chain. ctx bounds the start only: the first one on a machine
// installs the virtual machine from npm. The caller must Close the node.
func Start(ctx context.Context, c Config) (_ *Node, err error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	s, err := newSeed(c.Seed)
	if err != nil {
		return nil, err
	}
	n := &Node{log: c.Logger, identity: s.key("identity").PublicKey(), faucet: s.key("faucet"), rate: make(chan time.Duration, 1), snapshots: map[string]*Snapshot{}, admin: c.Admin}
	n.ended, n.stop = context.WithCancel(context.Background())
	main, err := n.newFront(FrontConfig{Listen: c.Listen})
	if err != nil {
		return nil, err
	}
	if n.bank, err = newBank(ctx, c, s, n.faucet.PublicKey()); err != nil {
		closeAll(main.listeners)
		return nil, err
	}
	n.bank.wake = n.wake
	n.fronts = []*Front{main}
	main.begin()
	n.slotTime, n.pace = max(c.SlotTime, 0), pace(c.SlotTime)
	n.rate <- c.SlotTime
	n.running.Go(n.tick)
	return n, nil
}

// tick makes slots at the chain's pace.
func (n *Node) tick() {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	running := false
	for {
		select {
		case <-n.ended.Done():
			return
		case d := <-n.rate:
			if running = d > 0; running {
				t.Reset(d)
			}
		case <-t.C:
			if !running {
				continue
			}
			if err := n.Advance(1); err != nil {
				n.log.Error("advance the slot", "err", err)
			}
		}
	}
}

// SetSlotTime changes the chain's pace from now on; zero or less stops its clock, so
// that only Advance makes slots.
func (n *Node) SetSlotTime(d time.Duration) error {
	if err := checkSlotTime(d); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.rate: // nobody has taken the last one yet
	default:
	}
	n.slotTime = max(d, 0)
	if d > 0 {
		n.pace = d
	}
	n.rate <- d
	return nil
}

// Resume lets the clock run at its last pace, or the usual one.
func (n *Node) Resume() error {
	n.mu.Lock()
	d := n.pace
	n.mu.Unlock()
	return n.SetSlotTime(d)
}

// SetTime moves the chain's clock, so that the next block is made at t, and later ones
// as much later as before. Block times never go back: after a step back they stand still.
func (n *Node) SetTime(t time.Time) {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	n.bank.shift += t.Sub(n.bank.time())
}

// Close stops the servers, the clock and the virtual machine. It is safe to call
// more than once.
func (n *Node) Close() error {
	n.closed.Do(func() {
		n.stop()
		n.mu.Lock()
		fronts := n.fronts
		n.mu.Unlock()
		var errs []error
		for _, f := range fronts {
			errs = append(errs, f.end())
		}
		n.running.Wait()
		n.bank.mu.Lock()
		defer n.bank.mu.Unlock()
		n.failed = errors.Join(append(errs, n.bank.svm.close())...)
	})
	return n.failed
}

// own is the node's own front.
func (n *Node) own() *Front {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fronts[0]
}

// wake lets every front tell its subscribers. It is called under the bank's lock.
func (n *Node) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.fronts {
		f.hub.wake()
	}
}

// URL is the address of the JSON-RPC.
func (n *Node) URL() string { return n.own().URL() }

// WSURL is the address of the websocket: the RPC's port + 1 where that was free, else
// the RPC's own, which always answers websockets too.
func (n *Node) WSURL() string { return n.own().WSURL() }

// GenesisHash names the chain; without a seed every start makes another.
func (n *Node) GenesisHash() solana.Hash { return n.bank.genesis }

// Slot is the open slot.
func (n *Node) Slot() uint64 {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	return n.bank.open()
}

// Finalized is the newest finalized slot.
func (n *Node) Finalized() uint64 {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	return n.bank.root
}

// Advance seals count slots, one after the other, and runs what the script has for
// them.
func (n *Node) Advance(count int) error {
	for range count {
		n.bank.mu.Lock()
		err := n.bank.advance()
		slot := n.bank.open()
		n.bank.mu.Unlock()
		if err != nil {
			return err
		}
		n.runScript(slot)
	}
	return nil
}

// Fork abandons the newest count slots, counted from the open one: their transactions
// never happened, their accounts are as before, their blockhashes are unknown, their
// slots are skipped. The chain goes on in a new slot. Finalized slots stay.
func (n *Node) Fork(count int) error { return n.ForkWith(Fork{Slots: count}) }

// ForkWith is Fork with a plan for the transactions that were abandoned.
func (n *Node) ForkWith(p Fork) error {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	return n.bank.forkWith(p)
}

// Release lands every transaction that a fault or a fork holds back, now.
func (n *Node) Release() error {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	return n.bank.release()
}

// SetAccount writes an account in the open slot, past every rule of the runtime. An
// account with 0 lamports is removed.
func (n *Node) SetAccount(key solana.PublicKey, a Account) error {
	return n.SetAccounts(map[solana.PublicKey]Account{key: a})
}

// setAtOnce is how many accounts go to the virtual machine in one call.
const setAtOnce = 1 << 14

// SetAccounts is SetAccount for any number of them. It keeps their data: the caller
// must not change it afterwards.
func (n *Node) SetAccounts(list map[solana.PublicKey]Account) error {
	part := make(map[solana.PublicKey]*Account, min(len(list), setAtOnce))
	flush := func() error {
		n.bank.mu.Lock()
		defer n.bank.mu.Unlock()
		defer clear(part)
		return n.bank.set(part)
	}
	for k, a := range list {
		part[k] = &a
		if a.Lamports == 0 {
			part[k] = nil
		}
		if len(part) == setAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// Account returns an account as of the open slot; nil when there is none.
func (n *Node) Account(key solana.PublicKey) *Account {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	a := n.bank.account(key, n.bank.open())
	if a == nil {
		return nil
	}
	own := *a
	own.Data = bytes.Clone(a.Data)
	return &own
}

// Airdrop pays lamports from the faucet, by a transaction that has landed when it
// returns.
func (n *Node) Airdrop(to solana.PublicKey, lamports uint64) (solana.Signature, error) {
	return n.airdrop(to, lamports, nil)
}
