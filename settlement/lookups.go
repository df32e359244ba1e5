package settlement

import (
	"context"
	"errors"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// What requests with statements may make us read from the chain: workers of ours name
// beacons that we handed out, so that nothing is read for them.
const (
	maxLookups = 16 // blocks, and samples, of one request, found or not
	maxReaders = 8  // requests that read, or wait for it, at once
)

// Only what we acked makes use of all of maxReaders: a database that was put back lacks
// its beacons, and strangers shall not keep it out.
const maxStrangeReaders = maxReaders / 2

// lookups reads blocks of one request from the chain, each slot once.
type lookups struct {
	s       *Service
	done    map[uint64]lookup
	samples map[sampleOf]proofs.Beacon
	asked   int  // samples
	read    int  // slots
	counted bool // among the readers
	tired   bool // it waited for a turn in vain
}

type lookup struct {
	beacon  proofs.Beacon
	problem *Problem
}

func (s *Service) newLookups() *lookups {
	return &lookups{s: s, done: map[uint64]lookup{}, samples: map[sampleOf]proofs.Beacon{}}
}

// leave is called when the request reads no more.
func (l *lookups) leave() {
	if l.counted {
		l.s.intake.beacons.readers.Add(-1)
	}
}

// turn waits for a turn to read the chain; the cache's leave gives it back. Where enough
// requests read or wait already it does not wait, so that few can be slow at once; nor
// where this one waited before in vain.
func (l *lookups) turn(ctx context.Context, acked bool) *Problem {
	cache, most := &l.s.intake.beacons, int32(maxStrangeReaders)
	if acked {
		most = maxReaders
	}
	busy := NewProblem(ProblemBusy, "body.beacon_slot", "too many blocks that are not known here are asked for at once: take the beacon that this service hands out").after(beaconRetry)
	if l.tired {
		return busy
	}
	if !l.counted && cache.readers.Add(1) > most {
		cache.readers.Add(-1)
		return busy
	}
	l.counted = true
	wait, cancel := context.WithTimeout(ctx, beaconRetry)
	defer cancel()
	if cache.enter(wait) != nil {
		l.tired = true
		return busy
	}
	return nil
}

// block returns the block whose slot the statement names, read from the chain where it
// is near the one that we hand out for the sample: an honest worker names none far
// from it, and so an outsider can't make us read the whole chain.
func (l *lookups) block(ctx context.Context, it *item) (proofs.Beacon, *Problem, error) {
	u := it.uptime()
	slot := u.BeaconSlot
	if d, ok := l.done[slot]; ok {
		return d.beacon, d.problem, nil
	}
	if d, ok := l.s.intake.beacons.block(slot); ok {
		return d.beacon, d.problem, nil
	}
	if l.read == maxLookups {
		return proofs.Beacon{}, NewProblem(ProblemBusy, "body.beacon_slot", "the statements of one request name more than %d blocks that are not known here: send fewer at once", maxLookups).after(beaconRetry), nil
	}
	ours, problem, err := l.ours(ctx, sampleOf{u.Epoch, u.Sample}, it.acked)
	if err != nil || problem != nil {
		return proofs.Beacon{}, problem, err
	}
	if far := uint64(nearSlots + nearSlotsPerSecond*l.s.clock.SampleSeconds()); slot > ours.Slot+far || slot+far < ours.Slot {
		return proofs.Beacon{}, NewProblem(ProblemForeignBeacon, "body.beacon_slot", "slot %d is too far from the block of this sample in slot %d: take the beacon that this service hands out", slot, ours.Slot), nil
	}
	l.read++
	if slot == ours.Slot {
		l.done[slot] = lookup{beacon: ours}
		return ours, nil, nil
	}
	return l.readBlock(ctx, slot, it.acked)
}

// ours returns the block of a sample that Beacon would hand out.
func (l *lookups) ours(ctx context.Context, at sampleOf, acked bool) (proofs.Beacon, *Problem, error) {
	if b, ok := l.samples[at]; ok {
		return b, nil, nil
	}
	if l.asked == maxLookups {
		return proofs.Beacon{}, NewProblem(ProblemBusy, "body.sample", "the statements of one request name blocks of more than %d samples that are not known here: send fewer at once", maxLookups).after(beaconRetry), nil
	}
	l.asked++
	b, ok, err := l.s.storedBeacon(ctx, at)
	if err == nil && !ok {
		if busy := l.turn(ctx, acked); busy != nil {
			return b, busy, nil
		}
		b, err = l.s.readBeacon(ctx, at)
		l.s.intake.beacons.leave()
	}
	var p *Problem
	if errors.As(err, &p) {
		named := *p
		named.Field = "body." + p.Field
		return b, &named, nil
	}
	if err == nil {
		l.samples[at] = b
	}
	return b, nil, err
}

// Slots that are no farther than this from a sample's block may be of the same
// sample; the cluster makes 2.5 a second.
const (
	nearSlots          = 64
	nearSlotsPerSecond = 10
)

// readBlock asks the chain for the block of a slot.
func (l *lookups) readBlock(ctx context.Context, slot uint64, acked bool) (proofs.Beacon, *Problem, error) {
	if busy := l.turn(ctx, acked); busy != nil {
		return proofs.Beacon{}, busy, nil
	}
	cache := &l.s.intake.beacons
	defer cache.leave()
	var d lookup
	block, err := l.s.cfg.Chain.Block(ctx, slot)
	final := true
	switch {
	case errors.Is(err, rpc.ErrSkipped), errors.Is(err, rpc.ErrNotFound):
		d.problem = NewProblem(ProblemForeignBeacon, "body.beacon_slot", "slot %d has no finalized block", slot)
	case errors.Is(err, rpc.ErrNotYet):
		d.problem, final = NewProblem(ProblemForeignBeacon, "body.beacon_slot", "slot %d is not finalized yet", slot).after(beaconRetry), false
	case err != nil:
		return proofs.Beacon{}, nil, err
	}
	d.beacon = proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}
	l.done[slot] = d
	if final {
		cache.remember(slot, d)
	}
	return d.beacon, d.problem, nil
}
