package worker

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestPausedInOutage stops all clocks of the host for half an hour while the service is
// away, as pausing a virtual machine does. What was read in that outage may be of before
// or after: it is dropped, and said. Nothing is proven for the time that it stood still.
func TestPausedInOutage(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	s.wire.down.Store(true)
	s.live(1, 4)                            // samples 2 and 3 are read
	s.toSample(2, 0, func() {})             // it stands still in 4 and 5
	s.booted += 2 * stageSample             // the boot clock didn't count
	s.skew -= 2 * stageSample * time.Second // nor did the other one
	s.toSample(2, 1, func() { s.tick() })   // sample 0 of epoch 2, which it takes for sample 4 of epoch 1
	s.wire.down.Store(false)
	s.live(2, 4)
	all := s.uptimes(s.sealed(1))
	for sample := uint16(2); sample < stageSamples; sample++ {
		if _, in := all[sample]; in {
			t.Errorf("sample %d is proven", sample)
		}
	}
	if len(all) != 2 {
		t.Errorf("epoch 1 has %d statements, want those of samples 0 and 1", len(all))
	}
	skipped := s.saw(EventSkipped)
	if len(skipped) != 4 || !strings.Contains(skipped[0].Text, "not known") {
		t.Errorf("skipped: %v, want what it took for samples 2, 3, 4 and 5", skipped)
	}
	if all := s.uptimes(s.sealedLater(2)); all[1].Sample != 1 || len(all) != stageSamples-1 {
		t.Errorf("epoch 2 has %d statements, want all but the first", len(all))
	}
}

// sealedLater lives on until the epoch's grace is over.
func (s *stage) sealedLater(epoch uint64) *proofs.Book {
	s.t.Helper()
	s.live(epoch+1, 4)
	return s.sealed(epoch)
}

// TestWrongClockAtBoot boots a host whose clock is hours off, either way, while the service
// is away: nothing is lost, and all is of the sample in which it was read.
func TestWrongClockAtBoot(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"ahead": 3*time.Hour + 7*time.Second, "behind": -5*time.Hour - 3*time.Second, "years ahead": 5 * 365 * 24 * time.Hour, "of 1970": 0,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.openWorker()
			s.live(1, 1)
			s.closeWorker()
			if name == "of 1970" {
				skew = -time.Duration(handTime.Load()) * time.Second
			}
			s.wire.down.Store(true)
			s.boots, s.booted, s.skew = s.boots+1, handTime.Load(), skew
			s.openWorker()
			s.live(1, 3)
			s.closeWorker() // a restart meanwhile
			s.openWorker()
			s.live(1, 5)
			s.wire.down.Store(false)
			s.live(2, 4)
			if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
				t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
			}
			for _, kind := range []EventKind{EventSkipped, EventRefused, EventStranger} {
				if got := s.saw(kind); len(got) > 0 {
					t.Errorf("%v", got)
				}
			}
		})
	}
}

// TestClockSetWhileAway sets the wall clock to and fro while the service is away: nobody
// looks at it.
func TestClockSetWhileAway(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	s.wire.down.Store(true)
	for i, skew := range []time.Duration{7 * time.Hour, -9 * time.Hour, time.Minute} {
		s.skew = skew
		s.live(1, uint16(2+i))
	}
	s.closeWorker() // not even at a start
	s.openWorker()
	s.live(1, 5)
	s.wire.down.Store(false)
	s.live(2, 4)
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
}

// TestClockFile: what is no clock file is none, and costs nothing but the wall clock's word.
func TestClockFile(t *testing.T) {
	f, err := OpenFolder(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	boot := ionet.Key{3}
	for name, c := range map[string]struct {
		file []byte
		want time.Duration
	}{
		"whole":   {binary.LittleEndian.AppendUint64(boot[:], 1_800_000_000_123), 1_800_000_000_123 * time.Millisecond},
		"short":   {boot[:], 0},
		"long":    {make([]byte, 41), 0},
		"empty":   {nil, 0},
		"missing": {[]byte("missing"), 0},
	} {
		path := filepath.Join(f.dir, "clock")
		must(t, os.WriteFile(path, c.file, 0o600))
		if name == "missing" {
			must(t, os.Remove(path))
		}
		got, offset, err := f.clock()
		if err != nil || offset != c.want || (got == boot) != (c.want != 0) {
			t.Errorf("%s: got %s, %s, %v", name, got, offset, err)
		}
	}
	must(t, f.setClock(boot, 5*time.Second))
	if got, offset, err := f.clock(); got != boot || offset != 5*time.Second || err != nil {
		t.Errorf("written and read: %s, %s, %v", got, offset, err)
	}
}

// TestBootClock: the system's clock goes on, and its boot has one name.
func TestBootClock(t *testing.T) {
	boot, up := bootClock()
	again, _ := bootClock()
	if boot.IsZero() || boot != again && boot != (ionet.Key{}) && !onePerProcess() {
		t.Errorf("boots %s, %s", boot, again)
	}
	if first, second := up(), up(); second < first || first <= 0 {
		t.Errorf("the boot clock goes from %s to %s", first, second)
	}
	_, up = processClock()
	if first, second := up(), up(); second < first || first < 0 {
		t.Errorf("the process's clock goes from %s to %s", first, second)
	}
}

// onePerProcess reports whether this system names no boots.
func onePerProcess() bool {
	_, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return err != nil
}

// TestTwoInstances: instances on one database answer by turns; what one has taken is not
// presented to the other again and again.
func TestTwoInstances(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	first := s.web.Load()
	s.restartService()
	second := s.web.Load()
	for sample := uint16(2); sample <= 5; sample++ {
		s.web.Store(first)
		s.toSample(1, sample, func() { s.tick(); s.web.Store(second); s.tick() })
	}
	s.live(2, 4)
	if got := s.saw(EventNewInstance); len(got) != 1 {
		t.Errorf("new instances: %v, want one", got)
	}
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
}

// TestTwoBootsWhileAway switches the host off twice while the service is away. What the
// service told is good for its whole boot; a clock that was right counts for what was
// read by it; one that was hours off counts for nothing, for nobody can tell by how much.
func TestTwoBootsWhileAway(t *testing.T) {
	for name, c := range map[string]struct {
		first, second time.Duration // what the wall clock is off by, in the boot that the service knows and in the next
		want          []uint16      // samples of epoch 1 that are proven
	}{
		"right clocks":               {0, 0, []uint16{0, 1, 2, 3, 4, 5}},
		"set in the boot":            {3*time.Hour + 5*time.Second, 0, []uint16{0, 1, 2, 3, 4, 5}},
		"set back in the boot":       {-2 * time.Hour, 0, []uint16{0, 1, 2, 3, 4, 5}},
		"a boot with a clock ahead":  {0, 4 * time.Hour, []uint16{0, 1, 2, 4, 5}},
		"a boot with a clock behind": {0, -4 * time.Hour, []uint16{0, 1, 2, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.openWorker()
			s.live(1, 2)
			s.wire.down.Store(true)
			s.skew = c.first
			s.closeWorker()
			s.openWorker()
			s.live(1, 3) // sample 2
			boot := func(skew time.Duration) {
				s.closeWorker()
				s.boots, s.booted, s.skew = s.boots+1, handTime.Load(), skew
				s.openWorker()
			}
			boot(c.second)
			s.live(1, 4) // sample 3
			boot(0)
			s.live(1, 5)
			s.wire.down.Store(false)
			s.live(2, 4)
			all := s.uptimes(s.sealed(1))
			for _, sample := range c.want {
				if _, in := all[sample]; !in {
					t.Errorf("sample %d is lost", sample)
				}
			}
			if len(all) != len(c.want) {
				t.Errorf("%d samples are proven, want %v", len(all), c.want)
			}
			if got := len(s.saw(EventSkipped)); got != stageSamples-len(c.want) {
				t.Errorf("%d samples are told as skipped", got)
			}
		})
	}
}

// TestWrongClockNewDevices boots with a clock that is hours ahead, and with other devices:
// the inventory that it makes for the epoch that it takes for a new one must not be this
// epoch's second one.
func TestWrongClockNewDevices(t *testing.T) {
	s := newStage(t)
	made, err := NewSimulation(2, 1, handNow)
	must(t, err)
	devices, err := made.Inventory(t.Context())
	must(t, err)
	readings, err := made.Sample(t.Context())
	must(t, err)
	s.sampler = &host{devices: devices, readings: readings}
	s.openWorker()
	s.live(1, 2)
	s.closeWorker()
	s.boots, s.booted, s.skew = s.boots+1, handTime.Load(), 2*time.Hour
	s.sampler = &host{devices: devices[:1], readings: readings[:1]}
	s.openWorker()
	s.live(3, 4)
	first, second := s.sealed(1), s.sealed(2)
	if n := len(s.inventories(first)); n != 1 {
		t.Errorf("epoch 1 goes by %d inventories", n)
	}
	if all := s.uptimes(first); len(all) < stageSamples-1 {
		t.Errorf("epoch 1 has %d statements", len(all))
	}
	s.wantRules(second, proofs.Accepted)
}

// TestSleptOverQuestion suspends the host between a question and its answer: what the
// answer says of the time was true hours ago, and is not believed.
func TestSleptOverQuestion(t *testing.T) {
	s := newStage(t)
	s.skew = 10 * time.Hour
	s.openWorker()
	up := s.w.host.up()
	must(t, s.w.tellTime(handTime.Load(), up-3*time.Hour, up))
	if s.w.host.told {
		t.Error("an answer of three hours ago told the time")
	}
	must(t, s.w.tellTime(handTime.Load(), up-time.Second, up))
	if off := s.w.host.now().Sub(handNow()); !s.w.host.told || off.Abs() > time.Second {
		t.Errorf("told %v, %s off", s.w.host.told, off)
	}
}
