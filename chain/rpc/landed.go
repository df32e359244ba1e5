package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet/chain"
)

// Landed returns a finalized transaction with its block time, on which every endpoint
// must agree: bytes, addresses, slot, success, called instructions, balances and time.
// It is for what follows from a transaction for ever, which one endpoint alone must not
// decide. Where two tell it differently it is ErrDisagree, and where one does not answer,
// or knows no time, another error.
//
// Where one lacks the transaction it is ErrNotFound, with one exception: an endpoint
// whose first available block is above the transaction's slot has no opinion while at
// least two others tell it alike. One that says so of itself must not leave a single
// other one to decide.
func (c *Client) Landed(ctx context.Context, signature chain.Signature) (*Transaction, error) {
	all, err := everywhere(c, func(e *endpoint) (told, error) {
		t, err := c.landed(ctx, e, signature)
		if err != nil {
			err = fmt.Errorf("%s: %w", e.host, err)
		}
		if errors.Is(err, ErrNotFound) {
			return told{e: e, missing: err}, nil
		}
		return told{e: e, t: t}, err
	})
	if err == nil {
		all, err = c.withOpinion(ctx, all)
	}
	if err != nil {
		return nil, fmt.Errorf("read transaction %s everywhere: %w", signature, err)
	}
	first := all[0]
	for _, other := range all[1:] {
		if what := difference(first.t, other.t); what != "" {
			return nil, fmt.Errorf("transaction %s %s by %s than by %s: %w", signature, what, first.e.host, other.e.host, ErrDisagree)
		}
	}
	return first.t, nil
}

// told is what one endpoint says of a transaction.
type told struct {
	e       *endpoint
	t       *Transaction
	missing error // it has none
}

// withOpinion leaves out the endpoints that have pruned the transaction. One that has
// it not, and can't be left out, is an error.
func (c *Client) withOpinion(ctx context.Context, all []told) ([]told, error) {
	lacks := func(o told) bool { return o.missing != nil }
	having := slices.DeleteFunc(slices.Clone(all), lacks)
	for _, o := range all {
		if !lacks(o) {
			continue
		}
		if len(having) < 2 {
			return nil, o.missing
		}
		var first uint64
		if err := c.call(ctx, o.e, &first, "getFirstAvailableBlock"); err != nil {
			return nil, errors.Join(o.missing, err)
		}
		if first <= having[0].t.Slot {
			return nil, o.missing
		}
	}
	return having, nil
}

// difference says in which way two endpoints tell a transaction differently, "" where
// they tell it alike.
func difference(a, b *Transaction) string {
	switch {
	case a.Slot != b.Slot || a.Time != b.Time:
		return fmt.Sprintf("is in slot %d at time %d, not in slot %d at time %d,", a.Slot, a.Time, b.Slot, b.Time)
	case (a.Err == nil) != (b.Err == nil) || !bytes.Equal(a.Bytes, b.Bytes):
		return "has other bytes or another outcome"
	case !slices.Equal(a.Raw.Keys, b.Raw.Keys):
		return "names other addresses"
	case !slices.EqualFunc(calling(a.Inner), calling(b.Inner), sameInner):
		return "calls other instructions"
	case !slices.EqualFunc(a.PreTokens, b.PreTokens, sameBalance) || !slices.EqualFunc(a.PostTokens, b.PostTokens, sameBalance):
		return "changes other balances"
	case !slices.Equal(a.Pre, b.Pre) || !slices.Equal(a.Post, b.Post):
		return "changes other lamports"
	}
	return ""
}

// sameBalance leaves out the owner, which some nodes do not tell.
func sameBalance(a, b TokenBalance) bool {
	return a.Account == b.Account && a.Mint == b.Mint && a.Amount == b.Amount
}

// calling leaves out the instructions that called none, which some nodes list.
func calling(list []Inner) []Inner {
	return slices.DeleteFunc(slices.Clone(list), func(in Inner) bool { return len(in.Instructions) == 0 })
}

func sameInner(a, b Inner) bool {
	return a.Outer == b.Outer && slices.EqualFunc(a.Instructions, b.Instructions, func(x, y chain.Instruction) bool {
		return x.Program == y.Program && slices.Equal(x.Accounts, y.Accounts) && bytes.Equal(x.Data, y.Data)
	})
}

// landed reads a transaction from one endpoint; a time that it leaves out there is
// that of its block.
func (c *Client) landed(ctx context.Context, e *endpoint, signature chain.Signature) (*Transaction, error) {
	call := func(out any, method string, params ...any) error { return c.call(ctx, e, out, method, params...) }
	t, err := getTransaction(signature, call)
	if err != nil || t.Time > 0 {
		return t, err
	}
	b, err := getBlock(t.Slot, call)
	if err == nil && b.Time <= 0 {
		err = fmt.Errorf("the block has time %d", b.Time)
	}
	if err != nil {
		return nil, fmt.Errorf("read the time of slot %d: %w", t.Slot, err)
	}
	t.Time = b.Time
	return t, nil
}
