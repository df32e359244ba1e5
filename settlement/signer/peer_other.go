//go:build !linux

package signer

import "net"

// tellsPeers: here the socket's mode alone says who may connect.
const tellsPeers = false

func checkPeer(net.Conn, []uint32) error { return nil }
