package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain/localnet"
)

// TestMain lets a test run this binary as the command itself.
func TestMain(m *testing.M) {
	if os.Getenv("IONET_TEST_RUN_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command starts the command as a process and waits for its addresses.
func command(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "IONET_TEST_RUN_MAIN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	readLines(t, out, 3)
	return cmd
}

// childOf finds the virtual machine's process, where the system shows it.
func childOf(t *testing.T, pid int) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Skip("this system does not list a process's children")
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Skip("this system does not list a process's children")
		}
		if child := strings.TrimSpace(string(b)); child != "" {
			return child
		}
	}
	t.Fatal("the command has no child")
	return ""
}

// gone reports whether a process has ended; one that nobody has reaped yet has.
func gone(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(state, "Z")
}

// However the command ends, its virtual machine ends too.
func TestChildEndsWithTheCommand(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := command(t)
			child := childOf(t, cmd.Process.Pid)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			if signal != syscall.SIGKILL && err != nil {
				t.Errorf("ended with %v", err)
			}
			for deadline := time.Now().Add(5 * time.Second); !gone(child); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("process %s still runs", child)
				}
			}
		})
	}
}

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

// start runs the command with these arguments until the test ends and returns its first lines.
func start(t *testing.T, lines int, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), w, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return readLines(t, r, lines)
}

// state is what GET /admin says, at the address of the first line.
func state(t *testing.T, line string) (s localnet.State) {
	t.Helper()
	res, err := http.Get(strings.TrimPrefix(line, "rpc ") + "/admin")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Fronts, script and admin interface together: the second front fails as the script says.
func TestScriptOfFaults(t *testing.T) {
	script := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(script, []byte(`[
		{"after_slots": 1, "command": {"do": "fault", "front": 1, "fault": {"answer": "429"}}},
		{"after_slots": 1000000, "command": {"do": "fork", "fork": {"slots": 3, "then": "again"}}}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	lines := start(t, 6, "--slot-time", "5ms", "--fronts", "2", "--admin", "--faults", script)
	second, ok := strings.CutPrefix(lines[3], "front 1 rpc ")
	if !ok || lines[5] != "admin "+strings.TrimPrefix(lines[0], "rpc ")+"/admin" {
		t.Fatalf("got lines %q", lines)
	}
	for deadline := time.Now().Add(10 * time.Second); len(state(t, lines[0]).Script) > 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the script did not begin")
		}
	}
	// The step has left the script; that it is carried out may take a moment longer.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Post(second, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"getSlot"}`))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == http.StatusTooManyRequests {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("second front: got %s", res.Status)
		}
	}
}

func TestFaultsByChance(t *testing.T) {
	lines := start(t, 4, "--seed", "5", "--admin", "--faults", "seed:7,every=30,longest=9")
	if c := state(t, lines[0]).Chaos; c == nil || c.Seed != 7 || c.Every != 30 || c.Longest != 9 {
		t.Errorf("got %+v", c)
	}
	again := start(t, 3, "--seed", "5")
	if again[2] != lines[2] {
		t.Errorf("one seed, two chains: %s and %s", again[2], lines[2])
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
		{"no such script", "--faults nowhere.json", "", "seed:N"},
		{"seed without a number", "--faults seed:", "", "want seed:N"},
		{"seed 0", "--faults seed:0", "", "want seed:N"},
		{"unknown setting", "--faults seed:1,often=2", "", "want seed:N"},
		{"no front", "--fronts 0", "", "--fronts"},
		{"no depth", "--finality-depth=-1", "", "--finality-depth: want a whole number from 1 on"},
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
