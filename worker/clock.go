package worker

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Which sample a reading is of decides what is signed, so it must not follow a wall clock
// that somebody sets, that a battery lost, or that stood still:
//
//	time of a reading = boot clock + offset
//
// The boot clock counts on through suspensions, and nobody sets it. The offset is the wall
// clock's until the service tells the time, then the service's. Each reading is stamped
// with the boot clock and signed only after the service told the time later in the same
// boot: then the time at which it was read follows exactly, whatever the wall clock was
// when it was put down. What the service told is kept for the processes of that boot.
type hostClock struct {
	boot   ionet.Key // name of this boot of the host
	up     func() time.Duration
	offset time.Duration // Unix time less the boot clock
	from   origin        // of the offset
	told   bool          // the service told the time in this process
	proven time.Duration // boot clock when it did last
}

// origin says where an offset is from.
type origin byte

const (
	fromWall    origin = iota // the wall clock when the process began
	fromService               // the service told the time in this boot
	invented                  // the wall clock is known to be wrong
)

func (h *hostClock) at(up time.Duration) time.Time { return time.Unix(0, int64(h.offset+up)) }

func (h *hostClock) now() time.Time { return h.at(h.up()) }

// processClock stands in where there is no boot clock: each process is a boot of its own,
// and a suspension is seen only when the service tells the time.
func processClock() (boot ionet.Key, up func() time.Duration) {
	_, _ = rand.Read(boot[:]) // never fails
	start := time.Now()
	return boot, func() time.Duration { return time.Since(start) }
}

// stamp says when a reading was made. It is kept in the reading's fields of beacon and
// previous statement, which are not known yet:
//
//	beacon slot = milliseconds of the boot clock · beacon hash = boot · previous[0] = origin
type stamp struct {
	boot ionet.Key
	at   time.Duration
	from origin
}

func (s stamp) put(u *proofs.Uptime) {
	u.BeaconSlot, u.BeaconHash, u.Previous = uint64(s.at.Milliseconds()), s.boot, ionet.Hash{byte(s.from)}
}

func stampOf(u proofs.Uptime) stamp {
	return stamp{boot: u.BeaconHash, at: time.Duration(u.BeaconSlot) * time.Millisecond, from: origin(u.Previous[0])}
}

// startClock begins with what the service told in this boot, else with the wall clock. One
// that shows a time before the last sample that was read is wrong, or was: readings then
// go on from that sample, until the service tells the time and they are put in their places.
func (w *Worker) startClock() error {
	up := w.host.up()
	boot, offset, err := w.cfg.Folder.clock()
	if err != nil {
		return err
	}
	if boot == w.host.boot && !boot.IsZero() {
		w.host.offset, w.host.from = offset, fromService
		return nil
	}
	w.host.offset = time.Duration(w.cfg.Now().UnixNano()) - up
	read := w.spool.read
	if epoch, sample, ok := w.clock.At(w.host.at(up)); read.epoch > 0 && (!ok || (moment{epoch, sample}).before(read)) {
		end := w.clock.SampleStart(read.epoch, read.sample) + w.clock.SampleSeconds()
		w.host.offset, w.host.from = time.Duration(end)*time.Second-up, invented
	}
	return nil
}

// skewThatMatters is the difference between two clocks that a slow request does
// not explain.
const skewThatMatters = 2 * time.Second

// tooSlow is an answer that tells the time no more, where half a sample is not longer.
const tooSlow = 10 * time.Second

// tellTime takes the service's time, in Unix seconds, that was true between two looks at
// the boot clock. The readings that nobody vouched for are put in their places.
func (w *Worker) tellTime(service int64, asked, answered time.Duration) error {
	if answered-asked > max(w.sampleTime()/2, tooSlow) {
		return nil // the host slept over its question: when this was true is not known
	}
	middle, slack := asked+(answered-asked)/2, skewThatMatters+answered-asked
	said := time.Duration(service)*time.Second + 500*time.Millisecond // it tells whole seconds
	wall := time.Duration(w.cfg.Now().UnixNano()) - answered          // the wall clock's offset
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &w.host
	changed := (said - middle - h.offset).Abs() >= slack
	if changed {
		h.offset = said - middle
	}
	w.showSkew(said-middle-wall, slack)
	lost, err := w.spool.Recast(w.placing(slack))
	if err != nil {
		return err
	}
	for _, m := range lost {
		w.emit(Event{Kind: EventSkipped, Epoch: m.epoch, Sample: m.sample, Text: "when it was read is not known: the host's clock was wrong, or stood still"})
	}
	if changed || h.from != fromService {
		// If we stop before this line, the next process of this boot begins with the wall
		// clock, and its readings are put in their places as these were.
		if err := w.cfg.Folder.setClock(h.boot, h.offset); err != nil {
			return err
		}
	}
	h.from, h.told, h.proven = fromService, true, asked
	epoch, sample, ok := w.clock.At(h.now())
	if !ok {
		return nil
	}
	return w.spool.Back(epoch, sample)
}

// showSkew reports how far the host's wall clock is off. Nothing hangs on it but what a
// person reads in other programs' logs.
func (w *Worker) showSkew(skew, slack time.Duration) {
	w.metrics.skew.Set(skew.Seconds())
	if skew.Abs() < slack {
		skew = 0
	}
	if (skew - w.skew).Abs() >= skewThatMatters {
		w.emit(Event{Kind: EventClock, Text: fmt.Sprintf("this host is %s off the service's clock; using the service's", (-skew).Round(time.Second))})
	}
	w.skew = skew
}

// settled reports whether the time of a reading is proven: the service told the time after
// it in the same boot, or it was judged when the service first told this process.
func (h *hostClock) settled(u proofs.Uptime) bool {
	s := stampOf(u)
	return h.told && (s.boot != h.boot || s.at <= h.proven)
}

// placing says of each reading of which sample it truly is; ok is false where that is not
// known. The new offset is set already.
func (w *Worker) placing(slack time.Duration) func(proofs.Uptime) (m moment, ok bool) {
	sample := time.Duration(w.clock.SampleSeconds()) * time.Second
	slack = max(slack, sample/4)
	h := w.host // as it was before this telling, but for the offset
	// What was read in earlier boots was read before this one began, and after what was
	// signed or vouched for before.
	began, sure := h.at(0).Add(slack), w.spool.signed
	return func(u proofs.Uptime) (moment, bool) {
		m, s := momentIn(u), stampOf(u)
		if s.from == fromService && s.boot != h.boot {
			sure = sure.later(m) // readings come in the order in which they were made
		}
		if h.settled(u) {
			return m, true
		}
		if s.boot != h.boot {
			// Of an earlier boot. A wall clock that no service vouched for then is believed
			// when that is possible.
			start := time.Unix(w.clock.SampleStart(m.epoch, m.sample), 0)
			return m, s.from == fromService || s.from == fromWall && sure.before(m) && start.Before(began)
		}
		t, start := h.at(s.at), time.Unix(w.clock.SampleStart(m.epoch, m.sample), 0)
		// Samples are read when they begin: one that is told to have been read a little
		// earlier is still of its sample.
		if t.After(start.Add(-slack)) && t.Before(start.Add(sample)) {
			return m, true
		}
		// A clock that the service vouched for went wrong by itself: the host stood still
		// where the boot clock doesn't count, such as a machine that was paused. Whether
		// this was read before or after is not known.
		epoch, at, ok := w.clock.At(t)
		return moment{epoch, at}, ok && s.from != fromService
	}
}
