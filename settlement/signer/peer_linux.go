package signer

import (
	"fmt"
	"net"
	"slices"
	"syscall"
)

// tellsPeers: the kernel says who is at the other end of a socket.
const tellsPeers = true

// checkPeer refuses a connection by another user than those.
func checkPeer(c net.Conn, users []uint32) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("check peer: %T is no unix connection", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("check peer: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return fmt.Errorf("check peer: %w", err)
	}
	if !slices.Contains(users, cred.Uid) {
		return fmt.Errorf("check peer: user %d is none of %d", cred.Uid, users)
	}
	return nil
}
