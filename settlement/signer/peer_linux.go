package signer

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// checkPeer refuses a connection by another user than ours and root.
func checkPeer(c net.Conn) error {
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
	return checkUser(cred.Uid, uint32(os.Geteuid()))
}

func checkUser(peer, own uint32) error {
	if peer != own && peer != 0 {
		return fmt.Errorf("check peer: user %d is not %d", peer, own)
	}
	return nil
}
