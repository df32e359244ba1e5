//go:build linux

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the newest glibc that a release may need. What is reached is older than
// any host that runs Go: see worker/DESIGN.md.
var floors = map[string]string{"amd64": "GLIBC_2.3.3", "arm64": "GLIBC_2.17"}

// The release starts on hosts with an old glibc: it needs no function that is newer,
// and no library but glibc's own. NVML is opened while it runs.
func TestReleaseNeedsOldGlibcOnly(t *testing.T) {
	floor, known := floors[runtime.GOARCH]
	if !known {
		t.Skipf("make release is for amd64 and arm64, this is %s", runtime.GOARCH)
	}
	for _, tool := range []string{"make", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("make release needs %s: %v", tool, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ionet-worker")
	build := exec.Command("make", "release", "RELEASE="+path)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, out)
	}
	if out, err := exec.Command(path, "run", "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "--server") {
		t.Fatalf("the release does not start: %v\n%s", err, out)
	}
	bin, err := elf.Open(path)
	check(t, err)
	defer bin.Close()
	checkNeeds(t, bin, floor)
	checkBinding(t, bin)
	checkNVML(t, path)
}

// checkNVML runs the release where a library stands in for the driver's: opening it,
// finding its functions and calling them is real, and a call that hangs hangs in C.
func checkNVML(t *testing.T, path string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("cc", "-shared", "-fPIC", "-o", filepath.Join(dir, "libnvidia-ml.so.1"), filepath.Join("testdata", "fakenvml.c"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	doctor := func(recording string, env ...string) string {
		t.Helper()
		cmd := exec.Command(path, "doctor", "--dir", filepath.Join(dir, "none"), "--record", filepath.Join(dir, recording))
		cmd.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+dir), env...)
		out, err := cmd.Output()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 { // for there is no folder
			t.Fatalf("doctor: %v\n%s", err, out)
		}
		return string(out)
	}
	out := doctor("well.jsonl")
	wantLine(t, "two GPUs", out, `ok    nvml         NVML answers, driver 440\.33\.01, 2 GPUs$`)
	wantLine(t, "two GPUs", out, `ok    device       GPU-00000000-\S+ Tesla V100-SXM2-32GB, 32510 MiB: 100 MiB in use, 30% busy, 50 C, 120 W$`)
	wantLine(t, "two GPUs", out, `ok    device       GPU-00000001-\S+ Tesla V100-SXM2-32GB, 32510 MiB: 101 MiB in use, 31% busy, 51 C, 120 W$`)
	recording, err := os.ReadFile(filepath.Join(dir, "well.jsonl"))
	check(t, err)
	for _, line := range []string{
		`{"call":"dlsym","return":13,"says":".*","value":"nvmlDeviceGetMigMode"}$`,
		`{"call":"nvmlDeviceGetPciInfo","gpu":1,"return":0,"says":"Success","value":{"Domain":1,"Bus":27,"Device":0}}$`,
		`{"call":"nvmlDeviceGetClockInfo","gpu":0,"asked":2,"return":0,"says":"Success","value":877}$`,
		`{"call":"nvmlDeviceGetComputeRunningProcesses","gpu":0,"return":0,"says":"Success","value":2}$`,
		`{"call":"nvmlDeviceGetTotalEccErrors","gpu":1,"return":0,"says":"Success","value":0}$`,
	} {
		wantLine(t, "recording", string(recording), line)
	}
	out = doctor("hangs.jsonl", "FAKE_NVML_HANG=1")
	wantLine(t, "one hangs", out, `ok    device       GPU-00000000-`)
	wantLine(t, "one hangs", out, `fail  device       GPU-00000001-\S+ .* does not answer: the driver does not come back from a call$`)
}

func checkNeeds(t *testing.T, bin *elf.File, floor string) {
	t.Helper()
	libraries, err := bin.ImportedLibraries()
	check(t, err)
	slices.Sort(libraries)
	if want := []string{"libc.so.6", "libdl.so.2", "libpthread.so.0"}; !slices.Equal(libraries, want) {
		t.Errorf("it needs libraries %q, want %q", libraries, want)
	}
	symbols, err := bin.ImportedSymbols()
	check(t, err)
	if len(symbols) == 0 {
		t.Fatal("it imports nothing: is it the binary that uses NVML?")
	}
	nvml, newest := 0, ""
	for _, s := range symbols {
		switch {
		case strings.HasPrefix(s.Name, "nvml"):
			nvml++
		case s.Version != "" && isNewer(s.Version, floor):
			t.Errorf("it needs %s@%s, want none above %s: add it to oldglibc/versions.h", s.Name, s.Version, floor)
		case s.Version != "" && isNewer(s.Version, newest):
			newest = s.Version
		}
	}
	if nvml == 0 {
		t.Error("it knows no function of NVML")
	}
	t.Logf("newest glibc version needed: %s", newest)
	known := []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"}
	if got := interpreter(t, bin); !slices.Contains(known, got) {
		t.Errorf("its interpreter is %q, want one of %q", got, known)
	}
}

func interpreter(t *testing.T, bin *elf.File) string {
	t.Helper()
	section := bin.Section(".interp")
	if section == nil {
		return ""
	}
	b, err := section.Data()
	check(t, err)
	return strings.TrimRight(string(b), "\x00")
}

// checkBinding: NVML's functions are not there when the program starts, so that they
// must be looked up when they are called first.
func checkBinding(t *testing.T, bin *elf.File) {
	t.Helper()
	for _, tag := range []elf.DynTag{elf.DT_BIND_NOW, elf.DT_FLAGS, elf.DT_FLAGS_1} {
		values, err := bin.DynValue(tag)
		check(t, err)
		for _, v := range values {
			if tag == elf.DT_BIND_NOW || tag == elf.DT_FLAGS && v&uint64(elf.DF_BIND_NOW) != 0 || tag == elf.DT_FLAGS_1 && v&uint64(elf.DF_1_NOW) != 0 {
				t.Errorf("all functions are bound at the start (%s %#x): without an NVIDIA driver it would not start", tag, v)
			}
		}
	}
}

// isNewer reports whether version a, as GLIBC_2.3.4, is above b.
func isNewer(a, b string) bool {
	number := func(s string) (list []int) {
		for _, part := range strings.Split(strings.TrimPrefix(s, "GLIBC_"), ".") {
			n, err := strconv.Atoi(part)
			if err != nil && s != "" {
				return []int{1 << 30} // GLIBC_PRIVATE and what is no version of glibc's
			}
			list = append(list, n)
		}
		return list
	}
	return slices.Compare(number(a), number(b)) > 0
}

func TestIsNewer(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"GLIBC_2.34", "GLIBC_2.3.3", true}, {"GLIBC_2.3.3", "GLIBC_2.3.3", false}, {"GLIBC_2.2.5", "GLIBC_2.3.3", false},
		{"GLIBC_2.10", "GLIBC_2.9", true}, {"GLIBC_PRIVATE", "GLIBC_2.40", true}, {"GLIBC_2.2.5", "", true},
	} {
		if got := isNewer(c.a, c.b); got != c.want {
			t.Errorf("isNewer(%q, %q) is %t", c.a, c.b, got)
		}
	}
}

// The unit file is one that systemd takes, and holds what the worker relies on.
func TestUnitFile(t *testing.T) {
	text, err := os.ReadFile("ionet-worker.service")
	check(t, err)
	set := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if key, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			set[key] = append(set[key], value)
		}
	}
	for key, want := range map[string]string{
		"DynamicUser": "yes", "StateDirectory": "ionet-worker", "StateDirectoryMode": "0700", "UMask": "0077",
		"Restart": "always", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "CapabilityBoundingSet": "",
		"DevicePolicy": "closed", "WantedBy": "multi-user.target", "EnvironmentFile": "-/etc/ionet-worker.env",
		"Environment": "IONET_WORKER_DIR=/var/lib/ionet-worker", "ExecStart": "/usr/local/bin/ionet-worker run",
	} {
		if got := set[key]; !slices.Contains(got, want) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := set["DeviceAllow"]; !slices.Contains(got, "char-nvidia* rw") {
		t.Errorf("DeviceAllow is %q: NVML's device nodes are not let through", got)
	}
	for _, bad := range []string{"PrivateDevices", "ProcSubset"} { // NVML reads /dev/nvidia* and /proc/driver/nvidia
		if got, found := set[bad]; found {
			t.Errorf("%s is %q: NVML would not work", bad, got)
		}
	}
	verifyUnit(t, text)
}

// verifyUnit asks systemd itself, where it is there. The binary need not be installed
// for that: this test's own takes its place.
func verifyUnit(t *testing.T, text []byte) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Logf("not asked systemd: %v", err)
		return
	}
	self, err := os.Executable()
	check(t, err)
	path := filepath.Join(t.TempDir(), "ionet-worker.service")
	text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/ionet-worker", self))
	check(t, os.WriteFile(path, text, 0o644))
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	// It loads units of this host too, and may have something to say of those.
	if strings.Contains(string(out), filepath.Base(path)) || err != nil && len(out) == 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
