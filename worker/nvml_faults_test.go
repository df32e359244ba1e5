//go:build cgo && linux

package worker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A GPU falls off the bus: it stays in the inventory, gone. Then it is out of the list,
// and when it is back it is well.
func TestNVMLVanishes(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	s, err := newNVML(lib)
	must(t, err)
	before, _, _ := look(t, s)

	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 3 {
			return nil, nvml.ERROR_GPU_IS_LOST
		}
		return gpus[i], nvml.SUCCESS
	}
	list, entries, readings := look(t, s)
	if !slices.Equal(list, before) || entries[3] != gone || entries[4] != wellReading(4) {
		t.Errorf("lost: got %+v, %+v", list, entries)
	}
	if why := troublesOf(before, readings); len(why) != 1 || !strings.Contains(why[before[3].UUID.String()], "GPU_IS_LOST") {
		t.Errorf("lost: troubles are %q", why)
	}

	// NVML counts one less, and the others moved up.
	rest := slices.Delete(slices.Clone(gpus), 3, 4)
	lib.DeviceGetCountFunc = func() (int, nvml.Return) { return len(rest), nvml.SUCCESS }
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) { return rest[i], nvml.SUCCESS }
	list, _, readings = look(t, s)
	if want := slices.Delete(slices.Clone(before), 3, 4); !slices.Equal(list, want) {
		t.Errorf("removed: got %+v, want %+v", list, want)
	}
	entries = entriesFor(before, readings)
	if entries[3] != gone || entries[4] != wellReading(4) || entries[7] != wellReading(7) {
		t.Errorf("removed: got %+v", entries)
	}
	if why := troublesOf(before, readings); !strings.Contains(why[before[3].UUID.String()], "does not list it") || len(why) != 1 {
		t.Errorf("removed: troubles are %q", why)
	}

	lib.DeviceGetCountFunc = func() (int, nvml.Return) { return len(gpus), nvml.SUCCESS }
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) { return gpus[i], nvml.SUCCESS }
	list, entries, readings = look(t, s)
	if !slices.Equal(list, before) || entries[3] != wellReading(3) || len(troublesOf(before, readings)) != 0 {
		t.Errorf("back: got %+v, %+v", list, entries)
	}
}

// GPUs change their places while one is lost: the one that answers from another place is
// well, whatever its old place says.
func TestNVMLMoves(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	s, err := newNVML(lib)
	must(t, err)
	before, _, _ := look(t, s)
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		switch i {
		case 0:
			return nil, nvml.ERROR_GPU_IS_LOST
		case 1:
			return gpus[0], nvml.SUCCESS
		}
		return gpus[i], nvml.SUCCESS
	}
	list, entries, _ := look(t, s)
	if len(list) != len(before)-1 || entries[0] != wellReading(0) || entries[1] != wellReading(2) {
		t.Errorf("got %+v, %+v", list, entries)
	}
}

// A GPU that was lost before the worker began is nobody by name.
func TestNVMLLostAtStart(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 0 {
			return nil, nvml.ERROR_UNKNOWN
		}
		return gpus[i], nvml.SUCCESS
	}
	s, err := newNVML(lib)
	must(t, err)
	list, _, readings := look(t, s)
	if len(list) != len(gpus)-1 || readings[0].Device != (ionet.UUID{}) {
		t.Errorf("%d devices, want all but the lost one; its reading is %+v", len(list), readings[0])
	}
	if why := troublesOf(list, readings); len(why) != 1 || !strings.Contains(why["GPU 0"], "handle") {
		t.Errorf("troubles are %q", why)
	}
}

// The driver is loaded anew: old handles are worth nothing, NVML is opened again, and
// what the new driver has is found.
func TestNVMLDriverReload(t *testing.T) {
	lib, gpus := mockHost(t, dgxh100.New())
	opened, shut, loaded := 1, 0, 1 // each open serves the driver of its time
	lib.InitFunc = func() nvml.Return {
		if loaded == 0 {
			return nvml.ERROR_DRIVER_NOT_LOADED
		}
		opened = loaded
		return nvml.SUCCESS
	}
	lib.ShutdownFunc = func() nvml.Return { shut++; return nvml.ERROR_UNINITIALIZED }
	lib.DeviceGetCountFunc = func() (int, nvml.Return) {
		if opened != loaded {
			return 0, nvml.ERROR_UNINITIALIZED
		}
		return len(gpus), nvml.SUCCESS
	}
	s, err := newNVML(lib)
	must(t, err)
	before, _, _ := look(t, s)
	if shut != 0 {
		t.Errorf("a driver that is well was closed %d times", shut)
	}
	loaded = 0
	if _, err := s.Inventory(t.Context()); err == nil || !strings.Contains(err.Error(), "modprobe nvidia") {
		t.Errorf("without a driver: %v", err)
	}
	loaded = 2
	lib.DriverVersion = "600.0"
	list, entries, _ := look(t, s)
	if len(list) != len(before) || list[0].Driver != "600.0" || entries[5] != wellReading(5) {
		t.Errorf("after the reload: %+v, %+v", list, entries)
	}

	// Another version's kernel module: this process has the old library.
	for name, fail := range map[string]func(){
		"of counting": func() {
			lib.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_LIB_RM_VERSION_MISMATCH }
		},
		"of opening": func() {
			lib.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNINITIALIZED }
		},
	} {
		fail()
		lib.InitFunc = func() nvml.Return { return nvml.ERROR_LIB_RM_VERSION_MISMATCH }
		if _, err := inventoryOf(t.Context(), s); !errors.Is(err, ErrDriverChanged) {
			t.Errorf("%s: got %v, want ErrDriverChanged", name, err)
		}
	}
}

// One GPU hangs: it alone is gone, nobody waits for it twice, nothing is closed beneath
// it, and when the call comes back so does the GPU.
func TestNVMLHangs(t *testing.T) {
	for name, hang := range map[string]func(*server.Device, func()){
		"reading": func(g *server.Device, wait func()) {
			g.GetPowerUsageFunc = func() (uint32, nvml.Return) { wait(); return 102_999, nvml.SUCCESS }
		},
		"describing": func(g *server.Device, wait func()) {
			g.GetVbiosVersionFunc = func() (string, nvml.Return) { wait(); return "96.00.5E.00.01", nvml.SUCCESS }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lib, gpus := mockHost(t, dgxh100.New())
				lib.ShutdownFunc = func() nvml.Return { t.Error("NVML is closed though a call is out"); return nvml.SUCCESS }
				s, err := newNVML(lib)
				must(t, err)
				before, _, _ := look(t, s)
				release, calls := make(chan struct{}), 0
				hang(gpus[2], func() { calls++; <-release })
				for range 3 {
					list, entries, readings := look(t, s)
					if !slices.Equal(list, before) || entries[2] != gone || entries[3] != wellReading(3) {
						t.Errorf("while it hangs: %+v, %+v", list, entries)
					}
					if why := troublesOf(before, readings); len(why) != 1 || !strings.Contains(why[before[2].UUID.String()], "does not come back") {
						t.Errorf("troubles are %q", why)
					}
				}
				synctest.Wait()
				if calls != 1 {
					t.Errorf("%d calls hang, want 1", calls)
				}
				close(release)
				synctest.Wait()
				if _, entries, _ := look(t, s); entries[2] != wellReading(2) {
					t.Errorf("after it came back: %+v", entries[2])
				}
			})
		})
	}
}

// All GPUs hang: NVML is not closed beneath the calls to find out whether that helps.
func TestNVMLAllHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lib, gpus := mockHost(t, dgxh100.New())
		lib.ShutdownFunc = func() nvml.Return { t.Error("NVML is closed though calls are out"); return nvml.SUCCESS }
		s, err := newNVML(lib)
		must(t, err)
		before, _, _ := look(t, s)
		release := make(chan struct{})
		for _, g := range gpus {
			g.GetNameFunc = func() (string, nvml.Return) { <-release; return g.Config.Name, nvml.SUCCESS }
		}
		for range 3 {
			list, entries, _ := look(t, s)
			if !slices.Equal(list, before) || slices.ContainsFunc(entries, func(d proofs.UptimeDevice) bool { return d != gone }) {
				t.Errorf("while all hang: %+v, %+v", list, entries)
			}
		}
		close(release)
		synctest.Wait()
		if _, entries, _ := look(t, s); entries[7] != wellReading(7) {
			t.Errorf("after they came back: %+v", entries)
		}
	})
}

// NVML itself hangs: that is an error, at once from the second time on.
func TestNVMLHangsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lib, _ := mockHost(t, dgxh100.New())
		release := make(chan struct{})
		count := lib.DeviceGetCountFunc
		s, err := newNVML(lib)
		must(t, err)
		look(t, s)
		lib.DeviceGetCountFunc = func() (int, nvml.Return) { <-release; return count() }
		for range 3 {
			if _, err := s.Inventory(t.Context()); !errors.Is(err, errHangs) {
				t.Errorf("got %v, want errHangs", err)
			}
		}
		close(release)
		synctest.Wait()
		if _, entries, _ := look(t, s); entries[0] != wellReading(0) {
			t.Errorf("after it came back: %+v", entries[0])
		}

		// So does opening it again: that goes on by itself, and no sample is missed meanwhile.
		open := make(chan struct{})
		lib.InitFunc = func() nvml.Return { <-open; lib.DeviceGetCountFunc = count; return nvml.SUCCESS }
		lib.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNINITIALIZED }
		for range 3 {
			began := time.Now()
			if _, err := s.Inventory(t.Context()); !errors.Is(err, errHangs) || time.Since(began) > 4*patience {
				t.Errorf("opening again hangs: %v after %s", err, time.Since(began))
			}
		}
		close(open)
		synctest.Wait()
		if _, entries, _ := look(t, s); entries[0] != wellReading(0) {
			t.Errorf("after it was opened again: %+v", entries[0])
		}

		stuck, _ := mockHost(t, dgxh100.New())
		forever := make(chan struct{})
		stuck.InitFunc = func() nvml.Return { <-forever; return nvml.SUCCESS }
		if _, err := newNVML(stuck); err == nil || !strings.Contains(err.Error(), "reboot") {
			t.Errorf("opening hangs: %v", err)
		}
		close(forever)
	})
}

// The error of a host without a driver says what to do.
func TestNVMLMissing(t *testing.T) {
	for ret, want := range map[nvml.Return]string{
		nvml.ERROR_LIBRARY_NOT_FOUND:       "install the NVIDIA driver",
		nvml.ERROR_DRIVER_NOT_LOADED:       "modprobe nvidia",
		nvml.ERROR_NO_PERMISSION:           "/dev/nvidia",
		nvml.ERROR_LIB_RM_VERSION_MISMATCH: "reboot",
		nvml.ERROR_UNKNOWN:                 "open NVML",
	} {
		lib := dgxh100.New()
		lib.InitFunc = func() nvml.Return { return ret }
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
