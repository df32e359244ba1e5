package signer

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Of those that connect and ask nothing the oldest makes room; who has asked stays.
func TestStrangersMakeRoom(t *testing.T) {
	var s strangers
	var far []net.Conn
	connect := func() net.Conn {
		near, other := net.Pipe()
		t.Cleanup(func() { near.Close(); other.Close() })
		far = append(far, other)
		s.note(near, http.StateNew)
		return near
	}
	isOpen := func(c net.Conn) bool {
		c.SetReadDeadline(time.Unix(1, 0)) // in the past: it answers at once
		_, err := c.Read(make([]byte, 1))
		return !errors.Is(err, io.EOF)
	}
	s.note(connect(), http.StateActive) // the service
	for range maxStrangers {
		connect()
	}
	gone := connect()
	s.note(gone, http.StateClosed)
	if !isOpen(far[0]) || isOpen(far[1]) || !isOpen(far[2]) {
		t.Errorf("open are the service %v, the oldest stranger %v, the next %v, want true, false, true", isOpen(far[0]), isOpen(far[1]), isOpen(far[2]))
	}
	connect()
	if !isOpen(far[2]) {
		t.Error("a stranger was closed though there is room after another left")
	}
	connect()
	if isOpen(far[2]) || len(s.open) != maxStrangers {
		t.Errorf("%d strangers are open, the oldest %v, want %d without it", len(s.open), isOpen(far[2]), maxStrangers)
	}
}
