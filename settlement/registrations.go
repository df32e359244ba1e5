package settlement

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

const insertDelegations = `
INSERT INTO delegations (id, provider, payee, issued, expires, arrival_epoch)
SELECT t.id, t.provider, t.payee, t.issued, t.expires, s.arrival_epoch
FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[]) AS t (id, provider, payee, issued, expires)
JOIN statements s ON s.epoch = 0 AND s.id = t.id
ON CONFLICT (id) DO NOTHING`

const insertDelegationWorkers = `
INSERT INTO delegation_workers (worker, delegation)
SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (worker, delegation) DO NOTHING`

const insertRevocations = `
INSERT INTO revocations (id, delegation, arrival_epoch)
SELECT t.id, t.delegation, s.arrival_epoch
FROM unnest($1::bytea[], $2::bytea[]) AS t (id, delegation)
JOIN statements s ON s.epoch = 0 AND s.id = t.id
ON CONFLICT (id) DO NOTHING`

const insertReleases = `
INSERT INTO releases (id, worker, uuid, arrival_epoch)
SELECT t.id, t.worker, t.uuid, s.arrival_epoch
FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS t (id, worker, uuid)
JOIN statements s ON s.epoch = 0 AND s.id = t.id
ON CONFLICT (id) DO NOTHING`

// Numbers are given under the lock of their one row. Of two requests that register the
// same at once, one wastes what it was given.
const insertWorkers = `
WITH fresh AS (
    SELECT t.key, row_number() OVER (ORDER BY t.key)::integer AS n
    FROM (SELECT DISTINCT key FROM unnest($1::bytea[]) AS t (key)) t
    WHERE (SELECT w.number FROM workers w WHERE w.key = t.key) IS NULL),
given AS (
    UPDATE numbers SET worker = worker + (SELECT count(*) FROM fresh)
    WHERE EXISTS (SELECT FROM fresh) RETURNING worker)
INSERT INTO workers (key, heard, number)
SELECT f.key, 0, g.worker + 1 - f.n FROM fresh f CROSS JOIN given g ORDER BY f.key
ON CONFLICT (key) DO NOTHING`

const insertInventories = `
WITH fresh AS (
    SELECT t.*, row_number() OVER (ORDER BY t.id)::integer AS n
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::boolean[], $5::integer[]) AS t (id, worker, delegation, simulated, devices)
    WHERE (SELECT i.number FROM inventories i WHERE i.id = t.id) IS NULL),
given AS (
    UPDATE numbers SET inventory = inventory + (SELECT count(*) FROM fresh)
    WHERE EXISTS (SELECT FROM fresh) RETURNING inventory)
INSERT INTO inventories (id, worker, delegation, simulated, devices, arrival_epoch, arrival_sample, number, worker_number, lot)
SELECT f.id, f.worker, f.delegation, f.simulated, f.devices, s.arrival_epoch, s.arrival_sample, g.inventory + 1 - f.n, w.number, $6
FROM fresh f CROSS JOIN given g JOIN workers w ON w.key = f.worker JOIN statements s ON s.epoch = 0 AND s.id = f.id
ON CONFLICT (id) DO NOTHING`

const insertInventoryDevices = `
INSERT INTO inventory_devices (inventory, uuid, name)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[])
ON CONFLICT (inventory, uuid) DO NOTHING`

const insertPolicies = `
INSERT INTO policies (id, version, first_epoch, hash, file, arrival_epoch)
SELECT t.id, t.version, t.first_epoch, t.hash, t.file, s.arrival_epoch
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[]) AS t (id, version, first_epoch, hash, file)
JOIN statements s ON s.epoch = 0 AND s.id = t.id
ON CONFLICT (id) DO NOTHING`

// queueRegistry inserts what the statements of items say into the tables that
// answer questions about it. Their arrival is that of the stored statement,
// which queueStatements put there before.
func queueRegistry(b *pgx.Batch, items []*item) {
	var g registrations
	for _, it := range items {
		g.add(it)
	}
	if d := g.delegations; len(d.ids) > 0 {
		b.Queue(insertDelegations, d.ids, d.providers, d.payees, d.issued, d.expires)
		b.Queue(insertDelegationWorkers, d.workers, d.workersOf)
	}
	if r := g.revocations; len(r.ids) > 0 {
		b.Queue(insertRevocations, r.ids, r.delegations)
	}
	if r := g.releases; len(r.ids) > 0 {
		b.Queue(insertReleases, r.ids, r.workers, r.uuids)
	}
	if p := g.policies; len(p.ids) > 0 {
		b.Queue(insertPolicies, p.ids, p.versions, p.firsts, p.hashes, p.files)
	}
	if v := g.inventories; len(v.ids) > 0 {
		b.Queue(insertWorkers, v.workers)
		lot := draw(rand.Reader) // not Config.Rand's: no two may ever be alike
		b.Queue(insertInventories, v.ids, v.workers, v.delegations, v.simulated, v.devices, lot[:])
		b.Queue(insertInventoryDevices, v.devicesOf, v.uuids, v.names)
	}
}

// registrations are the columns of the registry's rows, one slice each.
type registrations struct {
	delegations struct {
		ids, providers, payees [][]byte
		issued, expires        []int64
		workers, workersOf     [][]byte
	}
	revocations struct{ ids, delegations [][]byte }
	releases    struct{ ids, workers, uuids [][]byte }
	policies    struct {
		ids, hashes, files [][]byte
		versions, firsts   []int64
	}
	inventories struct {
		ids, workers, delegations [][]byte
		simulated                 []bool
		devices                   []int32
		devicesOf, uuids          [][]byte
		names                     []string
	}
}

func (g *registrations) add(it *item) {
	id := it.id[:]
	switch body := it.body.(type) {
	case proofs.Delegation:
		d := &g.delegations
		d.ids, d.providers, d.payees = append(d.ids, id), append(d.providers, body.Provider[:]), append(d.payees, body.Payout[:])
		d.issued, d.expires = append(d.issued, body.Issued), append(d.expires, body.Expires)
		for i := range body.Workers {
			d.workers, d.workersOf = append(d.workers, body.Workers[i][:]), append(d.workersOf, id)
		}
	case proofs.Revocation:
		g.revocations.ids, g.revocations.delegations = append(g.revocations.ids, id), append(g.revocations.delegations, body.Delegation[:])
	case proofs.Release:
		r := &g.releases
		r.ids, r.workers, r.uuids = append(r.ids, id), append(r.workers, body.Worker[:]), append(r.uuids, body.Device[:])
	case proofs.PolicyChange:
		p := &g.policies
		p.ids, p.hashes, p.files = append(p.ids, id), append(p.hashes, body.Policy[:]), append(p.files, it.file)
		p.versions, p.firsts = append(p.versions, int64(body.Version)), append(p.firsts, int64(body.FirstEpoch))
	case proofs.Inventory:
		v := &g.inventories
		v.ids, v.workers, v.delegations = append(v.ids, id), append(v.workers, it.envelope.Signer[:]), append(v.delegations, body.Delegation[:])
		v.simulated, v.devices = append(v.simulated, body.Simulated), append(v.devices, int32(len(body.Devices)))
		for i := range body.Devices {
			v.devicesOf, v.uuids, v.names = append(v.devicesOf, id), append(v.uuids, body.Devices[i].UUID[:]), append(v.names, body.Devices[i].Name)
		}
	}
}

// registryBudget is how many bytes of delegations and inventories may arrive in
// one epoch. They cost their senders nothing; books and tables have a size.
const registryBudget = 32 << 20

const spendBudget = `
INSERT INTO registered (epoch, bytes) VALUES ($1, $2)
ON CONFLICT (epoch) DO UPDATE SET bytes = registered.bytes + excluded.bytes
WHERE registered.bytes + excluded.bytes <= $3
RETURNING bytes`

// spend takes what the delegations and inventories among items need from their
// epoch's budget. Where too little is left it refuses them, and what names them,
// and returns the others. What we acked before is let in without.
func (s *Service) spend(ctx context.Context, tx pgx.Tx, items []*item) ([]*item, error) {
	size, epoch := 0, uint64(0)
	fresh := map[ionet.Hash]bool{}
	for _, it := range items {
		if k := it.envelope.Kind; !it.acked && (k == proofs.KindDelegation || k == proofs.KindInventory) {
			size, epoch, fresh[it.id] = size+len(it.envelope.Body), it.arrival.Epoch, true
		}
	}
	if size == 0 {
		return items, nil
	}
	var spent int64
	err := tx.QueryRow(ctx, spendBudget, int64(epoch), int64(size), s.intake.budget).Scan(&spent)
	if err == nil {
		return items, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("spend the epoch's budget of registrations: %w", err)
	}
	left := make([]*item, 0, len(items))
	for _, it := range items {
		if fresh[it.id] || isAbout(it, fresh) {
			it.problem = NewProblem(ProblemBusy, "", "epoch %d takes no more new delegations and inventories: send it again in the next", epoch).after(max(beaconRetry, s.until(epoch+1, 0)))
			continue
		}
		left = append(left, it)
	}
	return left, nil
}

// isAbout reports whether a statement names one of ids.
func isAbout(it *item, ids map[ionet.Hash]bool) bool {
	switch b := it.body.(type) {
	case proofs.Revocation:
		return ids[b.Delegation]
	case proofs.Inventory:
		return ids[b.Delegation]
	case *proofs.Uptime:
		return ids[b.Inventory] || ids[b.Delegation]
	}
	return false
}

// maxInventories is how many new inventories of one worker are taken in an epoch. Each
// takes from the budget that all registrations of the epoch share, and from its book: a
// host whose devices look different in each sample would leave the others without. It is
// no fence against who makes worker keys as he likes.
const maxInventories = 32
