package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// View is what one endpoint says: its finalized head, and accounts at
// finalized as of a slot not older than that head.
type View struct {
	Endpoint string // host
	Head     Head
	Slot     uint64 // of Accounts
	Accounts []Account
}

// Everywhere returns the view of every endpoint on at most 100 keys; if one
// does not answer, or not with a state as new as its own head, it returns an
// error.
func (c *Client) Everywhere(ctx context.Context, keys []ionet.Key) ([]View, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("read everywhere: %d keys, want 1..%d", len(keys), maxKeys)
	}
	return everywhere(c, func(e *endpoint) (View, error) { return c.view(ctx, e, keys) })
}

func (c *Client) view(ctx context.Context, e *endpoint, keys []ionet.Key) (View, error) {
	// First the height, then the state with that height's slot: a state read
	// before the height could miss a transaction that landed in between.
	var info epochInfo
	if err := c.call(ctx, e, &info, "getEpochInfo", options{Commitment: Finalized}); err != nil {
		return View{}, err
	}
	head, err := info.head()
	if err != nil {
		return View{}, fmt.Errorf("%w (%s)", err, e.host)
	}
	accounts, slot, err := parseAccounts(keys, head.Slot, func(out any, params ...any) error {
		return c.call(ctx, e, out, "getMultipleAccounts", params...)
	}, Finalized)
	if err != nil {
		return View{}, err
	}
	return View{e.host, head, slot, accounts}, nil
}

// Heads returns the finalized head of every endpoint, or an error when one
// does not answer.
func (c *Client) Heads(ctx context.Context) ([]Head, error) {
	return everywhere(c, func(e *endpoint) (Head, error) {
		var info epochInfo
		if err := c.call(ctx, e, &info, "getEpochInfo", options{Commitment: Finalized}); err != nil {
			return Head{}, err
		}
		return info.head()
	})
}

// Why an attempt is not dead.
var (
	// ErrAlive: its blockhash may still be valid somewhere; it can land.
	ErrAlive = errors.New("attempt can still land")
	// ErrPassed: the lane is at another position than the attempt's: something
	// landed, perhaps the attempt. Read what the lane holds.
	ErrPassed = errors.New("lane has left the attempt's position")
)

// CheckDead applies the dead rule and returns nil if and only if an attempt
// can never land: on every endpoint the finalized block height is past
// lastValidHeight, and the lane, read at finalized as of that height or later,
// still shows from, the public half of the attempt's K(n). Otherwise it
// returns ErrAlive, ErrPassed or, when an endpoint does not tell, another
// error; each means: not dead yet.
func (c *Client) CheckDead(ctx context.Context, lane, from ionet.Key, lastValidHeight uint64) error {
	views, err := c.Everywhere(ctx, []ionet.Key{lane})
	if err != nil {
		return fmt.Errorf("check attempt: %w", err)
	}
	for _, v := range views {
		if err := v.CheckDead(0, from, lastValidHeight); err != nil {
			return fmt.Errorf("check attempt: %w", err)
		}
	}
	return nil
}

// CheckDead is the dead rule's part that concerns the view's endpoint, for an attempt
// on the lane that is account i of the view; the attempt is dead if it is by the
// views of every endpoint.
func (v View) CheckDead(i int, from ionet.Key, lastValidHeight uint64) error {
	state, err := chain.ParseLane(v.Accounts[i].Owner, v.Accounts[i].Data)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", v.Endpoint, err)
	case state != from:
		return fmt.Errorf("%s: %w", v.Endpoint, ErrPassed)
	case v.Head.BlockHeight <= lastValidHeight:
		return fmt.Errorf("%s at height %d of %d: %w", v.Endpoint, v.Head.BlockHeight, lastValidHeight, ErrAlive)
	}
	return nil
}
