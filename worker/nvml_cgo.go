//go:build cgo && linux

package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// How long NVML is waited for. A driver that starts a GPU may take half a minute for
// it; after that an answer takes milliseconds.
const (
	startPatience = time.Minute     // before the first sample: to open the library, and for all GPUs to answer
	patience      = 5 * time.Second // from then on, for a sample must not be missed
)

// nvmlSampler reads the GPUs through NVIDIA's management library.
//
// A call into a driver that hangs can't be taken back. So each call is made by a
// goroutine that is left behind when it does not come back in time, and whom it was
// about is asked nothing more until it does: one GPU that hangs costs no other one
// its reading, and no goroutines pile up.
type nvmlSampler struct {
	lib  nvml.Interface
	line line // to the library itself

	mu    sync.Mutex // guards what follows; never held during a call
	slots []slot     // by NVML's index
	known map[ionet.UUID]proofs.InventoryDevice
	taken bool // an inventory was taken
}

// slot is a place where NVML says that there is a GPU.
type slot struct {
	line   line
	handle nvml.Device // nil: the GPU there doesn't answer
	uuid   ionet.UUID  // that it told last; zeros: it never did
	why    string      // why it doesn't answer
}

// NewNVML opens the driver's management library. An error says what is missing.
func NewNVML() (Sampler, error) { return newNVML(nvml.New()) }

func newNVML(lib nvml.Interface) (*nvmlSampler, error) {
	s := &nvmlSampler{lib: lib, line: newLine(), known: map[ionet.UUID]proofs.InventoryDevice{}}
	ret, err := ask(context.Background(), s.line, startPatience, lib.Init)
	if err != nil {
		return nil, &DriverError{What: err.Error(), Fix: "see whether `nvidia-smi` hangs too, and reboot the host"}
	}
	return s, opened(ret)
}

// opened says what a person can do where NVML did not open.
func opened(ret nvml.Return) error {
	switch ret {
	case nvml.SUCCESS:
		return nil
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return &DriverError{What: "libnvidia-ml.so.1 is not on this host", Fix: "install the NVIDIA driver (in a container, pass the GPUs in), or make devices up with --simulate"}
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return &DriverError{What: "the NVIDIA kernel driver is not loaded", Fix: "try `nvidia-smi`, or load it with `modprobe nvidia`"}
	case nvml.ERROR_NO_PERMISSION:
		return &DriverError{What: "no permission for the NVIDIA devices", Fix: "run as a user who may read and write /dev/nvidia*"}
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return &DriverError{What: "the library and the kernel module are of two driver versions", Fix: "start the worker again; if it stays so, reload the module or reboot", Err: ErrDriverChanged}
	}
	return &DriverError{What: ret.Error(), Fix: "see whether `nvidia-smi` works on this host"}
}

// Simulated reports false.
func (s *nvmlSampler) Simulated() bool { return false }

// Inventory asks NVML for all GPUs. One that never told its UUID can't be named and is
// left out; one that did, and that NVML still counts, stays in the list as it was
// told last. When nothing answers NVML is opened anew, for the driver may have been
// loaded anew.
func (s *nvmlSampler) Inventory(ctx context.Context) ([]proofs.InventoryDevice, error) {
	list, answered, err := s.enumerate(ctx)
	if answered == 0 && ctx.Err() == nil && !s.hangs() {
		if err := s.reopen(ctx); err != nil {
			return nil, err
		}
		list, _, err = s.enumerate(ctx)
	}
	return list, err
}

// hangs reports whether a call is out: then NVML is not closed beneath it.
func (s *nvmlSampler) hangs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.busy() || slices.ContainsFunc(s.slots, func(p slot) bool { return p.line.busy() })
}

// reopen closes and opens NVML. Where that takes long it goes on by itself, and a later
// sample finds it open.
func (s *nvmlSampler) reopen(ctx context.Context) error {
	ret, err := ask(ctx, s.line, patience, func() nvml.Return {
		s.lib.Shutdown() // of a driver that is gone this fails, and opening goes on
		return s.lib.Init()
	})
	if err != nil {
		return fmt.Errorf("open NVML again: %w", err)
	}
	return opened(ret)
}

// census is what NVML says of the whole host.
type census struct {
	count  int
	ret    nvml.Return
	driver string
}

// enumerate asks for each GPU's description and returns those that it can name, and
// how many answered.
func (s *nvmlSampler) enumerate(ctx context.Context) (list []proofs.InventoryDevice, answered int, err error) {
	all, err := ask(ctx, s.line, patience, func() (c census) {
		c.count, c.ret = s.lib.DeviceGetCount()
		if driver, ret := s.lib.SystemGetDriverVersion(); ret == nvml.SUCCESS {
			c.driver = driver
		}
		return c
	})
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("count GPUs: %w", err)
	case all.ret == nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return nil, 0, fmt.Errorf("count GPUs: %w", ErrDriverChanged)
	case all.ret != nvml.SUCCESS:
		return nil, 0, fmt.Errorf("count GPUs: %s", all.ret.Error())
	}
	slots, wait := s.seats(all.count)
	told := atOnce(slots, func(i int, p slot) described { return s.describe(ctx, i, p, wait, all.driver) })
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	list, answered = s.seat(told)
	return list, answered, nil
}

// seats makes as many slots as NVML counts GPUs, and says how long each is waited for.
func (s *nvmlSampler) seats(count int) ([]slot, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = s.slots[:min(len(s.slots), max(count, 0))]
	for len(s.slots) < count {
		s.slots = append(s.slots, slot{line: newLine()})
	}
	if s.taken {
		return slices.Clone(s.slots), patience
	}
	return slices.Clone(s.slots), startPatience
}

// atOnce does f for all slots, each in a goroutine.
func atOnce[T any](slots []slot, f func(index int, p slot) T) []T {
	results := make([]T, len(slots))
	var all sync.WaitGroup
	for i, p := range slots {
		all.Go(func() { results[i] = f(i, p) })
	}
	all.Wait()
	return results
}

// described is what came back from one slot.
type described struct {
	handle nvml.Device
	device proofs.InventoryDevice
	why    string // it did not answer
}

func (s *nvmlSampler) describe(ctx context.Context, index int, p slot, wait time.Duration, driver string) described {
	d, err := ask(ctx, p.line, wait, func() (d described) {
		handle, ret := s.lib.DeviceGetHandleByIndex(index)
		if ret != nvml.SUCCESS {
			d.why = "NVML gives no handle of it: " + ret.Error()
			return d
		}
		d.handle = handle
		d.device, d.why = describeGPU(handle, s.has)
		d.device.Driver = driver
		return d
	})
	if err != nil {
		d.why = err.Error()
	}
	return d
}

// has reports whether the driver's library has that function: a call of one that an
// old library lacks would end the process.
func (s *nvmlSampler) has(symbol string) bool {
	return s.lib.Extensions().LookupSymbol(symbol) == nil
}

// seat keeps what the slots told and lists the devices that can be named.
func (s *nvmlSampler) seat(told []described) (list []proofs.InventoryDevice, answered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	here := map[ionet.UUID]bool{}
	for i, d := range told {
		p := &s.slots[i]
		p.handle, p.why = d.handle, d.why
		if d.why != "" {
			p.handle = nil
			continue
		}
		p.uuid = d.device.UUID
		s.known[p.uuid], here[p.uuid] = d.device, true
		list = append(list, d.device)
		answered++
	}
	for i := range s.slots {
		p := &s.slots[i]
		if p.handle != nil {
			continue
		}
		if here[p.uuid] {
			p.uuid = ionet.UUID{} // its GPU answers from another index now
		}
		if device, known := s.known[p.uuid]; known {
			here[p.uuid] = true
			list = append(list, device)
		}
	}
	return list, answered
}

// Sample reads each GPU of the last Inventory.
func (s *nvmlSampler) Sample(ctx context.Context) ([]Reading, error) {
	s.mu.Lock()
	taken, slots := s.taken, slices.Clone(s.slots)
	s.mu.Unlock()
	if !taken {
		return nil, errors.New("read GPUs: no inventory was taken")
	}
	list := atOnce(slots, func(i int, p slot) Reading { return s.read(ctx, i, p) })
	return list, ctx.Err()
}

func (s *nvmlSampler) read(ctx context.Context, index int, p slot) Reading {
	r := Reading{Device: p.uuid, Index: index, UptimeDevice: proofs.UptimeDevice{Status: proofs.DeviceGone}, Trouble: p.why}
	if p.handle == nil {
		return r
	}
	got, err := ask(ctx, p.line, patience, func() Reading {
		d, why := readGPU(p.handle, s.has)
		return Reading{Device: r.Device, Index: index, UptimeDevice: d, Trouble: why}
	})
	if err != nil {
		r.Trouble = err.Error()
		return r
	}
	return got
}

// line lets one call through at a time.
type line chan struct{}

func newLine() line { return make(line, 1) }

func (l line) busy() bool { return len(l) == 1 }

// errHangs reports a call into the driver that did not come back in time, now or
// before.
var errHangs = errors.New("the driver does not come back from a call")

// ask makes a call and waits for it for that long. A call that is still out then
// goes on, and keeps the line.
func ask[T any](ctx context.Context, l line, wait time.Duration, call func() T) (answer T, err error) {
	select {
	case l <- struct{}{}:
	default:
		return answer, errHangs
	}
	done := make(chan T, 1)
	go func() {
		v := call()
		<-l
		done <- v
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case v := <-done:
		return v, nil
	case <-timer.C:
		return answer, errHangs
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}
