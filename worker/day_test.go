package worker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestDay lives through a host's day in which everything goes wrong by turns: the network
// is down or swallows answers, the service is started anew, the worker is restarted or
// killed in the middle of a write, the host is switched off, suspended or paused, somebody
// sets its clock. At the end the books hold a statement for each sample that the host was
// up for, once, and none for any other.
//
// The test is of six epochs of ten samples. WORKER_DAYS=5 plays whole days of 24 epochs of
// 60 samples, one for each seed.
func TestDay(t *testing.T) {
	days, epochs, samples := 3, uint64(6), uint16(10)
	if n, err := strconv.Atoi(os.Getenv("WORKER_DAYS")); err == nil {
		days, epochs, samples = n, 24, 60
	}
	for seed := range uint64(days) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := newDay(t, rand.New(rand.NewPCG(5, seed)), samples)
			d.live(epochs)
			t.Logf("%d samples, up in %d: %v", epochs*uint64(samples), d.check(epochs), d.happened)
		})
	}
}

// day is a stage with a host that things happen to.
type day struct {
	*stage
	r        *rand.Rand
	grace    int // samples
	up       map[moment]bool
	happened map[string]int

	outage, off, asleep, paused int  // samples that it goes on for
	wrong                       bool // no service told this boot the time, and its clock is off
	reached                     bool // the service, in the sample before
}

func newDay(t *testing.T, r *rand.Rand, samples uint16) *day {
	grace := 30
	s := newStageOf(t, samples, fmt.Sprintf(dayPolicy, grace*stageSample))
	s.openWorker()
	return &day{stage: s, r: r, grace: grace, up: map[moment]bool{}, happened: map[string]int{}}
}

const dayPolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 1
late_after = 5
late_limit = 20
[close]
grace_seconds = %d
[simulated]
earn = true
[binding]
idle_epochs = 24
[stake]
minimum_per_multiplier = "0"
[fees]
network_basis_points = 0
[payout]
minimum = "0"
[[pools]]
name = "all"
basis_points = 10000
[[models]]
name = "h100"
pool = "all"
multiplier_milli = 10000
match = ["NVIDIA H100 80GB HBM3"]
`

// live goes through the epochs, and on in peace until the last one's grace is over.
func (d *day) live(epochs uint64) {
	d.t.Helper()
	n := 0
	d.toSample(epochs+1, 0, func() {
		d.sample()
		if n++; n%5 == 0 {
			d.settle()
		}
	})
	d.wake()
	d.wire.down.Store(false)
	d.wire.deaf.Store(false)
	clock := d.net.Network.Clock()
	e, s, _ := clock.At(time.Unix(clock.EpochStart(epochs+1)+int64(d.grace+3)*stageSample, 0))
	d.toSample(e, s, func() { d.beUp(); d.settle() })
}

// wake ends what keeps the host from working.
func (d *day) wake() {
	if d.off > 0 || d.asleep > 0 || d.paused > 0 {
		d.off, d.asleep, d.paused = 0, 0, 0
		if d.w == nil {
			d.boot()
		}
	}
}

// sample is one of them.
func (d *day) sample() {
	d.t.Helper()
	if d.outage > 0 {
		if d.outage--; d.outage == 0 {
			d.wire.down.Store(false)
			d.wire.deaf.Store(false)
		}
	}
	switch {
	case d.off > 0:
		if d.off--; d.off == 0 {
			d.boot()
		}
		return
	case d.asleep > 0:
		d.asleep--
		return
	case d.paused > 0:
		d.booted += stageSample // no clock of the host counts
		d.skew -= stageSample * time.Second
		if d.paused--; d.paused == 0 {
			d.beUp() // and the service can be asked at once
		}
		return
	}
	d.happen()
	if d.w != nil && d.asleep == 0 && d.paused == 0 {
		d.beUp()
	}
}

// boot starts the host, often with a clock that is hours off.
func (d *day) boot() {
	d.boots, d.booted = d.boots+1, handTime.Load()
	if d.skew = 0; d.r.IntN(2) == 0 {
		d.skew = d.jump()
	}
	d.wrong, d.reached = d.skew != 0, false
	d.openWorker()
}

// reopen starts the worker in a boot that goes on.
func (d *day) reopen() {
	d.openWorker()
	d.wrong = d.wrong || d.w.host.from != fromService && d.skew != 0
}

func (d *day) jump() time.Duration {
	return time.Duration(d.r.IntN(2*5*3600)-5*3600) * time.Second
}

// beUp works in the present sample.
func (d *day) beUp() {
	d.t.Helper()
	epoch, sample, _ := d.net.Network.Clock().At(handNow())
	d.tick()
	d.up[moment{epoch, sample}] = true
	d.reached = d.w.host.told && d.w.host.proven == d.w.host.up()
	d.wrong = d.wrong && !d.reached
}

// happen draws what begins in this sample.
func (d *day) happen() {
	d.t.Helper()
	what := ""
	switch d.r.IntN(60) {
	case 0, 1:
		if d.outage > 0 {
			return // a longer one would be longer than the grace
		}
		d.outage, what = 1+d.r.IntN(d.grace-8), "outage"
		d.wire.down.Store(true)
	case 2, 3:
		if d.outage > 0 {
			return
		}
		d.outage, what = 1+d.r.IntN(4), "lost answers"
		d.wire.deaf.Store(true)
	case 4, 5, 6:
		what = "restart"
		d.closeWorker()
		d.reopen()
	case 7, 8, 9:
		what = "kill"
		d.beUp()
		d.killMidWrite(d.r)
		d.wrong = d.wrong || d.w.host.from != fromService && d.skew != 0
	case 10, 11:
		if d.wrong {
			return // nobody can tell when what was read in the boot before was read
		}
		what = "switched off"
		d.off = 1 + d.r.IntN(10)
		d.closeWorker()
	case 12, 13:
		d.asleep, what = 1+d.r.IntN(10), "suspended"
	case 14, 15:
		if !d.reached {
			return // when what was read meanwhile was read would not be known
		}
		d.paused, what = 2+d.r.IntN(10), "paused"
	case 16, 17, 18, 19:
		d.skew, what = d.jump(), "clock set"
	case 20, 21:
		d.skew, what = 0, "clock put right"
	case 22:
		what = "new service"
		d.restartService()
	default:
		return
	}
	d.happened[what]++
	epoch, sample, _ := d.net.Network.Clock().At(handNow())
	d.mu.Lock()
	d.events = append(d.events, Event{Kind: "script", Text: fmt.Sprintf("epoch %d sample %d: %s (outage %d, off %d, asleep %d, paused %d, clock %s)", epoch, sample, what, d.outage, d.off, d.asleep, d.paused, d.skew)})
	d.mu.Unlock()
}

// check compares the books with the samples that the host was up for, and returns how
// many these were.
func (d *day) check(epochs uint64) (up int) {
	d.t.Helper()
	for epoch := uint64(1); epoch <= epochs; epoch++ {
		all := d.uptimes(d.sealed(epoch)) // fails on two for one sample
		for sample := range d.net.Network.Samples {
			_, in := all[sample]
			was := d.up[moment{epoch, sample}]
			if was {
				up++
			}
			switch {
			case was && !in:
				d.t.Errorf("epoch %d sample %d is lost", epoch, sample)
			case in && !was:
				d.t.Errorf("epoch %d sample %d is proven, and the host was not up", epoch, sample)
			}
		}
	}
	for _, kind := range []EventKind{EventRefused, EventOmission, EventBadAck, EventStranger, EventTwin, EventFalseBeacon} {
		if list := d.saw(kind); len(list) > 0 {
			d.t.Errorf("%v", list)
		}
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "evidence", "*")); err != nil || len(left) > 0 {
		d.t.Errorf("evidence of nothing: %v, %v", left, err)
	}
	return up
}
