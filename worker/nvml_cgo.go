//go:build cgo && linux

package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// nvmlSampler reads the GPUs through NVIDIA's management library.
type nvmlSampler struct {
	lib nvml.Interface

	mu  sync.Mutex // NVML is asked by one goroutine at a time
	gpu map[ionet.UUID]nvml.Device
}

// NewNVML opens the driver's management library. An error says what is missing.
func NewNVML() (Sampler, error) { return newNVML(nvml.New()) }

func newNVML(lib nvml.Interface) (*nvmlSampler, error) {
	switch ret := lib.Init(); ret {
	case nvml.SUCCESS:
		return &nvmlSampler{lib: lib, gpu: map[ionet.UUID]nvml.Device{}}, nil
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return nil, errors.New("open NVML: libnvidia-ml.so.1 is not on this host: install the NVIDIA driver (in a container, pass the GPUs in), or make devices up with --simulate")
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return nil, errors.New("open NVML: the NVIDIA kernel driver is not loaded: try `nvidia-smi`, or load it with `modprobe nvidia`")
	case nvml.ERROR_NO_PERMISSION:
		return nil, errors.New("open NVML: no permission for the NVIDIA devices: run as a user who may read /dev/nvidia*")
	default:
		return nil, fmt.Errorf("open NVML: %s", lib.ErrorString(ret))
	}
}

// Simulated reports false.
func (s *nvmlSampler) Simulated() bool { return false }

// Inventory asks NVML for all GPUs. One that doesn't tell its UUID can't be named and
// is left out; anything else that a GPU doesn't tell is "unknown" or 0.
func (s *nvmlSampler) Inventory(context.Context) ([]proofs.InventoryDevice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, ret := s.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("count GPUs: %s", s.lib.ErrorString(ret))
	}
	driver, ret := s.lib.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		driver = ""
	}
	var list []proofs.InventoryDevice
	gpus := map[ionet.UUID]nvml.Device{}
	for i := range count {
		gpu, ret := s.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // lost, or in reset; it is not in the inventory until it answers
		}
		d, ok := describe(gpu)
		if !ok {
			continue
		}
		d.Driver, d.MIG, d.ECC = driver, proofs.ModeUntold, proofs.ModeUntold
		gpus[d.UUID] = gpu
		list = append(list, d)
	}
	s.gpu = gpus
	return list, nil
}

func describe(gpu nvml.Device) (d proofs.InventoryDevice, ok bool) {
	text, ret := gpu.GetUUID()
	if ret != nvml.SUCCESS {
		return d, false
	}
	id, err := ionet.ParseUUID(text)
	if err != nil {
		return d, false
	}
	d.UUID = id
	if name, ret := gpu.GetName(); ret == nvml.SUCCESS {
		d.Name = name
	}
	if memory, ret := gpu.GetMemoryInfo(); ret == nvml.SUCCESS {
		d.MemoryMiB = uint32(memory.Total >> 20)
	}
	if pci, ret := gpu.GetPciInfo(); ret == nvml.SUCCESS {
		d.PCI = fmt.Sprintf("%08X:%02X:%02X.0", pci.Domain, pci.Bus, pci.Device)
	}
	if major, minor, ret := gpu.GetCudaComputeCapability(); ret == nvml.SUCCESS {
		d.CCMajor, d.CCMinor = uint8(major), uint8(minor)
	}
	return d, true
}

// Sample reads each GPU of the last Inventory.
func (s *nvmlSampler) Sample(context.Context) ([]Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gpu) == 0 {
		return nil, errors.New("read GPUs: no inventory was taken")
	}
	list := make([]Reading, 0, len(s.gpu))
	for id, gpu := range s.gpu {
		list = append(list, Reading{Device: id, UptimeDevice: readGPU(gpu)})
	}
	return list, nil
}

// readGPU reads one GPU. Memory is what every GPU tells: one that doesn't is gone.
// Multi-instance GPUs and some boards tell no utilization, temperature or power.
func readGPU(gpu nvml.Device) proofs.UptimeDevice {
	memory, ret := gpu.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return proofs.UptimeDevice{Status: proofs.DeviceGone}
	}
	d := proofs.UptimeDevice{
		Utilization: proofs.NoUtilization, Temperature: proofs.NoTemperature, PowerW: proofs.NoPower,
		SMMHz: proofs.NoClock, MemoryMHz: proofs.NoClock, ECCErrors: proofs.NoECCErrors, Processes: proofs.NoProcesses,
		MemoryMiB: uint32(memory.Used >> 20),
	}
	load, ret := gpu.GetUtilizationRates()
	if lost(ret) {
		return proofs.UptimeDevice{Status: proofs.DeviceGone}
	}
	if ret == nvml.SUCCESS && load.Gpu <= 100 {
		d.Utilization = uint8(load.Gpu)
	}
	celsius, ret := gpu.GetTemperature(nvml.TEMPERATURE_GPU)
	if ret == nvml.SUCCESS && celsius <= 1000 {
		d.Temperature = int16(celsius)
	}
	milliwatts, ret := gpu.GetPowerUsage()
	if ret == nvml.SUCCESS && milliwatts/1000 < proofs.NoPower {
		d.PowerW = uint16(milliwatts / 1000)
	}
	return d
}

// lost reports whether NVML says that the GPU is not there any more.
func lost(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_RESET_REQUIRED, nvml.ERROR_UNINITIALIZED, nvml.ERROR_DRIVER_NOT_LOADED:
		return true
	}
	return false
}
