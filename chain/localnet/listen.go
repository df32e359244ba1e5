package localnet

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// pairTries is how often a free pair of neighbouring ports is looked for.
const pairTries = 50

// listen opens the RPC's port and, where it can, the port above it, which old clients
// expect websockets at. Only loopback addresses are allowed: the faucet is for us.
func listen(address string) ([]net.Listener, error) {
	host, port := "127.0.0.1", 0
	if address != "" {
		h, p, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("read listen address: %w (write it as 127.0.0.1:8899)", err)
		}
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("read listen port %q: %w", p, err)
		}
		host = h
	}
	if err := checkLoopback(host); err != nil {
		return nil, err
	}
	if port == 0 {
		return listenPair(host)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for RPC: %w", err)
	}
	ws, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port+1)))
	if err != nil {
		return []net.Listener{l}, nil // taken: websockets are answered at the RPC's port
	}
	return []net.Listener{l, ws}, nil
}

// listenPair finds two neighbouring free ports.
func listenPair(host string) ([]net.Listener, error) {
	var last error
	for range pairTries {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("listen for RPC: %w", err)
		}
		next := l.Addr().(*net.TCPAddr).Port + 1
		ws, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
		if err == nil {
			return []net.Listener{l, ws}, nil
		}
		l.Close()
		last = err
		if !errors.Is(err, syscall.EADDRINUSE) && next < 65536 {
			break
		}
	}
	return nil, fmt.Errorf("find two free neighbouring ports: %w", last)
}

func checkLoopback(host string) error {
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("listen on %q: not a loopback address (use 127.0.0.1: anyone who reaches the faucet can use it)", host)
	}
	return nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}
