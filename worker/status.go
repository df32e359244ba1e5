package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// SpoolStatus says what a spool holds.
type SpoolStatus struct {
	Unsealed int // uptime statements whose epoch is not sealed
	Unacked  int // of those, not acked and not refused
	Refused  int // of those, refused for good
	Readings int // waiting for their beacon
	Last     ionet.Hash
	Epoch    uint64 // of the last sample read, 0 for none
	Sample   uint16
	Bytes    int64

	Simulated bool
	Devices   []proofs.InventoryDevice // of the last inventory that was signed
	States    []proofs.UptimeDevice    // what the last sample said of them, in that order; nil for none
}

// SpoolStatus reads the spool without changing it; a worker may be running. A spool
// that does not exist is empty.
func (f *Folder) SpoolStatus(network ionet.Hash, worker ionet.Key) (SpoolStatus, error) {
	file, err := os.ReadFile(filepath.Join(f.dir, "spool"))
	if errors.Is(err, fs.ErrNotExist) {
		return SpoolStatus{}, nil
	}
	if err != nil {
		return SpoolStatus{}, fmt.Errorf("read spool: %w", err)
	}
	header := append(append([]byte(spoolMagic), network[:]...), worker[:]...)
	if !bytes.HasPrefix(file, header) {
		return SpoolStatus{}, errors.New("read spool: it belongs to another network or another worker's key")
	}
	s := Spool{state: newState()}
	if _, err := s.load(file[len(header):]); err != nil {
		return SpoolStatus{}, fmt.Errorf("read spool: %w", err)
	}
	out := SpoolStatus{Readings: len(s.readings), Last: s.last, Epoch: s.read.epoch, Sample: s.read.sample, Bytes: int64(len(file))}
	if err := out.addDevices(&s.state); err != nil {
		return SpoolStatus{}, fmt.Errorf("read spool: %w", err)
	}
	for _, it := range s.items {
		switch {
		case it.e.Kind != proofs.KindUptime:
			continue
		case it.refused != "":
			out.Refused++
		case it.ack == nil:
			out.Unacked++
		}
		out.Unsealed++
	}
	return out, nil
}

// addDevices adds the devices of the last inventory, and what the last sample under it
// said of them.
func (out *SpoolStatus) addDevices(s *state) error {
	it := s.latest(proofs.KindInventory)
	if it == nil {
		return nil
	}
	inventory, err := proofs.ParseInventory(it.e.Body)
	if err != nil {
		return err
	}
	out.Simulated, out.Devices = inventory.Simulated, inventory.Devices
	if n := len(s.readings); n > 0 {
		if u := s.readings[n-1]; u.Inventory == it.id {
			out.States = u.Devices
			return nil
		}
	}
	last := s.latest(proofs.KindUptime)
	if last == nil || last.names[1] != it.id {
		return nil
	}
	u, err := proofs.ParseUptime(last.e.Body)
	if err != nil {
		return err
	}
	out.States = u.Devices
	return nil
}
