package rpc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"

	"github.com/mr-tron/base58"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Entry is one transaction of an address's history.
type Entry struct {
	Signature chain.Signature
	Slot      uint64
	Time      int64             // block time, Unix seconds; 0 where the node does not tell
	Err       *TransactionError // nil: it succeeded
}

// maxPage is the limit of getSignaturesForAddress.
const maxPage = 1000

// History yields the finalized transactions that name address, the newest
// first, back to but without until (zero: to the first), from an endpoint that
// has reached minContextSlot (0: any). It ends after the first error. A pruned
// endpoint ends early without one: only an archive's history is whole.
func (c *Client) History(ctx context.Context, address ionet.Key, until chain.Signature, minContextSlot uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var before chain.Signature
		for {
			page, err := c.page(ctx, address, before, until, minContextSlot)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) == 0 { // some nodes give short pages before the last
				return
			}
			before = page[len(page)-1].Signature
		}
	}
}

func (c *Client) page(ctx context.Context, address ionet.Key, before, until chain.Signature, minContextSlot uint64) ([]Entry, error) {
	config := map[string]any{"commitment": Finalized, "limit": c.pageSize}
	if minContextSlot > 0 {
		config["minContextSlot"] = minContextSlot
	}
	if !before.IsZero() {
		config["before"] = before.String()
	}
	if !until.IsZero() {
		config["until"] = until.String()
	}
	var list []struct {
		Signature string            `json:"signature"`
		Slot      uint64            `json:"slot"`
		BlockTime *int64            `json:"blockTime"`
		Err       *TransactionError `json:"err"`
	}
	if err := c.read(ctx, &list, "getSignaturesForAddress", address, config); err != nil {
		return nil, err
	}
	page := make([]Entry, len(list))
	for i, v := range list {
		s, err := chain.ParseSignature(v.Signature)
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", address, err)
		}
		page[i] = Entry{Signature: s, Slot: v.Slot, Err: v.Err}
		if v.BlockTime != nil {
			page[i].Time = *v.BlockTime
		}
	}
	return page, nil
}

// Transaction is a finalized transaction with what it did.
type Transaction struct {
	Signature  chain.Signature
	Slot       uint64
	Time       int64             // block time, Unix seconds; 0 where the node does not tell
	Err        *TransactionError // nil: it succeeded
	Fee        uint64
	Bytes      []byte
	Raw        *chain.Raw // Bytes parsed, looked-up addresses included
	Inner      []Inner
	Pre, Post  []uint64 // lamports by index of Raw.Keys
	PreTokens  []TokenBalance
	PostTokens []TokenBalance
}

// Inner holds the instructions that instruction Outer called, at all depths,
// in the order of execution. Privileges of their accounts are not known.
type Inner struct {
	Outer        int
	Instructions []chain.Instruction
}

// TokenBalance is a token account's balance beside a transaction.
type TokenBalance struct {
	Account ionet.Key
	Mint    ionet.Key
	Owner   ionet.Key // zero where the node does not tell
	Amount  uint64    // of any token, so perhaps above what ionet.Amount holds
}

type balanceJSON struct {
	Index  int       `json:"accountIndex"`
	Mint   ionet.Key `json:"mint"`
	Owner  ionet.Key `json:"owner"`
	Amount struct {
		Amount uint64 `json:"amount,string"`
	} `json:"uiTokenAmount"`
}

type transactionJSON struct {
	Slot      uint64    `json:"slot"`
	BlockTime *int64    `json:"blockTime"`
	Bytes     [2]string `json:"transaction"`
	Meta      *struct {
		Err   *TransactionError `json:"err"`
		Fee   uint64            `json:"fee"`
		Pre   []uint64          `json:"preBalances"`
		Post  []uint64          `json:"postBalances"`
		Inner []struct {
			Index        int `json:"index"`
			Instructions []struct {
				Program  int    `json:"programIdIndex"`
				Accounts []int  `json:"accounts"`
				Data     string `json:"data"`
			} `json:"instructions"`
		} `json:"innerInstructions"`
		PreTokens  []balanceJSON `json:"preTokenBalances"`
		PostTokens []balanceJSON `json:"postTokenBalances"`
		Loaded     struct {
			Writable []ionet.Key `json:"writable"`
			Readonly []ionet.Key `json:"readonly"`
		} `json:"loadedAddresses"`
	} `json:"meta"`
}

// Transaction returns a finalized transaction of any version, or ErrNotFound.
func (c *Client) Transaction(ctx context.Context, signature chain.Signature) (*Transaction, error) {
	return getTransaction(signature, func(out any, method string, params ...any) error {
		return c.read(ctx, out, method, params...)
	})
}

// getTransaction reads a transaction by call, of one endpoint or of any.
func getTransaction(signature chain.Signature, call func(out any, method string, params ...any) error) (*Transaction, error) {
	var r *transactionJSON
	err := call(&r, "getTransaction", signature.String(), map[string]any{
		"commitment": Finalized, "encoding": "base64", "maxSupportedTransactionVersion": 1,
	})
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("transaction %s: %w", signature, ErrNotFound)
	}
	t, err := r.transaction(signature)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", signature, err)
	}
	return t, nil
}

func (r *transactionJSON) transaction(signature chain.Signature) (*Transaction, error) {
	data, err := base64.StdEncoding.DecodeString(r.Bytes[0])
	if err != nil || r.Bytes[1] != "base64" {
		return nil, errors.New("bytes are not base64")
	}
	if r.Meta == nil || r.Meta.Inner == nil || r.Meta.PreTokens == nil || r.Meta.PostTokens == nil {
		return nil, errors.New("endpoint does not tell what it did")
	}
	raw, err := chain.ParseRaw(data, r.Meta.Loaded.Writable, r.Meta.Loaded.Readonly)
	if err != nil {
		return nil, err
	}
	if raw.Signature() != signature {
		return nil, fmt.Errorf("endpoint gives another transaction, %s", raw.Signature())
	}
	t := &Transaction{
		Signature: signature, Slot: r.Slot, Err: r.Meta.Err, Fee: r.Meta.Fee,
		Bytes: data, Raw: raw, Pre: r.Meta.Pre, Post: r.Meta.Post,
	}
	if r.BlockTime != nil {
		t.Time = *r.BlockTime
	}
	if len(t.Pre) != len(raw.Keys) || len(t.Post) != len(raw.Keys) {
		return nil, errors.New("balances are not those of its addresses")
	}
	if t.PreTokens, err = balances(raw, r.Meta.PreTokens); err != nil {
		return nil, err
	}
	if t.PostTokens, err = balances(raw, r.Meta.PostTokens); err != nil {
		return nil, err
	}
	return t, r.inner(t)
}

func (r *transactionJSON) inner(t *Transaction) error {
	keys := t.Raw.Keys
	for _, list := range r.Meta.Inner {
		if list.Index < 0 || list.Index >= len(t.Raw.Instructions) {
			return fmt.Errorf("inner instructions belong to instruction %d of %d", list.Index, len(t.Raw.Instructions))
		}
		inner := Inner{Outer: list.Index}
		for _, v := range list.Instructions {
			data, err := base58.Decode(v.Data)
			if err != nil && v.Data != "" {
				return errors.New("data of an inner instruction is not base58")
			}
			in := chain.Instruction{Data: data}
			for i, index := range append([]int{v.Program}, v.Accounts...) {
				if index < 0 || index >= len(keys) {
					return fmt.Errorf("an inner instruction names address %d of %d", index, len(keys))
				}
				if i == 0 {
					in.Program = keys[index]
				} else {
					in.Accounts = append(in.Accounts, chain.Account{Key: keys[index]})
				}
			}
			inner.Instructions = append(inner.Instructions, in)
		}
		t.Inner = append(t.Inner, inner)
	}
	return nil
}

func balances(raw *chain.Raw, list []balanceJSON) ([]TokenBalance, error) {
	out := make([]TokenBalance, len(list))
	for i, b := range list {
		if b.Index < 0 || b.Index >= len(raw.Keys) {
			return nil, fmt.Errorf("a token balance is that of address %d of %d", b.Index, len(raw.Keys))
		}
		out[i] = TokenBalance{raw.Keys[b.Index], b.Mint, b.Owner, b.Amount.Amount}
	}
	return out, nil
}
