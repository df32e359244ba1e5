//go:build cgo && linux

package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet/proofs"
)

var updateRecordings = flag.Bool("recordings.update", false, "write testdata/nvml/mock-*.jsonl and what is read from all recordings")

// record looks through a recorder and returns what it wrote.
func record(t *testing.T, lib nvml.Interface, looks int) []byte {
	t.Helper()
	var b bytes.Buffer
	r := newRecorder(lib, &b)
	s, err := newNVML(r)
	must(t, err)
	for range looks {
		look(t, s)
	}
	must(t, r.failure())
	return b.Bytes()
}

// replay is a library that answers as a recording says: each call in its order, and the
// last answer for ever.
type replay struct {
	mock.Interface
	mock.ExtendedInterface
	mu      sync.Mutex
	answers map[string][]recordedAnswer // by call, GPU and what was asked; the front is next
}

type recordedAnswer struct {
	Call   string          `json:"call"`
	GPU    *int            `json:"gpu"`
	Asked  int             `json:"asked"`
	Return nvml.Return     `json:"return"`
	Value  json.RawMessage `json:"value"`
}

const wholeHost = -1 // is asked, and no GPU

func answerKey(call string, gpu, asked int) string { return fmt.Sprint(call, " ", gpu, " ", asked) }

func newReplay(t *testing.T, recording []byte) *replay {
	t.Helper()
	r := &replay{answers: map[string][]recordedAnswer{}}
	for line := range bytes.Lines(recording) {
		a := recordedAnswer{}
		must(t, json.Unmarshal(line, &a))
		gpu := wholeHost
		if a.GPU != nil {
			gpu = *a.GPU
		}
		if a.Call == "dlsym" {
			must(t, json.Unmarshal(a.Value, &a.Call))
			a.Call, a.Value = "dlsym "+a.Call, nil
		}
		key := answerKey(a.Call, gpu, a.Asked)
		r.answers[key] = append(r.answers[key], a)
	}
	r.InitFunc = func() nvml.Return { return r.next("nvmlInit", wholeHost, 0, nil) }
	r.ShutdownFunc = func() nvml.Return { return r.next("nvmlShutdown", wholeHost, 0, nil) }
	r.DeviceGetCountFunc = func() (n int, ret nvml.Return) { ret = r.next("nvmlDeviceGetCount", wholeHost, 0, &n); return n, ret }
	r.SystemGetDriverVersionFunc = func() (v string, ret nvml.Return) {
		ret = r.next("nvmlSystemGetDriverVersion", wholeHost, 0, &v)
		return v, ret
	}
	r.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		ret := r.next("nvmlDeviceGetHandleByIndex", i, 0, nil)
		return r.device(i), ret
	}
	r.ExtensionsFunc = func() nvml.ExtendedInterface { return r }
	r.LookupSymbolFunc = func(symbol string) error {
		if r.next("dlsym "+symbol, wholeHost, 0, nil) != nvml.SUCCESS {
			return errNoSymbol
		}
		return nil
	}
	return r
}

// next answers a call; what the recording lacks is unknown.
func (r *replay) next(call string, gpu, asked int, value any) nvml.Return {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := answerKey(call, gpu, asked)
	list := r.answers[key]
	if len(list) == 0 {
		return nvml.ERROR_UNKNOWN
	}
	if len(list) > 1 {
		r.answers[key] = list[1:]
	}
	if value != nil {
		if err := json.Unmarshal(list[0].Value, value); err != nil {
			return nvml.ERROR_UNKNOWN
		}
	}
	return list[0].Return
}

func (r *replay) device(i int) nvml.Device {
	g := &mock.Device{}
	text := func(call string) func() (string, nvml.Return) {
		return func() (v string, ret nvml.Return) { ret = r.next(call, i, 0, &v); return v, ret }
	}
	g.GetUUIDFunc, g.GetNameFunc, g.GetVbiosVersionFunc = text("nvmlDeviceGetUUID"), text("nvmlDeviceGetName"), text("nvmlDeviceGetVbiosVersion")
	pair := func(call string) (v [2]int, ret nvml.Return) { ret = r.next(call, i, 0, &v); return v, ret }
	g.GetCudaComputeCapabilityFunc = func() (int, int, nvml.Return) {
		v, ret := pair("nvmlDeviceGetCudaComputeCapability")
		return v[0], v[1], ret
	}
	g.GetMigModeFunc = func() (int, int, nvml.Return) { v, ret := pair("nvmlDeviceGetMigMode"); return v[0], v[1], ret }
	g.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
		v, ret := pair("nvmlDeviceGetEccMode")
		return nvml.EnableState(v[0]), nvml.EnableState(v[1]), ret
	}
	g.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) {
		var p pciPlace
		ret := r.next("nvmlDeviceGetPciInfo", i, 0, &p)
		return nvml.PciInfo{Domain: p.Domain, Bus: p.Bus, Device: p.Device}, ret
	}
	g.GetMemoryInfoFunc = func() (v nvml.Memory, ret nvml.Return) {
		ret = r.next("nvmlDeviceGetMemoryInfo", i, 0, &v)
		return v, ret
	}
	g.GetUtilizationRatesFunc = func() (v nvml.Utilization, ret nvml.Return) {
		ret = r.next("nvmlDeviceGetUtilizationRates", i, 0, &v)
		return v, ret
	}
	number := func(call string, asked int) (v uint32, ret nvml.Return) {
		ret = r.next(call, i, asked, &v)
		return v, ret
	}
	g.GetTemperatureFunc = func(s nvml.TemperatureSensors) (uint32, nvml.Return) {
		return number("nvmlDeviceGetTemperature", int(s))
	}
	g.GetPowerUsageFunc = func() (uint32, nvml.Return) { return number("nvmlDeviceGetPowerUsage", 0) }
	g.GetClockInfoFunc = func(c nvml.ClockType) (uint32, nvml.Return) { return number("nvmlDeviceGetClockInfo", int(c)) }
	g.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (v uint64, ret nvml.Return) {
		ret = r.next("nvmlDeviceGetTotalEccErrors", i, 0, &v)
		return v, ret
	}
	g.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		var n int
		ret := r.next("nvmlDeviceGetComputeRunningProcesses", i, 0, &n)
		return make([]nvml.ProcessInfo, n), ret
	}
	return g
}

// seen is what the sampler makes of a recording.
type seen struct {
	Devices  []proofs.InventoryDevice
	Readings []Reading
}

func seenIn(t *testing.T, recording []byte) seen {
	t.Helper()
	s, err := newNVML(newReplay(t, recording))
	must(t, err)
	list, _, readings := look(t, s)
	return seen{list, readings}
}

// What is recorded and played again is read as it was: all values and all errors.
func TestRecordingIsWhatWasRead(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	gpus[1].GetPowerUsageFunc = func() (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
	gpus[2].GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_GPU_IS_LOST }
	gpus[3].MigMode = 1
	lib.LookupSymbolFunc = func(symbol string) error {
		if symbol == "nvmlDeviceGetEccMode" {
			return errNoSymbol
		}
		return nil
	}
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 7 {
			return nil, nvml.ERROR_UNKNOWN
		}
		return gpus[i], nvml.SUCCESS
	}
	plain, err := newNVML(lib)
	must(t, err)
	list, _, readings := look(t, plain)
	got := seenIn(t, record(t, lib, 1))
	if diff := cmp.Diff(seen{list, readings}, got); diff != "" {
		t.Errorf("the recording is read otherwise (-was +is):\n%s", diff)
	}
	if list[0].ECC != proofs.ModeUntold || readings[2].Status != proofs.DeviceGone || readings[1].PowerW != proofs.NoPower || len(list) != 7 {
		t.Errorf("the host was not as planned: %+v %+v", list, readings)
	}
}

// A recording names no process and nothing that a statement does not tell.
func TestRecordingKeepsSecrets(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	for _, g := range gpus {
		g.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
			return []nvml.ProcessInfo{{Pid: 31337, UsedGpuMemory: 271828}}, nvml.SUCCESS
		}
	}
	text := string(record(t, lib, 2))
	for _, secret := range []string{"31337", "271828", "erial", "Pid"} {
		if strings.Contains(text, secret) {
			t.Errorf("the recording tells %q", secret)
		}
	}
	full := errors.New("disk is full")
	r := newRecorder(lib, writeFunc(func([]byte) (int, error) { return 0, full }))
	if _, err := newNVML(r); err != nil {
		t.Errorf("a recording that can't be written stops the reading: %v", err)
	}
	if err := r.failure(); !errors.Is(err, full) {
		t.Errorf("got %v, want that the disk is full", err)
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

// TestRecordings reads each recording in testdata. mock-dgxh100 is of NVIDIA's mock; one
// of a real host comes from ionet-worker doctor --record.
func TestRecordings(t *testing.T) {
	dir := filepath.Join("testdata", "nvml")
	if *updateRecordings {
		lib, _ := mockHost(t, dgxh100.New())
		lines := slices.Collect(bytes.Lines(record(t, lib, 1)))
		slices.SortFunc(lines, bytes.Compare) // GPUs are asked at once, in any order
		must(t, os.WriteFile(filepath.Join(dir, "mock-dgxh100.jsonl"), bytes.Join(lines, nil), 0o644))
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("there is no recording")
	}
	for _, path := range paths {
		recording, err := os.ReadFile(path)
		must(t, err)
		golden := strings.TrimSuffix(path, ".jsonl") + ".golden.json"
		got := seenIn(t, recording)
		if *updateRecordings {
			b, err := json.MarshalIndent(got, "", "\t")
			must(t, err)
			must(t, os.WriteFile(golden, append(b, '\n'), 0o644))
		}
		b, err := os.ReadFile(golden)
		must(t, err)
		var want seen
		must(t, json.Unmarshal(b, &want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is read otherwise (-want +got):\n%s", path, diff)
		}
	}
}
