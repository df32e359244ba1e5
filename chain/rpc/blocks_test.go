package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// ledger answers the block methods for a chain that is a list of blocks.
type ledger struct {
	blocks []Block // ascending; slots between them were skipped
	first  uint64  // first slot that is still known
	head   uint64
	calls  int
}

func (l *ledger) RoundTrip(req *http.Request) (*http.Response, error) {
	l.calls++
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var r struct {
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	var slots [2]uint64
	for i := range min(2, len(r.Params)) {
		_ = json.Unmarshal(r.Params[i], &slots[i]) // the others are options
	}
	switch r.Method {
	case "getEpochInfo":
		return result(fmt.Sprintf(`{"absoluteSlot":%d,"blockHeight":1}`, l.head)), nil
	case "getFirstAvailableBlock":
		return result(fmt.Sprint(l.first)), nil
	case "getBlocks":
		list := []uint64{}
		for _, b := range l.blocks {
			if b.Slot >= slots[0] && b.Slot <= slots[1] {
				list = append(list, b.Slot)
			}
		}
		text, err := json.Marshal(list)
		return result(string(text)), err
	case "getBlock":
		i := slices.IndexFunc(l.blocks, func(b Block) bool { return b.Slot == slots[0] })
		if i < 0 {
			return refusal(codeSkipped, "null"), nil
		}
		b := l.blocks[i]
		return result(fmt.Sprintf(`{"blockhash":"%s","blockTime":%d,"blockHeight":%d}`, b.Hash, b.Time, b.Height)), nil
	}
	return refusal(-32601, "null"), nil
}

// BlockAt agrees with a plain search through any chain: skipped slots, slow and
// fast stretches, equal times.
func TestBlockAtAgainstPlainSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{}
		slot, now := rapid.Uint64Range(1, 1000).Draw(t, "slot"), int64(1_800_000_000)
		l.first = slot
		for i := range rapid.IntRange(1, 60).Draw(t, "blocks") {
			l.blocks = append(l.blocks, Block{Slot: slot, Hash: ionet.Key{byte(i + 1)}, Time: now, Height: uint64(i)})
			slot += rapid.SampledFrom([]uint64{1, 1, 1, 2, 7, 90}).Draw(t, "gap")
			now += rapid.SampledFrom([]int64{0, 0, 0, 1, 1, 20}).Draw(t, "seconds")
		}
		last := l.blocks[len(l.blocks)-1]
		l.head = last.Slot
		from := rapid.Int64Range(l.blocks[0].Time-3, last.Time+3).Draw(t, "from")
		to := from + rapid.Int64Range(1, 25).Draw(t, "length")
		c, err := New(Config{Endpoints: []string{"http://chain"}, Transport: l, Rounds: 1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.BlockAt(context.Background(), from, to)
		i := slices.IndexFunc(l.blocks, func(b Block) bool { return b.Time >= from })
		switch {
		case i < 0:
			if !errors.Is(err, ErrNotYet) {
				t.Fatalf("got %+v, %v, want ErrNotYet", got, err)
			}
		case l.blocks[i].Time >= to:
			if !errors.Is(err, ErrNoBlock) {
				t.Fatalf("got %+v, %v, want ErrNoBlock", got, err)
			}
		case err != nil || got != l.blocks[i]:
			t.Fatalf("got %+v, %v, want %+v", got, err, l.blocks[i])
		}
	})
}

func TestBlockAtOfPrunedHistory(t *testing.T) {
	l := &ledger{first: 100, head: 101, blocks: []Block{{100, ionet.Key{1}, 5000, 90}, {101, ionet.Key{2}, 5001, 91}}}
	c := newClient(t, Config{Endpoints: []string{"http://chain"}, Transport: l})
	if _, err := c.BlockAt(context.Background(), 4000, 4001); err == nil || errors.Is(err, ErrNoBlock) {
		t.Errorf("before what is known: got %v, want an error that is not ErrNoBlock", err)
	}
}

func TestBlockAtAsksLittle(t *testing.T) {
	l := &ledger{first: 1}
	for i := range 20_000 {
		l.blocks = append(l.blocks, Block{Slot: uint64(i + 1), Hash: ionet.Key{1}, Time: 1_800_000_000 + int64(i/5), Height: uint64(i)})
	}
	l.head = 20_000
	c := newClient(t, Config{Endpoints: []string{"http://chain"}, Transport: l})
	if _, err := c.BlockAt(context.Background(), 1_800_003_990, 1_800_003_991); err != nil {
		t.Fatal(err)
	}
	if l.calls > 30 {
		t.Errorf("a recent block took %d calls", l.calls)
	}
}

func TestBlockAtOnLocalnet(t *testing.T) {
	ctx, c := context.Background(), newClient(t, Config{})
	if err := node.Advance(40); err != nil {
		t.Fatal(err)
	}
	head, err := c.FinalizedHead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.newest(ctx, head.Slot)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.BlockAt(ctx, want.Time, want.Time+1)
	if err != nil || got.Time != want.Time || got.Slot > want.Slot {
		t.Errorf("BlockAt: got %+v, %v, want one of second %d", got, err, want.Time)
	}
	future := time.Now().Add(time.Hour).Unix()
	if _, err := c.BlockAt(ctx, future, future+1); !errors.Is(err, ErrNotYet) {
		t.Errorf("BlockAt of the future: got %v, want ErrNotYet", err)
	}
}

// Pages of a history fit together without loss, newest first.
func TestHistoryPages(t *testing.T) {
	ctx, c, key := context.Background(), newClient(t, Config{}), wallet(t)
	var mints []ionet.Key
	for i := range 7 {
		tx, hash, mint := mintTransaction(t, c, key, fmt.Sprint("page-", i))
		if err := c.Send(ctx, tx, SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
			t.Fatal(err)
		}
		if err := node.Advance(2); err != nil {
			t.Fatal(err)
		}
		mints = append(mints, mint)
	}
	for _, m := range mints {
		awaitFinalized(t, c, m)
	}
	c.pageSize = 3
	var slots []uint64
	var all []Entry
	for e, err := range c.History(ctx, chainKey(key), [64]byte{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		all, slots = append(all, e), append(slots, e.Slot)
	}
	slices.Reverse(slots)
	if len(all) < 8 || !slices.IsSorted(slots) { // the airdrop too
		t.Fatalf("history has %d entries in slots %v", len(all), slots)
	}
	var newer []Entry
	for e, err := range c.History(ctx, chainKey(key), all[5].Signature, 0) {
		if err != nil {
			t.Fatal(err)
		}
		newer = append(newer, e)
	}
	if !slices.EqualFunc(newer, all[:5], func(a, b Entry) bool { return a.Signature == b.Signature }) {
		t.Errorf("history until entry 5 has %d entries, want 5", len(newer))
	}
	for range c.History(ctx, chainKey(key), [64]byte{}, 0) {
		break // an iterator that is left early stops
	}
}
