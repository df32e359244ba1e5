package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

func TestSimulationIsDeterministic(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return at }
	seen := map[ionet.UUID]bool{}
	for seed := range uint64(6) {
		a, err := NewSimulation(8, seed, now)
		must(t, err)
		b, err := NewSimulation(8, seed, now)
		must(t, err)
		if !a.Simulated() {
			t.Error("the simulation does not say that it is one")
		}
		for i := range 3 {
			at = at.Add(time.Duration(i) * time.Minute)
			if x, y := sampled(t, a), sampled(t, b); !cmp.Equal(x, y) {
				t.Errorf("seed %d: one seed, two readings: %s", seed, cmp.Diff(x, y))
			}
		}
		list, err := inventoryOf(t.Context(), a)
		must(t, err)
		for _, d := range list {
			if seen[d.UUID] {
				t.Errorf("seed %d: device %s is another seed's too", seed, d.UUID)
			}
			seen[d.UUID] = true
			if again, err := ionet.ParseUUID(d.UUID.String()); err != nil || again != d.UUID || d.UUID[6]>>4 != 4 || d.UUID[8]>>6 != 2 {
				t.Errorf("device %s has no UUID of a real one's form: %v", d.UUID, err)
			}
		}
	}
}

// Readings are such as a statement can carry and a person would believe.
func TestSimulationIsPlausible(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	s, err := NewSimulation(2, 1, func() time.Time { return at })
	must(t, err)
	list, err := inventoryOf(t.Context(), s)
	must(t, err)
	low, high := uint8(100), uint8(0)
	for range 3600 {
		at = at.Add(time.Second)
		for _, r := range sampled(t, s) {
			low, high = min(low, r.Utilization), max(high, r.Utilization)
			if r.Utilization > 100 || r.MemoryMiB > list[0].MemoryMiB || r.Temperature < 30 || r.Temperature > 80 || r.PowerW > 700 ||
				r.SMMHz < 345 || r.SMMHz > 1980 || r.MemoryMHz != 2619 || r.ECCErrors != 0 || r.Processes < 1 || r.Processes > 3 {
				t.Fatalf("at %s: %+v", at, r)
			}
		}
	}
	if low > 30 || high < 80 {
		t.Errorf("utilization of an hour stays in %d..%d", low, high)
	}
	for _, n := range []int{0, -1, 65} {
		if _, err := NewSimulation(n, 1, nil); err == nil {
			t.Errorf("%d simulated devices are accepted", n)
		}
	}
}

func sampled(t *testing.T, s Sampler) []Reading {
	t.Helper()
	r, err := s.Sample(t.Context())
	must(t, err)
	return r
}

// host is a sampler whose devices a test takes away and puts back.
type host struct {
	devices  []proofs.InventoryDevice
	readings []Reading
	err      error
}

func (h *host) Inventory(context.Context) ([]proofs.InventoryDevice, error) { return h.devices, h.err }
func (h *host) Sample(context.Context) ([]Reading, error)                   { return h.readings, h.err }
func (h *host) Simulated() bool                                             { return false }

func TestInventoryOf(t *testing.T) {
	device := func(n byte, name string) proofs.InventoryDevice {
		return proofs.InventoryDevice{UUID: ionet.UUID{n}, Name: name, PCI: "p", Driver: "d"}
	}
	h := &host{devices: []proofs.InventoryDevice{device(2, "Tesla\x00 T4ü"), device(1, ""), device(3, strings.Repeat("x", 200))}}
	list, err := inventoryOf(t.Context(), h)
	must(t, err)
	names := []string{list[0].Name, list[1].Name, list[2].Name}
	if want := []string{"unknown", "Tesla? T4?", strings.Repeat("x", 96)}; !slices.Equal(names, want) {
		t.Errorf("got names %q, want %q", names, want)
	}
	if _, err := (proofs.Inventory{Devices: list}).Encode(); err != nil {
		t.Errorf("the list makes no inventory: %v", err)
	}
	if h.devices[0].UUID != (ionet.UUID{2}) {
		t.Error("the sampler's own list was sorted")
	}
	for name, c := range map[string]*host{
		"no GPU":         {},
		"is there twice": {devices: []proofs.InventoryDevice{device(1, "a"), device(1, "b")}},
		"has 65 GPUs":    {devices: make([]proofs.InventoryDevice, 65)},
		"driver gone":    {err: errors.New("driver gone")},
	} {
		if _, err := inventoryOf(t.Context(), c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestEntriesFor(t *testing.T) {
	devices := []proofs.InventoryDevice{{UUID: ionet.UUID{1}}, {UUID: ionet.UUID{2}}, {UUID: ionet.UUID{3}}}
	ok := proofs.UptimeDevice{Utilization: 7, MemoryMiB: 1, Temperature: 2, PowerW: 3}
	got := entriesFor(devices, []Reading{
		{Device: ionet.UUID{3}, UptimeDevice: ok},
		{Device: ionet.UUID{9}, UptimeDevice: ok}, // came after the inventory
		{Device: ionet.UUID{1}, UptimeDevice: proofs.UptimeDevice{Status: proofs.DeviceGone, MemoryMiB: 5}},
	})
	gone := proofs.UptimeDevice{Status: proofs.DeviceGone}
	if want := []proofs.UptimeDevice{gone, gone, ok}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := (proofs.Uptime{Epoch: 1, Devices: got}).Encode(); err != nil {
		t.Errorf("the entries make no statement: %v", err)
	}
}
