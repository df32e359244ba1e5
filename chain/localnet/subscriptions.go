package localnet

import (
	"encoding/json"
	"errors"

	"github.com/gagliardetto/solana-go"
)

// poller returns what is new since it was last asked; see subscription.
type poller = func(*view) (news []any, done bool)

// subscriptions make the poller of each kind. They are called under the bank's read
// lock, and what happened before is not news.
var subscriptions = map[string]func(*view, params) (poller, error){
	"account":   subscribeAccount,
	"program":   subscribeProgram,
	"logs":      subscribeLogs,
	"signature": subscribeSignature,
	"slot":      subscribeSlot,
	"root":      subscribeRoot,
	"block":     subscribeBlock,
}

// subscribeAccount tells of an account whenever it is another one at the commitment.
func subscribeAccount(v *view, p params) (poller, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var c accountConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	last := v.account(key, v.slotAt(c.Commitment))
	return func(v *view) ([]any, bool) {
		slot := v.slotAt(c.Commitment)
		a := v.account(key, slot)
		if a == last {
			return nil, false
		}
		last = a
		if a == nil {
			a = &Account{} // closed: a validator shows it empty once
		}
		return []any{v.context(slot, v.showOrFail(key, a, slot, c))}, false
	}, nil
}

// showOrFail shows an account in a notice, where there is nobody to answer an error
// to: data too large for its encoding is replaced by the words of old validators.
func (b *bank) showOrFail(key solana.PublicKey, a *Account, slot uint64, c accountConfig) any {
	v, err := b.show(key, a, slot, c)
	if err != nil {
		return map[string]any{"lamports": a.Lamports, "data": "error: data too large for bs58 encoding", "owner": a.Owner,
			"executable": a.Executable, "rentEpoch": 0, "space": len(a.Data)}
	}
	return v
}

// subscribeProgram tells of each account of a program that was written.
func subscribeProgram(v *view, p params) (poller, error) {
	owner, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var c programConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	from := v.slotAt(c.Commitment)
	seen := v.writtenIn(from, from)
	return func(v *view) ([]any, bool) {
		slot := v.slotAt(c.Commitment)
		if slot < from {
			return nil, false // a fork took the commitment back for a while
		}
		var news []any
		for k, a := range v.writtenIn(from, slot) {
			if last, ok := seen[k]; (ok && last == a) || a == nil || a.Owner != owner || !matchAll(c.Filters, a) {
				continue
			}
			news = append(news, v.context(slot, keyedAccount{k, v.showOrFail(k, a, slot, c.accountConfig)}))
		}
		from, seen = slot, v.writtenIn(slot, slot)
		return news, false
	}, nil
}

// writtenIn returns the accounts written in the slots first to last, as they are at
// the end of last.
func (v *view) writtenIn(first, last uint64) map[solana.PublicKey]*Account {
	written := map[solana.PublicKey]*Account{}
	for s := first; s <= last; s++ {
		for _, k := range v.blocks[s].touched {
			written[k] = v.account(k, last)
		}
	}
	return written
}

// cursor walks over the transactions of the blocks.
type cursor struct {
	slot  uint64
	index int
}

// end is the place behind the newest transaction of slot.
func (v *view) end(slot uint64) cursor { return cursor{slot, len(v.blocks[slot].txs)} }

// next returns the transactions from the cursor to the end of slot, and moves it there.
func (c *cursor) next(v *view, slot uint64) []*record {
	var found []*record
	for s := c.slot; s <= slot; s++ {
		txs := v.blocks[s].txs
		if s == c.slot {
			txs = txs[min(c.index, len(txs)):]
		}
		found = append(found, txs...)
	}
	if slot >= c.slot {
		*c = v.end(slot)
	}
	return found
}

// wantMention says what a filter of transactions looks like.
const wantMention = "expected \"all\", \"allWithVotes\" or an object that names one address"

// mentions reads the filter of logsSubscribe and blockSubscribe: nil stands for all.
func mentions(p params, field string) (*solana.PublicKey, error) {
	var word string
	if p.given(0) && json.Unmarshal(p[0], &word) == nil {
		if word != "all" && word != "allWithVotes" {
			return nil, invalid(wantMention)
		}
		return nil, nil
	}
	var filter map[string]json.RawMessage
	if err := p.into(0, &filter); err != nil {
		return nil, err
	}
	var list []string
	if json.Unmarshal(filter[field], &word) == nil && word != "" {
		list = []string{word}
	} else if json.Unmarshal(filter[field], &list) != nil || len(list) != 1 {
		return nil, invalid(wantMention)
	}
	key, err := parseKey(list[0])
	return &key, err
}

// subscribeLogs tells the log lines of each transaction that the filter takes.
func subscribeLogs(v *view, p params) (poller, error) {
	key, err := mentions(p, "mentions")
	if err != nil {
		return nil, err
	}
	var c contextConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	at := v.end(v.slotAt(c.Commitment))
	return func(v *view) (news []any, done bool) {
		for _, r := range at.next(v, v.slotAt(c.Commitment)) {
			if key == nil || r.tx.has(*key) {
				news = append(news, v.context(r.slot, map[string]any{"signature": r.tx.id(), "err": r.err, "logs": r.Logs}))
			}
		}
		return news, false
	}, nil
}

// subscribeSignature tells once that a transaction has reached the commitment.
func subscribeSignature(_ *view, p params) (poller, error) {
	var text string
	if err := p.into(0, &text); err != nil {
		return nil, err
	}
	sig, err := parseSignature(text)
	if err != nil {
		return nil, err
	}
	var c contextConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	return func(v *view) ([]any, bool) {
		slot := v.slotAt(c.Commitment)
		r := v.find(sig)
		if r == nil || r.slot > slot {
			return nil, false
		}
		return []any{v.context(slot, map[string]any{"err": r.err})}, true
	}, nil
}

// subscribeSlot tells of each new slot.
func subscribeSlot(v *view, _ params) (poller, error) {
	last := v.open()
	return func(v *view) (news []any, done bool) {
		for s := last + 1; s <= v.open(); s++ {
			if !v.blocks[s].skipped {
				news = append(news, map[string]uint64{"slot": s, "parent": v.blocks[s].parent, "root": v.final()})
			}
		}
		last = v.open()
		return news, false
	}, nil
}

// subscribeRoot tells of each newly finalized slot.
func subscribeRoot(v *view, _ params) (poller, error) {
	last := v.final()
	return func(v *view) (news []any, done bool) {
		for s := last + 1; s <= v.final(); s++ {
			if !v.blocks[s].skipped {
				news = append(news, s)
			}
		}
		last = v.final()
		return news, false
	}, nil
}

// subscribeBlock tells of each block that reaches the commitment, with those of its
// transactions that mention an address, or all.
func subscribeBlock(v *view, p params) (poller, error) {
	key, err := mentions(p, "mentionsAccountOrProgram")
	if err != nil {
		return nil, err
	}
	c, err := p.txConfigAt(1)
	if err != nil {
		return nil, err
	}
	c.Rewards = p.blockRewards()
	keep := func(r *record) bool { return key == nil || r.tx.has(*key) }
	last := v.slotAt(c.Commitment)
	return func(v *view) (news []any, done bool) {
		slot := v.slotAt(c.Commitment)
		for s := last + 1; s <= slot; s++ {
			if v.blocks[s].skipped {
				continue
			}
			var failure any
			block, err := v.showBlock(&v.blocks[s], c, keep)
			var rpcErr *rpcError
			if errors.As(err, &rpcErr) { // as an error inside the notice
				block, failure = nil, map[string]string{"error": rpcErr.Message}
			}
			news = append(news, v.context(s, map[string]any{"slot": s, "block": block, "err": failure}))
		}
		last = max(last, slot)
		return news, false
	}, nil
}

// blockRewards reads showRewards, which is how blockSubscribe spells rewards.
func (p params) blockRewards() *bool {
	var c struct {
		Show *bool `json:"showRewards"`
	}
	if p.given(1) && json.Unmarshal(p[1], &c) == nil {
		return c.Show
	}
	return nil
}
