package settlement

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// How many batches are stored at once: while one waits for the disk the next is on its way.
const storing = 2

// storeTimeout bounds what a batch waits for the database.
const storeTimeout = 20 * time.Second

// openStages starts nothing: their workers come with work.
func (s *Service) openStages() {
	s.intake.verifying = stage{work: s.verifyBatch, batch: 1024, workers: runtime.GOMAXPROCS(0)}
	s.intake.storing = stage{work: s.storeBatch, batch: MaxSubmitted, workers: storing}
}

// verify waits until the signatures of items were looked at, together with those of
// other requests. What does not verify has a problem then.
func (s *Service) verify(items []*item) {
	done := newCountdown(len(items))
	for _, it := range items {
		it.done = done
	}
	s.intake.verifying.add(items)
	done.Wait()
}

func (s *Service) verifyBatch(items []*item) {
	envelopes := make([]proofs.Envelope, len(items))
	for i, it := range items {
		envelopes[i] = it.envelope
	}
	for i, err := range s.intake.verifier.Verify(envelopes) {
		it := items[i]
		if err != nil {
			it.problem = NewProblem(ProblemWrongSignature, "signature", "the signature of the %s does not verify for its signer %s on this network", it.envelope.Kind, it.envelope.Signer)
		}
		it.done.Done()
	}
}

// storeTogether stores uptime statements together with those of other requests, as far
// as everything they name is known and as it should be. An item is then answered, with
// its ack, or it is left: for it there is the long way. An error is the database's.
func (s *Service) storeTogether(items []*item) (left []*item, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	done := newCountdown(len(items))
	for _, it := range items {
		it.done = done
	}
	s.intake.storing.add(items)
	done.Wait()
	for _, it := range items {
		switch {
		case it.err != nil && err == nil:
			err = it.err
		case it.ack == nil && it.problem == nil:
			left = append(left, it)
		}
	}
	return left, err
}

// storeBatch is the work of the stage of that name.
func (s *Service) storeBatch(items []*item) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	stored, err := s.storeFitting(ctx, items)
	if err != nil {
		// Perhaps it is stored all the same: whoever sends it again finds it.
		for _, it := range items {
			it.err = err
			it.done.Done()
		}
		return
	}
	// The rows are committed. If we stop before their senders have an ack, they send
	// them again and get it then. The next batch need not wait for the acks.
	go func() {
		s.ackAll(stored)
		for _, it := range items {
			it.done.Done()
		}
	}()
}

// storeFitting stores what fits and returns what is in the table now.
func (s *Service) storeFitting(ctx context.Context, items []*item) ([]*item, error) {
	if err := s.learnFacts(ctx, items, s.arrival().Epoch); err != nil {
		return nil, err
	}
	batch := s.fitting(items)
	if len(batch) == 0 {
		return nil, nil
	}
	fresh, p, err := s.insertBatch(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("store %d statements: %w", len(batch), err)
	}
	if p != nil {
		for _, it := range batch {
			it.problem = p
		}
		return nil, nil
	}
	stored, others := make([]*item, 0, len(batch)), make([]*item, 0)
	for _, it := range batch {
		if it.inserted = fresh[it.rowKey()]; it.inserted {
			stored = append(stored, it)
			continue
		}
		others = append(others, it)
	}
	there, err := s.recognize(ctx, others)
	return append(stored, there...), err
}

// fitting returns the items that all checks on what is known let pass, in the order of
// the table's key, and of those of one sample the first.
func (s *Service) fitting(items []*item) []*item {
	batch := make([]*item, 0, len(items))
	for _, it := range items {
		if s.fits(it) {
			batch = append(batch, it)
		}
	}
	slices.SortStableFunc(batch, func(a, b *item) int { return compareKeys(a.rowKey(), b.rowKey()) })
	return slices.CompactFunc(batch, func(a, b *item) bool { return a.rowKey() == b.rowKey() })
}

func compareKeys(a, b rowKey) int {
	return cmp.Or(cmp.Compare(ringOf(uint64(a.epoch)), ringOf(uint64(b.epoch))), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.worker, b.worker), cmp.Compare(a.sample, b.sample))
}

// rowKey is the row that the statement goes to, where it has a fact.
func (it *item) rowKey() rowKey {
	u := it.uptime()
	return rowKey{epoch: int32(u.Epoch), worker: it.fact.workerNumber, sample: int16(u.Sample)}
}

// fits reports whether judging would let the statement pass.
func (s *Service) fits(it *item) bool {
	u := it.uptime()
	return it.fact != nil && it.block != nil && s.checkSample(it, u) == nil && checkInventory(it.envelope.Signer, u, it.fact.inventory) == nil &&
		s.checkDelegation(u, it.fact.delegation) == nil && s.checkBeacon(u, *it.block) == nil
}

// One SQL statement, and one transaction, for a batch. It stores nothing while a freeze
// is announced (no row of gate), nor what is of a frozen epoch or would arrive in one:
// its share of the intake row is what a freeze waits for. Nor where a beacon of the
// batch is not in the table (known), nor where a number does not stand for what it
// stood for when it was read: a database that was put back gave it to another. The rows
// come and stay in the order of the key, so two batches never wait for each other in a
// ring; LIMIT keeps the join from changing it.
const insertBatch = `
WITH gate AS (
    SELECT i.frozen_through FROM intake i
    WHERE NOT EXISTS (SELECT FROM closing c WHERE c.epoch > i.frozen_through AND c.ends_at > clock_timestamp())
    FOR SHARE OF i),
known AS (
    SELECT count(*) = cardinality($10::bigint[]) AS beacons
    FROM unnest($10::bigint[], $11::bytea[]) AS t (slot, hash) JOIN beacons b ON b.slot = t.slot AND b.blockhash = t.hash),
stored AS (
    INSERT INTO uptimes (ring, epoch, worker, sample, half, inventory, arrival_epoch, arrival_sample, beacon_slot, signed)
    SELECT t.epoch % 4, t.epoch, t.worker, t.sample, 0, t.inventory, t.arrival_epoch, t.arrival_sample, t.slot, t.signed
    FROM gate g CROSS JOIN known k
    CROSS JOIN unnest($1::integer[], $2::integer[], $3::smallint[], $4::integer[], $5::bytea[], $6::integer[], $7::smallint[], $8::bigint[], $9::bytea[])
        AS t (epoch, worker, sample, inventory, id, arrival_epoch, arrival_sample, slot, signed)
    CROSS JOIN LATERAL (SELECT v.id, v.worker_number FROM inventories v WHERE v.number = t.inventory LIMIT 1) v
    WHERE k.beacons AND t.epoch > g.frozen_through AND t.arrival_epoch > g.frozen_through AND v.id = t.id AND v.worker_number = t.worker
    ON CONFLICT DO NOTHING
    RETURNING epoch, worker, sample)
SELECT (SELECT frozen_through FROM gate), array_agg(epoch), array_agg(worker), array_agg(sample) FROM stored`

// insertBatch stores a batch that is in the order of the key, and returns the keys of the
// rows that are new; or a problem, where an epoch is being closed for long.
func (s *Service) insertBatch(ctx context.Context, batch []*item) (map[rowKey]bool, *Problem, error) {
	args := batchArgs(batch)
	for try := 0; ; try++ {
		var frozen *int64
		var epochs, workers []int32
		var samples []int16
		err := s.front.QueryRow(ctx, insertBatch, args...).Scan(&frozen, &epochs, &workers, &samples)
		switch {
		case isContention(err) && try < maxTries:
			continue
		case err != nil:
			return nil, nil, err
		case frozen == nil && try >= maxTries:
			return nil, nil, errors.New("the intake row is missing, or a freeze is announced again and again")
		}
		if frozen != nil {
			fresh := make(map[rowKey]bool, len(epochs))
			for i := range epochs {
				fresh[rowKey{epoch: epochs[i], worker: workers[i], sample: samples[i]}] = true
			}
			return fresh, nil, nil
		}
		open, err := s.awaitFreeze(ctx)
		if err != nil {
			return nil, nil, err
		}
		if !open {
			return nil, beingClosed(), nil
		}
	}
}

// batchArgs are the arguments of insertBatch.
func batchArgs(batch []*item) []any {
	n := len(batch)
	epochs, workers, inventories, arrivedEpochs := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	samples, arrivedSamples, slots := make([]int16, n), make([]int16, n), make([]int64, n)
	ids, signed := make([][]byte, n), make([][]byte, n)
	blocks := map[uint64]proofs.Beacon{}
	for i, it := range batch {
		u := it.uptime()
		epochs[i], workers[i], samples[i], inventories[i], ids[i] = int32(u.Epoch), it.fact.workerNumber, int16(u.Sample), it.fact.number, u.Inventory[:]
		arrivedEpochs[i], arrivedSamples[i], slots[i] = int32(it.arrival.Epoch), int16(it.arrival.Sample), int64(u.BeaconSlot)
		signed[i] = signedColumn(&it.envelope, u)
		blocks[u.BeaconSlot] = *it.block
	}
	named, hashes := make([]int64, 0, len(blocks)), make([][]byte, 0, len(blocks))
	for slot, b := range blocks {
		named, hashes = append(named, int64(slot)), append(hashes, bytes.Clone(b.Hash[:]))
	}
	return []any{epochs, workers, samples, inventories, ids, arrivedEpochs, arrivedSamples, slots, signed, named, hashes}
}

// recognize gives those items their arrival whose statement is in the table already, and
// returns them.
func (s *Service) recognize(ctx context.Context, items []*item) ([]*item, error) {
	if len(items) == 0 {
		return nil, nil
	}
	var n slots
	for _, it := range items {
		n.add(it.slot())
	}
	at, err := uptimesAt(ctx, s.front, &n)
	if err != nil {
		return nil, fmt.Errorf("read %d statements: %w", len(items), err)
	}
	var there []*item
	for _, it := range items {
		if r := find(at[it.slot()], it.id); r != nil {
			it.arrival, it.stored = r.statement.Arrival, true
			there = append(there, it)
		}
	}
	return there, nil
}

// ackAll answers items whose rows are committed, one signature for each arrival.
func (s *Service) ackAll(items []*item) {
	together := map[proofs.Arrival][]*item{}
	for _, it := range items {
		together[it.arrival] = append(together[it.arrival], it)
	}
	for arrival, list := range together {
		ids := make([]ionet.Hash, len(list))
		for i, it := range list {
			ids[i] = it.id
		}
		acks := proofs.SignAcks(s.cfg.Network.ID(), s.cfg.Keys.Service, arrival, ids)
		for i, it := range list {
			it.ack = &acks[i]
		}
	}
}
