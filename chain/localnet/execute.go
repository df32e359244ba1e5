package localnet

import (
	"errors"
	"fmt"

	"github.com/gagliardetto/solana-go"
)

// admit makes the checks that precede execution in the bank of slot: blockhash,
// duplicate, lookup tables, in the order of a validator.
func (b *bank) admit(t *wireTx, slot uint64) *txError {
	if err := t.resolve(b.accounts, slot); err != nil {
		return err
	}
	if !b.knows(t.Message.RecentBlockhash, slot) {
		return errBlockhashNotFound
	}
	if b.history.landed(t.hash, slot) != nil {
		return errAlreadyProcessed
	}
	return nil
}

// land runs a transaction in the open slot, with forced as its outcome if there is
// one. What can't land is dropped in silence.
func (b *bank) land(t *wireTx, forced *txError) error {
	if b.banned[t.hash] {
		b.log.Debug("drop a transaction", "signature", t.id(), "reason", "it never lands")
		return nil
	}
	r, dropped, err := b.execute(t, forced)
	if err == nil && r == nil {
		b.log.Debug("drop a transaction", "signature", t.id(), "reason", dropped)
	}
	return err
}

// execute runs a transaction in the open slot. A transaction that can't be charged,
// or isn't admitted, leaves no trace: it returns a nil record and the reason.
func (b *bank) execute(t *wireTx, forced *txError) (*record, *txError, error) {
	slot := b.open()
	if err := b.admit(t, slot); err != nil {
		return nil, err, nil
	}
	if forced != nil {
		return b.fail(t, forced)
	}
	clock, err := b.timeTasks(slot, t)
	if err != nil {
		return nil, nil, err
	}
	var locked []solana.PublicKey
	for i, k := range t.keys {
		if t.locked(i) {
			locked = append(locked, k)
		}
	}
	o, after, err := b.svm.execute(t.raw, locked, clock)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("execute %s: %w", t.id(), err), b.refused(nil))
	}
	failure, err := parseTxError(o.Err)
	if err != nil {
		return nil, nil, err
	}
	r := &record{tx: t, slot: slot, index: len(b.blocks[slot].txs), err: failure, outcome: o}
	r.pre, r.preTok = b.balances(t, nil)
	r.fee = charged(b.accounts, slot, locked, after)
	if failure != nil && r.fee == 0 {
		return nil, failure, nil
	}
	for i, k := range locked {
		if !same(b.accounts.at(k, slot), after[i]) {
			b.write(k, after[i])
		}
	}
	r.post, r.postTok = b.balances(t, nil)
	b.record(r)
	return r, nil, nil
}

// charged is the fee that the transaction really paid: lamports are conserved, so it
// is what the accounts that it may write hold less.
func charged(s *accounts, slot uint64, keys []solana.PublicKey, after []*Account) uint64 {
	var before, left uint64
	for i, k := range keys {
		if a := s.at(k, slot); a != nil {
			before += a.Lamports
		}
		if after[i] != nil {
			left += after[i].Lamports
		}
	}
	return before - left
}

func same(a, b *Account) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Lamports == b.Lamports && a.Owner == b.Owner && a.Executable == b.Executable && string(a.Data) == string(b.Data)
}

// balances returns the lamports of each account key and the token accounts among
// them, as of the open slot, or as overridden by post.
func (b *bank) balances(t *wireTx, post map[solana.PublicKey]*Account) ([]uint64, []tokenBalance) {
	return b.balancesAt(t, b.open(), post)
}

func (b *bank) balancesAt(t *wireTx, slot uint64, post map[solana.PublicKey]*Account) ([]uint64, []tokenBalance) {
	get := func(k solana.PublicKey) *Account {
		if a, ok := post[k]; ok {
			return a
		}
		return b.accounts.at(k, slot)
	}
	withTokens := t.has(solana.TokenProgramID) || t.has(solana.Token2022ProgramID)
	lamports := make([]uint64, len(t.keys))
	tokens := []tokenBalance{}
	for i, k := range t.keys {
		a := get(k)
		if a == nil {
			continue
		}
		lamports[i] = a.Lamports
		if !withTokens || t.invoked(i) || isToken(k) {
			continue
		}
		if acc, ok := readTokenAccount(a); ok {
			if m, ok := readMint(get(acc.mint)); ok {
				tokens = append(tokens, tokenBalance{index: i, mint: acc.mint, owner: acc.owner, program: a.Owner, amount: acc.amount, decimal: m.decimals})
			}
		}
	}
	return lamports, tokens
}

// simulation is what a transaction would do in the bank of slot.
type simulation struct {
	slot    uint64
	err     *txError
	post    map[solana.PublicKey]*Account // what it would write; empty when it fails
	pre     []uint64
	preTok  []tokenBalance
	postLam []uint64
	postTok []tokenBalance
	outcome
}

// simulate runs t on the state at the end of slot. check is false when the blockhash
// was replaced, so that neither it nor duplicates matter.
func (b *bank) simulate(t *wireTx, slot uint64, check bool) (*simulation, error) {
	s := &simulation{slot: slot, outcome: outcome{Logs: []string{}}}
	if check {
		s.err = b.admit(t, slot)
	} else {
		s.err = t.resolve(b.accounts, slot)
	}
	if s.err != nil {
		return s, nil
	}
	rewind, restore := b.rewind(t, slot)
	clock, err := b.timeTasks(slot, t)
	if err != nil {
		return nil, err
	}
	s.outcome, s.post, err = b.svm.simulate(t.raw, append(rewind, clock...), restore)
	if err == nil {
		s.err, err = parseTxError(s.Err)
	} else {
		err = errors.Join(err, b.refused(restore))
	}
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", t.id(), err)
	}
	s.pre, s.preTok = b.balancesAt(t, slot, nil)
	s.postLam, s.postTok = b.balancesAt(t, slot, s.post)
	return s, nil
}

// refused puts the virtual machine back when it refused to go on between tasks.
func (b *bank) refused(restore []task) error {
	b.clockAt, b.slotHashAt = 0, 0
	if len(restore) == 0 {
		return nil
	}
	_, err := b.svm.all(restore...)
	return err
}

// rewind shows the virtual machine the accounts of t as they were at the end of slot;
// restore is what must be set afterwards.
func (b *bank) rewind(t *wireTx, slot uint64) (rewind, restore []task) {
	then, now := map[solana.PublicKey]*Account{}, map[solana.PublicKey]*Account{}
	keys := t.keys
	for _, l := range t.Message.AddressTableLookups {
		keys = append(keys[:len(keys):len(keys)], l.AccountKey)
	}
	for _, k := range keys {
		if was, is := b.accounts.at(k, slot), b.accounts.now[k]; was != is {
			then[k], now[k] = was, is
		}
	}
	return setting(then), setting(now)
}
