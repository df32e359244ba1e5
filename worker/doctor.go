package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Level says what a finding means.
type Level string

// Levels of findings.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn" // it works, and may cost something
	LevelFail Level = "fail" // it costs samples
)

// Finding is what one check of a host found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what a person can do
}

// Findings are those of several checks, in their order.
type Findings []Finding

func (f *Findings) ok(check, format string, args ...any) {
	*f = append(*f, Finding{Check: check, Level: LevelOK, Text: fmt.Sprintf(format, args...)})
}

func (f *Findings) warn(check, fix, format string, args ...any) {
	*f = append(*f, Finding{Check: check, Level: LevelWarn, Text: fmt.Sprintf(format, args...), Fix: fix})
}

func (f *Findings) fail(check, fix, format string, args ...any) {
	*f = append(*f, Finding{Check: check, Level: LevelFail, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// Failed returns how many checks failed.
func (f Findings) Failed() int {
	return countWhere(f, func(v Finding) bool { return v.Level == LevelFail })
}

// CheckNoSampler is the finding for GPUs that could not be opened.
func CheckNoSampler(err error) Findings {
	var f Findings
	var missing *DriverError
	if errors.As(err, &missing) {
		f.fail("nvml", missing.Fix, "%s", missing.What)
	} else {
		f.fail("nvml", "see whether nvidia-smi works on this host", "%v", err)
	}
	return f
}

// CheckDevices looks at the devices as the worker does once in each sample.
func CheckDevices(ctx context.Context, s Sampler) Findings {
	var f Findings
	list, err := inventoryOf(ctx, s)
	if err != nil {
		return CheckNoSampler(err)
	}
	readings, err := s.Sample(ctx)
	if err != nil {
		return CheckNoSampler(err)
	}
	if s.Simulated() {
		f.warn("simulated", "leave --simulate out on a host with GPUs", "THE DEVICES ARE MADE UP (--simulate): their inventory says so, and most networks pay nothing for them")
	} else if drivers := driversOf(list); slices.Contains(drivers, plain("")) {
		f.warn("nvml", "see whether nvidia-smi works on this host", "NVML answers, and does not tell the driver's version")
	} else {
		f.ok("nvml", "NVML answers, driver %s, %d GPUs", drivers[0], len(list))
	}
	for _, d := range list {
		checkDevice(&f, d, readings)
	}
	for _, r := range readings {
		if r.Device == (ionet.UUID{}) {
			f.fail("device", lostFix, "GPU %d does not tell who it is, so it can't be proven: %s", r.Index, r.Trouble)
		}
	}
	return f
}

const lostFix = "look for Xid errors in `dmesg`, try `nvidia-smi --gpu-reset`, or reboot; then check its power and its seat"

func driversOf(list []proofs.InventoryDevice) (drivers []string) {
	for _, d := range list {
		drivers = append(drivers, d.Driver)
	}
	return drivers
}

func checkDevice(f *Findings, d proofs.InventoryDevice, readings []Reading) {
	at := slices.IndexFunc(readings, func(r Reading) bool { return r.Device == d.UUID })
	if at < 0 {
		f.fail("device", lostFix, "%s %s is not there", d.UUID, d.Name)
		return
	}
	r := readings[at]
	switch {
	case r.Status != proofs.DeviceOK:
		f.fail("device", lostFix, "%s %s does not answer: %s", d.UUID, d.Name, r.Trouble)
	case r.ECCErrors != proofs.NoECCErrors && r.ECCErrors > 0:
		f.warn("device", "look for Xid errors in `dmesg`; errors that come back mean that the GPU is failing", "%s, %d uncorrected memory errors since the driver was loaded", DeviceLine(d), r.ECCErrors)
	default:
		f.ok("device", "%s: %s", DeviceLine(d), ReadingLine(r.UptimeDevice))
	}
}

// DeviceLine describes a device of an inventory in one line.
func DeviceLine(d proofs.InventoryDevice) string {
	s := fmt.Sprintf("%s %s, %d MiB", d.UUID, d.Name, d.MemoryMiB)
	if d.MIG == proofs.ModeOn {
		s += ", MIG on"
	}
	return s
}

// ReadingLine tells what a device told.
func ReadingLine(d proofs.UptimeDevice) string {
	if d.Status != proofs.DeviceOK {
		return "GONE"
	}
	s := fmt.Sprintf("%d MiB in use", d.MemoryMiB)
	if d.Utilization != proofs.NoUtilization {
		s += fmt.Sprintf(", %d%% busy", d.Utilization)
	}
	if d.Temperature != proofs.NoTemperature {
		s += fmt.Sprintf(", %d C", d.Temperature)
	}
	if d.PowerW != proofs.NoPower {
		s += fmt.Sprintf(", %d W", d.PowerW)
	}
	return s
}
