//go:build unix

package signer

import (
	"io/fs"
	"net"
	"os"
	"syscall"
)

// listenWithMode opens a socket whose mode is no wider from its first moment on.
func listenWithMode(path string, mode fs.FileMode) (net.Listener, error) {
	umask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(umask)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, mode)
}
