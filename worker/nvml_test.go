//go:build cgo && linux

package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// mockHost sets what NVIDIA's mock of a DGX does not know: it panics there.
func mockHost(t testing.TB, lib *server.Server) (*server.Server, []*server.Device) {
	t.Helper()
	var gpus []*server.Device
	for i, d := range lib.Devices {
		gpu := d.(*server.Device)
		gpu.UUID = fmt.Sprintf("GPU-%08x-0000-4000-8000-000000000000", i+1)
		setDescription(gpu, i)
		setReadings(gpu, i)
		gpus = append(gpus, gpu)
	}
	return lib, gpus
}

func setDescription(gpu *server.Device, i int) {
	gpu.GetVbiosVersionFunc = func() (string, nvml.Return) { return "96.00.5E.00.01", nvml.SUCCESS }
	gpu.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
		return nvml.FEATURE_ENABLED, nvml.FEATURE_DISABLED, nvml.SUCCESS
	}
	gpu.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) {
		return nvml.PciInfo{Bus: uint32(0x10 + i)}, nvml.SUCCESS
	}
}

func setReadings(gpu *server.Device, i int) {
	gpu.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) {
		return nvml.Memory{Total: 81559 << 20, Used: uint64(i+1) << 30}, nvml.SUCCESS
	}
	gpu.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		return nvml.Utilization{Gpu: uint32(10 * i)}, nvml.SUCCESS
	}
	gpu.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return uint32(40 + i), nvml.SUCCESS }
	gpu.GetPowerUsageFunc = func() (uint32, nvml.Return) { return uint32(100_999 + 1000*i), nvml.SUCCESS }
	gpu.GetClockInfoFunc = func(c nvml.ClockType) (uint32, nvml.Return) {
		return map[nvml.ClockType]uint32{nvml.CLOCK_SM: 1980, nvml.CLOCK_MEM: 2619}[c], nvml.SUCCESS
	}
	gpu.GetTotalEccErrorsFunc = func(kind nvml.MemoryErrorType, c nvml.EccCounterType) (uint64, nvml.Return) {
		if kind != nvml.MEMORY_ERROR_TYPE_UNCORRECTED || c != nvml.VOLATILE_ECC {
			return 0, nvml.ERROR_INVALID_ARGUMENT
		}
		return uint64(i), nvml.SUCCESS
	}
	gpu.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return make([]nvml.ProcessInfo, i), nvml.SUCCESS
	}
}

// wellReading is what setReadings makes GPU i tell.
func wellReading(i int) proofs.UptimeDevice {
	return proofs.UptimeDevice{
		Utilization: uint8(10 * i), MemoryMiB: uint32(i+1) * 1024, Temperature: int16(40 + i), PowerW: uint16(100 + i),
		SMMHz: 1980, MemoryMHz: 2619, ECCErrors: uint32(i), Processes: uint16(i),
	}
}

var (
	gone    = proofs.UptimeDevice{Status: proofs.DeviceGone}
	servers = map[string]func() *server.Server{"dgxa100": func() *server.Server { return dgxa100.New() }, "dgxh100": func() *server.Server { return dgxh100.New() }}
)

func uuidOf(t testing.TB, gpu *server.Device) ionet.UUID {
	t.Helper()
	id, err := ionet.ParseUUID(gpu.UUID)
	must(t, err)
	return id
}

// look takes the inventory and a sample, as Read does.
func look(t testing.TB, s Sampler) ([]proofs.InventoryDevice, []proofs.UptimeDevice, []Reading) {
	t.Helper()
	list, err := inventoryOf(t.Context(), s)
	must(t, err)
	readings, err := s.Sample(t.Context())
	must(t, err)
	entries := entriesFor(list, readings)
	if _, err := (proofs.Inventory{Devices: list}).Encode(); err != nil {
		t.Errorf("the list makes no inventory: %v", err)
	}
	if _, err := (proofs.Uptime{Epoch: 1, Devices: entries}).Encode(); err != nil {
		t.Errorf("the entries make no statement: %v", err)
	}
	return list, entries, readings
}

func TestNVMLReads(t *testing.T) {
	for name, newServer := range servers {
		t.Run(name, func(t *testing.T) {
			lib, gpus := mockHost(t, newServer())
			gpus[2].MigMode = 1
			s, err := newNVML(lib)
			must(t, err)
			if s.Simulated() {
				t.Error("real GPUs are called simulated")
			}
			list, entries, _ := look(t, s)
			if len(list) != len(gpus) {
				t.Fatalf("%d devices, want %d", len(list), len(gpus))
			}
			for i, gpu := range gpus {
				want := proofs.InventoryDevice{
					UUID: uuidOf(t, gpu), Name: gpu.Config.Name, MemoryMiB: 81559, PCI: fmt.Sprintf("00000000:%02X:00.0", 0x10+i),
					CCMajor: uint8(gpu.Config.CudaMajor), CCMinor: uint8(gpu.Config.CudaMinor), Driver: lib.DriverVersion,
					VBIOS: "96.00.5E.00.01", MIG: uint8(gpu.MigMode), ECC: proofs.ModeOn,
				}
				if list[i] != want {
					t.Errorf("GPU %d: got %+v, want %+v", i, list[i], want)
				}
				if entries[i] != wellReading(i) {
					t.Errorf("GPU %d: got %+v, want %+v", i, entries[i], wellReading(i))
				}
			}
		})
	}
}

// nvmlErrors are all that NVML may answer but SUCCESS, and what each means of the GPU
// that was asked: 'l' it is lost, whatever was asked; 's' it does not tell; 'e' an
// error, which only memory, that every GPU tells, makes a lost GPU of.
var nvmlErrors = map[nvml.Return]byte{
	nvml.ERROR_UNINITIALIZED: 'l', nvml.ERROR_INSUFFICIENT_POWER: 'l', nvml.ERROR_DRIVER_NOT_LOADED: 'l', nvml.ERROR_TIMEOUT: 'l',
	nvml.ERROR_IRQ_ISSUE: 'l', nvml.ERROR_GPU_IS_LOST: 'l', nvml.ERROR_RESET_REQUIRED: 'l', nvml.ERROR_LIB_RM_VERSION_MISMATCH: 'l',
	nvml.ERROR_GPU_NOT_FOUND: 'l',
	nvml.ERROR_NOT_SUPPORTED: 's', nvml.ERROR_NO_PERMISSION: 's', nvml.ERROR_FUNCTION_NOT_FOUND: 's', nvml.ERROR_NO_DATA: 's',
	nvml.ERROR_INVALID_ARGUMENT: 'e', nvml.ERROR_ALREADY_INITIALIZED: 'e', nvml.ERROR_NOT_FOUND: 'e', nvml.ERROR_INSUFFICIENT_SIZE: 'e',
	nvml.ERROR_LIBRARY_NOT_FOUND: 'e', nvml.ERROR_CORRUPTED_INFOROM: 'e', nvml.ERROR_OPERATING_SYSTEM: 'e', nvml.ERROR_IN_USE: 'e',
	nvml.ERROR_MEMORY: 'e', nvml.ERROR_VGPU_ECC_NOT_SUPPORTED: 'e', nvml.ERROR_INSUFFICIENT_RESOURCES: 'e', nvml.ERROR_FREQ_NOT_SUPPORTED: 'e',
	nvml.ERROR_ARGUMENT_VERSION_MISMATCH: 'e', nvml.ERROR_DEPRECATED: 'e', nvml.ERROR_NOT_READY: 'e', nvml.ERROR_INVALID_STATE: 'e',
	nvml.ERROR_RESET_TYPE_NOT_SUPPORTED: 'e', nvml.ERROR_UNKNOWN: 'e',
}

// TestNVMLErrorsOfReadings lets each call of a sample answer each error of NVML.
func TestNVMLErrorsOfReadings(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(*server.Device, nvml.Return)
		untold func(*proofs.UptimeDevice) // what the statement says instead
	}{
		"memory": {func(g *server.Device, ret nvml.Return) {
			g.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{Used: 7 << 20}, ret }
		}, func(d *proofs.UptimeDevice) { d.MemoryMiB = 0 }},
		"utilization": {func(g *server.Device, ret nvml.Return) {
			g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 7}, ret }
		}, func(d *proofs.UptimeDevice) { d.Utilization = proofs.NoUtilization }},
		"temperature": {func(g *server.Device, ret nvml.Return) {
			g.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 7, ret }
		}, func(d *proofs.UptimeDevice) { d.Temperature = proofs.NoTemperature }},
		"power": {func(g *server.Device, ret nvml.Return) {
			g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 7000, ret }
		}, func(d *proofs.UptimeDevice) { d.PowerW = proofs.NoPower }},
		"clocks": {func(g *server.Device, ret nvml.Return) {
			g.GetClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { return 7, ret }
		}, func(d *proofs.UptimeDevice) { d.SMMHz, d.MemoryMHz = proofs.NoClock, proofs.NoClock }},
		"ECC errors": {func(g *server.Device, ret nvml.Return) {
			g.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) { return 7, ret }
		}, func(d *proofs.UptimeDevice) { d.ECCErrors = proofs.NoECCErrors }},
		"processes": {func(g *server.Device, ret nvml.Return) {
			g.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return make([]nvml.ProcessInfo, 7), ret }
		}, func(d *proofs.UptimeDevice) { d.Processes = proofs.NoProcesses }},
	} {
		t.Run(name, func(t *testing.T) {
			lib, gpus := mockHost(t, dgxh100.New())
			s, err := newNVML(lib)
			must(t, err)
			look(t, s)
			for ret, class := range nvmlErrors {
				want := wellReading(0)
				c.untold(&want)
				if class == 'l' || class == 'e' && name == "memory" {
					want = gone
				}
				c.fail(gpus[0], ret)
				readings, err := s.Sample(t.Context())
				must(t, err)
				if got := readings[0]; got.UptimeDevice != want || (got.Trouble == "") != (want.Status == proofs.DeviceOK) {
					t.Errorf("%s: got %+v, want %+v", ret, got, want)
				}
				if got := readings[1].UptimeDevice; got != wellReading(1) {
					t.Errorf("%s: GPU 1, which is well, is %+v", ret, got)
				}
			}
		})
	}
}

// TestNVMLErrorsOfInventory lets each call of an inventory answer each error of NVML.
func TestNVMLErrorsOfInventory(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(*server.Server, *server.Device, nvml.Return)
		untold func(*proofs.InventoryDevice) // nil: the GPU can't be named
	}{
		"handle": {func(l *server.Server, _ *server.Device, ret nvml.Return) {
			l.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
				if i == 0 {
					return nil, ret
				}
				return l.Devices[i], nvml.SUCCESS
			}
		}, nil},
		"UUID": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetUUIDFunc = func() (string, nvml.Return) { return g.UUID, ret }
		}, nil},
		"name": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetNameFunc = func() (string, nvml.Return) { return "", ret }
		}, func(d *proofs.InventoryDevice) { d.Name = "unknown" }},
		"VBIOS": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetVbiosVersionFunc = func() (string, nvml.Return) { return "", ret }
		}, func(d *proofs.InventoryDevice) { d.VBIOS = "unknown" }},
		"memory": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 7 << 20}, ret }
		}, func(d *proofs.InventoryDevice) { d.MemoryMiB = 0 }},
		"PCI": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{Bus: 7}, ret }
		}, func(d *proofs.InventoryDevice) { d.PCI = "unknown" }},
		"compute capability": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetCudaComputeCapabilityFunc = func() (int, int, nvml.Return) { return 7, 7, ret }
		}, func(d *proofs.InventoryDevice) { d.CCMajor, d.CCMinor = 0, 0 }},
		"MIG": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetMigModeFunc = func() (int, int, nvml.Return) { return 1, 1, ret }
		}, func(d *proofs.InventoryDevice) { d.MIG = proofs.ModeUntold }},
		"ECC": {func(_ *server.Server, g *server.Device, ret nvml.Return) {
			g.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) { return 1, 1, ret }
		}, func(d *proofs.InventoryDevice) { d.ECC = proofs.ModeUntold }},
	} {
		t.Run(name, func(t *testing.T) {
			whole, _ := mockHost(t, dgxh100.New())
			s, err := newNVML(whole)
			must(t, err)
			well, _, _ := look(t, s)
			for ret, class := range nvmlErrors {
				lib, gpus := mockHost(t, dgxh100.New())
				c.fail(lib, gpus[0], ret)
				s, err := newNVML(lib)
				must(t, err)
				list, err := inventoryOf(t.Context(), s)
				must(t, err)
				want := slices.Clone(well)
				if c.untold == nil || class == 'l' {
					want = want[1:]
				} else {
					c.untold(&want[0])
				}
				if !slices.Equal(list, want) {
					t.Errorf("%s: got %+v, want %+v", ret, list, want)
				}
			}
		})
	}
}

// A GPU tells nonsense: the statement says that it tells nothing there.
func TestNVMLNonsense(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	g := gpus[0]
	g.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) {
		return nvml.Memory{Total: 1<<64 - 1, Used: 1<<64 - 1}, nvml.SUCCESS
	}
	g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 1<<32 - 1}, nvml.SUCCESS }
	g.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 1<<32 - 1, nvml.SUCCESS }
	g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 1<<32 - 1, nvml.SUCCESS }
	g.GetClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { return 1<<32 - 1, nvml.SUCCESS }
	g.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) { return 1<<64 - 1, nvml.SUCCESS }
	g.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return make([]nvml.ProcessInfo, 70_000), nvml.SUCCESS }
	g.GetMigModeFunc = func() (int, int, nvml.Return) { return 7, 7, nvml.SUCCESS }
	g.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) { return -1, -1, nvml.SUCCESS }
	g.GetNameFunc = func() (string, nvml.Return) { return "N\x00\xff" + strings.Repeat("x", 200), nvml.SUCCESS }
	s, err := newNVML(lib)
	must(t, err)
	list, entries, _ := look(t, s)
	want := proofs.UptimeDevice{
		Utilization: proofs.NoUtilization, MemoryMiB: 1<<32 - 1, Temperature: proofs.NoTemperature, PowerW: proofs.NoPower,
		SMMHz: proofs.NoClock, MemoryMHz: proofs.NoClock, ECCErrors: proofs.NoECCErrors - 1, Processes: proofs.NoProcesses - 1,
	}
	if entries[0] != want {
		t.Errorf("got %+v, want %+v", entries[0], want)
	}
	if d := list[0]; d.MIG != proofs.ModeUntold || d.ECC != proofs.ModeUntold || len(d.Name) > 96 || !strings.HasPrefix(d.Name, "N??x") {
		t.Errorf("device is %+v", d)
	}
}

// An old driver's library lacks functions. Calling one would end the process: the mock
// panics instead.
func TestNVMLOldLibrary(t *testing.T) {
	lib, gpus := mockHost(t, dgxa100.New())
	lib.LookupSymbolFunc = func(symbol string) error {
		if symbol == "nvmlDeviceGetMigMode" || symbol == "nvmlDeviceGetTotalEccErrors" {
			return errNoSymbol
		}
		return nil
	}
	for _, g := range gpus {
		g.GetMigModeFunc, g.GetTotalEccErrorsFunc = nil, nil
	}
	s, err := newNVML(lib)
	must(t, err)
	list, entries, _ := look(t, s)
	want := wellReading(3)
	want.ECCErrors = proofs.NoECCErrors
	if len(list) != len(gpus) || list[3].MIG != proofs.ModeUntold || entries[3] != want {
		t.Errorf("got %+v, %+v, want %+v", list[3], entries[3], want)
	}
}

// A GPU that tells nothing at all is gone, and one that shares the host's memory is not.
func TestNVMLSilentGPU(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	no := nvml.ERROR_NOT_SUPPORTED
	for _, g := range gpus[:2] {
		g.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, no }
	}
	g := gpus[0]
	g.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{}, no }
	g.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, no }
	g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 0, no }
	g.GetClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { return 0, no }
	g.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) { return 0, no }
	g.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return nil, no }
	s, err := newNVML(lib)
	must(t, err)
	_, entries, readings := look(t, s)
	want := wellReading(1)
	want.MemoryMiB = 0
	if entries[0] != gone || readings[0].Trouble == "" || entries[1] != want {
		t.Errorf("got %+v (%s) and %+v, want %+v and %+v", entries[0], readings[0].Trouble, entries[1], gone, want)
	}
}
