//go:build unix

package signer

import (
	"net"
	"os"
	"syscall"
)

// listenPrivate opens a socket that nobody else can ever connect to: its mode is
// right from its first moment.
func listenPrivate(path string) (net.Listener, error) {
	umask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(umask)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}
