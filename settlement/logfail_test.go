package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// faultyStore is a store whose n-th write from now on fails: lost before it arrives, or
// after it took effect.
type faultyStore struct {
	publish.Store
	mu      sync.Mutex
	after   int // writes until the fault; 0: none comes
	unheard bool
	dead    bool // the process died: nothing arrives any more
	dies    bool
	fired   string
}

var errStore = errors.New("the store's disk is on fire")

func (f *faultyStore) step(what string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errStore
	}
	if f.after > 0 {
		if f.after--; f.after == 0 {
			f.fired, f.dead = what, f.dies
			if f.unheard {
				return errors.Join(errStore, do())
			}
			return errStore
		}
	}
	return do()
}

func (f *faultyStore) Put(ctx context.Context, name string, data []byte) error {
	return f.step("put "+name, func() error { return f.Store.Put(ctx, name, data) })
}

func (f *faultyStore) Replace(ctx context.Context, name string, data []byte) error {
	return f.step("replace "+name, func() error { return f.Store.Replace(ctx, name, data) })
}

func (f *faultyStore) Remove(ctx context.Context, full string) error {
	return f.step("remove the partial ones of "+full, func() error { return f.Store.Remove(ctx, full) })
}

// The publisher stops at any write, in a process that dies and in one that goes on: what
// readers see is a whole log at any time, and the next run mends the rest.
func TestPublishFails(t *testing.T) {
	for _, unheard := range []bool{false, true} {
		for _, dies := range []bool{true, false} {
			t.Run(fmt.Sprintf("unheard %t, dies %t", unheard, dies), func(t *testing.T) {
				m := newMachine(t)
				m.lead()
				client := newLogClient(t, m.store.Dir(), m.net.Network)
				want := func(i uint64) []byte { return strayRecord(t, "a", i) }
				m.growLog("a", 200)
				m.publishLog()
				tracker := client.follow(t, nil)
				size := uint64(200)
				for n := 1; ; n++ {
					f := &faultyStore{Store: m.store, after: n, unheard: unheard, dies: dies}
					m.Service.cfg.Store = f
					head := m.growLog("a", 300)
					err := m.PublishLog(t.Context())
					if (err == nil) != (f.fired == "") {
						t.Fatalf("after %q: %v", f.fired, err)
					}
					client.follow(t, tracker)
					at := tracker.Latest().Size
					if at != size && at != head.Size {
						t.Fatalf("after %q the client sees size %d", f.fired, at)
					}
					client.check(t, tracker, want, 0, at/2, at-1)
					if dies && f.fired != "" {
						m.reopen()
						m.lead()
					}
					m.Service.cfg.Store = m.store
					m.publishLog()
					size = head.Size
					client.follow(t, tracker)
					client.check(t, tracker, want, 0, size-300, size-1)
					m.checkLogFiles(size)
					if t.Failed() {
						t.Fatalf("after %q", f.fired)
					}
					if f.fired == "" {
						t.Logf("%d writes", n-1)
						return
					}
				}
			})
		}
	}
}

// A leader that stalled wakes up in a store that looks at no condition, and puts its older
// checkpoint over a newer one: the next run notices, though the log has not grown since.
func TestOlderCheckpointGivesWay(t *testing.T) {
	m := newMachine(t)
	m.lead()
	for _, n := range []int{300, 300} { // a partial tile that the second run fills, and one that stays
		m.growLog("one", n)
		m.publishLog()
	}
	newest, err := m.store.Get(t.Context(), publish.CheckpointName)
	if err != nil {
		t.Fatal(err)
	}
	older, err := proofs.OpenCheckpoint(m.net.Network.ID(), m.net.Network.Keys.Service, newest)
	if err != nil {
		t.Fatal(err)
	}
	older.Size = 300
	if older.Root, err = m.rootAt(t.Context(), publishedLog{LogCheckpoint: older}, logHead{Checkpoint: Checkpoint{Size: 600, Root: older.Root}}, 300); err != nil {
		t.Fatal(err)
	}
	note, err := proofs.SignCheckpoint(m.net.Network.ID(), m.cfg.Keys.Service, older)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.store.Overwrite(t.Context(), publish.CheckpointName, note); err != nil {
		t.Fatal(err)
	}
	m.publishLog()
	if got, err := m.store.Get(t.Context(), publish.CheckpointName); err != nil || string(got) != string(newest) {
		t.Errorf("the checkpoint is %q (%v), want %q", got, err, newest)
	}
}
