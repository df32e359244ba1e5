package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// known is what the database and the earlier statements of a request say about
// what the request names. Registrations are never deleted, so it cannot become
// wrong; what may change meanwhile (a binding, a revocation) judging looks at
// again.
type known struct {
	delegations map[ionet.Hash]delegationRow
	inventories map[ionet.Hash]inventoryRow
	workers     map[ionet.Key]bool
	providers   map[workerProvider]bool // an inventory of the worker names a delegation of the provider
	bindings    map[ionet.UUID]ionet.Key
	uptimes     map[workerSample]int         // uptime statements that are stored for a sample
	registered  map[ionet.Key]int            // inventories of the worker that arrived in this epoch
	frozen      uint64                       // last epoch that is frozen; read where something is of an epoch
	policies    map[uint64]*emissions.Policy // in force at the epochs of prices
	undecided   map[uint64]*Problem          // epochs of prices whose policy nobody knows yet
	prices      map[observation]standing
	policy      *rules // in force now; only where an inventory is looked up
}

type delegationRow struct {
	provider ionet.Key
	issued   int64
	expires  int64
	revoked  uint64 // arrival epoch of the first revocation; 0: none
	workers  map[ionet.Key]bool
}

type inventoryRow struct {
	worker     ionet.Key
	delegation ionet.Hash
	devices    int
}

type workerProvider struct{ worker, provider ionet.Key }

type workerSample struct {
	worker ionet.Key
	epoch  uint64
	sample uint16
}

// names is what the items of a request name, as SQL takes it.
type names struct {
	epochs      []int64
	ids         [][]byte
	delegations [][]byte
	inventories [][]byte
	workers     [][]byte
	uuids       [][]byte
	registering [][]byte // workers with an inventory
	arriving    uint64   // epoch of what is not acked
	uptimes     slots    // of uptime statements, one element each
	ofEpoch     bool     // something is
}

func namesIn(items []*item) names {
	var n names
	for _, it := range items {
		if !it.isUptime() {
			n.epochs, n.ids = append(n.epochs, int64(it.epoch())), append(n.ids, it.id[:])
		}
		if n.ofEpoch = n.ofEpoch || it.ofEpoch(); !it.acked {
			n.arriving = it.arrival.Epoch
		}
		signer := it.envelope.Signer[:]
		switch b := it.body.(type) {
		case proofs.Revocation:
			n.delegations = append(n.delegations, b.Delegation[:])
		case proofs.Release:
			n.workers = append(n.workers, b.Worker[:])
			n.uuids = append(n.uuids, b.Device[:])
		case proofs.Inventory:
			n.delegations, n.registering = append(n.delegations, b.Delegation[:]), append(n.registering, signer)
			for i := range b.Devices {
				n.uuids = append(n.uuids, b.Devices[i].UUID[:])
			}
		case *proofs.Uptime:
			n.inventories = append(n.inventories, b.Inventory[:])
			n.delegations = append(n.delegations, b.Delegation[:])
			n.workers = append(n.workers, signer)
			n.uptimes.add(it.slot())
		}
	}
	return n
}

const selectStored = `
SELECT s.id, s.arrival_epoch, s.arrival_sample
FROM unnest($1::bigint[], $2::bytea[]) AS t (epoch, id)
JOIN statements s ON s.epoch = t.epoch AND s.id = t.id`

const selectDelegations = `
SELECT d.id, d.provider, d.issued, d.expires,
       coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0)
FROM delegations d WHERE d.id = ANY ($1::bytea[])`

const selectDelegationWorkers = `
SELECT delegation, worker FROM delegation_workers WHERE delegation = ANY ($1::bytea[])`

const selectInventories = `
SELECT id, worker, delegation, devices FROM inventories WHERE id = ANY ($1::bytea[])`

const selectNewInventories = `
SELECT worker, count(*) FROM inventories WHERE worker = ANY ($1::bytea[]) AND arrival_epoch = $2 GROUP BY worker`

const selectWorkers = `SELECT key FROM workers WHERE key = ANY ($1::bytea[])`

const selectProviders = `
SELECT DISTINCT i.worker, d.provider FROM inventories i JOIN delegations d ON d.id = i.delegation
WHERE i.worker = ANY ($1::bytea[])`

const selectBindings = `SELECT uuid, worker FROM bindings WHERE uuid = ANY ($1::bytea[])`

// lookUp reads all that the items name in one round trip, and marks those that
// are stored already.
func (s *Service) lookUp(ctx context.Context, items []*item) (*known, error) {
	k := &known{
		delegations: map[ionet.Hash]delegationRow{}, inventories: map[ionet.Hash]inventoryRow{}, workers: map[ionet.Key]bool{},
		providers: map[workerProvider]bool{}, bindings: map[ionet.UUID]ionet.Key{}, uptimes: map[workerSample]int{}, registered: map[ionet.Key]int{},
		policies: map[uint64]*emissions.Policy{}, undecided: map[uint64]*Problem{}, prices: map[observation]standing{},
	}
	if len(items) == 0 {
		return k, nil
	}
	n := namesIn(items)
	var b pgx.Batch
	stored, at := map[ionet.Hash]proofs.Arrival{}, map[workerSample][]uptimeRow{}
	b.Queue(selectStored, n.epochs, n.ids).Query(scanArrivals(stored))
	queueUptimesAt(&b, &n.uptimes, at)
	k.queue(&b, n)
	if err := s.front.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("look up what %d statements name: %w", len(items), err)
	}
	for slot, rows := range at {
		k.uptimes[slot] = len(rows)
		for _, r := range rows {
			stored[r.id] = r.statement.Arrival
		}
	}
	var err error
	for _, it := range items {
		if arrival, ok := stored[it.id]; ok {
			it.arrival, it.stored = arrival, true
		}
		if _, ok := it.body.(proofs.Inventory); ok && !it.stored && k.policy == nil && err == nil {
			k.policy, err = s.rulesNow(ctx, s.front)
		}
	}
	if err != nil {
		return nil, err
	}
	return k, s.lookUpPrices(ctx, items, k)
}

// queue adds the queries for what n names to b.
func (k *known) queue(b *pgx.Batch, n names) {
	if len(n.delegations) > 0 {
		b.Queue(selectDelegations, n.delegations).Query(k.scanDelegations)
		b.Queue(selectDelegationWorkers, n.delegations).Query(k.scanDelegationWorkers)
	}
	if len(n.inventories) > 0 {
		b.Queue(selectInventories, n.inventories).Query(k.scanInventories)
	}
	if n.ofEpoch {
		b.Queue(selectFrozen).QueryRow(func(row pgx.Row) error { return row.Scan(&k.frozen) })
	}
	if len(n.registering) > 0 {
		b.Queue(selectNewInventories, n.registering, int64(n.arriving)).Query(k.scanRegistered)
	}
	if len(n.workers) > 0 {
		b.Queue(selectWorkers, n.workers).Query(k.scanWorkers)
	}
	if len(n.uuids) > 0 {
		b.Queue(selectBindings, n.uuids).Query(k.scanBindings)
	}
	if len(n.workers) > len(n.uptimes.workers) { // releases are among them
		b.Queue(selectProviders, n.workers).Query(k.scanProviders)
	}
}

// scanArrivals returns a scanner of rows (id, arrival_epoch, arrival_sample).
func scanArrivals(into map[ionet.Hash]proofs.Arrival) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var id []byte
		var epoch int64
		var sample int32
		_, err := pgx.ForEachRow(rows, []any{&id, &epoch, &sample}, func() error {
			into[ionet.Hash(id)] = proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}
			return nil
		})
		return err
	}
}

func (k *known) scanDelegations(rows pgx.Rows) error {
	var id, provider []byte
	var issued, expires, revoked int64
	_, err := pgx.ForEachRow(rows, []any{&id, &provider, &issued, &expires, &revoked}, func() error {
		k.delegations[ionet.Hash(id)] = delegationRow{
			provider: ionet.Key(provider), issued: issued, expires: expires, revoked: uint64(revoked), workers: map[ionet.Key]bool{},
		}
		return nil
	})
	return err
}

// scanDelegationWorkers comes after scanDelegations: a delegation that another
// request committed between the two queries stays unknown.
func (k *known) scanDelegationWorkers(rows pgx.Rows) error {
	var id, worker []byte
	_, err := pgx.ForEachRow(rows, []any{&id, &worker}, func() error {
		if d, ok := k.delegations[ionet.Hash(id)]; ok {
			d.workers[ionet.Key(worker)] = true
		}
		return nil
	})
	return err
}

func (k *known) scanInventories(rows pgx.Rows) error {
	var id, worker, delegation []byte
	var devices int
	_, err := pgx.ForEachRow(rows, []any{&id, &worker, &delegation, &devices}, func() error {
		k.inventories[ionet.Hash(id)] = inventoryRow{worker: ionet.Key(worker), delegation: ionet.Hash(delegation), devices: devices}
		return nil
	})
	return err
}

func (k *known) scanRegistered(rows pgx.Rows) error {
	var worker []byte
	var n int
	_, err := pgx.ForEachRow(rows, []any{&worker, &n}, func() error {
		k.registered[ionet.Key(worker)] = n
		return nil
	})
	return err
}

func (k *known) scanWorkers(rows pgx.Rows) error {
	var worker []byte
	_, err := pgx.ForEachRow(rows, []any{&worker}, func() error {
		k.workers[ionet.Key(worker)] = true
		return nil
	})
	return err
}

func (k *known) scanProviders(rows pgx.Rows) error {
	var worker, provider []byte
	_, err := pgx.ForEachRow(rows, []any{&worker, &provider}, func() error {
		k.providers[workerProvider{ionet.Key(worker), ionet.Key(provider)}] = true
		return nil
	})
	return err
}

func (k *known) scanBindings(rows pgx.Rows) error {
	var uuid, worker []byte
	_, err := pgx.ForEachRow(rows, []any{&uuid, &worker}, func() error {
		k.bindings[ionet.UUID(uuid)] = ionet.Key(worker)
		return nil
	})
	return err
}

// learn adds an item that passed, so that later ones of the request may name it.
func (k *known) learn(it *item) {
	signer := it.envelope.Signer
	switch b := it.body.(type) {
	case proofs.Delegation:
		if _, ok := k.delegations[it.id]; ok {
			return
		}
		workers := make(map[ionet.Key]bool, len(b.Workers))
		for _, w := range b.Workers {
			workers[w] = true
		}
		k.delegations[it.id] = delegationRow{provider: b.Provider, issued: b.Issued, expires: b.Expires, workers: workers}
	case proofs.Revocation:
		if d := k.delegations[b.Delegation]; d.revoked == 0 || it.arrival.Epoch < d.revoked {
			d.revoked = it.arrival.Epoch
			k.delegations[b.Delegation] = d
		}
	case proofs.Inventory:
		k.inventories[it.id] = inventoryRow{worker: signer, delegation: b.Delegation, devices: len(b.Devices)}
		k.workers[signer] = true
		if !it.stored && !it.acked {
			k.registered[signer]++
		}
	case proofs.Price:
		k.prices[observation{b.Epoch, signer}] = standing{it.id, b.MicroUSD}
	}
}
