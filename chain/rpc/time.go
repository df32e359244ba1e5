package rpc

import (
	"context"
	"fmt"
	"slices"
)

// recentSlots is how far below its finalized slot an endpoint is asked for a block.
const recentSlots = 128

// Time returns the finalized chain's time, Unix seconds: the least of what the
// endpoints tell of their newest finalized blocks, so that none alone can say that a
// moment has come. Where one does not answer it is an error.
func (c *Client) Time(ctx context.Context) (int64, error) {
	times, err := everywhere(c, func(e *endpoint) (int64, error) {
		t, err := c.time(ctx, e)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", e.host, err)
		}
		return t, nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the chain's time everywhere: %w", err)
	}
	return slices.Min(times), nil
}

func (c *Client) time(ctx context.Context, e *endpoint) (int64, error) {
	call := func(out any, method string, params ...any) error { return c.call(ctx, e, out, method, params...) }
	var info epochInfo
	if err := call(&info, "getEpochInfo", options{Commitment: Finalized}); err != nil {
		return 0, err
	}
	head, err := info.head()
	if err != nil {
		return 0, err
	}
	var slots []uint64
	if err := call(&slots, "getBlocks", head.Slot-min(head.Slot, recentSlots), head.Slot, options{Commitment: Finalized}); err != nil {
		return 0, err
	}
	if len(slots) == 0 {
		return 0, fmt.Errorf("no block in the %d slots up to %d", recentSlots, head.Slot)
	}
	b, err := getBlock(slices.Max(slots), call)
	return b.Time, err
}
