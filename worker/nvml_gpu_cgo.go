//go:build cgo && linux

package worker

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// questions are calls to one GPU.
type questions struct {
	has     func(symbol string) bool
	answers int         // that told something
	last    nvml.Return // the last answer
	gone    string      // why the GPU is gone; nothing more is asked then
}

// ask makes a call and reports whether the GPU told what was asked. An answer that it
// does not tell something is none against it; one that says that it is lost ends the questions.
func (q *questions) ask(symbol string, call func() nvml.Return) bool {
	if q.gone != "" {
		return false
	}
	ret := nvml.ERROR_FUNCTION_NOT_FOUND
	if q.has(symbol) {
		ret = call()
	}
	q.last = ret
	switch {
	case ret == nvml.SUCCESS:
		q.answers++
		return true
	case lost(ret):
		q.gone = symbol + ": " + ret.Error()
	}
	return false
}

// vital is ask for what every GPU tells that is well, or says that it does not tell:
// any other error means that it is not well.
func (q *questions) vital(symbol string, call func() nvml.Return) bool {
	return q.ask(symbol, func() nvml.Return {
		ret := call()
		if ret != nvml.SUCCESS && !silent(ret) {
			q.gone = symbol + ": " + ret.Error()
		}
		return ret
	})
}

// lost reports whether NVML says that the GPU or its driver is not there any more.
func lost(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_UNINITIALIZED, nvml.ERROR_INSUFFICIENT_POWER, nvml.ERROR_DRIVER_NOT_LOADED, nvml.ERROR_TIMEOUT,
		nvml.ERROR_IRQ_ISSUE, nvml.ERROR_GPU_IS_LOST, nvml.ERROR_RESET_REQUIRED, nvml.ERROR_LIB_RM_VERSION_MISMATCH, nvml.ERROR_GPU_NOT_FOUND:
		return true
	}
	return false
}

// silent reports whether NVML says no more than that it does not tell.
func silent(ret nvml.Return) bool {
	switch ret {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_NO_PERMISSION, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_NO_DATA:
		return true
	}
	return false
}

// describeGPU asks a GPU what it is. Without a UUID it can't be named; whatever else
// it doesn't tell is empty, 0 or ModeUntold.
func describeGPU(gpu nvml.Device, has func(string) bool) (d proofs.InventoryDevice, why string) {
	q := questions{has: has}
	d.MIG, d.ECC = proofs.ModeUntold, proofs.ModeUntold
	var (
		uuid    string
		memory  nvml.Memory
		pci     nvml.PciInfo
		version [2]int
		mig     int
		ecc     nvml.EnableState
		ret     nvml.Return
	)
	if !q.ask("nvmlDeviceGetUUID", func() nvml.Return { uuid, ret = gpu.GetUUID(); return ret }) {
		return d, "it does not tell its UUID: " + q.last.Error()
	}
	id, err := ionet.ParseUUID(uuid)
	if err != nil {
		return d, err.Error()
	}
	d.UUID = id
	q.ask("nvmlDeviceGetName", func() nvml.Return { d.Name, ret = gpu.GetName(); return ret })
	q.ask("nvmlDeviceGetVbiosVersion", func() nvml.Return { d.VBIOS, ret = gpu.GetVbiosVersion(); return ret })
	if q.ask("nvmlDeviceGetMemoryInfo", func() nvml.Return { memory, ret = gpu.GetMemoryInfo(); return ret }) {
		d.MemoryMiB = mebibytes(memory.Total)
	}
	if q.ask("nvmlDeviceGetPciInfo", func() nvml.Return { pci, ret = gpu.GetPciInfo(); return ret }) {
		d.PCI = fmt.Sprintf("%08X:%02X:%02X.0", pci.Domain, pci.Bus, pci.Device)
	}
	if q.ask("nvmlDeviceGetCudaComputeCapability", func() nvml.Return { version[0], version[1], ret = gpu.GetCudaComputeCapability(); return ret }) {
		d.CCMajor, d.CCMinor = uint8(version[0]), uint8(version[1])
	}
	if q.ask("nvmlDeviceGetMigMode", func() nvml.Return { mig, _, ret = gpu.GetMigMode(); return ret }) {
		d.MIG = mode(mig)
	}
	if q.ask("nvmlDeviceGetEccMode", func() nvml.Return { ecc, _, ret = gpu.GetEccMode(); return ret }) {
		d.ECC = mode(int(ecc))
	}
	return d, q.gone
}

// mode is NVML's 0 or 1; anything else tells nothing.
func mode(n int) uint8 {
	if n == proofs.ModeOff || n == proofs.ModeOn {
		return uint8(n)
	}
	return proofs.ModeUntold
}

func mebibytes(n uint64) uint32 { return uint32(min(n>>20, 1<<32-1)) }

// readGPU reads one GPU. Multi-instance GPUs and some boards tell no utilization,
// clocks, temperature or power, and some that share the host's memory not even that.
// One that tells nothing at all is gone.
func readGPU(gpu nvml.Device, has func(string) bool) (d proofs.UptimeDevice, why string) {
	q := questions{has: has}
	d = proofs.UptimeDevice{
		Utilization: proofs.NoUtilization, Temperature: proofs.NoTemperature, PowerW: proofs.NoPower,
		SMMHz: proofs.NoClock, MemoryMHz: proofs.NoClock, ECCErrors: proofs.NoECCErrors, Processes: proofs.NoProcesses,
	}
	var (
		memory nvml.Memory
		load   nvml.Utilization
		n      uint32
		flips  uint64
		list   []nvml.ProcessInfo
		ret    nvml.Return
	)
	if q.vital("nvmlDeviceGetMemoryInfo", func() nvml.Return { memory, ret = gpu.GetMemoryInfo(); return ret }) {
		d.MemoryMiB = mebibytes(memory.Used)
	}
	if q.ask("nvmlDeviceGetUtilizationRates", func() nvml.Return { load, ret = gpu.GetUtilizationRates(); return ret }) && load.Gpu <= 100 {
		d.Utilization = uint8(load.Gpu)
	}
	if q.ask("nvmlDeviceGetTemperature", func() nvml.Return { n, ret = gpu.GetTemperature(nvml.TEMPERATURE_GPU); return ret }) && n <= 1000 {
		d.Temperature = int16(n)
	}
	if q.ask("nvmlDeviceGetPowerUsage", func() nvml.Return { n, ret = gpu.GetPowerUsage(); return ret }) && n/1000 < proofs.NoPower {
		d.PowerW = uint16(n / 1000) // it tells milliwatts
	}
	if q.ask("nvmlDeviceGetClockInfo", func() nvml.Return { n, ret = gpu.GetClockInfo(nvml.CLOCK_SM); return ret }) && n < proofs.NoClock {
		d.SMMHz = uint16(n)
	}
	if q.ask("nvmlDeviceGetClockInfo", func() nvml.Return { n, ret = gpu.GetClockInfo(nvml.CLOCK_MEM); return ret }) && n < proofs.NoClock {
		d.MemoryMHz = uint16(n)
	}
	if q.ask("nvmlDeviceGetTotalEccErrors", func() nvml.Return {
		flips, ret = gpu.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
		return ret
	}) {
		d.ECCErrors = uint32(min(flips, proofs.NoECCErrors-1))
	}
	if q.ask("nvmlDeviceGetComputeRunningProcesses", func() nvml.Return { list, ret = gpu.GetComputeRunningProcesses(); return ret }) {
		d.Processes = uint16(min(len(list), proofs.NoProcesses-1))
	}
	switch {
	case q.gone != "":
		return proofs.UptimeDevice{Status: proofs.DeviceGone}, q.gone
	case q.answers == 0:
		return proofs.UptimeDevice{Status: proofs.DeviceGone}, "it answers no question"
	}
	return d, ""
}
