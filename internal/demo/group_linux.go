package main

import (
	"os"
	"syscall"
)

// ownGroup gives a child its own process group and has the kernel end it when
// the demo itself is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func interrupt(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
