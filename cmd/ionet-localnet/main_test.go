package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRunServesUntilCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"--listen", "127.0.0.1:0", "--slot-time", "10ms"}, w, io.Discard) }()
	lines := readLines(t, r, 3)
	url, ok := strings.CutPrefix(lines[0], "rpc ")
	if !ok || !strings.HasPrefix(lines[1], "websocket ws://127.0.0.1:") || !strings.HasPrefix(lines[2], "genesis ") {
		t.Fatalf("got lines %q", lines)
	}
	res, err := http.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("run did not stop")
	}
	if _, err := http.Get(url + "/health"); err == nil {
		t.Error("still answers after its end")
	}
}

func readLines(t *testing.T, r io.Reader, n int) []string {
	t.Helper()
	var got bytes.Buffer
	one := make([]byte, 1)
	for strings.Count(got.String(), "\n") < n {
		if _, err := r.Read(one); err != nil {
			t.Fatalf("read output: %v after %q", err, got.String())
		}
		got.Write(one)
	}
	return strings.Split(strings.TrimSpace(got.String()), "\n")
}

func TestRunArguments(t *testing.T) {
	for _, c := range []struct {
		name, args, out, err string
	}{
		{"help", "--help", "--slot-time", ""},
		{"unknown flag", "--no-such", "", "unknown flag"},
		{"not loopback", "--listen 0.0.0.0:8899", "", "not a loopback address"},
		{"bad address", "--listen nowhere", "", "127.0.0.1:8899"},
		{"too fast", "--slot-time 1us", "", "below 1ms"},
		{"no depth", "--finality-depth=-1", "", "finality depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), strings.Fields(c.args), &out, io.Discard)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got error %v, want %q", err, c.err)
			}
			if !strings.Contains(out.String(), c.out) {
				t.Errorf("got output %q, want it to contain %q", out.String(), c.out)
			}
		})
	}
}
