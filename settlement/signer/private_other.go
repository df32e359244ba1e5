//go:build !unix

package signer

import "net"

// listenPrivate opens a socket; this system gives it the folder's permissions.
func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
