package worker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// allDevices names them in a trouble that is of no single one.
const allDevices = "every device"

// tellTroubles says once of each device that is gone why it is, and once that it is
// back. err is why nothing could be read at all. w.mu is held.
func (w *Worker) tellTroubles(readings []Reading, err error) {
	now := map[string]string{}
	if err != nil {
		now[allDevices] = err.Error()
	} else {
		now = troublesOf(w.devices, readings)
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if w.troubles[name] != now[name] {
			w.emit(Event{Kind: EventTrouble, Text: fmt.Sprintf("%s is reported as gone: %s", name, now[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.troubles)) {
		if _, still := now[name]; !still && err == nil {
			w.emit(Event{Kind: EventTrouble, Text: name + " answers again"})
		}
	}
	w.troubles = now
}

// troublesOf says of each device that is gone why, by its name: its UUID, or its index
// where it never told one.
func troublesOf(devices []proofs.InventoryDevice, readings []Reading) map[string]string {
	seen, why := map[ionet.UUID]bool{}, map[string]string{}
	for _, r := range readings {
		seen[r.Device] = true
		switch {
		case r.Status == proofs.DeviceOK:
		case r.Device == ionet.UUID{}:
			why[fmt.Sprintf("GPU %d", r.Index)] = r.Trouble
		default:
			why[r.Device.String()] = r.Trouble
		}
	}
	for _, d := range devices {
		if !seen[d.UUID] {
			why[d.UUID.String()] = "the driver does not list it any more"
		}
	}
	return why
}
