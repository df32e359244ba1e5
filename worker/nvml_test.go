//go:build cgo && linux

package worker

import (
	"slices"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// mockHost is NVIDIA's mock of a DGX H100. It panics on what it does not know, so
// that each function that the adapter calls is set here.
func mockHost(t *testing.T) (*server.Server, []*server.Device) {
	t.Helper()
	lib := dgxh100.New()
	var gpus []*server.Device
	for i, d := range lib.Devices {
		gpu := d.(*server.Device)
		gpu.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
			return nvml.Utilization{Gpu: uint32(10 * i)}, nvml.SUCCESS
		}
		gpu.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return uint32(40 + i), nvml.SUCCESS }
		gpu.GetPowerUsageFunc = func() (uint32, nvml.Return) { return uint32(100_999 + 1000*i), nvml.SUCCESS }
		gpu.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) {
			return nvml.Memory{Total: 81559 << 20, Used: uint64(i+1) << 30}, nvml.SUCCESS
		}
		gpus = append(gpus, gpu)
	}
	return lib, gpus
}

func TestNVMLReads(t *testing.T) {
	lib, gpus := mockHost(t)
	s, err := newNVML(lib)
	must(t, err)
	if s.Simulated() {
		t.Error("real GPUs are called simulated")
	}
	list, err := inventoryOf(t.Context(), s)
	must(t, err)
	if len(list) != len(gpus) {
		t.Fatalf("%d devices, want %d", len(list), len(gpus))
	}
	if d := list[0]; !strings.Contains(d.Name, "H100") || d.MemoryMiB != 81559 || d.CCMajor != 9 || d.Driver == "unknown" {
		t.Errorf("device is %+v", d)
	}
	readings, err := s.Sample(t.Context())
	must(t, err)
	for i, gpu := range gpus {
		id, err := ionet.ParseUUID(gpu.UUID)
		must(t, err)
		at := slices.IndexFunc(readings, func(r Reading) bool { return r.Device == id })
		want := untold(0)
		want.Utilization, want.MemoryMiB, want.Temperature, want.PowerW = uint8(10*i), uint32(i+1)*1024, int16(40+i), uint16(100+i)
		if at < 0 || readings[at].UptimeDevice != want {
			t.Errorf("GPU %d: got %+v, want %+v", i, readings, want)
		}
	}
}

// untold is the reading of a GPU that tells nothing but its memory.
func untold(memoryMiB uint32) proofs.UptimeDevice {
	return proofs.UptimeDevice{
		Utilization: proofs.NoUtilization, MemoryMiB: memoryMiB, Temperature: proofs.NoTemperature, PowerW: proofs.NoPower,
		SMMHz: proofs.NoClock, MemoryMHz: proofs.NoClock, ECCErrors: proofs.NoECCErrors, Processes: proofs.NoProcesses,
	}
}

// A GPU that doesn't tell something says so; one that fails is gone; one that NVML
// has lost is not in a new inventory.
func TestNVMLFaults(t *testing.T) {
	unknown := untold(1024)
	gone := proofs.UptimeDevice{Status: proofs.DeviceGone}
	for name, c := range map[string]struct {
		set  func(*server.Device)
		want proofs.UptimeDevice
	}{
		"tells little": {func(g *server.Device) {
			g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{}, nvml.ERROR_NOT_SUPPORTED }
			g.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
			g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
		}, unknown},
		"tells nonsense": {func(g *server.Device) {
			g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 4294967295}, nvml.SUCCESS }
			g.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 4294967295, nvml.SUCCESS }
			g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 4294967295, nvml.SUCCESS }
		}, unknown},
		"fell off the bus": {func(g *server.Device) {
			g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{}, nvml.ERROR_GPU_IS_LOST }
		}, gone},
		"has no memory": {func(g *server.Device) {
			g.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
		}, gone},
	} {
		t.Run(name, func(t *testing.T) {
			lib, gpus := mockHost(t)
			s, err := newNVML(lib)
			must(t, err)
			list, err := inventoryOf(t.Context(), s)
			must(t, err)
			c.set(gpus[0])
			readings, err := s.Sample(t.Context())
			must(t, err)
			entries := entriesFor(list, readings)
			first, err := ionet.ParseUUID(gpus[0].UUID)
			must(t, err)
			for i, d := range list {
				if d.UUID == first && entries[i] != c.want {
					t.Errorf("got %+v, want %+v", entries[i], c.want)
				}
				if d.UUID != first && entries[i].Status != proofs.DeviceOK {
					t.Errorf("GPU %s, which is well, is %+v", d.UUID, entries[i])
				}
			}
			if _, err := (proofs.Uptime{Epoch: 1, Devices: entries}).Encode(); err != nil {
				t.Errorf("the entries make no statement: %v", err)
			}
		})
	}
	lib, gpus := mockHost(t)
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 3 {
			return nil, nvml.ERROR_GPU_IS_LOST
		}
		return gpus[i], nvml.SUCCESS
	}
	s, err := newNVML(lib)
	must(t, err)
	list, err := inventoryOf(t.Context(), s)
	must(t, err)
	if len(list) != len(gpus)-1 {
		t.Errorf("%d devices, want all but the lost one", len(list))
	}
}

// The error of a host without a driver says what to do.
func TestNVMLMissing(t *testing.T) {
	for ret, want := range map[nvml.Return]string{
		nvml.ERROR_LIBRARY_NOT_FOUND: "install the NVIDIA driver",
		nvml.ERROR_DRIVER_NOT_LOADED: "modprobe nvidia",
		nvml.ERROR_NO_PERMISSION:     "/dev/nvidia",
		nvml.ERROR_UNKNOWN:           "open NVML",
	} {
		lib := dgxh100.New()
		lib.InitFunc = func() nvml.Return { return ret }
		lib.ErrorStringFunc = func(nvml.Return) string { return "unknown" }
		if _, err := newNVML(lib); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("return %d: got %v, want %q", ret, err, want)
		}
	}
	if s, err := NewNVML(); err == nil {
		list, err := inventoryOf(t.Context(), s)
		t.Logf("this host has GPUs: %v, %v", list, err)
	} else if !strings.Contains(err.Error(), "NVML") {
		t.Errorf("got %v, want a word about NVML", err)
	}
}
