package worker

import (
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// takeInventory makes the inventory statement in force from a list of devices. One
// epoch goes by one inventory: what changes in the middle of an epoch waits for the
// next, and a device that is missing meanwhile is reported as gone. So does what a full
// spool has no room for.
func (w *Worker) takeInventory(list []proofs.InventoryDevice) error {
	last := w.spool.latest(proofs.KindInventory)
	inventory := proofs.Inventory{Delegation: w.cfg.Delegation.ID(), Simulated: w.cfg.Sampler.Simulated(), Devices: list}
	body, err := inventory.Encode()
	if err != nil {
		return fmt.Errorf("take inventory: %w", err)
	}
	if last != nil {
		had, err := proofs.ParseInventory(last.e.Body)
		if err != nil {
			return fmt.Errorf("take inventory: %w", err)
		}
		same := had.Delegation == inventory.Delegation && had.Simulated == inventory.Simulated && slices.Equal(had.Devices, list)
		full := w.spool.room(2*(envelopeSize+ackRoom+refusalRoom) + len(body) + len(w.cfg.Delegation.Body))
		if same || w.epochBegun() || full != nil {
			w.useInventory(last, had.Devices)
			return nil
		}
	}
	e := proofs.Sign(w.cfg.Network.ID(), proofs.KindInventory, w.cfg.Key, body)
	for _, e := range []proofs.Envelope{w.cfg.Delegation, e} {
		if err := w.spool.AddStatement(e); err != nil {
			return err
		}
	}
	w.useInventory(w.spool.byID[e.ID()], list)
	return nil
}

func (w *Worker) useInventory(it *item, devices []proofs.InventoryDevice) {
	if w.inventory != nil && w.inventory.id == it.id {
		return
	}
	w.inventory, w.devices = it, devices
	for _, d := range devices {
		w.emit(Event{Kind: EventDevice, Text: fmt.Sprintf("%s %s, %d MiB", d.UUID, d.Name, d.MemoryMiB)})
	}
}

// useInventoryIn makes the inventory in force the one that the epoch goes by, where a
// sample of it was read before: a clock that was wrong may have let a later one in.
func (w *Worker) useInventoryIn(epoch uint64) error {
	id, ok := w.spool.inventoryIn(epoch)
	if !ok || id == w.inventory.id {
		return nil
	}
	it := w.spool.byID[id]
	v, err := proofs.ParseInventory(it.e.Body)
	if err != nil {
		return fmt.Errorf("take inventory of epoch %d: %w", epoch, err)
	}
	w.inventory, w.devices = it, v.Devices
	return nil
}

// delegationEnded reports whether the inventory's delegation is not in force in the sample,
// so that nothing signed for it can count.
func (w *Worker) delegationEnded(at moment) (bool, error) {
	e := w.spool.byID[w.delegationOf()].e
	d, err := proofs.ParseDelegation(w.cfg.Network.ID(), e.Signer, e.Body)
	if err != nil {
		return false, fmt.Errorf("read the delegation in force: %w", err)
	}
	return !inForce(d, w.clock.SampleStart(at.epoch, at.sample)), nil
}

// epochBegun reports whether a sample of the current epoch was read already.
func (w *Worker) epochBegun() bool {
	epoch, _, ok := w.clock.At(w.host.now())
	return ok && w.spool.read.epoch >= epoch
}

// delegationOf returns the id of the delegation that the inventory in force names.
func (w *Worker) delegationOf() ionet.Hash { return w.inventory.names[0] }
