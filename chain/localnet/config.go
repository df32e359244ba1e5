package localnet

import (
	"fmt"
	"log/slog"
	"time"
)

// Config says what chain to start. The zero value is a chain with mainnet's pace on
// free ports of the loopback interface.
type Config struct {
	// Listen is host:port of the RPC; websockets are served there too, and at
	// port+1. The host must be a loopback address. Empty or port 0: a free pair.
	Listen string
	// SlotTime is the length of a slot, 200 ms when zero, at least 1 ms. When
	// negative no clock runs and only Advance makes slots. SetSlotTime changes it.
	SlotTime time.Duration
	// FinalityDepth is how many blocks `finalized` lies behind `processed`; 32 when
	// zero.
	FinalityDepth int
	// KeepSlots is by how many slots a front may be behind: so long the chain keeps
	// what accounts were; 64 when zero, none when negative.
	KeepSlots int
	// LamportsPerByte is the rent of an account's byte (its size + 128); 5,080 when
	// zero. Clients read it from the chain.
	LamportsPerByte uint64
	// Seed is what genesis hash, blockhashes, the node's keys and all chance among
	// the faults come from, and the clock where Now is nil: one slot, one SlotTime.
	// With slots made by hand the same calls give the same bytes. 0: chance.
	Seed uint64
	// Now gives block times; time.Now when nil, but see Seed. Only whole seconds are
	// used, and a block is never older than its parent. SetTime moves it.
	Now func() time.Time
	// Admin serves the admin interface at /admin of the node's own front.
	Admin bool
	// Logger is told of dropped transactions (debug) and internal errors; nothing is
	// logged when nil.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultSlotTime        = 200 * time.Millisecond
	DefaultFinalityDepth   = 32
	DefaultKeepSlots       = 64
	DefaultLamportsPerByte = 5_080
)

func (c *Config) fill() error {
	if c.SlotTime == 0 {
		c.SlotTime = DefaultSlotTime
	}
	if err := checkSlotTime(c.SlotTime); err != nil {
		return err
	}
	if c.FinalityDepth == 0 {
		c.FinalityDepth = DefaultFinalityDepth
	}
	if c.FinalityDepth < 1 {
		return fmt.Errorf("finality depth %d is below 1", c.FinalityDepth)
	}
	if c.KeepSlots == 0 {
		c.KeepSlots = DefaultKeepSlots
	}
	c.KeepSlots = max(c.KeepSlots, 0)
	if c.LamportsPerByte == 0 {
		c.LamportsPerByte = DefaultLamportsPerByte
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func checkSlotTime(d time.Duration) error {
	if d > 0 && d < time.Millisecond {
		return fmt.Errorf("slot time %s is below 1ms", d)
	}
	return nil
}
