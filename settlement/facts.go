package settlement

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxFacts is how many inventories and beacons intake remembers in each of two
// generations, about 300 bytes each.
const (
	maxFacts       = 1 << 19
	maxKnownBlocks = 1 << 12
)

// fact is what an uptime statement is held against: an inventory with its delegation.
// Registrations are never deleted. A revocation counts from the epoch after its arrival:
// what was read in one epoch is all that counts in it. The numbers are those of the
// database that was there then, so they are compared where they are used.
type fact struct {
	inventory    inventoryRow
	delegation   delegationRow // without its workers
	number       int32
	workerNumber int32
	read         uint64 // epoch
}

// facts remembers what statements name, so that most need no look-up.
type facts struct {
	mu          sync.Mutex
	inventories generations[ionet.Hash, *fact]
	beacons     generations[uint64, proofs.Beacon] // of the table, by slot
}

// generations is a map that forgets what was not asked for of late: once the young
// half is full it is the old one, and the old one is gone.
type generations[K comparable, V any] struct {
	most       int
	young, old map[K]V
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok {
		g.put(k, v)
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if g.young == nil || len(g.young) >= g.most {
		g.young, g.old = map[K]V{}, g.young
	}
	g.young[k] = v
}

func newFacts() *facts {
	return &facts{inventories: generations[ionet.Hash, *fact]{most: maxFacts}, beacons: generations[uint64, proofs.Beacon]{most: maxKnownBlocks}}
}

// forget is for a database that was put back.
func (f *facts) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inventories.young, f.inventories.old = nil, nil
	f.beacons.young, f.beacons.old = nil, nil
}

// look gives each item its fact and beacon, as far as they are remembered and good for
// its epoch, and returns what is to be read.
func (f *facts) look(items []*item) (inventories [][]byte, slots []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var missing set[ionet.Hash]
	var blocks set[uint64]
	for _, it := range items {
		u := it.uptime()
		known := false
		if it.fact, known = f.inventories.get(u.Inventory); !known || it.fact.read < u.Epoch {
			it.fact = nil
			missing.add(u.Inventory)
		}
		if b, ok := f.beacons.get(u.BeaconSlot); ok {
			it.block = &b
		} else if u.BeaconSlot>>63 == 0 {
			blocks.add(u.BeaconSlot)
		}
	}
	for slot := range blocks {
		slots = append(slots, int64(slot))
	}
	return byteas(missing), slots
}

const selectFacts = `
SELECT i.id, i.worker, i.delegation, i.devices, i.number, i.worker_number, d.provider, d.issued, d.expires,
       coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0)
FROM inventories i JOIN delegations d ON d.id = i.delegation WHERE i.id = ANY ($1::bytea[])`

// learn gives uptime statements what is known of what they name, reading the rest in one
// round trip; epoch is that of now. What is not there they lack.
func (s *Service) learnFacts(ctx context.Context, items []*item, epoch uint64) error {
	f := s.intake.facts
	inventories, slots := f.look(items)
	if len(inventories) == 0 && len(slots) == 0 {
		return nil
	}
	var b pgx.Batch
	read, blocks := map[ionet.Hash]*fact{}, map[uint64]proofs.Beacon{}
	if len(inventories) > 0 {
		b.Queue(selectFacts, inventories).Query(func(rows pgx.Rows) error { return scanFacts(rows, read, epoch) })
	}
	if len(slots) > 0 {
		b.Queue(selectBeacons, slots).Query(scanBeacons(blocks))
	}
	if err := s.front.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("read %d inventories and %d beacons: %w", len(inventories), len(slots), err)
	}
	f.mu.Lock()
	for id, v := range read {
		f.inventories.put(id, v)
	}
	for slot, v := range blocks {
		f.beacons.put(slot, v)
	}
	f.mu.Unlock()
	for _, it := range items {
		u := it.uptime()
		if it.fact == nil {
			it.fact = read[u.Inventory]
		}
		if v, ok := blocks[u.BeaconSlot]; ok && it.block == nil {
			it.block = &v
		}
	}
	return nil
}

func scanFacts(rows pgx.Rows, into map[ionet.Hash]*fact, epoch uint64) error {
	var id, worker, delegation, provider []byte
	var issued, expires, revoked int64
	var devices int
	var number, workerNumber int32
	_, err := pgx.ForEachRow(rows, []any{&id, &worker, &delegation, &devices, &number, &workerNumber, &provider, &issued, &expires, &revoked}, func() error {
		into[ionet.Hash(id)] = &fact{
			inventory:  inventoryRow{worker: ionet.Key(worker), delegation: ionet.Hash(delegation), devices: devices},
			delegation: delegationRow{provider: ionet.Key(provider), issued: issued, expires: expires, revoked: uint64(revoked)},
			number:     number, workerNumber: workerNumber, read: epoch,
		}
		return nil
	})
	return err
}
