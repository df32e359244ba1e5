package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// wantFinding looks for a finding of that check, level and text; one that is not ok has
// a fix.
func wantFinding(t *testing.T, when string, got Findings, check string, level Level, text string) {
	t.Helper()
	for _, f := range got {
		if f.Level != LevelOK && f.Fix == "" {
			t.Errorf("%s: %s has no fix: %s", when, f.Check, f.Text)
		}
	}
	if !slices.ContainsFunc(got, func(f Finding) bool { return f.Check == check && f.Level == level && strings.Contains(f.Text, text) }) {
		t.Errorf("%s: got %+v, want %s %s %q", when, got, level, check, text)
	}
}

// wantFix looks for what a check tells to do.
func wantFix(t *testing.T, got Findings, check, fix string) {
	t.Helper()
	if !slices.ContainsFunc(got, func(f Finding) bool { return f.Check == check && strings.Contains(f.Fix, fix) }) {
		t.Errorf("got %+v, want of %s the fix %q", got, check, fix)
	}
}

// A file that can't be used is told with what mends it, which differs by why it can't.
func TestDoctorFiles(t *testing.T) {
	f, err := OpenFolder(t.TempDir())
	must(t, err)
	defer f.Close()
	denied := &fs.PathError{Op: "open", Path: f.KeyPath(), Err: fs.ErrPermission}
	broken := errors.New("it is not a JSON array of 64 bytes")
	must(t, os.WriteFile(f.KeyPath(), []byte("[1"), 0o600))
	wantFix(t, f.CheckKey(broken), "key", "from a copy")
	wantFix(t, f.CheckKey(denied), "key", "sudo")
	wantFix(t, f.CheckKey(fs.ErrNotExist), "key", "run ionet-worker init")
	must(t, os.Chmod(f.KeyPath(), 0o644))
	wantFix(t, f.CheckKey(errors.New("may be read by others")), "key", "chmod 600")
	wantFix(t, f.CheckNetwork(nil, broken), "network", "move "+filepath.Join(f.dir, "network.toml")+" away")
	wantFix(t, f.CheckNetwork(nil, denied), "network", "sudo")
	wantFix(t, f.CheckNetwork(nil, fs.ErrNotExist), "network", "run ionet-worker init")
}

// testHost is a sampler of one device, well or not.
func testHost(r Reading) *host {
	d := proofs.InventoryDevice{UUID: ionet.UUID{1}, Name: "NVIDIA H100 80GB HBM3", MemoryMiB: 81559, Driver: "550.54.15", MIG: proofs.ModeOn}
	r.Device = d.UUID
	return &host{devices: []proofs.InventoryDevice{d}, readings: []Reading{r}}
}

func TestDoctorDevices(t *testing.T) {
	well := Reading{UptimeDevice: wellDevice}
	flips := well
	flips.ECCErrors = 3
	lost := Reading{Trouble: "ERROR_GPU_IS_LOST", UptimeDevice: proofs.UptimeDevice{Status: proofs.DeviceGone}}
	unnamed := testHost(well)
	unnamed.readings = append(unnamed.readings, Reading{Index: 1, Trouble: "no handle", UptimeDevice: lost.UptimeDevice})
	absent := testHost(well)
	absent.readings = nil
	silent := testHost(well)
	silent.devices[0].Driver = ""
	simulation, err := NewSimulation(2, 1, nil)
	must(t, err)
	for name, c := range map[string]struct {
		s     Sampler
		check string
		level Level
		text  string
	}{
		"driver":     {testHost(well), "nvml", LevelOK, "driver 550.54.15, 1 GPUs"},
		"well":       {testHost(well), "device", LevelOK, "MIG on: 1024 MiB in use, 50% busy, 40 C, 300 W"},
		"bit flips":  {testHost(flips), "device", LevelWarn, "3 uncorrected memory errors"},
		"lost":       {testHost(lost), "device", LevelFail, "ERROR_GPU_IS_LOST"},
		"unnamed":    {unnamed, "device", LevelFail, "GPU 1 does not tell who it is"},
		"absent":     {absent, "device", LevelFail, "is not there"},
		"no driver":  {silent, "nvml", LevelWarn, "version"},
		"no GPU":     {&host{}, "nvml", LevelFail, "has no GPU"},
		"hang":       {&host{err: errors.New("the driver does not come back from a call")}, "nvml", LevelFail, "come back"},
		"simulation": {simulation, "simulated", LevelWarn, "MADE UP"},
		"no NVML":    {&host{err: fmt.Errorf("x: %w", &DriverError{What: "no driver", Fix: "get one"})}, "nvml", LevelFail, "no driver"},
	} {
		wantFinding(t, name, CheckDevices(t.Context(), c.s), c.check, c.level, c.text)
	}
	if got := CheckDevices(t.Context(), unnamed); got.Failed() != 1 {
		t.Errorf("one of two GPUs fails, got %d: %+v", got.Failed(), got)
	}
}

// wellDevice is the reading of a GPU that works.
var wellDevice = proofs.UptimeDevice{Utilization: 50, MemoryMiB: 1024, Temperature: 40, PowerW: 300, ECCErrors: proofs.NoECCErrors}

func TestDoctorFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	f, err := OpenFolder(dir)
	must(t, err)
	looking, err := ReadFolder(dir)
	must(t, err)
	list := looking.CheckFolder()
	wantFinding(t, "running", list, "lock", LevelOK, "is running")
	wantFinding(t, "running", list, "folder", LevelOK, "ours alone")
	if list.Failed() != 0 || len(list) != 2 {
		t.Errorf("got %+v", list)
	}
	must(t, f.Close())
	wantFinding(t, "stopped", looking.CheckFolder(), "lock", LevelWarn, "no worker")
	again, err := OpenFolder(dir)
	must(t, err) // looking left no lock behind
	must(t, again.Close())
	left, err := filepath.Glob(filepath.Join(dir, ".doctor-*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("looking left %q", left)
	}
	for mode, level := range map[fs.FileMode]Level{0o700: LevelOK, 0o755: LevelWarn, 0o770: LevelFail, 0o777: LevelFail} {
		must(t, os.Chmod(dir, mode))
		wantFinding(t, mode.String(), looking.CheckFolder(), "folder", level, dir)
	}
	must(t, os.Chmod(dir, 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "evidence"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "evidence", "omission-1"), nil, 0o600))
	wantFinding(t, "evidence", looking.CheckFolder(), "evidence", LevelWarn, "broke its word 1 times")

	wantFinding(t, "key", looking.CheckKey(nil), "key", LevelOK, "private")
	wantFinding(t, "no key", looking.CheckKey(fs.ErrNotExist), "key", LevelFail, "no host key")
	wantFinding(t, "open key", looking.CheckKey(errors.New("may be read by others")), "key", LevelFail, "others")
	wantFinding(t, "no folder", (&Folder{dir: filepath.Join(dir, "none")}).CheckFolder(), "folder", LevelFail, "none")
}

func TestDoctorDelegation(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	key, wallet := testKey(1), testKey(2)
	at := func(issued int64) proofs.Envelope {
		return delegationFor(t, testNetwork, wallet, key, now.Unix()+issued)
	}
	long := func(days int) proofs.Envelope {
		d := Delegation(public(wallet), ionet.Key{}, public(key), now, days)
		d.Expires += int64(backdate / time.Second)
		e, err := SignDelegation(testNetwork, wallet, d)
		must(t, err)
		return e
	}
	tampered := at(0)
	tampered.Signature[0] ^= 1
	for name, c := range map[string]struct {
		e        proofs.Envelope
		provider ionet.Key
		check    string
		level    Level
		text     string
	}{
		"serves":           {long(8), public(wallet), "delegation", LevelOK, "pays " + public(wallet).String()},
		"ends in a week":   {long(7), public(wallet), "delegation", LevelWarn, "ends soon"},
		"ends soon":        {at(-86400 * 3 / 4), ionet.Key{}, "delegation", LevelWarn, "ends soon"},
		"ended":            {at(-86400), ionet.Key{}, "delegation", LevelFail, "it ended at"},
		"to come":          {at(600), ionet.Key{}, "delegation", LevelFail, "begins only at"},
		"another provider": {at(-600), public(key), "provider", LevelFail, "this host works for"},
		"tampered":         {tampered, ionet.Key{}, "delegation", LevelFail, "check delegation"},
		"another worker":   {delegationFor(t, testNetwork, wallet, testKey(3), now.Unix()), ionet.Key{}, "delegation", LevelFail, "does not name this worker"},
		"another network":  {delegationFor(t, ionet.Hash{1}, wallet, key, now.Unix()), ionet.Key{}, "delegation", LevelFail, "check delegation"},
	} {
		f, err := OpenFolder(t.TempDir())
		must(t, err)
		wantFinding(t, "none", f.CheckDelegation(testNetwork, public(key), "", now), "delegation", LevelFail, "no wallet has delegated")
		must(t, f.SetDelegation(c.e))
		if !c.provider.IsZero() {
			must(t, f.SetProvider(c.provider))
		}
		wantFinding(t, name, f.CheckDelegation(testNetwork, public(key), "", now), c.check, c.level, c.text)
		must(t, f.Close())
	}
}

func TestDoctorSpool(t *testing.T) {
	f, err := OpenFolder(t.TempDir())
	must(t, err)
	defer f.Close()
	key := public(testKey(1))
	check := func(limit int64) Findings { return f.CheckSpool(testNetwork, key, limit) }
	wantFinding(t, "none", check(1<<20), "spool", LevelOK, "0 statements")
	wantFinding(t, "none", check(1<<20), "disk", LevelOK, "free")
	wantFinding(t, "a limit above all disks", check(1<<62-1), "disk", LevelWarn, "may need")

	sp, err := f.Spool(testNetwork, key, 1<<20)
	must(t, err)
	for sample := range uint16(600) {
		u := proofs.Uptime{Epoch: 1, Sample: sample, Devices: make([]proofs.UptimeDevice, 8)}
		must(t, sp.AddReading(u))
	}
	must(t, sp.Close())
	wantFinding(t, "in use", check(1<<20), "spool", LevelOK, "600 readings wait")
	wantFinding(t, "nearly full", check(sp.size*10/9), "spool", LevelWarn, "nearly full")
	wantFinding(t, "full", check(sp.size+1000), "spool", LevelFail, "nothing new is signed")
	wantFinding(t, "another worker's", f.CheckSpool(testNetwork, public(testKey(3)), 1<<20), "spool", LevelFail, "another worker's key")
	b, err := os.ReadFile(sp.path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(sp.path, b, 0o600))
	wantFinding(t, "damaged", check(1<<20), "spool", LevelFail, "damaged")
}

// TestDoctorService asks the real service and the real chain.
func TestDoctorService(t *testing.T) {
	s := newStage(t)
	api, err := client.New(client.Config{Server: s.server.URL, Network: s.net.Network.ID(), Transport: s.wire, Attempts: 1})
	must(t, err)
	self, id := public(s.key), s.net.Network.ID()
	running := false
	ask := func(network ionet.Hash, off time.Duration) Findings {
		return CheckService(t.Context(), api, network, self, running, func() time.Time { return handNow().Add(off) })
	}
	s.settle()
	wantFix(t, ask(id, 0), "registered", "start the worker")
	running = true
	wantFix(t, ask(id, 0), "registered", "its log says")
	wantFinding(t, "new", ask(id, 0), "registered", LevelWarn, "does not know worker")
	s.openWorker()
	wantFinding(t, "not presented", s.folder.CheckRevoked(t.Context(), api, self), "revoked", LevelWarn, "does not have the delegation")
	s.live(1, 4)
	list := ask(id, 0)
	wantFinding(t, "at work", list, "service", LevelOK, s.net.Network.Name)
	wantFinding(t, "at work", list, "registered", LevelOK, "2 devices")
	wantFinding(t, "at work", list, "clock", LevelOK, "agrees")
	wantFinding(t, "at work", s.folder.CheckRevoked(t.Context(), api, self), "revoked", LevelOK, "is not revoked")
	wantFinding(t, "fast", ask(id, 10*time.Second), "clock", LevelWarn, "ahead of the service's")
	wantFinding(t, "slow", ask(id, -time.Hour), "clock", LevelFail, "behind the service's")
	wantFinding(t, "another network", ask(ionet.Hash{1}, 0), "service", LevelFail, "this worker joined")
	s.toSample(3, 2, s.settle)
	wantFinding(t, "silent for an epoch", ask(id, 0), "registered", LevelWarn, "nothing newer of this worker than epoch 1")

	e, err := s.folder.Delegation()
	must(t, err)
	text, err := proofs.Revocation{Provider: public(s.wallet), Delegation: e.ID(), Issued: handTime.Load()}.Text(id)
	must(t, err)
	results, err := api.Submit(t.Context(), []client.Presented{{Statement: proofs.Sign(id, proofs.KindRevocation, s.wallet, []byte(text))}})
	must(t, err)
	if results[0].Problem != nil {
		t.Fatal(results[0].Problem)
	}
	wantFinding(t, "revoked", s.folder.CheckRevoked(t.Context(), api, self), "revoked", LevelFail, "revoked the delegation in epoch 3")
	s.wire.down.Store(true)
	wantFinding(t, "no wire", ask(id, 0), "service", LevelFail, "cut")
	wantFinding(t, "no wire", s.folder.CheckRevoked(t.Context(), api, self), "revoked", LevelWarn, "not known")

	must(t, s.node.Advance(3))
	look := func(off time.Duration) Findings {
		return CheckChain(t.Context(), s.chain, func() time.Time { return handNow().Add(off) })
	}
	wantFinding(t, "chain", look(0), "chain", LevelOK, "is final")
	wantFinding(t, "chain", look(0), "chain clock", LevelOK, "agrees")
	wantFinding(t, "chain", look(2*time.Minute), "chain clock", LevelWarn, "ahead of the chain's")
	wantFinding(t, "chain", look(-time.Hour), "chain clock", LevelFail, "behind the chain's")
	other, err := rpc.New(rpc.Config{Endpoints: []string{s.node.URL()}, Cluster: ionet.Key{1}, Rounds: 1})
	must(t, err)
	defer other.Close()
	wantFinding(t, "another cluster", CheckChain(t.Context(), other, handNow), "chain", LevelFail, "")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantFinding(t, "no endpoint", CheckChain(ended, s.chain, handNow), "chain", LevelFail, "")
}

// A folder's status tells the devices, and what the last sample said of them.
func TestStatusTellsDevices(t *testing.T) {
	s := newStage(t)
	made, err := NewSimulation(2, 1, handNow)
	must(t, err)
	devices, err := made.Inventory(t.Context())
	must(t, err)
	h := &host{devices: devices, readings: sampled(t, made)}
	s.sampler = h
	s.openWorker()
	status := func() SpoolStatus {
		t.Helper()
		st, err := s.folder.SpoolStatus(s.net.Network.ID(), public(s.key))
		must(t, err)
		return st
	}
	if st := status(); len(st.Devices) != 2 || st.States != nil || st.Simulated {
		t.Errorf("before a sample: %+v", st)
	}
	s.live(1, 2)
	list := slices.Clone(h.readings)
	h.readings = list[1:]
	must(t, s.w.Read(t.Context()))
	st := status()
	if len(st.Devices) != 2 || len(st.States) != 2 {
		t.Fatalf("got %+v", st)
	}
	for i, d := range st.Devices {
		want := "GONE"
		if d.UUID == list[1].Device {
			want = fmt.Sprintf("%d%% busy", list[1].Utilization)
		}
		if line := ReadingLine(st.States[i]); !strings.Contains(line, want) {
			t.Errorf("%s is %q, want %q", d.UUID, line, want)
		}
	}
}

// What the service says that the last epochs brought is what their books say.
func TestLastEarned(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	api, err := client.New(client.Config{Server: s.server.URL, Network: s.net.Network.ID(), Attempts: 1})
	must(t, err)
	provider, self := public(s.wallet), public(s.key)
	if list, err := LastEarned(t.Context(), api, provider, self, 0, 6); err != nil || list != nil {
		t.Errorf("before a seal: %v, %v", list, err)
	}
	s.live(3, 4)
	var want []EpochEarned
	for _, epoch := range []uint64{2, 1} {
		e := EpochEarned{Epoch: epoch}
		for _, v := range s.sealed(epoch).Verdicts {
			e.Devices++
			e.Accepted++
			e.Amount, err = e.Amount.Add(v.Amount)
			must(t, err)
		}
		want = append(want, e)
	}
	if want[0].Devices != 2 || want[0].Amount.IsZero() {
		t.Fatalf("the books say %+v", want)
	}
	for n, w := range map[int][]EpochEarned{6: want, 1: want[:1]} {
		list, err := LastEarned(t.Context(), api, provider, self, 2, n)
		must(t, err)
		if !reflect.DeepEqual(list, w) {
			t.Errorf("of %d epochs: got %+v, want %+v", n, list, w)
		}
	}
	list, err := LastEarned(t.Context(), api, provider, public(testKey(9)), 2, 6)
	must(t, err)
	if !reflect.DeepEqual(list, []EpochEarned{{Epoch: 2}, {Epoch: 1}}) {
		t.Errorf("another worker of the provider: %+v", list)
	}
}
