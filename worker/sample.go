package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Read reads the devices once in each sample and keeps the reading until its beacon
// is known. A sample that this key has read or signed before is left alone.
func (w *Worker) Read(ctx context.Context) error {
	now, read, due := w.due()
	if !due {
		return nil
	}
	list, err := inventoryOf(ctx, w.cfg.Sampler)
	var readings []Reading
	if err == nil {
		readings, err = w.cfg.Sampler.Sample(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Meanwhile an earlier life of the key became known, or the service told the time.
	if epoch, sample, ok := w.clock.At(w.host.at(read.at)); !ok || now != (moment{epoch, sample}) || !w.spool.read.before(now) {
		return nil
	}
	w.tellTroubles(readings, err)
	unread := err
	if err != nil {
		readings = nil // the host is up and its devices are not: the statement says so
	} else if now.epoch != w.spool.read.epoch {
		if err := w.takeInventory(list); err != nil {
			return err
		}
	}
	if err := w.keep(now, read, readings); err != nil || !errors.Is(unread, ErrDriverChanged) {
		return err
	}
	return unread // the sample is kept; only a new process can read the next one
}

// keep puts a reading into the spool.
func (w *Worker) keep(now moment, read stamp, readings []Reading) error {
	if err := w.useInventoryIn(now.epoch); err != nil {
		return err
	}
	if ended, err := w.delegationEnded(now); err != nil {
		return err
	} else if ended && w.host.told {
		if !w.ended {
			w.ended = true
			w.emit(Event{Kind: EventSkipped, Epoch: now.epoch, Sample: now.sample, Text: "no delegation is in force: provider " + w.cfg.Provider.String() + " has to sign a new one"})
		}
		return w.spool.SkipTo(now.epoch, now.sample)
	}
	u := proofs.Uptime{
		Epoch: now.epoch, Sample: now.sample, Delegation: w.delegationOf(), Inventory: w.inventory.id,
		Devices: entriesFor(w.devices, readings),
	}
	read.put(&u)
	err := w.spool.AddReading(u)
	if errors.Is(err, ErrSpoolFull) {
		w.emit(Event{Kind: EventSkipped, Epoch: now.epoch, Sample: now.sample, Text: err.Error()})
		return w.spool.SkipTo(now.epoch, now.sample)
	}
	if err == nil {
		w.metrics.took(u.Devices)
		w.tellSpool()
	}
	return err
}

// tellSpool says once that the spool fills up, and again after it was emptier.
func (w *Worker) tellSpool() {
	full := w.spool.percent()
	if full >= nearlyFull && !w.filling {
		w.emit(Event{Kind: EventSpool, Text: fmt.Sprintf("%d%% full: when it is full, samples go without a statement until the service seals epochs; --spool-mib makes more room", full)})
	}
	w.filling = full >= nearlyFull || w.filling && full >= nearlyFull-10
}

// due returns the current sample, when that was seen, and whether it is still to be read.
func (w *Worker) due() (moment, stamp, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	read := stamp{boot: w.host.boot, at: w.host.up().Truncate(time.Millisecond), from: w.host.from}
	epoch, sample, ok := w.clock.At(w.host.at(read.at))
	now := moment{epoch, sample}
	return now, read, ok && w.spool.read.before(now)
}

// sign turns each reading whose beacon is known into a statement.
func (w *Worker) sign(ctx context.Context) error {
	if w.host.up() < w.beaconsAt {
		return nil
	}
	w.mu.Lock()
	waiting := slices.Clone(w.spool.readings)
	w.mu.Unlock()
	w.silent = nil
	for _, u := range waiting {
		if !w.host.settled(u) {
			continue // the service has yet to tell the time
		}
		if err := w.signOne(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) signOne(ctx context.Context, u proofs.Uptime) error {
	if u.Epoch <= w.head.Sealed {
		return w.giveUp(u, "its epoch was sealed before a beacon was known")
	}
	beacon, err := w.cfg.API.Beacon(ctx, u.Epoch, u.Sample)
	var p *client.Problem
	switch {
	case errors.As(err, &p) && (p.Kind() == client.BeaconNotReady || p.Kind() == client.FutureSample):
		// Later samples may be ready: a sample may have no block at all.
		w.askLater(p.RetryAfter)
		return nil
	case errors.As(err, &p) && p.Kind() == client.EpochClosed:
		return w.giveUp(u, "its epoch was closed before a beacon was known")
	case err != nil:
		return &apiError{err}
	}
	err = w.checkBeacon(ctx, u, beacon)
	if errors.Is(err, errFalse) {
		w.refuseBeacon(u, beacon, err)
		w.askLater(0)
		return nil
	}
	if err != nil {
		return err
	}
	return w.signReading(u, beacon)
}

// askLater puts off asking for beacons. All hosts wait for the same block: each comes at
// a time of its own.
func (w *Worker) askLater(asked time.Duration) {
	sample := w.sampleTime()
	pause := min(max(asked, sample/8), sample/4)
	w.beaconsAt = w.host.up() + pause + rand.N(pause)
}

func (w *Worker) giveUp(u proofs.Uptime, why string) error {
	w.emit(Event{Kind: EventSkipped, Epoch: u.Epoch, Sample: u.Sample, Text: why})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spool.GiveUp(u.Epoch, u.Sample)
}

// signReading signs and keeps a statement. After it returns nil the statement is
// durable and no other one will be signed for that sample.
func (w *Worker) signReading(u proofs.Uptime, b client.Beacon) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	u.BeaconSlot, u.BeaconHash, u.Previous = b.Slot, b.Blockhash, w.spool.last
	body, err := u.Encode()
	if err != nil {
		return err
	}
	err = w.spool.AddStatement(proofs.Sign(w.cfg.Network.ID(), proofs.KindUptime, w.cfg.Key, body))
	if err == nil {
		w.metrics.signed.Inc()
	}
	return err
}
