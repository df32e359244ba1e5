package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Read reads the devices once in each sample and keeps the reading until its beacon
// is known. A sample that this key has read or signed before is left alone.
func (w *Worker) Read(ctx context.Context) error {
	now, due := w.due()
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
	if !w.spool.read.before(now) {
		return nil // an earlier life of the key became known meanwhile
	}
	if err != nil {
		// The host is up and its devices are not: the statement says so.
		w.emit(Event{Kind: EventTrouble, Text: "devices are reported as gone: " + err.Error()})
	} else if now.epoch != w.spool.read.epoch {
		if err := w.takeInventory(list); err != nil {
			return err
		}
	}
	err = w.spool.AddReading(proofs.Uptime{
		Epoch: now.epoch, Sample: now.sample, Delegation: w.delegationOf(), Inventory: w.inventory.id,
		Devices: entriesFor(w.devices, readings),
	})
	if errors.Is(err, ErrSpoolFull) {
		w.emit(Event{Kind: EventSkipped, Epoch: now.epoch, Sample: now.sample, Text: err.Error()})
		return w.spool.SkipTo(now.epoch, now.sample)
	}
	return err
}

// due returns the current sample and whether it is still to be read.
func (w *Worker) due() (moment, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	epoch, sample, ok := w.clock.At(w.now())
	now := moment{epoch, sample}
	return now, ok && w.spool.read.before(now)
}

// sign turns each reading whose beacon is known into a statement.
func (w *Worker) sign(ctx context.Context) error {
	if w.cfg.Now().Before(w.beaconsAt) {
		return nil
	}
	w.mu.Lock()
	waiting := slices.Clone(w.spool.readings)
	w.mu.Unlock()
	for _, u := range waiting {
		if u.Epoch <= w.head.Sealed {
			if err := w.giveUp(u, "its epoch was sealed before a beacon was known"); err != nil {
				return err
			}
			continue
		}
		beacon, err := w.cfg.API.Beacon(ctx, u.Epoch, u.Sample)
		var p *client.Problem
		switch {
		case errors.As(err, &p) && (p.Kind() == client.BeaconNotReady || p.Kind() == client.FutureSample):
			// Later samples may be ready: a sample may have no block at all.
			w.beaconsAt = w.cfg.Now().Add(min(p.RetryAfter, time.Duration(w.clock.SampleSeconds())*time.Second/4))
		case errors.As(err, &p) && p.Kind() == client.EpochClosed:
			if err := w.giveUp(u, "its epoch was closed before a beacon was known"); err != nil {
				return err
			}
		case err != nil:
			return &apiError{err}
		default:
			if err := w.signReading(u, beacon); err != nil {
				return err
			}
		}
	}
	return nil
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
	if start := w.clock.SampleStart(u.Epoch, u.Sample); b.Time < start || b.Time >= start+w.clock.SampleSeconds() {
		return w.giveUp(u, "the service's beacon is of another sample")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u.BeaconSlot, u.BeaconHash, u.Previous = b.Slot, b.Blockhash, w.spool.last
	body, err := u.Encode()
	if err != nil {
		return err
	}
	return w.spool.AddStatement(proofs.Sign(w.cfg.Network.ID(), proofs.KindUptime, w.cfg.Key, body))
}
