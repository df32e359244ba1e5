package localnet

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gagliardetto/solana-go"
)

// showErr is {"Ok":null} or {"Err":...}, the older form of an error.
func showErr(err *txError) map[string]any {
	if err == nil {
		return map[string]any{"Ok": nil}
	}
	return map[string]any{"Err": err}
}

func getSignatureStatuses(f *Front, p params) (any, error) {
	var texts []string
	if err := p.into(0, &texts); err != nil {
		return nil, err
	}
	if len(texts) > 256 {
		return nil, rpcErrorf(codeParams, "Too many inputs provided; max 256")
	}
	var c struct {
		Search bool `json:"searchTransactionHistory"`
	}
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	if c.Search {
		if err := v.hasHistory(); err != nil {
			return nil, err
		}
	}
	reach := uint64(rememberedSlots)
	if v.seen.StatusSlots != nil {
		reach = *v.seen.StatusSlots
	}
	open := v.open()
	list := make([]any, len(texts))
	for i, t := range texts {
		sig, err := parseSignature(t)
		if err != nil {
			return nil, err
		}
		r := v.find(sig)
		if r == nil || (!c.Search && (reach == 0 || r.slot+reach < open)) {
			continue
		}
		status := v.statusOf(r.slot)
		var confirmations any
		if status != finalized {
			confirmations = v.blocks[open].height - v.blocks[r.slot].height
		}
		list[i] = map[string]any{
			"slot": r.slot, "confirmations": confirmations, "err": r.err,
			"status": showErr(r.err), "confirmationStatus": status.String(),
		}
	}
	return v.context(open, list), nil
}

// signaturesConfig is what getSignaturesForAddress takes.
type signaturesConfig struct {
	contextConfig
	Before string `json:"before"`
	Until  string `json:"until"`
	Limit  *int   `json:"limit"`
}

const maxSignatures = 1000

func getSignaturesForAddress(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var c signaturesConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	if err := c.notBelowConfirmed(); err != nil {
		return nil, err
	}
	limit := maxSignatures
	if c.Limit != nil {
		limit = *c.Limit
	}
	if limit < 1 || limit > maxSignatures {
		return nil, rpcErrorf(codeParams, "Invalid limit; max %d", maxSignatures)
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		if err := v.hasHistory(); err != nil {
			return nil, err
		}
		before, err := v.filter(c.Before)
		if err != nil {
			return nil, err
		}
		until, err := v.filter(c.Until)
		if err != nil {
			return nil, err
		}
		list := []any{}
		for _, r := range v.newest(key, slot, before, until, limit) {
			list = append(list, map[string]any{
				"signature": r.tx.id(), "slot": r.slot, "err": r.err, "memo": memoOf(r.tx),
				"blockTime": v.blocks[r.slot].time, "confirmationStatus": v.statusOf(r.slot).String(),
			})
		}
		return list, nil
	})
}

// filter finds the transaction that `before` or `until` names: -32020 when there is
// none, so that a page never silently begins at the wrong place.
func (v *view) filter(text string) (*record, error) {
	if text == "" {
		return nil, nil
	}
	sig, err := parseSignature(text)
	if err != nil {
		return nil, err
	}
	r := v.history.byID[sig]
	if r == nil || r.slot > v.tip || r.slot < v.seen.HistoryFrom {
		return nil, rpcErrorf(codeFilterNotFound, "Transaction %s was not found", sig)
	}
	return r, nil
}

// newer reports whether r landed after o.
func (r *record) newer(o *record) bool {
	return r.slot > o.slot || r.slot == o.slot && r.index > o.index
}

// newest returns up to limit records of an address, newest first: at or before slot,
// older than before and newer than until, both optional.
func (v *view) newest(key solana.PublicKey, slot uint64, before, until *record, limit int) []*record {
	var found []*record
	list := v.history.byAddress[key]
	for i := len(list) - 1; i >= 0 && len(found) < limit; i-- {
		r := list[i]
		if r.slot > slot || (before != nil && !before.newer(r)) {
			continue
		}
		if until != nil && !r.newer(until) || r.slot < v.seen.HistoryFrom {
			break
		}
		if r = v.tell(r.tx.id(), r); r != nil {
			found = append(found, r)
		}
	}
	return found
}

// memoOf is the memos of a transaction as the RPC shows them, "[length] text" joined
// by "; ", or nil.
func memoOf(t *wireTx) any {
	var memos []string
	for _, ix := range t.Message.Instructions {
		program := t.keys[ix.ProgramIDIndex]
		if (program == memoV1 || program == memoV3) && utf8.Valid(ix.Data) {
			memos = append(memos, fmt.Sprintf("[%d] %s", len(ix.Data), string(ix.Data)))
		}
	}
	if memos == nil {
		return nil
	}
	return strings.Join(memos, "; ")
}

// txConfig is how a caller wants transactions shown.
type txConfig struct {
	contextConfig
	Encoding   string `json:"encoding"`
	MaxVersion *int   `json:"maxSupportedTransactionVersion"`
	Details    string `json:"transactionDetails"`
	Rewards    *bool  `json:"rewards"`
}

// txConfigAt reads parameter i: an object, or the bare encoding of old.
func (p params) txConfigAt(i int) (c txConfig, err error) {
	if p.given(i) && p[i][0] == '"' {
		err = p.into(i, &c.Encoding)
	} else {
		err = p.optional(i, &c)
	}
	if err == nil {
		err = c.notBelowConfirmed()
	}
	if c.Encoding == "" {
		c.Encoding = "json"
	}
	return c, err
}

func getTransaction(f *Front, p params) (any, error) {
	var text string
	if err := p.into(0, &text); err != nil {
		return nil, err
	}
	sig, err := parseSignature(text)
	if err != nil {
		return nil, err
	}
	c, err := p.txConfigAt(1)
	if err != nil {
		return nil, err
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	if err := v.hasHistory(); err != nil {
		return nil, err
	}
	r := v.find(sig)
	if r == nil || r.tx == nil || r.slot > v.slotAt(c.Commitment) {
		return nil, nil
	}
	shown, err := showTx(r, c)
	if err != nil {
		return nil, err
	}
	shown["slot"], shown["blockTime"] = r.slot, v.blocks[r.slot].time
	shown["transactionIndex"] = r.index
	return shown, nil
}
