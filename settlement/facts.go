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
	lot          [16]byte
	read         uint64 // epoch
}

// facts remembers what statements name, so that most need no look-up. All of it is of one
// life of the database: what is added was read together with the inventory of the
// highest number, whose lot says that no smaller number was given anew.
type facts struct {
	reading     sync.Mutex // held while something is read, so that one adds after the other
	mu          sync.Mutex
	life        uint64 // counts how often all was forgotten
	top         *fact  // the one of the highest number since; nil: none
	inventories generations[ionet.Hash, *fact]
	beacons     generations[uint64, *proofs.Beacon] // of the table, by slot
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
	return &facts{inventories: generations[ionet.Hash, *fact]{most: maxFacts}, beacons: generations[uint64, *proofs.Beacon]{most: maxKnownBlocks}}
}

// forget is for a database that was put back.
func (f *facts) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clear()
}

func (f *facts) clear() {
	f.life++
	f.top = nil
	f.inventories.young, f.inventories.old = nil, nil
	f.beacons.young, f.beacons.old = nil, nil
}

// named is what a batch knows of the registry.
type named struct {
	life    uint64
	top     *fact // what proves the numbers
	missing set[ionet.Hash]
	slots   set[uint64]
}

// look gives each item its fact and beacon, as far as they are remembered and good for
// its epoch, and says what is to be read.
func (f *facts) look(items []*item) (l named) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.life, l.top = f.life, f.top
	for _, it := range items {
		u := it.uptime()
		known := false
		if it.fact, known = f.inventories.get(u.Inventory); !known || it.fact.read < u.Epoch {
			it.fact = nil
			l.missing.add(u.Inventory)
		}
		if b, ok := f.beacons.get(u.BeaconSlot); ok {
			it.block = b
		} else if it.block = nil; u.BeaconSlot>>63 == 0 {
			l.slots.add(u.BeaconSlot)
		}
	}
	return l
}

// add remembers what was read, unless all was forgotten meanwhile. Where the top was
// not found it was read in another life than the rest.
func (f *facts) add(life uint64, found bool, read map[ionet.Hash]*fact, blocks map[uint64]proofs.Beacon) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life != life {
		return
	}
	if f.top != nil && !found {
		f.clear()
	}
	for id, v := range read {
		f.inventories.put(id, v)
		if f.top == nil || v.number > f.top.number {
			f.top = v
		}
	}
	for slot, v := range blocks {
		f.beacons.put(slot, &v)
	}
}

const selectFacts = `
SELECT i.id, i.worker, i.delegation, i.devices, i.number, i.worker_number, i.lot, d.provider, d.issued, d.expires,
       coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0)
FROM inventories i JOIN delegations d ON d.id = i.delegation WHERE i.id = ANY ($1::bytea[])`

const selectTop = `SELECT EXISTS (SELECT FROM inventories WHERE number = $1 AND lot = $2)`

// learnFacts gives uptime statements what is known of what they name, reading the rest in
// one round trip; epoch is that of now. What is not there they lack. It returns what
// proves the numbers of all facts.
func (s *Service) learnFacts(ctx context.Context, items []*item, epoch uint64) (top *fact, err error) {
	f := s.intake.facts
	if l := f.look(items); len(l.missing) == 0 && len(l.slots) == 0 {
		return l.top, nil
	}
	f.reading.Lock()
	defer f.reading.Unlock()
	l := f.look(items) // another one may have read it
	if len(l.missing) == 0 && len(l.slots) == 0 {
		return l.top, nil
	}
	if err := s.readFacts(ctx, l, epoch); err != nil {
		return nil, fmt.Errorf("read %d inventories and %d beacons: %w", len(l.missing), len(l.slots), err)
	}
	return f.look(items).top, nil
}

// readFacts reads what a look-up lacks.
func (s *Service) readFacts(ctx context.Context, l named, epoch uint64) error {
	var b pgx.Batch
	found := false
	read, blocks := map[ionet.Hash]*fact{}, map[uint64]proofs.Beacon{}
	if l.top != nil {
		b.Queue(selectTop, l.top.number, l.top.lot[:]).QueryRow(func(row pgx.Row) error { return row.Scan(&found) })
	}
	if len(l.missing) > 0 {
		b.Queue(selectFacts, byteas(l.missing)).Query(func(rows pgx.Rows) error { return scanFacts(rows, read, epoch) })
	}
	if len(l.slots) > 0 {
		slots := make([]int64, 0, len(l.slots))
		for slot := range l.slots {
			slots = append(slots, int64(slot))
		}
		b.Queue(selectBeacons, slots).Query(scanBeacons(blocks))
	}
	if err := s.front.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	s.intake.facts.add(l.life, found, read, blocks)
	return nil
}

func scanFacts(rows pgx.Rows, into map[ionet.Hash]*fact, epoch uint64) error {
	var id, worker, delegation, lot, provider []byte
	var issued, expires, revoked int64
	var devices int
	var number, workerNumber int32
	_, err := pgx.ForEachRow(rows, []any{&id, &worker, &delegation, &devices, &number, &workerNumber, &lot, &provider, &issued, &expires, &revoked}, func() error {
		into[ionet.Hash(id)] = &fact{
			inventory:  inventoryRow{worker: ionet.Key(worker), delegation: ionet.Hash(delegation), devices: devices},
			delegation: delegationRow{provider: ionet.Key(provider), issued: issued, expires: expires, revoked: uint64(revoked)},
			number:     number, workerNumber: workerNumber, lot: [16]byte(lot), read: epoch,
		}
		return nil
	})
	return err
}
