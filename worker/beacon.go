package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// errFalse is a beacon that is none of the sample: it is not signed, and the service is
// asked again.
var errFalse = errors.New("false beacon")

// uncheckedAfter is how many samples after its own a statement waits for an endpoint of
// ours that does not answer. Then it is signed on the service's word, and that is said: a
// false word would cost the sample, waiting longer may cost it too.
const uncheckedAfter = 3

// checkBeacon holds the service's word against the sample and, where the host has
// endpoints of its own, against the chain. It returns errFalse, or an *apiError while the
// chain does not tell.
func (w *Worker) checkBeacon(ctx context.Context, u proofs.Uptime, b client.Beacon) error {
	start := w.clock.SampleStart(u.Epoch, u.Sample)
	if b.Time < start || b.Time >= start+w.clock.SampleSeconds() {
		return fmt.Errorf("%w: the block of slot %d has time %d, the sample is from %d on", errFalse, b.Slot, b.Time, start)
	}
	if w.cfg.Chain == nil {
		return nil
	}
	block, err := rpc.Block{}, w.silent // after an outage many readings wait for one silent endpoint
	if err == nil {
		block, err = w.cfg.Chain.Block(ctx, b.Slot)
	}
	switch {
	case err == nil && block.Hash == b.Blockhash && block.Time == b.Time:
		return nil
	case err == nil:
		return fmt.Errorf("%w: the service says that the block of slot %d is %s at %d, the chain has %s at %d", errFalse, b.Slot, b.Blockhash, b.Time, block.Hash, block.Time)
	case errors.Is(err, rpc.ErrSkipped):
		return fmt.Errorf("%w: the service says that the block of slot %d is %s, the chain has none there", errFalse, b.Slot, b.Blockhash)
	case errors.Is(err, rpc.ErrNotYet) && w.passed(ctx, b.Slot, start):
		return fmt.Errorf("%w: slot %d is yet to come, and the sample is over", errFalse, b.Slot)
	case errors.Is(err, rpc.ErrNotFound) && w.isBefore(ctx, b.Slot, start):
		return fmt.Errorf("%w: slot %d is before the sample, and endpoints have cleaned it up", errFalse, b.Slot)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if !errors.Is(err, rpc.ErrNotYet) && !errors.Is(err, rpc.ErrNotFound) {
		w.silent = err
	}
	w.mu.Lock()
	late := w.host.now().Sub(time.Unix(start, 0)) >= (1+uncheckedAfter)*w.sampleTime()
	w.mu.Unlock()
	if !late {
		return &apiError{&chainError{u.Epoch, u.Sample, err}}
	}
	w.emit(Event{Kind: EventTrouble, Epoch: u.Epoch, Sample: u.Sample,
		Text: fmt.Sprintf("the beacon of epoch %d sample %d is taken unchecked: %v", u.Epoch, u.Sample, err)})
	return nil
}

// chainError is a beacon that no endpoint of the host's own tells anything of now.
type chainError struct {
	epoch  uint64
	sample uint16
	err    error
}

func (e *chainError) Error() string {
	return fmt.Sprintf("check the beacon of epoch %d sample %d: %v", e.epoch, e.sample, e.err)
}
func (e *chainError) Unwrap() error { return e.err }

// passed reports whether the chain has a final block that is before the slot and after the
// sample that begins at start: endpoints that lag are no reason to call the service a liar.
func (w *Worker) passed(ctx context.Context, slot uint64, start int64) bool {
	newest, err := w.cfg.Chain.Newest(ctx)
	return err == nil && newest.Slot < slot && newest.Time >= start+w.clock.SampleSeconds()
}

// isBefore reports whether the slot is below the first block of the sample that begins at
// start: one that endpoints have cleaned up can't be told by its block. Where they still
// have a block of the sample before, the first that they tell is the first that there is.
func (w *Worker) isBefore(ctx context.Context, slot uint64, start int64) bool {
	length := w.clock.SampleSeconds()
	first, err := w.cfg.Chain.BlockAt(ctx, start, start+length)
	if err != nil || slot >= first.Slot {
		return false
	}
	_, err = w.cfg.Chain.BlockAt(ctx, start-length, start)
	return err == nil
}

// refuseBeacon reports a false beacon, each once.
func (w *Worker) refuseBeacon(u proofs.Uptime, b client.Beacon, why error) {
	at := falseBeacon{momentIn(u), b.Slot, b.Blockhash}
	if w.falseBeacon == at {
		return
	}
	w.falseBeacon = at
	w.emit(Event{Kind: EventFalseBeacon, Epoch: u.Epoch, Sample: u.Sample, Text: why.Error()})
}

// falseBeacon is the one that was reported last.
type falseBeacon struct {
	of   moment
	slot uint64
	hash ionet.Key
}
