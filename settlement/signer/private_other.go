//go:build !unix

package signer

import (
	"io/fs"
	"net"
)

// listenWithMode opens a socket; this system gives it the folder's permissions.
func listenWithMode(path string, _ fs.FileMode) (net.Listener, error) {
	return net.Listen("unix", path)
}
