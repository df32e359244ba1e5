package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// Blockhash is a recent blockhash and the block height after which nothing
// signed over it can land; both of one answer, at confirmed.
type Blockhash struct {
	Hash            ionet.Key
	LastValidHeight uint64
	ContextSlot     uint64 // pass it as minContextSlot when sending
}

// blocksOfLife is for how many blocks a blockhash lives, and blocksApart by how many the
// heights of two endpoints may differ that both are well.
const (
	blocksOfLife = 150
	blocksApart  = 300
)

// LatestBlockhash returns the newest confirmed blockhash. Where there are several
// endpoints, another one than it comes from must not contradict it: an attempt over a
// blockhash that nobody else knows would keep its position until that expires, and the
// height at which it does is taken from the answer.
func (c *Client) LatestBlockhash(ctx context.Context) (Blockhash, error) {
	var err error
	for _, e := range c.ordered() {
		if c.isPaused(e) && len(c.endpoints) > 1 {
			continue
		}
		var b Blockhash
		if b, err = c.blockhashOf(ctx, e); err == nil {
			err = c.secondOpinion(ctx, e, b)
		}
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return Blockhash{}, err
		}
	}
	if err == nil {
		err = errors.New("getLatestBlockhash: every endpoint asked to be left alone")
	}
	return Blockhash{}, err
}

func (c *Client) blockhashOf(ctx context.Context, e *endpoint) (Blockhash, error) {
	var r withContext[struct {
		Blockhash            ionet.Key `json:"blockhash"`
		LastValidBlockHeight uint64    `json:"lastValidBlockHeight"`
	}]
	if err := c.call(ctx, e, &r, "getLatestBlockhash", options{Commitment: Confirmed}); err != nil {
		return Blockhash{}, err
	}
	if r.Value.Blockhash.IsZero() || r.Value.LastValidBlockHeight == 0 || r.Context.Slot == 0 {
		return Blockhash{}, errors.New("getLatestBlockhash: answer lacks blockhash, height or slot")
	}
	return Blockhash{r.Value.Blockhash, r.Value.LastValidBlockHeight, r.Context.Slot}, nil
}

// secondOpinion asks the other endpoints in turn until one tells whether b can be what
// the source says. One that is not as far as b, or does not answer, has no opinion.
func (c *Client) secondOpinion(ctx context.Context, source *endpoint, b Blockhash) error {
	for _, e := range c.ordered() {
		if e == source || c.isPaused(e) {
			continue
		}
		var info epochInfo
		if err := c.call(ctx, e, &info, "getEpochInfo", options{Commitment: Confirmed}); err != nil {
			continue
		}
		head, err := info.head()
		if err != nil {
			continue
		}
		if b.LastValidHeight > head.BlockHeight+blocksOfLife+blocksApart || b.ContextSlot > head.Slot+blocksApart {
			return fmt.Errorf("getLatestBlockhash: %s says that %s of slot %d is valid to height %d, %s is at slot %d and height %d: %w",
				source.host, b.Hash, b.ContextSlot, b.LastValidHeight, e.host, head.Slot, head.BlockHeight, ErrDisagree)
		}
		var valid withContext[bool]
		if err := c.call(ctx, e, &valid, "isBlockhashValid", b.Hash, options{Commitment: Confirmed, MinContextSlot: b.ContextSlot}); err != nil {
			continue
		}
		if !valid.Value {
			return fmt.Errorf("getLatestBlockhash: %s gives %s, which %s does not know: %w", source.host, b.Hash, e.host, ErrDisagree)
		}
		return nil
	}
	return nil
}

// Head is the end of the finalized chain as one endpoint sees it.
type Head struct{ Slot, BlockHeight uint64 }

// FinalizedHead returns the finalized slot and block height of one endpoint.
func (c *Client) FinalizedHead(ctx context.Context) (Head, error) {
	var r epochInfo
	if err := c.read(ctx, &r, "getEpochInfo", options{Commitment: Finalized}); err != nil {
		return Head{}, err
	}
	return r.head()
}

type epochInfo struct {
	AbsoluteSlot *uint64 `json:"absoluteSlot"`
	BlockHeight  *uint64 `json:"blockHeight"`
}

func (i epochInfo) head() (Head, error) {
	if i.AbsoluteSlot == nil || i.BlockHeight == nil {
		return Head{}, errors.New("getEpochInfo: answer lacks slot or block height")
	}
	return Head{*i.AbsoluteSlot, *i.BlockHeight}, nil
}

// CheckSlot returns an error unless the finalized slot is one that two endpoints have
// reached, or nearly; of a single endpoint it is believed.
func (c *Client) CheckSlot(ctx context.Context, slot uint64) error {
	if len(c.endpoints) == 1 {
		return nil
	}
	near := 0
	var errs []error
	for _, e := range c.ordered() {
		var info epochInfo
		err := c.call(ctx, e, &info, "getEpochInfo", options{Commitment: Finalized})
		if err == nil {
			var head Head
			head, err = info.head()
			if err == nil && head.Slot+blocksApart >= slot {
				near++
			}
		}
		if near == 2 {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, fmt.Errorf("finalized slot %d is reached by %d of %d endpoints: %w", slot, near, len(c.endpoints), ErrDisagree))...)
}

// GenesisHash returns the hash that names the cluster; all endpoints must
// agree on it.
func (c *Client) GenesisHash(ctx context.Context) (ionet.Key, error) {
	all, err := everywhere(c, func(e *endpoint) (ionet.Key, error) {
		var hash ionet.Key
		return hash, c.call(ctx, e, &hash, "getGenesisHash")
	})
	if err != nil {
		return ionet.Key{}, err
	}
	for i, hash := range all {
		if hash != all[0] {
			return ionet.Key{}, fmt.Errorf("endpoints are of different clusters: %s has genesis hash %s, %s has %s", c.endpoints[0].host, all[0], c.endpoints[i].host, hash)
		}
	}
	return all[0], nil
}

// Block is a finalized block without its transactions.
type Block struct {
	Slot   uint64
	Hash   ionet.Key
	Time   int64 // Unix seconds
	Height uint64
}

// Block returns the finalized block of a slot, ErrSkipped where there is none
// for ever, or ErrNotYet before the slot is finalized.
func (c *Client) Block(ctx context.Context, slot uint64) (Block, error) {
	return getBlock(slot, func(out any, method string, params ...any) error {
		return c.read(ctx, out, method, params...)
	})
}

// getBlock reads a block by call, of one endpoint or of any.
func getBlock(slot uint64, call func(out any, method string, params ...any) error) (Block, error) {
	var r *struct {
		Blockhash   ionet.Key `json:"blockhash"`
		BlockTime   *int64    `json:"blockTime"`
		BlockHeight *uint64   `json:"blockHeight"`
	}
	err := call(&r, "getBlock", slot, map[string]any{
		"commitment": Finalized, "encoding": "base64", "transactionDetails": "none", "rewards": false, "maxSupportedTransactionVersion": 1,
	})
	switch {
	case isCode(err, codeSkipped, codeSkippedLongTerm):
		return Block{}, fmt.Errorf("block %d: %w", slot, ErrSkipped)
	case isCode(err, codeCleanedUp):
		return Block{}, fmt.Errorf("block %d: no endpoint has it any more: %w", slot, ErrNotFound)
	case isCode(err, codeBlockUnavailable):
		return Block{}, fmt.Errorf("block %d: %w", slot, ErrNotYet)
	case err != nil:
		return Block{}, err
	case r == nil:
		return Block{}, fmt.Errorf("block %d: %w", slot, ErrNotFound)
	case r.BlockTime == nil || r.BlockHeight == nil:
		return Block{}, fmt.Errorf("block %d: endpoint does not know its time or height", slot)
	}
	return Block{slot, r.Blockhash, *r.BlockTime, *r.BlockHeight}, nil
}

// Blocks returns the slots in [from, to] that have a finalized block,
// ascending; to - from is at most 500,000.
func (c *Client) Blocks(ctx context.Context, from, to uint64) ([]uint64, error) {
	var slots []uint64
	if err := c.read(ctx, &slots, "getBlocks", from, to, options{Commitment: Finalized}); err != nil {
		return nil, err
	}
	if !slices.IsSorted(slots) || len(slots) > 0 && (slots[0] < from || slots[len(slots)-1] > to) {
		return nil, errors.New("getBlocks: slots are not ascending or outside the range asked for")
	}
	return slots, nil
}

// Newest returns the newest finalized block.
func (c *Client) Newest(ctx context.Context) (Block, error) {
	head, err := c.FinalizedHead(ctx)
	if err != nil {
		return Block{}, err
	}
	return c.newest(ctx, head.Slot)
}

// BlockAt returns the first finalized block whose time lies in [from, to),
// Unix seconds: ErrNotYet before the finalized chain has reached to without
// one, ErrNoBlock when it passed the range without one. Of an endpoint that no
// longer knows the time before the range, it is the first one still known.
func (c *Client) BlockAt(ctx context.Context, from, to int64) (Block, error) {
	newest, err := c.Newest(ctx)
	if err != nil {
		return Block{}, err
	}
	if newest.Time < from {
		return Block{}, fmt.Errorf("block at %d: %w", from, ErrNotYet)
	}
	low, err := c.before(ctx, newest, from)
	if err != nil {
		return Block{}, err
	}
	found, err := c.bisect(ctx, low, newest, from)
	if err != nil {
		return Block{}, err
	}
	if found.Time >= to && found.Slot <= low && found.Height > 0 {
		return Block{}, fmt.Errorf("block in [%d, %d): endpoint's history begins later, at slot %d", from, to, found.Slot)
	}
	if found.Time >= to {
		return Block{}, fmt.Errorf("block in [%d, %d): %w", from, to, ErrNoBlock)
	}
	return found, nil
}

// newest returns the last block at or below slot.
func (c *Client) newest(ctx context.Context, slot uint64) (Block, error) {
	for back := uint64(16); ; back *= 4 {
		slots, err := c.Blocks(ctx, slot-min(slot, back), slot)
		if err != nil {
			return Block{}, err
		}
		if len(slots) > 0 {
			return c.Block(ctx, slots[len(slots)-1])
		}
		if back > slot || back > 100_000 {
			return Block{}, fmt.Errorf("blocks before slot %d: %w", slot, ErrNotFound)
		}
	}
}

// before goes back from newest until it is at a slot whose next block is
// older than the time, or at the first slot that the endpoint still knows.
func (c *Client) before(ctx context.Context, newest Block, time int64) (uint64, error) {
	var first uint64
	if err := c.read(ctx, &first, "getFirstAvailableBlock"); err != nil {
		return 0, err
	}
	// At 200 ms a slot; skipped slots and slower clusters only make it too far.
	step := uint64(newest.Time-time+2) * 5
	for {
		slot := newest.Slot - min(step, newest.Slot)
		if slot <= first {
			return first, nil
		}
		b, err := c.from(ctx, slot, newest.Slot)
		if err != nil {
			return 0, err
		}
		if b.Time < time {
			return slot, nil
		}
		step *= 2
	}
}

// from returns the first block in [slot, last]; last has one.
func (c *Client) from(ctx context.Context, slot, last uint64) (Block, error) {
	for span := uint64(16); ; span *= 4 {
		slots, err := c.Blocks(ctx, slot, min(slot+span, last))
		if err != nil {
			return Block{}, err
		}
		if len(slots) > 0 {
			return c.Block(ctx, slots[0])
		}
		if slot+span >= last {
			return Block{}, fmt.Errorf("blocks from slot %d: %w", slot, ErrNotFound)
		}
		slot += span
	}
}

// bisect returns the first block from slot low on whose time is not before the
// given one; that of high is not. Block times never fall.
func (c *Client) bisect(ctx context.Context, low uint64, high Block, time int64) (Block, error) {
	// Invariant: found is the first block from slot end on, and late enough; all
	// blocks below low are too early.
	found, end := high, high.Slot
	for low < end {
		middle := low + (end-low)/2
		b, err := c.from(ctx, middle, high.Slot)
		if err != nil {
			return Block{}, err
		}
		if b.Time >= time {
			found, end = b, middle
		} else {
			low = b.Slot + 1
		}
	}
	return found, nil
}
