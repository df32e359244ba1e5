package localnet

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"time"

	"github.com/gagliardetto/solana-go"
)

// newBank starts the virtual machine and makes the genesis state on it.
func newBank(ctx context.Context, c Config, s seed, faucet solana.PublicKey) (b *bank, err error) {
	vm, err := startSVM(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the local chain: %w", err)
	}
	defer func() {
		if err != nil {
			vm.close()
		}
	}()
	b = &bank{
		svm: vm, log: c.Logger, now: c.Now, depth: uint64(c.FinalityDepth), keep: uint64(c.KeepSlots), rentPerByte: c.LamportsPerByte,
		accounts: newAccounts(), history: newHistory(), pins: map[*Front]uint64{}, banned: map[[32]byte]bool{}, wake: func() {},
		seed: s,
	}
	if b.now == nil {
		b.now = time.Now
		if c.Seed != 0 {
			b.now = b.seededClock(pace(c.SlotTime))
		}
	}
	if err := b.genesisAccounts(faucet); err != nil {
		return nil, fmt.Errorf("make the genesis state: %w", err)
	}
	if err := b.start(max(c.SlotTime, time.Millisecond)); err != nil {
		return nil, err
	}
	return b, nil
}

// genesisAccounts sets rent, the epoch schedule and the faucet, then copies every
// account that the virtual machine began with.
func (b *bank) genesisAccounts(faucet solana.PublicKey) error {
	if err := b.svm.setRent(b.rentPerByte); err != nil {
		return err
	}
	schedule, err := b.svm.get(solana.SysVarEpochSchedulePubkey)
	if err != nil {
		return err
	}
	if schedule == nil {
		return fmt.Errorf("the virtual machine has no epoch schedule")
	}
	own := map[solana.PublicKey]*Account{
		solana.SysVarEpochSchedulePubkey: {Lamports: schedule.Lamports, Owner: schedule.Owner, Data: epochSchedule()},
		faucet:                           {Lamports: faucetLamports},
	}
	if err := b.svm.set(own); err != nil {
		return err
	}
	for _, owner := range genesisOwners {
		found, err := b.svm.owned(owner)
		if err != nil {
			return err
		}
		for k, a := range found {
			b.accounts.put(k, a)
		}
	}
	for k, a := range maps.All(own) {
		b.accounts.put(k, a)
	}
	return nil
}

// epochSchedule is the sysvar's account data: no warm-up, so that epoch and slot
// follow one formula from slot 0 on.
func epochSchedule() []byte {
	d := binary.LittleEndian.AppendUint64(nil, slotsPerEpoch)
	d = binary.LittleEndian.AppendUint64(d, slotsPerEpoch) // leader schedule offset
	d = append(d, 0)                                       // warm-up
	d = binary.LittleEndian.AppendUint64(d, 0)             // first normal epoch
	return binary.LittleEndian.AppendUint64(d, 0)          // first normal slot
}

// pace is the length of a slot, where no clock runs the usual one.
func pace(slotTime time.Duration) time.Duration {
	if slotTime > 0 {
		return slotTime
	}
	return DefaultSlotTime
}
