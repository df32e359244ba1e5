package proofs

import (
	"bytes"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Limits of inventories; FORMAT.md, section 5.
const (
	MaxDevices = 64
	maxText    = 96
)

// Inventory is what a worker says its host has. It names the delegation under
// which the devices work. Devices ascend by UUID.
type Inventory struct {
	Delegation ionet.Hash
	Simulated  bool
	Devices    []InventoryDevice // 1..MaxDevices
}

// What a device says of a mode that it can be in.
const (
	ModeOff    = 0
	ModeOn     = 1
	ModeUntold = 255 // it does not tell, or has no such mode
)

// InventoryDevice is one GPU.
type InventoryDevice struct {
	UUID             ionet.UUID
	Name             string // NVML product name
	MemoryMiB        uint32
	PCI              string
	CCMajor, CCMinor uint8 // compute capability
	Driver           string
	VBIOS            string
	MIG, ECC         uint8 // ModeOff, ModeOn or ModeUntold
}

// Encode returns the body of an inventory statement.
func (v Inventory) Encode() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	var w writer
	w.raw(v.Delegation[:])
	w.flag(v.Simulated)
	w.u32(uint32(len(v.Devices)))
	for _, d := range v.Devices {
		w.raw(d.UUID[:])
		w.str(d.Name)
		w.u32(d.MemoryMiB)
		w.str(d.PCI)
		w.u8(d.CCMajor)
		w.u8(d.CCMinor)
		w.str(d.Driver)
		w.str(d.VBIOS)
		w.u8(d.MIG)
		w.u8(d.ECC)
	}
	return w.b, nil
}

// ParseInventory parses the body of an inventory statement.
func ParseInventory(body []byte) (Inventory, error) {
	r := reader{b: body}
	v := Inventory{Delegation: r.b32(), Simulated: r.flag()}
	for range r.count("devices", 1, MaxDevices, 16+4+4+4+2+4+4+2) {
		v.Devices = append(v.Devices, InventoryDevice{
			UUID: r.b16(), Name: r.text("name", maxText), MemoryMiB: r.u32(), PCI: r.text("pci", maxText),
			CCMajor: r.u8(), CCMinor: r.u8(), Driver: r.text("driver", maxText),
			VBIOS: r.text("vbios", maxText), MIG: r.u8(), ECC: r.u8(),
		})
	}
	if err := r.end("inventory"); err != nil {
		return Inventory{}, err
	}
	if err := v.check(); err != nil {
		return Inventory{}, fmt.Errorf("parse inventory: %w", err)
	}
	return v, nil
}

func (v Inventory) check() error {
	if len(v.Devices) == 0 || len(v.Devices) > MaxDevices {
		return fmt.Errorf("devices has %d items, not 1..%d", len(v.Devices), MaxDevices)
	}
	for i, d := range v.Devices {
		if i > 0 && bytes.Compare(v.Devices[i-1].UUID[:], d.UUID[:]) >= 0 {
			return fmt.Errorf("devices[%d].uuid does not ascend", i)
		}
		if err := d.check(); err != nil {
			return fmt.Errorf("devices[%d].%w", i, err)
		}
	}
	return nil
}

// check names the field that is wrong.
func (d InventoryDevice) check() error {
	for _, t := range []struct{ field, s string }{{"name", d.Name}, {"pci", d.PCI}, {"driver", d.Driver}, {"vbios", d.VBIOS}} {
		if err := checkText(t.field, t.s, maxText); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		field string
		mode  uint8
	}{{"mig", d.MIG}, {"ecc", d.ECC}} {
		if m.mode > ModeOn && m.mode != ModeUntold {
			return fmt.Errorf("%s is %d, not 0, 1 or 255", m.field, m.mode)
		}
	}
	return nil
}

// States of a device in a sample.
const (
	DeviceOK   = 0
	DeviceGone = 1 // the device is gone or NVML reports an error for it
)

// What a device that does not tell says.
const (
	NoUtilization = 255
	NoTemperature = -32768
	NoPower       = 65535
	NoClock       = 65535
	NoECCErrors   = 1<<32 - 1
	NoProcesses   = 65535
)

// Uptime is what a worker measured in one sample, with an entry for each device
// of its inventory, in that order.
type Uptime struct {
	Epoch      uint64
	Sample     uint16
	BeaconSlot uint64
	BeaconHash ionet.Key  // blockhash of a finalized block whose time lies in the sample
	Previous   ionet.Hash // id of the worker's former uptime statement; zeros after a loss
	Delegation ionet.Hash
	Inventory  ionet.Hash
	Devices    []UptimeDevice
}

// UptimeDevice is one device's reading.
type UptimeDevice struct {
	Status      uint8
	Utilization uint8  // percent, or NoUtilization
	MemoryMiB   uint32 // used
	Temperature int16  // C, or NoTemperature
	PowerW      uint16 // W, or NoPower
	SMMHz       uint16 // MHz of the streaming multiprocessors, or NoClock
	MemoryMHz   uint16 // MHz of the memory, or NoClock
	ECCErrors   uint32 // uncorrected since the driver was loaded, or NoECCErrors
	Processes   uint16 // compute processes on the device, or NoProcesses
}

// uptimeDeviceSize is the size of an encoded entry in bytes.
const uptimeDeviceSize = 1 + 1 + 4 + 2 + 2 + 2 + 2 + 4 + 2

// Encode returns the body of an uptime statement.
func (u Uptime) Encode() ([]byte, error) {
	if err := u.check(); err != nil {
		return nil, fmt.Errorf("encode uptime: %w", err)
	}
	var w writer
	w.u64(u.Epoch)
	w.u16(u.Sample)
	w.u64(u.BeaconSlot)
	w.raw(u.BeaconHash[:])
	w.raw(u.Previous[:])
	w.raw(u.Delegation[:])
	w.raw(u.Inventory[:])
	w.u32(uint32(len(u.Devices)))
	for _, d := range u.Devices {
		w.u8(d.Status)
		w.u8(d.Utilization)
		w.u32(d.MemoryMiB)
		w.u16(uint16(d.Temperature))
		w.u16(d.PowerW)
		w.u16(d.SMMHz)
		w.u16(d.MemoryMHz)
		w.u32(d.ECCErrors)
		w.u16(d.Processes)
	}
	return w.b, nil
}

// ParseUptime parses the body of an uptime statement.
func ParseUptime(body []byte) (Uptime, error) {
	r := reader{b: body}
	u := Uptime{
		Epoch: r.u64(), Sample: r.u16(), BeaconSlot: r.u64(), BeaconHash: r.b32(),
		Previous: r.b32(), Delegation: r.b32(), Inventory: r.b32(),
	}
	n := r.count("devices", 1, MaxDevices, uptimeDeviceSize)
	u.Devices = make([]UptimeDevice, n)
	for i := range u.Devices {
		u.Devices[i] = UptimeDevice{
			Status: r.u8(), Utilization: r.u8(), MemoryMiB: r.u32(), Temperature: int16(r.u16()), PowerW: r.u16(),
			SMMHz: r.u16(), MemoryMHz: r.u16(), ECCErrors: r.u32(), Processes: r.u16(),
		}
	}
	if err := r.end("uptime"); err != nil {
		return Uptime{}, err
	}
	if err := u.check(); err != nil {
		return Uptime{}, fmt.Errorf("parse uptime: %w", err)
	}
	return u, nil
}

func (u Uptime) check() error {
	if u.Epoch == 0 {
		return fmt.Errorf("epoch is 0, the first is 1")
	}
	if len(u.Devices) == 0 || len(u.Devices) > MaxDevices {
		return fmt.Errorf("devices has %d items, not 1..%d", len(u.Devices), MaxDevices)
	}
	for i, d := range u.Devices {
		switch {
		case d.Status > DeviceGone:
			return fmt.Errorf("devices[%d].status is %d, not 0 or 1", i, d.Status)
		case d.Status == DeviceGone && d != UptimeDevice{Status: DeviceGone}:
			return fmt.Errorf("devices[%d] is gone and has readings", i)
		case d.Utilization > 100 && d.Utilization != NoUtilization:
			return fmt.Errorf("devices[%d].utilization is %d, not 0..100 or 255", i, d.Utilization)
		}
	}
	return nil
}
