package localnet

import (
	"encoding/json"
	"fmt"

	"github.com/gagliardetto/solana-go"
)

// View is what a front shows of the chain. The zero value shows all of it.
type View struct {
	// Lags are by how many slots it is behind, at every commitment; calls take them
	// in turn, so that more than one is an endpoint that jumps back and forth behind
	// a balancer. At most Config.KeepSlots each.
	Lags []uint64 `json:"lags,omitempty"`
	// Frozen stops it at FrozenAt, or at the newest sealed slot when that is 0. When a
	// fork abandons that slot it goes on showing it: a node on the minority fork.
	Frozen   bool   `json:"frozen,omitempty"`
	FrozenAt uint64 `json:"frozen_at,omitempty"`
	// NoHistory answers -32011 where a transaction's or block's history is asked for.
	NoHistory bool `json:"no_history,omitempty"`
	// HistoryFrom is the first slot of which it has blocks and transactions.
	HistoryFrom uint64 `json:"history_from,omitempty"`
	// StatusSlots is how far back getSignatureStatuses looks without
	// searchTransactionHistory: 300 when nil, 0 finds nothing.
	StatusSlots *uint64 `json:"status_slots,omitempty"`
	// Lies are what it says against the truth.
	Lies Lies `json:"lies,omitzero"`
}

// Lies are the untruths of one front. Preflight and simulation use the truth.
type Lies struct {
	// Accounts are shown instead of the true ones, at every commitment; nil: absent.
	Accounts map[solana.PublicKey]*Account `json:"accounts,omitempty"`
	// Signatures says what became of transactions: "failed", "succeeded" (also of one
	// that never landed) or "absent". Blocks are shown as they are.
	Signatures map[solana.Signature]Fate `json:"signatures,omitempty"`
	// Blockhash is given as the newest one.
	Blockhash *solana.Hash `json:"blockhash,omitempty"`
	// Ahead is added to every slot and block height that it reports as reached.
	Ahead uint64 `json:"ahead,omitempty"`
}

// Fate is what a lying front says of a transaction.
type Fate string

// The fates.
const (
	Failed    Fate = "failed"
	Succeeded Fate = "succeeded"
	Absent    Fate = "absent"
)

// check refuses a view that the bank can't show. The bank's lock must be held.
func (w *View) check(b *bank) error {
	for _, lag := range w.Lags {
		if lag > b.keep {
			return fmt.Errorf("lag of %d slots: the chain keeps %d (Config.KeepSlots)", lag, b.keep)
		}
	}
	if w.FrozenAt != 0 && !w.Frozen {
		return fmt.Errorf("frozen_at without frozen")
	}
	if at := w.FrozenAt; at != 0 && (at >= b.open() || b.blocks[at].skipped || b.blocks[at].root < b.kept) {
		return fmt.Errorf("freeze at slot %d: it is not sealed, was skipped, or its state is gone", at)
	}
	for sig, fate := range w.Lies.Signatures {
		if fate != Failed && fate != Succeeded && fate != Absent {
			return fmt.Errorf("lie about %s: unknown fate %q, expected failed, succeeded or absent", sig, fate)
		}
	}
	return nil
}

// view is the chain as one call at one front sees it. It is valid under the bank's
// lock only. Its tip is what `processed` means in it.
type view struct {
	*bank
	seen *View
	tip  uint64
}

// view begins a call. The bank's lock must be held.
func (f *Front) view() *view { return f.viewAt(f.calls.Add(1) - 1) }

// viewAt is the view of one turn among the lags.
func (f *Front) viewAt(turn uint64) *view {
	b := f.n.bank
	if f.minority != nil {
		b = f.minority
	}
	v := &view{bank: b, seen: &f.seen, tip: b.open()}
	switch {
	case f.seen.Frozen:
		v.tip = f.seen.FrozenAt
	case len(f.seen.Lags) > 0:
		v.tip -= min(v.tip, f.seen.Lags[turn%uint64(len(f.seen.Lags))])
	}
	v.tip = b.unskipped(v.tip)
	return v
}

// unskipped is the newest block at or below slot.
func (b *bank) unskipped(slot uint64) uint64 {
	for b.blocks[slot].skipped {
		slot--
	}
	return slot
}

func (v *view) open() uint64      { return v.tip }
func (v *view) confirmed() uint64 { return v.blocks[v.tip].parent }
func (v *view) final() uint64     { return v.blocks[v.tip].root }

func (v *view) slotAt(c commitment) uint64 {
	switch c {
	case processed:
		return v.tip
	case confirmed:
		return v.confirmed()
	}
	return v.final()
}

// statusOf names the commitment that a slot has reached.
func (v *view) statusOf(slot uint64) commitment {
	switch {
	case slot <= v.final():
		return finalized
	case slot <= v.confirmed():
		return confirmed
	}
	return processed
}

// slotFor returns the slot that a call reads, or -32016 when the caller has seen a
// newer one.
func (v *view) slotFor(c contextConfig) (uint64, error) {
	slot := v.slotAt(c.Commitment)
	if c.MinContextSlot != nil && v.claimed(slot) < *c.MinContextSlot {
		return 0, &rpcError{codeContextSlot, "Minimum context slot has not been reached", map[string]uint64{"contextSlot": v.claimed(slot)}}
	}
	return slot, nil
}

// claimed is a slot or a height as the front reports it.
func (v *view) claimed(n uint64) uint64 { return n + v.seen.Lies.Ahead }

// context is a result with the slot that it was read at.
func (v *view) context(slot uint64, value any) withContext {
	return inContext(v.claimed(slot), value)
}

// account returns an account at the end of slot, or what the front makes of it.
func (v *view) account(key solana.PublicKey, slot uint64) *Account {
	if a, lied := v.seen.Lies.Accounts[key]; lied {
		if a == nil || a.Lamports == 0 {
			return nil
		}
		return a
	}
	return v.bank.account(key, slot)
}

// ownedBy is accounts.ownedBy with the front's lies.
func (v *view) ownedBy(owner solana.PublicKey, slot uint64) map[solana.PublicKey]*Account {
	found := v.accounts.ownedBy(owner, slot)
	for k := range v.seen.Lies.Accounts {
		delete(found, k)
		if a := v.account(k, slot); a != nil && a.Owner == owner {
			found[k] = a
		}
	}
	return found
}

// hashFor is bank.hashFor for what this front takes for the open slot.
func (v *view) hashFor(slot uint64) (solana.Hash, uint64) {
	if slot == v.tip {
		slot = v.blocks[slot].parent
	}
	hash := v.blocks[slot].hash
	if lie := v.seen.Lies.Blockhash; lie != nil {
		hash = *lie
	}
	return hash, v.claimed(v.blocks[slot].height + maxAge)
}

// transactions is how many had landed at the end of slot.
func (v *view) transactions(slot uint64) uint64 {
	count := v.history.count
	for s := slot + 1; s <= v.bank.open(); s++ {
		count -= uint64(len(v.blocks[s].txs))
	}
	return count
}

// errLied is the failure that a lying front makes up, and a forced one's default.
var errLied = customError(0, 1)

// find returns the transaction of a signature as the front tells it: nil when it has
// not landed at or before its tip, or is too old for its history.
func (v *view) find(sig solana.Signature) *record {
	r := v.history.byID[sig]
	if r != nil && (r.slot > v.tip || r.slot < v.seen.HistoryFrom) {
		r = nil
	}
	return v.tell(sig, r)
}

// tell is a record as the front shows it, nil when it denies it.
func (v *view) tell(sig solana.Signature, r *record) *record {
	fate, lied := v.seen.Lies.Signatures[sig]
	if !lied {
		return r
	}
	if fate == Absent || r == nil && fate == Failed {
		return nil
	}
	told := record{slot: v.final()}
	if r != nil {
		told = *r
	}
	told.err = nil
	if fate == Failed {
		told.err = errLied
	}
	return &told
}

// hasHistory is the error of an endpoint that keeps none.
func (v *view) hasHistory() error {
	if v.seen.NoHistory {
		return rpcErrorf(codeNoHistory, "Transaction history is not available from this node")
	}
	return nil
}

// mintAt and tokenAccountAt read the accounts of the token programs as the front
// shows them.
func (v *view) mintAt(key solana.PublicKey, slot uint64) (mint, error) {
	return mintIn(v.account(key, slot))
}

// MarshalJSON writes an account with its data in base64.
func (a *Account) MarshalJSON() ([]byte, error) {
	return json.Marshal(accountJSON{a.Lamports, a.Owner, a.Data, a.Executable})
}

// UnmarshalJSON reads what MarshalJSON writes; a missing owner is the System program.
func (a *Account) UnmarshalJSON(b []byte) error {
	var w accountJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*a = Account(w)
	return nil
}

type accountJSON struct {
	Lamports   uint64           `json:"lamports"`
	Owner      solana.PublicKey `json:"owner,omitzero"`
	Data       []byte           `json:"data,omitempty"`
	Executable bool             `json:"executable,omitempty"`
}
