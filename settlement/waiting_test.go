package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// council is a network of 2 of 3 whose members sign in processes of their own, and the
// full signer's; of member a there is none.
type council struct {
	*machine
	full, b, c *keeper
}

func newCouncil(t *testing.T) council {
	m := newBoard(t, "member a", "member b", "member c")
	k := m.net.Keys
	o := council{m, m.newKeeper(t, nil, &k.Secret, unlimited, k.Operator), m.newKeeper(t, nil, nil, unlimited, keyOf("member b")), m.newKeeper(t, nil, nil, unlimited, keyOf("member c"))}
	for _, v := range []*keeper{o.full, o.b, o.c} {
		v.stop()
		v.cfg.Policy.Window = time.Hour
		v.start()
	}
	m.signedBy(o.full, o.b, o.c)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	return o
}

// messages counts what a signer signed at a position of a lane: a co-signer's journal has
// an entry for each message.
func (v *keeper) messages(lane ionet.Key, n uint64) int {
	v.t.Helper()
	text, err := os.ReadFile(v.cfg.Journal)
	if err != nil {
		v.t.Fatal(err)
	}
	return bytes.Count(text, fmt.Appendf(nil, ",%s,%d,", lane, n))
}

func (m *machine) laneAddress(name string) ionet.Key {
	l, ok := m.net.Network.Lane(name)
	if !ok {
		m.t.Fatalf("there is no lane %s", name)
	}
	return l
}

// passWithout makes passes that can't succeed, and slots go by.
func (m *machine) passWithout(passes, slots int) {
	m.t.Helper()
	failed := false
	for range passes {
		failed = m.Settle(m.t.Context()) != nil || failed
		m.advance(slots)
		m.goTo(handTime.Load() + 1)
	}
	if !failed {
		m.t.Error("passes succeed without a signature that is needed")
	}
}

// One of two members that are needed is away when an epoch is due, for a moment or for
// longer than a blockhash lives: those that are there sign one message, and the epoch is
// sealed as soon as it is back.
func TestMemberAwayCostsNoMint(t *testing.T) {
	for name, want := range map[string]struct{ slots, b, c int }{
		"for a moment": {slots: 1, b: 1, c: 1}, // the same bytes
		"for long":     {slots: 60, b: 2, c: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := newCouncil(t)
			epoch, n := o.laneAddress(epochLane), o.playNext(o.alice, o.bob)
			o.c.stop()
			o.passWithout(11, want.slots)
			if got := o.b.messages(epoch, n); got != 1 {
				t.Errorf("b signed %d messages of the mint while c was away, want 1", got)
			}
			if got := o.full.messages(epoch, n); got != 1 {
				t.Errorf("the full signer signed %d messages of the mint while c was away, want 1", got)
			}
			o.c.start()
			o.goTo(handTime.Load() + int64(longSilence/time.Second))
			back := handTime.Load()
			o.until("the epoch is sealed", func() bool { return o.position(epochLane) > n })
			if late := handTime.Load() - back; late != 0 {
				t.Errorf("the epoch is sealed %d s after c is back, want at once", late)
			}
			if b, c := o.b.messages(epoch, n), o.c.messages(epoch, n); b != want.b || c != want.c {
				t.Errorf("b signed %d messages of the mint and c %d, want %d and %d", b, c, want.b, want.c)
			}
			o.payAll()
			o.checkBooks()
		})
	}
}

// Nor does it cost a payout window: a limit that is enough for the debts pays them.
func TestMemberAwayCostsNoPayout(t *testing.T) {
	o := newCouncil(t)
	pay, sum := o.laneAddress("pay-0"), o.owed(o.alice)+o.owed(o.bob)
	o.b.stop()
	o.b.cfg.Policy.Limits[chain.KindPayout] = ionet.MustAmount(sum)
	o.b.start()
	o.c.stop()
	if _, err := o.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.passWithout(10, 1)
	n := o.position("pay-0")
	if got := o.b.messages(pay, n); got != 1 {
		t.Errorf("b signed %d messages of the payout while c was away, want 1", got)
	}
	o.c.start()
	o.goTo(handTime.Load() + int64(longSilence/time.Second))
	o.until("bob is paid", func() bool { return o.onChain(o.bob.payout) > 0 })
	o.finish(0)
	if got := o.b.messages(pay, n); got != 1 {
		t.Errorf("b signed %d messages of the payout, want 1", got)
	}
	o.checkBooks()
}

// Where another member can sign it is chosen; where none can, those who are away are
// tried by turns and the one that is there signs nothing more.
func TestMembersAwayByTurns(t *testing.T) {
	o := newCouncil(t)
	a := o.newKeeper(t, nil, nil, unlimited, keyOf("member a"))
	a.cfg.Policy.Window = time.Hour
	o.signedBy(o.full, a, o.b, o.c)
	o.payAll()
	epoch, n := o.laneAddress(epochLane), o.playNext(o.alice, o.bob)
	a.stop()
	o.c.stop()
	o.passWithout(12, 10)
	if got := o.b.messages(epoch, n); got > 2 {
		t.Errorf("b signed %d messages of the mint while a and c were away, want one with either at most", got)
	}
	a.start()
	o.goTo(handTime.Load() + int64(longSilence/time.Second))
	o.until("the epoch is sealed", func() bool { return o.position(epochLane) > n })
	if got := o.landedBy(chain.KindEpoch); !slices.Contains(got, publicOf("member a")) || !slices.Contains(got, publicOf("member b")) {
		t.Errorf("the epoch is signed by %v, want a and b", got)
	}
	if got := o.b.messages(epoch, n); got >= 4 {
		t.Errorf("b signed %d messages of the mint", got)
	}
	o.c.start() // the cleanup stops it
	o.payAll()
	o.checkBooks()
}

// What all have signed waits for its commit: a store that fails for a moment costs nothing
// either, and what it keeps from being persisted is not sent.
func TestSignedMessageWaitsForItsCommit(t *testing.T) {
	o := newCouncil(t)
	o.payAll()
	epoch, n := o.laneAddress(epochLane), o.playNext(o.alice, o.bob)
	dir := t.TempDir()
	broken, err := publish.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "contents"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.c.stop()
	o.passWithout(5, 1)
	sound := o.Service.cfg.Store
	o.Service.cfg.Store = broken
	o.c.start()
	o.goTo(handTime.Load() + int64(longSilence/time.Second))
	o.passWithout(5, 1)
	if got := o.c.messages(epoch, n); got == 0 {
		t.Error("c did not sign before the store was back")
	}
	o.Service.cfg.Store = sound
	if n := o.count(`SELECT count(*) FROM contents WHERE lane = 'epoch' AND position = $1`, int64(n)); n != 0 {
		t.Errorf("%d contents are persisted that were not published", n)
	}
	o.until("the epoch is sealed", func() bool { return o.position(epochLane) > n })
	for name, v := range map[string]*keeper{"b": o.b, "c": o.c} {
		if got := v.messages(epoch, n); got != 1 {
			t.Errorf("%s signed %d messages of the mint, want 1", name, got)
		}
	}
	if got := len(o.Service.waiting.list); got != 0 {
		t.Errorf("%d messages wait after all are persisted, want none", got)
	}
}

// A message waits as long as it is worth asking for under what holds now.
func TestWhatWaits(t *testing.T) {
	newest := rpc.Blockhash{LastValidHeight: 1150}
	made := terms{lease: 3, instance: [16]byte{1}, newest: newest, priority: 1_000}
	u := unsigned{purpose: ionet.Hash{7}, blockhash: newest, terms: made}
	at := func(change func(*terms)) terms {
		now := made
		change(&now)
		return now
	}
	for name, c := range map[string]struct {
		now    terms
		waits  bool
		leaves bool // for good
	}{
		"at once":                             {at(func(*terms) {}), true, false},
		"while it is young":                   {at(func(n *terms) { n.newest.LastValidHeight += 150 - claimMargin }), true, false},
		"not when it is old":                  {at(func(n *terms) { n.newest.LastValidHeight += 150 - claimMargin + 1 }), false, true},
		"not under a new lease":               {at(func(n *terms) { n.lease++ }), false, true},
		"not on a database that was put back": {at(func(n *terms) { n.instance[0]++ }), false, true},
		"where a bit more is paid":            {at(func(n *terms) { n.priority = 7_000 }), true, false},
		"not where it is outbid":              {at(func(n *terms) { n.priority = 7_001 }), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var w waiting
			w.keep(u)
			if _, ok := w.find(u.purpose, c.now); ok != c.waits {
				t.Errorf("it waits: %t, want %t", ok, c.waits)
			}
			if _, kept := w.list[u.purpose]; kept == c.leaves {
				t.Errorf("it is kept: %t, want %t", kept, !c.leaves)
			}
			if _, ok := w.find(ionet.Hash{8}, made); ok {
				t.Error("it is found for another purpose")
			}
		})
	}
}

// Another content and other members are another purpose.
func TestPurposes(t *testing.T) {
	lanes := []lane{{name: "pay-0", address: ionet.Key{1}}, {name: "pay-1", address: ionet.Key{2}}}
	at := func(l lane, memo string) step {
		return step{l, chain.Content{Kind: chain.KindPayout, Lane: l.address, N: l.position, C: l.c, Memo: memo}}
	}
	by := func(keys ...ionet.Key) chain.Plan { return chain.Plan{Cosigners: map[ionet.Key][]ionet.Key{{9}: keys}} }
	seen := map[ionet.Hash]string{}
	for name, h := range map[string]ionet.Hash{
		"one":     purposeOf(by(ionet.Key{3}, ionet.Key{4}), []step{at(lanes[0], "a")}),
		"content": purposeOf(by(ionet.Key{3}, ionet.Key{4}), []step{at(lanes[0], "b")}),
		"lane":    purposeOf(by(ionet.Key{3}, ionet.Key{4}), []step{at(lanes[1], "a")}),
		"lanes":   purposeOf(by(ionet.Key{3}, ionet.Key{4}), []step{at(lanes[0], "a"), at(lanes[1], "a")}),
		"members": purposeOf(by(ionet.Key{3}, ionet.Key{5}), []step{at(lanes[0], "a")}),
		"nobody":  purposeOf(chain.Plan{}, []step{at(lanes[0], "a")}),
	} {
		if other, ok := seen[h]; ok {
			t.Errorf("%s is the purpose of %s", name, other)
		}
		seen[h] = name
	}
	again := purposeOf(by(ionet.Key{3}, ionet.Key{4}), []step{at(lanes[0], "a")})
	if seen[again] != "one" {
		t.Error("the same purpose has two names")
	}
}

// A message that would fail by now is made anew: here its blockhash is of a fork that is
// gone.
func TestWaitingMessageThatFails(t *testing.T) {
	o := newCouncil(t)
	o.payAll()
	n := o.playNext(o.alice, o.bob)
	o.c.stop()
	o.passWithout(5, 1)
	gone := ionet.Key{0xee}
	w := &o.Service.waiting
	if len(w.list) != 1 {
		t.Fatalf("%d messages wait, want the mint's", len(w.list))
	}
	for purpose, u := range w.list {
		u.message, u.tx = bytes.Replace(u.message, u.blockhash.Hash[:], gone[:], 1), nil
		u.blockhash.Hash = gone
		w.list[purpose] = u
	}
	o.c.start()
	o.goTo(handTime.Load() + int64(longSilence/time.Second))
	o.until("the epoch is sealed", func() bool { return o.position(epochLane) > n })
	o.payAll()
	o.checkBooks()
}

// recorder is a signer that remembers which mints by members it was asked for.
type recorder struct {
	signer.Signer
	mu    sync.Mutex
	asked []ionet.Hash
	away  bool
}

func (r *recorder) Sign(ctx context.Context, list []signer.Request) ([]signer.Signed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range list {
		tx, _, err := chain.SignMessage(q.Message)
		if err != nil {
			return nil, err
		}
		if d, err := chain.Decode(tx); err == nil && d.Plan.Kind == chain.KindEpoch && len(d.Plan.Cosigners) > 0 {
			r.asked = append(r.asked, ionet.HashOf(q.Message))
		}
	}
	if r.away {
		return nil, errors.New("it hangs")
	}
	return r.Signer.Sign(ctx, list)
}

// Only those are asked again who have not signed, and for the same bytes.
func TestOnlyThoseWhoOweAreAsked(t *testing.T) {
	o := newCouncil(t)
	o.payAll()
	n := o.playNext(o.alice, o.bob)
	var list []*recorder
	for i, s := range o.Service.signers.list {
		list = append(list, &recorder{Signer: s})
		o.Service.signers.list[i] = list[i]
	}
	c := list[2]
	c.away = true
	for range 3 {
		if err := o.Settle(t.Context()); err != nil && !strings.Contains(err.Error(), "it hangs") {
			t.Fatal(err)
		}
		o.advance(1)
		o.goTo(handTime.Load() + int64(longSilence/time.Second))
	}
	if len(c.asked) < 2 || len(slices.Compact(slices.Clone(c.asked))) != 1 {
		t.Errorf("c was asked for %v, want the same message again and again", c.asked)
	}
	for i, name := range []string{"the full signer", "b"} {
		if got := list[i].asked; len(got) != 1 || got[0] != c.asked[0] {
			t.Errorf("%s was asked for %v, want %v once", name, got, c.asked[0])
		}
	}
	c.away = false
	o.until("the epoch is sealed", func() bool { return o.position(epochLane) > n })
}
