package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/worker"
)

// wantLine looks for a line of doctor's.
func wantLine(t *testing.T, when, out, line string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^` + line).MatchString(out) {
		t.Errorf("%s: no line %q in\n%s", when, line, out)
	}
}

// TestDoctor runs doctor from before init to a host that is at work, and breaks things.
func TestDoctor(t *testing.T) {
	server, dir, wallet := serve(t), filepath.Join(t.TempDir(), "host"), newWallet(t)
	args := []string{"doctor", "--dir", dir, "--server", server}
	simulated := append(args, "--simulate", "2")

	out, err := do(t, args...)
	if _, missing := worker.NewNVML(); missing != nil {
		wantLine(t, "no GPU", out, `fail  nvml `)
		wantLine(t, "no GPU", out, ` +fix: .*--simulate`)
	}
	if err == nil || !regexp.MustCompile(`^\d of \d+ checks fail$`).MatchString(err.Error()) {
		t.Errorf("before init: %v", err)
	}
	wantLine(t, "before init", out, `fail  folder `)
	wantLine(t, "before init", out, `ok    service `)

	provider := chain.PublicOf(wallet).String()
	init, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "2", "--provider", provider)
	check(t, err)
	out, err = do(t, simulated...)
	if err == nil {
		t.Error("without a delegation nothing fails")
	}
	wantLine(t, "after init", out, `warn  simulated    THE DEVICES ARE MADE UP`)
	wantLine(t, "after init", out, `ok    key `)
	wantLine(t, "after init", out, `ok    network      hosts `)
	wantLine(t, "after init", out, `fail  delegation   wallet `+provider+` has not delegated to worker `)
	delegate(t, server, wallet, workerLine.FindStringSubmatch(init)[1])

	said, stop := start(t, "--server", server, "--dir", dir, "--simulate", "2")
	said.waitFor(t, `^SIMULATED DEVICES: they are made up`)
	said.waitFor(t, `^registered 2 devices`)
	out, err = do(t, simulated...)
	check(t, err)
	for _, line := range []string{
		`warn  simulated `, `ok    device       GPU-\S+ NVIDIA `, `ok    folder `, `ok    lock         a worker is running`, `ok    key `,
		`ok    delegation   by ` + provider, `ok    spool `, `(ok|warn)    ?disk `, `ok    service `, `ok    clock `, `ok    revoked `,
	} {
		wantLine(t, "at work", out, line)
	}
	checkDoctorJSON(t, simulated)
	stop()
	out, err = do(t, simulated...)
	check(t, err)
	wantLine(t, "stopped", out, `warn  lock `)

	check(t, os.Chmod(filepath.Join(dir, "key.json"), 0o644))
	out, err = do(t, simulated...)
	if err == nil || !strings.HasPrefix(err.Error(), "1 of ") {
		t.Errorf("open key: %v\n%s", err, out)
	}
	wantLine(t, "open key", out, `fail  key          .*may be read by others`)
	wantLine(t, "open key", out, ` +fix: chmod 600 `)
	check(t, os.Chmod(filepath.Join(dir, "key.json"), 0o600))

	out, err = do(t, "doctor", "--dir", dir, "--simulate", "2", "--server", serve(t), "--rpc", "http://127.0.0.1:1")
	if err == nil || !strings.HasPrefix(err.Error(), "2 of ") {
		t.Errorf("another network's service and no chain: %v", err)
	}
	wantLine(t, "another network", out, `fail  service      .*this worker joined`)
	wantLine(t, "no chain", out, `fail  chain `)
	out, err = do(t, "doctor", "--dir", dir, "--simulate", "2")
	check(t, err)
	wantLine(t, "no server", out, `warn  service      the service was not asked`)
}

// checkDoctorJSON reads what doctor --json prints.
func checkDoctorJSON(t *testing.T, args []string) {
	t.Helper()
	out, err := do(t, append(args, "--json")...)
	check(t, err)
	var got struct {
		OK       bool
		Findings []worker.Finding
	}
	check(t, json.Unmarshal([]byte(out), &got))
	if !got.OK || len(got.Findings) < 10 || got.Findings[0].Check != "simulated" || got.Findings[0].Level != worker.LevelWarn || got.Findings[0].Fix == "" {
		t.Errorf("got %+v", got)
	}
}

// TestDoctorRecords writes what NVML said, into a new file only.
func TestDoctorRecords(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nvml.jsonl")
	if _, err := do(t, "doctor", "--dir", dir, "--record", path, "--simulate", "1"); err == nil || !strings.Contains(err.Error(), "--simulate asks none") {
		t.Errorf("a recording of made-up devices: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it wrote something")
	}
	_, err := do(t, "doctor", "--dir", dir, "--record", path)
	if err == nil || !strings.Contains(err.Error(), "checks fail") { // the folder holds no key
		t.Errorf("recording: %v", err)
	}
	b, err := os.ReadFile(path)
	check(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the recording: %v, %v", info.Mode(), err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	if _, err := worker.NewNVML(); err != nil && strings.Contains(err.Error(), "without cgo") {
		lines = nil // this build knows no NVML
	} else if !strings.HasPrefix(lines[0], `{"call":"nvmlInit",`) {
		t.Errorf("the recording begins with %q", lines[0])
	}
	for _, line := range lines {
		if line != "" && !json.Valid([]byte(line)) {
			t.Errorf("%q is no line of JSON", line)
		}
	}
	if _, err := do(t, "doctor", "--dir", dir, "--record", path); err == nil || !strings.Contains(err.Error(), "--record: ") {
		t.Errorf("a file is written over: %v", err)
	}
}

// TestMetricsWhileWaiting: an address that is none ends run before it makes anything, and
// a host that no wallet has signed for yet tells that.
func TestMetricsWhileWaiting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	args := []string{"--dir", dir, "--simulate", "1", "--provider", chain.PublicOf(newWallet(t)).String(), "--metrics"}
	for _, address := range []string{"9464", "localhost:99999", "http://127.0.0.1:9464"} {
		if _, err := do(t, append([]string{"run", "--server", "http://127.0.0.1:1"}, append(args, address)...)...); err == nil || !strings.HasPrefix(err.Error(), "--metrics: ") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("run made the folder before it looked at --metrics")
	}
	said, stop := start(t, append(args, "127.0.0.1:0", "--server", serve(t))...)
	said.waitFor(t, `^waiting for wallet `)
	body := get(t, regexp.MustCompile(`(?m)^metrics (\S+)$`).FindStringSubmatch(said.String())[1])
	wantLine(t, "waiting", body, `ionet_worker_waiting_for_delegation 1$`)
	wantLine(t, "waiting", body, `ionet_worker_build_info\{`)
	stop()
}

// TestRunMetrics asks a running worker over HTTP.
func TestRunMetrics(t *testing.T) {
	server, dir, wallet := serve(t), filepath.Join(t.TempDir(), "host"), filepath.Join(t.TempDir(), "wallet.json")
	check(t, chain.WriteKeypair(wallet, newWallet(t)))
	args := []string{"--server", server, "--dir", dir, "--keypair", wallet, "--simulate", "2"}
	if _, err := do(t, append([]string{"run", "--metrics", "256.0.0.1:1"}, args...)...); err == nil || !strings.HasPrefix(err.Error(), "--metrics: ") {
		t.Errorf("an address that is none: %v", err)
	}
	said, stop := start(t, append(args, "--metrics", "127.0.0.1:0")...)
	said.waitFor(t, `^metrics http://127\.0\.0\.1:\d+/metrics$`)
	said.waitFor(t, `^registered 2 devices`)
	url := regexp.MustCompile(`(?m)^metrics (\S+)$`).FindStringSubmatch(said.String())[1]
	body := ""
	for range 3000 { // the reading and the registering are two goroutines
		if body = get(t, url); !strings.Contains(body, "ionet_worker_samples_read_total 0\n") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, line := range []string{
		`ionet_worker_samples_read_total [1-9]`, `ionet_worker_samples_signed_total 0`, `ionet_worker_service_reachable 1`, `ionet_worker_simulated 1`,
		`ionet_worker_devices\{state="up"\} 2`, `ionet_worker_devices\{state="gone"\} 0`, `ionet_worker_omissions_total 0`,
		`ionet_worker_readings_waiting [1-9]`, `ionet_worker_spool_limit_bytes 6.7108864e\+07`, `ionet_worker_earned_base_units_total 0`,
	} {
		wantLine(t, "metrics", body, line+"$")
	}
	wantLine(t, "metrics", body, `ionet_worker_waiting_for_delegation 0$`)
	wantLine(t, "metrics", body, `ionet_worker_delegation_expires_seconds [1-9]`)
	wantLine(t, "metrics", body, `ionet_worker_build_info\{goversion="go1\.[^"]+",revision="[^"]*",version="[^"]*"\} 1$`)
	stop()
	if _, err := http.Get(url); err == nil {
		t.Error("metrics are served after the stop")
	}
	status, err := do(t, "status", "--dir", dir, "--server", server)
	check(t, err)
	for _, line := range []string{`SIMULATED DEVICES: `, `device GPU-\S+ NVIDIA .*: \d+ MiB in use, \d+% busy`, `earned: no epoch is sealed yet$`} {
		wantLine(t, "status", status, line)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(b)
}
