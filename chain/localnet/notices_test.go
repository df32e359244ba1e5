package localnet

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// slotsHeard subscribes to slots at a front with these faults, makes slots one by one and
// returns the numbers in the order of their notices, as differences from the first slot.
func slotsHeard(t *testing.T, x Notices, slots int) []uint64 {
	t.Helper()
	n := cleanNode(t, 32)
	f, _ := front(t, n)
	l := dial(t, f.WSURL())
	if h := l.ask("slotSubscribe"); h.Error != nil {
		t.Fatal(h.Error)
	}
	if err := f.SetNotices(x); err != nil {
		t.Fatal(err)
	}
	base := n.Slot()
	for range slots {
		n.Advance(1)
		settleHub(f)
	}
	if err := f.SetNotices(Notices{}); err != nil {
		t.Fatal(err)
	}
	n.Advance(1) // a notice that is not struck ends the list
	var heard []uint64
	l.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, body, err := l.ws.ReadMessage()
		if err != nil {
			return append(heard, 0) // cut
		}
		var h struct {
			Params struct{ Result struct{ Slot uint64 } }
		}
		if err := json.Unmarshal(body, &h); err != nil {
			t.Fatal(err)
		}
		heard = append(heard, h.Params.Result.Slot-base)
		if h.Params.Result.Slot == base+uint64(slots)+1 && x.Late == 0 {
			return heard
		}
		if x.Late > 0 && len(heard) == slots+1 {
			return heard
		}
	}
}

// settleHub waits until the front's hub has told everything that there is to tell.
func settleHub(f *Front) { f.hub.tell() }

// TestNoticeFaults: which notices a subscriber of slots hears, and in which order.
func TestNoticeFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		x    Notices
		want []uint64
	}{
		{"none", Notices{}, []uint64{1, 2, 3, 4}},
		{"lost", Notices{Lose: 100}, []uint64{4}},
		{"doubled", Notices{Double: 100}, []uint64{1, 1, 2, 2, 3, 3, 4}},
		{"cut", Notices{CutAfter: 2}, []uint64{1, 2, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := slotsHeard(t, c.x, 3); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	t.Run("out of order", func(t *testing.T) {
		got := slotsHeard(t, Notices{Late: 50}, 20)
		sorted := slices.Sorted(slices.Values(got))
		if slices.IsSorted(got) || len(slices.Compact(sorted)) != 21 {
			t.Errorf("got %v", got)
		}
	})
}

func TestNoticeFaultsAreChecked(t *testing.T) {
	for _, x := range []Notices{{Lose: 101}, {Double: -1}, {Late: 200}, {CutAfter: -1}} {
		if err := sharedNode(t).own().SetNotices(x); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
}

// A front's subscribers see its view: what lags tells later.
func TestSubscribersSeeTheView(t *testing.T) {
	n := cleanNode(t, 32)
	n.Advance(10)
	f, _ := front(t, n)
	if err := f.SetView(View{Lags: []uint64{3}}); err != nil {
		t.Fatal(err)
	}
	l, key := dial(t, f.WSURL()), newKey(t).PublicKey()
	l.ask("accountSubscribe", key, map[string]any{"commitment": "processed", "encoding": "base64"})
	if err := n.SetAccount(key, Account{Lamports: 5}); err != nil {
		t.Fatal(err)
	}
	set := n.Slot()
	for range 4 {
		n.Advance(1)
		settleHub(f)
	}
	l.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	var told struct {
		Context struct{ Slot uint64 }
		Value   struct{ Lamports uint64 }
	}
	if err := json.Unmarshal(l.read().Params.Result, &told); err != nil || told.Context.Slot != set || told.Value.Lamports != 5 {
		t.Errorf("got %+v, %v, want slot %d", told, err, set)
	}
}
