package rpc

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet/chain"
)

// Landed returns a finalized transaction with its block time, on which every endpoint
// must agree: bytes, slot, success, token balances and time. It is for what follows from a
// transaction for ever, which one endpoint alone must not decide. Where one lacks
// the transaction it is ErrNotFound, where two tell it differently ErrDisagree, and
// where one does not answer, or knows no time, another error.
func (c *Client) Landed(ctx context.Context, signature chain.Signature) (*Transaction, error) {
	all, err := everywhere(c, func(e *endpoint) (*Transaction, error) {
		t, err := c.landed(ctx, e, signature)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.host, err)
		}
		return t, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read transaction %s everywhere: %w", signature, err)
	}
	first := all[0]
	for i, t := range all {
		one, two := c.endpoints[0].host, c.endpoints[i].host
		switch {
		case t.Slot != first.Slot || t.Time != first.Time:
			return nil, fmt.Errorf("transaction %s is in slot %d at time %d by %s, in slot %d at time %d by %s: %w", signature, first.Slot, first.Time, one, t.Slot, t.Time, two, ErrDisagree)
		case (t.Err == nil) != (first.Err == nil) || !bytes.Equal(t.Bytes, first.Bytes):
			return nil, fmt.Errorf("transaction %s has other bytes or another outcome by %s than by %s: %w", signature, one, two, ErrDisagree)
		case !slices.EqualFunc(t.PreTokens, first.PreTokens, sameBalance) || !slices.EqualFunc(t.PostTokens, first.PostTokens, sameBalance):
			return nil, fmt.Errorf("transaction %s changes other balances by %s than by %s: %w", signature, one, two, ErrDisagree)
		}
	}
	return first, nil
}

// sameBalance leaves out the owner, which some nodes do not tell.
func sameBalance(a, b TokenBalance) bool {
	return a.Account == b.Account && a.Mint == b.Mint && a.Amount == b.Amount
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
