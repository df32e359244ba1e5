//go:build unix

package localnet

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C away from the child: we end it in our own time,
// after the last transaction, and it ends by itself when we are gone.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
