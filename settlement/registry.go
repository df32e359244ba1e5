package settlement

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// perSample is how many uptime statements of one worker and sample are kept: two
// prove equivocation, a third proves nothing more.
const perSample = 2

// judge holds a statement against what is known: the rules that make an honest
// mistake an answer now instead of a refusal in the books. A statement with an
// ack of ours passed them before; for it only what storing it needs is checked.
func (s *Service) judge(it *item, k *known) *Problem {
	switch b := it.body.(type) {
	case proofs.Delegation:
		return s.judgeDelegation(it, b)
	case proofs.Revocation:
		return s.judgeRevocation(it, b, k)
	case proofs.Release:
		return s.judgeRelease(it, b, k)
	case proofs.Inventory:
		return s.judgeInventory(it, b, k)
	case *proofs.Uptime:
		return s.judgeUptime(it, b, k)
	case proofs.Price:
		return s.judgePrice(it, b, k)
	case proofs.PolicyChange:
		return NewProblem(ProblemForeignPolicy, "kind", "policy version %d was not announced here, or was forgotten: only the operator announces policies, with the file, by ionetd policy announce", b.Version)
	}
	return NewProblem(ProblemUnknownKind, "kind", "a statement of kind %s is not yet accepted by this service", it.envelope.Kind)
}

func (s *Service) judgeDelegation(it *item, d proofs.Delegation) *Problem {
	if now := s.now().Unix(); !it.acked && d.Expires <= now {
		return NewProblem(ProblemDelegationExpired, "body.expires", "the delegation expired at %d, it is %d now", d.Expires, now)
	}
	return nil
}

func (s *Service) judgeRevocation(it *item, r proofs.Revocation, k *known) *Problem {
	d, ok := k.delegations[r.Delegation]
	if !ok {
		return NewProblem(ProblemUnknownDelegation, "body.delegation", "delegation %s is not known: send it first", r.Delegation)
	}
	if d.provider != it.envelope.Signer {
		return NewProblem(ProblemForeignDelegation, "body.delegation", "delegation %s is that of provider %s, the revocation is signed by %s", r.Delegation, d.provider, it.envelope.Signer)
	}
	return nil
}

func (s *Service) judgeRelease(it *item, r proofs.Release, k *known) *Problem {
	if it.acked {
		return nil
	}
	if !k.providers[workerProvider{r.Worker, r.Provider}] {
		return NewProblem(ProblemForeignDelegation, "body.worker", "worker %s has no inventory under a delegation of provider %s", r.Worker, r.Provider)
	}
	if bound, ok := k.bindings[r.Device]; !ok || bound != r.Worker {
		return NewProblem(ProblemDeviceNotBound, "body.device", "device %s is not bound to worker %s", r.Device, r.Worker)
	}
	return nil
}

func (s *Service) judgeInventory(it *item, v proofs.Inventory, k *known) *Problem {
	worker := it.envelope.Signer
	d, ok := k.delegations[v.Delegation]
	if !ok {
		return NewProblem(ProblemUnknownDelegation, "body.delegation", "delegation %s is not known: send it first", v.Delegation)
	}
	if !d.workers[worker] {
		return NewProblem(ProblemForeignDelegation, "body.delegation", "delegation %s does not name worker %s", v.Delegation, worker)
	}
	if it.acked {
		return nil
	}
	if d.revoked != 0 && d.revoked < it.arrival.Epoch {
		return NewProblem(ProblemDelegationRevoked, "body.delegation", "delegation %s was revoked in epoch %d: it counts no more", v.Delegation, d.revoked)
	}
	if now := s.now().Unix(); d.expires <= now {
		return NewProblem(ProblemDelegationExpired, "body.delegation", "delegation %s expired at %d, it is %d now", v.Delegation, d.expires, now)
	}
	for i, device := range v.Devices {
		if bound, ok := k.bindings[device.UUID]; ok && bound != worker {
			return NewProblem(ProblemDeviceBound, fmt.Sprintf("body.devices[%d].uuid", i), "device %s is bound to worker %s until its provider releases it or it stays silent for %d epochs", device.UUID, bound, k.policy.BindingIdleEpochs)
		}
	}
	if k.registered[worker] >= maxInventories {
		return NewProblem(ProblemRateLimited, "signer", "worker %s has brought %d new inventories in this epoch, no more are taken: those that it has stay good", worker, maxInventories).after(max(beaconRetry, s.until(it.arrival.Epoch+1, 0)))
	}
	return nil
}

func (s *Service) judgeUptime(it *item, u *proofs.Uptime, k *known) *Problem {
	worker := it.envelope.Signer
	if !k.workers[worker] {
		return NewProblem(ProblemUnknownWorker, "signer", "worker %s has no inventory here: send delegation and inventory first", worker)
	}
	if p := s.checkSample(it, u); p != nil {
		return p
	}
	if u.Epoch <= k.frozen {
		return epochClosed(u.Epoch, k.frozen)
	}
	v, ok := k.inventories[u.Inventory]
	if !ok {
		return NewProblem(ProblemUnknownInventory, "body.inventory", "inventory %s is not known: send it first", u.Inventory)
	}
	if p := checkInventory(worker, u, v); p != nil || it.acked {
		return p
	}
	if k.uptimes[it.slot()] >= perSample {
		return tooManyOfSample(it.slot())
	}
	return s.checkDelegation(u, k.delegations[u.Delegation])
}

// checkSample compares the sample with the schedule and with the statement's arrival.
func (s *Service) checkSample(it *item, u *proofs.Uptime) *Problem {
	if u.Sample >= s.clock.Samples {
		return NewProblem(ProblemMalformedStatement, "body.sample", "sample is %d, an epoch has samples 0..%d", u.Sample, s.clock.Samples-1)
	}
	if last := s.intake.schedule.Epochs(); u.Epoch > last {
		return NewProblem(ProblemEpochClosed, "body.epoch", "epoch %d comes after the last of the schedule, %d", u.Epoch, last)
	}
	if a := it.arrival; a.Epoch < u.Epoch || a.Epoch == u.Epoch && a.Sample < u.Sample {
		return NewProblem(ProblemFutureSample, "body.sample", "sample %d of epoch %d has not begun: it is sample %d of epoch %d", u.Sample, u.Epoch, a.Sample, a.Epoch).after(s.until(u.Epoch, u.Sample))
	}
	return nil
}

// checkInventory compares an uptime statement with the inventory it names.
func checkInventory(worker ionet.Key, u *proofs.Uptime, v inventoryRow) *Problem {
	switch {
	case v.worker != worker:
		return NewProblem(ProblemUnknownInventory, "body.inventory", "inventory %s is that of worker %s, the statement is signed by %s", u.Inventory, v.worker, worker)
	case u.Delegation != v.delegation:
		return NewProblem(ProblemForeignDelegation, "body.delegation", "the statement names delegation %s, its inventory %s", u.Delegation, v.delegation)
	case len(u.Devices) != v.devices:
		return NewProblem(ProblemWrongDeviceCount, "body.devices", "the statement has %d devices, its inventory %d", len(u.Devices), v.devices)
	}
	return nil
}

// checkDelegation checks that the delegation is in force in the sample:
// FORMAT.md, section 7, rule 2 of counting.
func (s *Service) checkDelegation(u *proofs.Uptime, d delegationRow) *Problem {
	start := s.clock.SampleStart(u.Epoch, u.Sample)
	if start < d.issued || start >= d.expires {
		return NewProblem(ProblemDelegationExpired, "body.delegation", "delegation %s is in force from %d until %d, the sample begins at %d", u.Delegation, d.issued, d.expires, start)
	}
	if d.revoked != 0 && d.revoked < u.Epoch {
		return NewProblem(ProblemDelegationRevoked, "body.delegation", "delegation %s was revoked in epoch %d, before epoch %d", u.Delegation, d.revoked, u.Epoch)
	}
	return nil
}

func compareItems(a, b *item) int {
	return cmp.Or(cmp.Compare(a.epoch(), b.epoch()), bytes.Compare(a.id[:], b.id[:]))
}

// lockIntake keeps a freeze out until the transaction ends.
const lockIntake = `SELECT frozen_through FROM intake FOR SHARE`

const selectClosing = `
SELECT EXISTS (SELECT 1 FROM closing c, intake i WHERE c.epoch > i.frozen_through AND c.ends_at > clock_timestamp())`

// Requests wait out a freeze for this long before they are told to come again.
const (
	closingWait  = time.Second
	closingPause = 10 * time.Millisecond
)

func beingClosed() *Problem {
	return NewProblem(ProblemBusy, "", "an epoch is being closed: send the statement again in a moment").after(closingWait)
}

// awaitFreeze waits while an epoch is being frozen and reports whether that is
// over. It holds no connection meanwhile.
func (s *Service) awaitFreeze(ctx context.Context) (bool, error) {
	for waited := time.Duration(0); ; waited += closingPause {
		var closing bool
		if err := s.front.QueryRow(ctx, selectClosing).Scan(&closing); err != nil {
			return false, fmt.Errorf("ask whether an epoch is being frozen: %w", err)
		}
		if !closing || waited >= closingWait {
			return !closing, nil
		}
		if err := sleep(ctx, closingPause); err != nil {
			return false, err
		}
	}
}

const insertStatements = `
INSERT INTO statements (epoch, id, kind, signer, signature, body, arrival_epoch, arrival_sample)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[], $8::integer[])
ON CONFLICT (epoch, id) DO NOTHING
RETURNING id`

// insert stores items, ordered by epoch and id, in tx. It sets on each item
// whether it was new and the arrival that the database holds, or why it came
// too late. tx may be run again.
func (s *Service) insert(ctx context.Context, tx pgx.Tx, items []*item) error {
	var frozen int64
	if err := tx.QueryRow(ctx, lockIntake).Scan(&frozen); err != nil {
		return fmt.Errorf("lock intake: %w", err)
	}
	open := make([]*item, 0, len(items))
	for _, it := range items {
		it.problem, it.inserted = nil, false
		if it.ofEpoch() && it.epoch() <= uint64(frozen) {
			it.problem = epochClosed(it.epoch(), uint64(frozen))
			continue
		}
		if !it.acked && it.arrival.Epoch <= uint64(frozen) {
			// Our clock is behind the chain's: nothing new arrives in an epoch whose
			// inputs are fixed.
			it.arrival = proofs.Arrival{Epoch: uint64(frozen) + 1}
		}
		open = append(open, it)
	}
	open, err := takePrices(ctx, tx, open)
	if err != nil {
		return err
	}
	if open, err = s.spend(ctx, tx, open); err != nil || len(open) == 0 {
		return err
	}
	uptimes, others := splitUptimes(open)
	inserted, arrivals := map[ionet.Hash]bool{}, map[ionet.Hash]proofs.Arrival{}
	var b pgx.Batch
	queueStatements(&b, rowsOf(others), inserted, arrivals)
	queueRegistry(&b, others)
	queueBeacons(&b, uptimes)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if err := s.insertUptimes(ctx, tx, uptimes); err != nil {
		return err
	}
	for _, it := range others {
		arrival, ok := arrivals[it.id]
		if !ok {
			return fmt.Errorf("statement %s is missing after it was stored", it.id)
		}
		it.inserted, it.arrival = inserted[it.id], arrival
	}
	return nil
}

func splitUptimes(items []*item) (uptimes, others []*item) {
	for _, it := range items {
		if it.isUptime() {
			uptimes = append(uptimes, it)
		} else {
			others = append(others, it)
		}
	}
	return uptimes, others
}

// row is a statement as the table holds it.
type row struct {
	epoch     uint64
	id        ionet.Hash
	statement proofs.Statement
}

func rowsOf(items []*item) []row {
	rows := make([]row, len(items))
	for i, it := range items {
		rows[i] = row{it.epoch(), it.id, proofs.Statement{Arrival: it.arrival, Envelope: it.envelope}}
	}
	return rows
}

// queueStatements inserts rows and reads back what is there; inserted and
// arrivals are filled when the batch is read.
func queueStatements(b *pgx.Batch, rows []row, inserted map[ionet.Hash]bool, arrivals map[ionet.Hash]proofs.Arrival) {
	n := len(rows)
	epochs, kinds := make([]int64, n), make([]int16, n)
	ids, signers, signatures, bodies := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	arrivedEpochs, arrivedSamples := make([]int64, n), make([]int32, n)
	for i := range rows {
		r := &rows[i]
		e := &r.statement.Envelope
		epochs[i], ids[i], kinds[i] = int64(r.epoch), r.id[:], int16(e.Kind)
		signers[i], signatures[i], bodies[i] = e.Signer[:], e.Signature[:], e.Body
		arrivedEpochs[i], arrivedSamples[i] = int64(r.statement.Arrival.Epoch), int32(r.statement.Arrival.Sample)
	}
	b.Queue(insertStatements, epochs, ids, kinds, signers, signatures, bodies, arrivedEpochs, arrivedSamples).Query(func(rows pgx.Rows) error {
		var id []byte
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			inserted[ionet.Hash(id)] = true
			return nil
		})
		return err
	})
	b.Queue(selectStored, epochs, ids).Query(scanArrivals(arrivals))
}
