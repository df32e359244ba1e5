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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gagliardetto/solana-go"
)

// Config says what chain to start. The zero value is a chain with mainnet's pace on
// free ports of the loopback interface.
type Config struct {
	// Listen is host:port of the RPC; websockets are served there too, and at
	// port+1. The host must be a loopback address. Empty or port 0: a free pair.
	Listen string
	// SlotTime is the length of a slot, 200 ms when zero, at least 1 ms. When
	// negative no clock runs and only Advance makes slots.
	SlotTime time.Duration
	// FinalityDepth is how many blocks `finalized` lies behind `processed`; 32 when
	// zero.
	FinalityDepth int
	// LamportsPerByte is the rent of an account's byte (its size + 128); 5,080 when
	// zero. Clients read it from the chain.
	LamportsPerByte uint64
	// Now gives block times; time.Now when nil. Only whole seconds are used, and a
	// block is never older than its parent.
	Now func() time.Time
	// Logger is told of dropped transactions (debug) and internal errors; nothing is
	// logged when nil.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultSlotTime        = 200 * time.Millisecond
	DefaultFinalityDepth   = 32
	DefaultLamportsPerByte = 5_080
)

func (c *Config) fill() error {
	if c.SlotTime == 0 {
		c.SlotTime = DefaultSlotTime
	}
	if c.SlotTime > 0 && c.SlotTime < time.Millisecond {
		return fmt.Errorf("slot time %s is below 1ms", c.SlotTime)
	}
	if c.FinalityDepth == 0 {
		c.FinalityDepth = DefaultFinalityDepth
	}
	if c.FinalityDepth < 1 {
		return fmt.Errorf("finality depth %d is below 1", c.FinalityDepth)
	}
	if c.LamportsPerByte == 0 {
		c.LamportsPerByte = DefaultLamportsPerByte
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Node is a running chain. Its methods may be called from several goroutines.
type Node struct {
	bank     *bank
	log      *slog.Logger
	faucet   solana.PrivateKey
	identity solana.PublicKey
	airdrops uint32 // under the bank's lock
	address  string // host:port of the RPC
	wsAddr   string
	server   *http.Server
	hub      *hub

	stop    context.CancelFunc
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
	n := &Node{log: c.Logger}
	for _, k := range []*solana.PublicKey{&n.identity, nil} {
		key, err := solana.NewRandomPrivateKey()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		if k != nil {
			*k = key.PublicKey()
		} else {
			n.faucet = key
		}
	}
	listeners, err := listen(c.Listen)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	if n.bank, err = newBank(ctx, c, n.faucet.PublicKey()); err != nil {
		return nil, err
	}
	n.address, n.wsAddr = listeners[0].Addr().String(), listeners[len(listeners)-1].Addr().String()
	n.hub = newHub(n)
	n.bank.wake = n.hub.wake
	n.serve(listeners, c.SlotTime)
	return n, nil
}

// serve starts the goroutines: the HTTP servers, the subscriptions, the slot clock.
func (n *Node) serve(listeners []net.Listener, slotTime time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.server = &http.Server{Handler: http.HandlerFunc(n.serveHTTP), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
	for _, l := range listeners {
		n.running.Go(func() { n.server.Serve(l) })
	}
	n.running.Go(func() { n.hub.run(ctx) })
	if slotTime > 0 {
		n.running.Go(func() { n.tick(ctx, slotTime) })
	}
}

// tick makes slots at the chain's pace.
func (n *Node) tick(ctx context.Context, slotTime time.Duration) {
	t := time.NewTicker(slotTime)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := n.Advance(1); err != nil {
				n.log.Error("advance the slot", "err", err)
			}
		}
	}
}

// Close stops the servers, the clock and the virtual machine. It is safe to call
// more than once.
func (n *Node) Close() error {
	n.closed.Do(func() {
		n.stop()
		n.hub.closeAll()
		err := n.server.Close()
		n.running.Wait()
		n.bank.mu.Lock()
		defer n.bank.mu.Unlock()
		n.failed = errors.Join(err, n.bank.svm.close())
	})
	return n.failed
}

// URL is the address of the JSON-RPC.
func (n *Node) URL() string { return "http://" + n.address }

// WSURL is the address of the websocket: the RPC's port + 1 where that was free, else
// the RPC's own, which always answers websockets too.
func (n *Node) WSURL() string { return "ws://" + n.wsAddr }

// GenesisHash names the chain; every start makes another.
func (n *Node) GenesisHash() solana.Hash { return n.bank.genesis }

// Slot is the open slot.
func (n *Node) Slot() uint64 {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	return n.bank.open()
}

// Advance seals count slots, one after the other.
func (n *Node) Advance(count int) error {
	for range count {
		n.bank.mu.Lock()
		err := n.bank.advance()
		n.bank.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Fork abandons the newest count slots, counted from the open one: their transactions
// never happened, their accounts are as before, their blockhashes are unknown, their
// slots are skipped. The chain goes on in a new slot. Finalized slots stay.
func (n *Node) Fork(count int) error {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	return n.bank.fork(count)
}

// SetAccount writes an account in the open slot, past every rule of the runtime. An
// account with 0 lamports is removed.
func (n *Node) SetAccount(key solana.PublicKey, a Account) error {
	n.bank.mu.Lock()
	defer n.bank.mu.Unlock()
	if a.Lamports == 0 {
		return n.bank.set(key, nil)
	}
	a.Data = append([]byte{}, a.Data...)
	return n.bank.set(key, &a)
}

// Airdrop pays lamports from the faucet, by a transaction that has landed when it
// returns.
func (n *Node) Airdrop(to solana.PublicKey, lamports uint64) (solana.Signature, error) {
	return n.airdrop(to, lamports, nil)
}
