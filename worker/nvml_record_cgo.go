//go:build cgo && linux

package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// told is one line of a recording: what NVML answered to one call. The lines hold what
// the worker's statements tell anyway, and no process ids or serial numbers.
type told struct {
	Call   string      `json:"call"`            // the function of NVML
	GPU    *int        `json:"gpu,omitempty"`   // index
	Asked  int         `json:"asked,omitempty"` // which clock
	Return nvml.Return `json:"return"`
	Says   string      `json:"says"` // Return in words
	Value  any         `json:"value,omitempty"`
}

// RecordNVML is NewNVML that writes each answer of NVML to w as a line of JSON.
// Recorded returns the error of a line that could not be written.
func RecordNVML(w io.Writer) (s Sampler, recorded func() error, err error) {
	r := newRecorder(nvml.New(), w)
	s, err = newNVML(r)
	return s, r.failure, err
}

func newRecorder(lib nvml.Interface, w io.Writer) *recorder {
	return &recorder{Interface: lib, to: json.NewEncoder(w)}
}

// recorder stands between the sampler and NVML.
type recorder struct {
	nvml.Interface

	mu  sync.Mutex
	to  *json.Encoder
	err error
}

func (r *recorder) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *recorder) write(t told) nvml.Return {
	t.Says = t.Return.Error()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.to.Encode(t); err != nil && r.err == nil {
		r.err = fmt.Errorf("write recording: %w", err)
	}
	return t.Return
}

func (r *recorder) Init() nvml.Return {
	return r.write(told{Call: "nvmlInit", Return: r.Interface.Init()})
}

func (r *recorder) Shutdown() nvml.Return {
	return r.write(told{Call: "nvmlShutdown", Return: r.Interface.Shutdown()})
}

func (r *recorder) DeviceGetCount() (int, nvml.Return) {
	n, ret := r.Interface.DeviceGetCount()
	return n, r.write(told{Call: "nvmlDeviceGetCount", Return: ret, Value: n})
}

func (r *recorder) SystemGetDriverVersion() (string, nvml.Return) {
	v, ret := r.Interface.SystemGetDriverVersion()
	return v, r.write(told{Call: "nvmlSystemGetDriverVersion", Return: ret, Value: v})
}

func (r *recorder) DeviceGetHandleByIndex(index int) (nvml.Device, nvml.Return) {
	gpu, ret := r.Interface.DeviceGetHandleByIndex(index)
	r.write(told{Call: "nvmlDeviceGetHandleByIndex", GPU: &index, Return: ret})
	if ret != nvml.SUCCESS {
		return gpu, ret
	}
	return &recordedGPU{Device: gpu, to: r, index: index}, ret
}

// Extensions is asked for symbols alone.
func (r *recorder) Extensions() nvml.ExtendedInterface {
	return &recordedSymbols{ExtendedInterface: r.Interface.Extensions(), to: r}
}

type recordedSymbols struct {
	nvml.ExtendedInterface
	to *recorder
}

// errNoSymbol is what a replayed library answers.
var errNoSymbol = errors.New("the library has no such symbol")

func (s *recordedSymbols) LookupSymbol(symbol string) error {
	err := s.ExtendedInterface.LookupSymbol(symbol)
	ret := nvml.SUCCESS
	if err != nil {
		ret = nvml.ERROR_FUNCTION_NOT_FOUND
	}
	s.to.write(told{Call: "dlsym", Return: ret, Value: symbol})
	return err
}

// recordedGPU records what one GPU answers.
type recordedGPU struct {
	nvml.Device
	to    *recorder
	index int
}

func (g *recordedGPU) says(call string, asked int, ret nvml.Return, value any) nvml.Return {
	return g.to.write(told{Call: call, GPU: &g.index, Asked: asked, Return: ret, Value: value})
}

func (g *recordedGPU) GetUUID() (string, nvml.Return) {
	v, ret := g.Device.GetUUID()
	return v, g.says("nvmlDeviceGetUUID", 0, ret, v)
}

func (g *recordedGPU) GetName() (string, nvml.Return) {
	v, ret := g.Device.GetName()
	return v, g.says("nvmlDeviceGetName", 0, ret, v)
}

func (g *recordedGPU) GetVbiosVersion() (string, nvml.Return) {
	v, ret := g.Device.GetVbiosVersion()
	return v, g.says("nvmlDeviceGetVbiosVersion", 0, ret, v)
}

func (g *recordedGPU) GetMemoryInfo() (nvml.Memory, nvml.Return) {
	v, ret := g.Device.GetMemoryInfo()
	return v, g.says("nvmlDeviceGetMemoryInfo", 0, ret, v)
}

// pciPlace is where a GPU is on the bus.
type pciPlace struct{ Domain, Bus, Device uint32 }

func (g *recordedGPU) GetPciInfo() (nvml.PciInfo, nvml.Return) {
	v, ret := g.Device.GetPciInfo()
	return v, g.says("nvmlDeviceGetPciInfo", 0, ret, pciPlace{v.Domain, v.Bus, v.Device})
}

func (g *recordedGPU) GetCudaComputeCapability() (int, int, nvml.Return) {
	major, minor, ret := g.Device.GetCudaComputeCapability()
	return major, minor, g.says("nvmlDeviceGetCudaComputeCapability", 0, ret, [2]int{major, minor})
}

func (g *recordedGPU) GetMigMode() (int, int, nvml.Return) {
	now, next, ret := g.Device.GetMigMode()
	return now, next, g.says("nvmlDeviceGetMigMode", 0, ret, [2]int{now, next})
}

func (g *recordedGPU) GetEccMode() (nvml.EnableState, nvml.EnableState, nvml.Return) {
	now, next, ret := g.Device.GetEccMode()
	return now, next, g.says("nvmlDeviceGetEccMode", 0, ret, [2]int{int(now), int(next)})
}

func (g *recordedGPU) GetUtilizationRates() (nvml.Utilization, nvml.Return) {
	v, ret := g.Device.GetUtilizationRates()
	return v, g.says("nvmlDeviceGetUtilizationRates", 0, ret, v)
}

func (g *recordedGPU) GetTemperature(sensor nvml.TemperatureSensors) (uint32, nvml.Return) {
	v, ret := g.Device.GetTemperature(sensor)
	return v, g.says("nvmlDeviceGetTemperature", int(sensor), ret, v)
}

func (g *recordedGPU) GetPowerUsage() (uint32, nvml.Return) {
	v, ret := g.Device.GetPowerUsage()
	return v, g.says("nvmlDeviceGetPowerUsage", 0, ret, v)
}

func (g *recordedGPU) GetClockInfo(clock nvml.ClockType) (uint32, nvml.Return) {
	v, ret := g.Device.GetClockInfo(clock)
	return v, g.says("nvmlDeviceGetClockInfo", int(clock), ret, v)
}

func (g *recordedGPU) GetTotalEccErrors(kind nvml.MemoryErrorType, counter nvml.EccCounterType) (uint64, nvml.Return) {
	v, ret := g.Device.GetTotalEccErrors(kind, counter)
	return v, g.says("nvmlDeviceGetTotalEccErrors", 0, ret, v)
}

// GetComputeRunningProcesses records how many there are, and nothing of them.
func (g *recordedGPU) GetComputeRunningProcesses() ([]nvml.ProcessInfo, nvml.Return) {
	v, ret := g.Device.GetComputeRunningProcesses()
	return v, g.says("nvmlDeviceGetComputeRunningProcesses", 0, ret, len(v))
}
