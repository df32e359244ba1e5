package ionet

import (
	"fmt"
	"time"
)

// Clock turns Unix seconds into epochs and samples:
//
//	epoch k  = [Start + (k-1)*Length, Start + k*Length)       k = 1, 2, ...
//	sample s = [start(k) + s*Length/Samples, ... )            s = 0 .. Samples-1
//
// Length is a multiple of Samples, so every sample has the same whole number of
// seconds: chains tell time in seconds.
type Clock struct {
	Start   int64  // Unix seconds of the first epoch's first second
	Length  uint32 // seconds of an epoch
	Samples uint16 // samples of an epoch
}

// Check returns an error that names the field that breaks a rule.
func (c Clock) Check() error {
	switch {
	case c.Start <= 0:
		return fmt.Errorf("start %d is not a positive Unix time", c.Start)
	case c.Samples == 0:
		return fmt.Errorf("samples is 0")
	case c.Length == 0 || c.Length%uint32(c.Samples) != 0:
		return fmt.Errorf("epoch_seconds %d is not a positive multiple of samples %d", c.Length, c.Samples)
	}
	return nil
}

// At returns the epoch and sample that hold t; ok is false before Start.
func (c Clock) At(t time.Time) (epoch uint64, sample uint16, ok bool) {
	d := t.Unix() - c.Start
	if d < 0 {
		return 0, 0, false
	}
	length := int64(c.Length)
	return uint64(d/length) + 1, uint16(d % length / c.SampleSeconds()), true
}

// EpochStart returns the Unix second at which epoch k begins; k >= 1.
func (c Clock) EpochStart(k uint64) int64 { return c.Start + int64(k-1)*int64(c.Length) }

// EpochEnd returns the Unix second after the last of epoch k.
func (c Clock) EpochEnd(k uint64) int64 { return c.Start + int64(k)*int64(c.Length) }

// SampleSeconds returns the length of a sample in seconds.
func (c Clock) SampleSeconds() int64 { return int64(c.Length) / int64(c.Samples) }

// SampleStart returns the Unix second at which sample s of epoch k begins.
func (c Clock) SampleStart(k uint64, s uint16) int64 {
	return c.EpochStart(k) + int64(s)*c.SampleSeconds()
}

// Ordinal numbers all samples of all epochs from 0, so that lateness is a
// difference: Ordinal(arrival) - Ordinal(statement).
func (c Clock) Ordinal(k uint64, s uint16) uint64 { return (k-1)*uint64(c.Samples) + uint64(s) }
