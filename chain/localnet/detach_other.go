//go:build !unix

package localnet

import "os/exec"

func detach(*exec.Cmd) {}
