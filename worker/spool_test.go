package worker

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// script is a life of a spool with every kind of record in it. Each step is one
// call, hence one sync.
func script(t testing.TB) []func(*Spool) error {
	t.Helper()
	worker, wallet, service := testKey(1), testKey(2), testKey(3)
	delegation := delegationFor(t, testNetwork, wallet, worker, 1000)
	body, err := proofs.Inventory{Delegation: delegation.ID(), Simulated: true, Devices: []proofs.InventoryDevice{
		{UUID: ionet.UUID{1}, Name: "a", PCI: "b", Driver: "c", VBIOS: "d"}}}.Encode()
	must(t, err)
	inventory := proofs.Sign(testNetwork, proofs.KindInventory, worker, body)
	reading := func(epoch uint64, sample uint16) proofs.Uptime {
		return proofs.Uptime{Epoch: epoch, Sample: sample, Delegation: delegation.ID(), Inventory: inventory.ID(),
			Devices: []proofs.UptimeDevice{{Utilization: uint8(sample), MemoryMiB: 5, Temperature: -3, PowerW: 7, SMMHz: 9, MemoryMHz: 11, ECCErrors: 13, Processes: 15}}}
	}
	var previous ionet.Hash
	statement := func(epoch uint64, sample uint16) proofs.Envelope {
		u := reading(epoch, sample)
		u.BeaconSlot, u.BeaconHash, u.Previous = 9, ionet.Key{8}, previous
		body, err := u.Encode()
		must(t, err)
		e := proofs.Sign(testNetwork, proofs.KindUptime, worker, body)
		previous = e.ID()
		return e
	}
	ack := func(e proofs.Envelope) proofs.Envelope {
		return proofs.SignAcks(testNetwork, service, proofs.Arrival{Epoch: 1, Sample: 1}, []ionet.Hash{e.ID()})[0]
	}
	s0, s1, s2, s3 := statement(1, 0), statement(1, 1), statement(2, 0), statement(2, 1)
	return []func(*Spool) error{
		func(s *Spool) error { return s.AddStatement(delegation) },
		func(s *Spool) error { return s.AddStatement(inventory) },
		func(s *Spool) error { return s.AddReading(reading(1, 0)) },
		func(s *Spool) error { return s.AddStatement(s0) },
		func(s *Spool) error { return s.AddAck(ack(s0)) },
		func(s *Spool) error { return s.AddReading(reading(1, 1)) },
		func(s *Spool) error { return s.AddReading(reading(1, 2)) },
		func(s *Spool) error { return s.AddStatement(s1) },
		func(s *Spool) error { return s.Refuse(s1.ID(), "stale-beacon") },
		func(s *Spool) error { return s.GiveUp(1, 2) },
		func(s *Spool) error { return s.AddStatement(s2) },
		func(s *Spool) error { return s.SkipTo(2, 0) }, // no step back: writes nothing
		func(s *Spool) error { return s.Seal(1) },
		func(s *Spool) error { return s.AddAck(ack(s2)) },
		func(s *Spool) error { return s.AddReading(reading(2, 1)) },
		func(s *Spool) error { return s.AddStatement(s3) },
		func(s *Spool) error { return s.AddReading(reading(2, 3)) },
		func(s *Spool) error { return s.NewLife(2, 4) },
		func(s *Spool) error { return s.SkipTo(3, 2) },
		func(s *Spool) error { return s.AddReading(reading(3, 4)) },
		func(s *Spool) error { return s.Back(3, 3) },
		func(s *Spool) error { return s.AddReading(reading(3, 3)) },
	}
}

func openTest(t testing.TB, path string) *Spool {
	t.Helper()
	s, err := openSpool(path, testNetwork, public(testKey(1)), 0)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSpoolCut kills the writer at every byte: what was synced is there, what was
// being written is gone, and the spool can be written on.
func TestSpoolCut(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "spool"))
	type point struct {
		size  int64
		state []byte
	}
	points := []point{{s.size, s.records()}}
	for i, step := range script(t) {
		if err := step(s); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		points = append(points, point{s.size, s.records()})
	}
	file, err := os.ReadFile(s.path)
	must(t, err)
	if int64(len(file)) != s.size {
		t.Fatalf("file has %d bytes, spool says %d", len(file), s.size)
	}
	garbage := rand.New(rand.NewPCG(1, 2))
	for cut := points[0].size; cut <= int64(len(file)); cut++ {
		tails := [][]byte{nil}
		if cut%4 == 0 {
			tails = append(tails, make([]byte, 40), noise(garbage, 40))
		}
		for _, tail := range tails {
			left := append(bytes.Clone(file[:cut]), tail...)
			want := points[0].state
			for _, p := range points {
				// Zeros may be what was cut off.
				if p.size <= cut || bytes.HasPrefix(left, file[:p.size]) {
					want = p.state
				}
			}
			path := filepath.Join(dir, "cut")
			must(t, os.WriteFile(path, left, 0o600))
			s, err := openSpool(path, testNetwork, public(testKey(1)), 0)
			if err != nil {
				t.Fatalf("cut at %d with %d bytes of garbage: %v", cut, len(tail), err)
			}
			if !bytes.Equal(s.records(), want) {
				t.Fatalf("cut at %d with %d bytes of garbage: another state than was synced", cut, len(tail))
			}
			if cut%17 == 0 {
				must(t, s.AddReading(proofs.Uptime{Epoch: 9, Devices: []proofs.UptimeDevice{{}}}))
				if again := openTest(t, path); again.cut != 0 || !bytes.Equal(again.records(), s.records()) {
					t.Fatalf("cut at %d: what was written after the repair is not there", cut)
				}
			}
			must(t, s.Close())
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestSpoolDamage flips a byte in each record but the last: a spool that is damaged
// in the middle must not pass for one whose end was cut off.
func TestSpoolDamage(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "spool"))
	starts := []int64{}
	for _, step := range script(t) {
		starts = append(starts, s.size)
		must(t, step(s))
	}
	file, err := os.ReadFile(s.path)
	must(t, err)
	for _, start := range starts[:len(starts)-2] {
		if start == s.size {
			continue
		}
		bad := bytes.Clone(file)
		bad[start+framed.Head] ^= 1
		path := filepath.Join(dir, "bad")
		must(t, os.WriteFile(path, bad, 0o600))
		if _, err := openSpool(path, testNetwork, public(testKey(1)), 0); err == nil || !strings.Contains(err.Error(), "damaged at byte") {
			t.Errorf("byte %d flipped: got %v, want damage", start+framed.Head, err)
		}
	}
}

// TestSpoolRewrite writes the spool anew after every step: the state stays.
func TestSpoolRewrite(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "spool"))
	for i, step := range script(t) {
		must(t, step(s))
		want := s.records()
		must(t, s.rewrite())
		if again := openTest(t, s.path); !bytes.Equal(again.records(), want) {
			t.Fatalf("step %d: written anew, the spool holds another state", i)
		}
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(s.path), ".spool-left"), []byte("x"), 0o600))
	openTest(t, s.path)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), tempSpool)); len(left) != 0 {
		t.Errorf("a rewrite that a crash cut off left %v", left)
	}
}

func TestSpoolBelongs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	openTest(t, path)
	for name, open := range map[string]func() (*Spool, error){
		"network": func() (*Spool, error) { return openSpool(path, ionet.Hash{1}, public(testKey(1)), 0) },
		"key":     func() (*Spool, error) { return openSpool(path, testNetwork, public(testKey(9)), 0) },
	} {
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "another network or another worker") {
			t.Errorf("another %s: got %v", name, err)
		}
	}
	must(t, os.WriteFile(path, []byte("hello"), 0o600))
	if _, err := openSpool(path, testNetwork, public(testKey(1)), 0); err == nil || !strings.Contains(err.Error(), "not a spool") {
		t.Errorf("another file: got %v", err)
	}
}

func TestSpoolFull(t *testing.T) {
	s, err := openSpool(filepath.Join(t.TempDir(), "spool"), testNetwork, public(testKey(1)), 8<<10)
	must(t, err)
	defer s.Close()
	devices := make([]proofs.UptimeDevice, 8)
	var n uint16
	for n = 0; n < 1000; n++ {
		if err = s.AddReading(proofs.Uptime{Epoch: 1, Sample: n, Devices: devices}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrSpoolFull) {
		t.Fatalf("after %d readings: got %v, want ErrSpoolFull", n, err)
	}
	if s.size > 8<<10 {
		t.Errorf("spool has %d bytes, its bound is %d", s.size, 8<<10)
	}
	must(t, s.Seal(1))
	if err := s.AddReading(proofs.Uptime{Epoch: 2, Devices: devices}); err != nil {
		t.Errorf("after the seal: %v", err)
	}
}

// A write that failed leaves the spool unusable until it is opened again: what the
// disk holds is not known.
func TestSpoolBroken(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "spool"))
	must(t, s.f.Close())
	steps := script(t)
	if err := steps[0](s); err == nil {
		t.Fatal("a write to a closed file succeeded")
	}
	if err := s.rewrite(); err == nil {
		t.Error("a broken spool is written anew")
	}
	if again := openTest(t, s.path); len(again.items) != 0 {
		t.Error("a statement whose write failed is there")
	}
}

func FuzzSpool(f *testing.F) {
	dir := f.TempDir()
	s, err := openSpool(filepath.Join(dir, "seed"), testNetwork, public(testKey(1)), 0)
	must(f, err)
	for _, step := range script(f) {
		must(f, step(s))
	}
	file, err := os.ReadFile(s.path)
	must(f, err)
	f.Add(file[spoolHeader:])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 'E'})
	f.Fuzz(func(t *testing.T, b []byte) {
		st := &Spool{state: newState()}
		good, err := st.load(b)
		if good < 0 || good > int64(len(b)) {
			t.Fatalf("%d of %d bytes are good", good, len(b))
		}
		if err != nil {
			return
		}
		again := &Spool{state: newState()}
		if _, err := again.load(st.records()); err != nil || !bytes.Equal(again.records(), st.records()) {
			t.Fatalf("state does not survive being written anew: %v", err)
		}
	})
}
