//go:build !cgo || !linux

package worker

import "io"

var errNoNVML = &DriverError{What: "this binary was built without cgo and has none", Fix: "build it on Linux with a C compiler (CGO_ENABLED=1), or make devices up with --simulate"}

// NewNVML says that this build cannot read GPUs: NVML is a C library.
func NewNVML() (Sampler, error) { return nil, errNoNVML }

// RecordNVML says the same.
func RecordNVML(io.Writer) (s Sampler, recorded func() error, err error) { return nil, nil, errNoNVML }
