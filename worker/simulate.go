package worker

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// simulatedModels are what a simulated host may have; the seed picks one.
var simulatedModels = []struct {
	name      string
	memory    uint32 // MiB
	major     uint8
	minor     uint8
	idle, w   uint16 // power in W, idle and at full load
	slow, sm  uint16 // MHz of the processors, idle and at full load
	memoryMHz uint16
	server    bool // has ECC and MIG, as boards for servers do
}{
	{"NVIDIA GeForce RTX 4090", 24564, 8, 9, 22, 450, 210, 2520, 10501, false},
	{"NVIDIA H100 80GB HBM3", 81559, 9, 0, 72, 700, 345, 1980, 2619, true},
	{"NVIDIA A100-SXM4-80GB", 81920, 8, 0, 61, 400, 210, 1410, 1593, true},
}

// simulation is a host that does not exist. Its devices and what they show at a
// time follow from seed alone.
type simulation struct {
	seed    uint64
	devices int
	now     func() time.Time
}

// NewSimulation returns a made-up host with that many devices, 1..64, of one model.
// The same seed gives the same UUIDs and, at the same second, the same readings. now
// may be nil for time.Now.
func NewSimulation(devices int, seed uint64, now func() time.Time) (Sampler, error) {
	if devices < 1 || devices > proofs.MaxDevices {
		return nil, fmt.Errorf("simulate %d devices: want 1..%d", devices, proofs.MaxDevices)
	}
	if now == nil {
		now = time.Now
	}
	return &simulation{seed: seed, devices: devices, now: now}, nil
}

// Simulated reports true.
func (s *simulation) Simulated() bool { return true }

// Inventory lists the made-up devices.
func (s *simulation) Inventory(context.Context) ([]proofs.InventoryDevice, error) {
	m := simulatedModels[s.seed%uint64(len(simulatedModels))]
	list := make([]proofs.InventoryDevice, s.devices)
	for i := range list {
		list[i] = proofs.InventoryDevice{
			UUID: s.uuid(i), Name: m.name, MemoryMiB: m.memory, PCI: fmt.Sprintf("00000000:%02X:00.0", i+1),
			CCMajor: m.major, CCMinor: m.minor, Driver: "570.86.15", VBIOS: "simulated", MIG: proofs.ModeUntold, ECC: proofs.ModeUntold,
		}
		if m.server {
			list[i].MIG, list[i].ECC = proofs.ModeOff, proofs.ModeOn
		}
	}
	return list, nil
}

// Sample tells what the devices show at this second: load rises and falls over
// half an hour with some noise on it, and the rest follows the load.
func (s *simulation) Sample(context.Context) ([]Reading, error) {
	m := simulatedModels[s.seed%uint64(len(simulatedModels))]
	t := uint64(s.now().Unix())
	list := make([]Reading, s.devices)
	for i := range list {
		id := s.uuid(i)
		load := simulatedLoad(id, t)
		list[i] = Reading{Device: id, Index: i, UptimeDevice: proofs.UptimeDevice{
			Utilization: uint8(load),
			MemoryMiB:   uint32(uint64(m.memory) * (15 + load*7/10) / 100),
			Temperature: int16(31 + load*45/100),
			PowerW:      partWay(m.idle, m.w, load),
			SMMHz:       partWay(m.slow, m.sm, load),
			MemoryMHz:   m.memoryMHz,
			ECCErrors:   proofs.NoECCErrors,
			Processes:   uint16(1 + load/40),
		}}
		if m.server {
			list[i].ECCErrors = 0
		}
	}
	return list, nil
}

// partWay is that percentage of the way from low to high.
func partWay(low, high uint16, percent uint64) uint16 {
	return low + uint16(uint64(high-low)*percent/100)
}

// simulatedLoad is a triangle between 15 and 95 percent with a period of 30
// minutes and a phase of the device's own, plus up to 5 percent of noise.
func simulatedLoad(id ionet.UUID, t uint64) uint64 {
	const half = 900
	at := (t + binary.LittleEndian.Uint64(id[:])%(2*half)) % (2 * half)
	rise := min(at, 2*half-at)
	noise := ionet.HashOf(id[:], binary.LittleEndian.AppendUint64(nil, t))
	return 15 + rise*80/half + uint64(noise[0]%6)
}

// uuid is H("io/simulated/1" ‖ seed ‖ index) in the form of a random UUID.
func (s *simulation) uuid(i int) ionet.UUID {
	b := binary.LittleEndian.AppendUint64(nil, s.seed)
	h := ionet.HashOf([]byte("io/simulated/1"), binary.LittleEndian.AppendUint32(b, uint32(i)))
	id := ionet.UUID(h[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
