package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// ErrDriverChanged reports that another driver version was loaded than the one whose
// library this process has open. Only a new process opens the new library.
var ErrDriverChanged = errors.New("the NVIDIA driver was changed under this process: start it again")

// DriverError says why the GPUs can't be read, and what a person can do about it.
type DriverError struct {
	What, Fix string
	Err       error // ErrDriverChanged, or nil
}

func (e *DriverError) Error() string { return "open NVML: " + e.What + ": " + e.Fix }
func (e *DriverError) Unwrap() error { return e.Err }

// Sampler reads the host's GPUs. There are two: NVML, and the simulation. One
// goroutine uses it.
type Sampler interface {
	// Inventory lists the devices. It may be called again to see what changed. A
	// device that was there before and does not answer now may stay in the list.
	Inventory(ctx context.Context) ([]proofs.InventoryDevice, error)
	// Sample reads every device now. One that is missing from the result, or that
	// has Status DeviceGone, is reported as gone; an error means that nothing could
	// be read at all.
	Sample(ctx context.Context) ([]Reading, error)
	// Simulated reports whether the devices are made up. The inventory says so too.
	Simulated() bool
}

// Reading is what a device tells at one moment.
type Reading struct {
	Device  ionet.UUID // zeros: what is there never told
	Index   int        // by which the driver knows it
	Trouble string     // why it is gone, for a person
	proofs.UptimeDevice
}

// maxName is the longest name, PCI id, driver or VBIOS version of an inventory.
const maxName = 96

// inventoryOf makes an inventory's device list: sorted, with strings that the
// statement can carry.
func inventoryOf(ctx context.Context, s Sampler) ([]proofs.InventoryDevice, error) {
	list, err := s.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("list devices: this host has no GPU")
	}
	if len(list) > proofs.MaxDevices {
		return nil, fmt.Errorf("list devices: this host has %d GPUs, an inventory holds %d", len(list), proofs.MaxDevices)
	}
	list = slices.Clone(list)
	for i := range list {
		d := &list[i]
		d.Name, d.PCI, d.Driver, d.VBIOS = plain(d.Name), plain(d.PCI), plain(d.Driver), plain(d.VBIOS)
	}
	slices.SortFunc(list, func(a, b proofs.InventoryDevice) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	for i := 1; i < len(list); i++ {
		if list[i].UUID == list[i-1].UUID {
			return nil, fmt.Errorf("list devices: %s is there twice", list[i].UUID)
		}
	}
	return list, nil
}

// entriesFor puts the readings in the inventory's order. A device that is not
// among them is gone.
func entriesFor(devices []proofs.InventoryDevice, readings []Reading) []proofs.UptimeDevice {
	entries := make([]proofs.UptimeDevice, len(devices))
	for i, d := range devices {
		entries[i] = proofs.UptimeDevice{Status: proofs.DeviceGone}
		at := slices.IndexFunc(readings, func(r Reading) bool { return r.Device == d.UUID })
		if at >= 0 && readings[at].Status == proofs.DeviceOK {
			entries[i] = readings[at].UptimeDevice
		}
	}
	return entries
}

// plain makes s fit for a statement: 1..maxName bytes of printable ASCII.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), maxName)]
}
