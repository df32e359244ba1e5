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

	"github.com/jackc/pgx/v5/pgconn"

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
	s.intake.appending = stage{work: s.appendBatch, batch: maxAppended, workers: 1}
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
func (s *Service) storeTogether(items []*item) error {
	if len(items) == 0 {
		return nil
	}
	done := newCountdown(len(items))
	for _, it := range items {
		it.done = done
	}
	s.intake.storing.add(items)
	done.Wait()
	for _, it := range items {
		if it.err != nil {
			return it.err
		}
	}
	return nil
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
	top, err := s.learnFacts(ctx, items, s.arrival().Epoch)
	if err != nil {
		return nil, err
	}
	batch := s.fitting(items)
	if len(batch) == 0 {
		return nil, nil
	}
	p, err := s.insertBatch(ctx, batch, top)
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
		if it.inserted {
			stored = append(stored, it)
			continue
		}
		others = append(others, it)
	}
	there, err := s.recognize(ctx, others)
	return append(stored, there...), err
}

// fitting returns the items that all checks on what is known let pass, in the order of
// the table's key, and of those of one sample the one with the smallest id: the one that
// the long way would store first.
func (s *Service) fitting(items []*item) []*item {
	batch := make([]*item, 0, len(items))
	for _, it := range items {
		if s.fits(it) {
			batch = append(batch, it)
		}
	}
	slices.SortFunc(batch, func(a, b *item) int {
		return cmp.Or(compareKeys(a.rowKey(), b.rowKey()), bytes.Compare(a.id[:], b.id[:]))
	})
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

// One SQL statement, and one transaction, stores a batch. It stores nothing while a freeze
// is announced (gate has no row), nor what is of a frozen epoch or would arrive in one:
// its share of the intake row is what a freeze waits for. Nor, as proof says, where a
// beacon of the batch is not in the table, or where numbers may be those of another
// life of the database: see facts. The rows come in the order of the key, so two
// batches never wait for each other in a ring.
const batchGate = `gate AS (
    SELECT i.frozen_through FROM intake i
    WHERE NOT EXISTS (SELECT FROM closing c WHERE c.epoch > i.frozen_through AND c.ends_at > clock_timestamp())
    FOR SHARE OF i),
proof AS (
    SELECT EXISTS (SELECT FROM inventories v WHERE v.number = $9 AND v.lot = $10)
       AND (SELECT count(*) = cardinality($11::bigint[])
            FROM unnest($11::bigint[], $12::bytea[]) AS t (slot, hash) JOIN beacons b ON b.slot = t.slot AND b.blockhash = t.hash) AS holds),
stored AS (
    INSERT INTO uptimes (ring, epoch, worker, sample, half, inventory, arrival_epoch, arrival_sample, beacon_slot, signed)
    SELECT t.epoch % 4, t.epoch, t.worker, t.sample, 0, t.inventory, t.arrival_epoch, t.arrival_sample, t.slot, t.signed
    FROM gate g CROSS JOIN proof p
    CROSS JOIN unnest($1::integer[], $2::integer[], $3::smallint[], $4::integer[], $5::integer[], $6::smallint[], $7::bigint[], $8::bytea[])
        AS t (epoch, worker, sample, inventory, arrival_epoch, arrival_sample, slot, signed)
    WHERE p.holds AND t.epoch > g.frozen_through AND t.arrival_epoch > g.frozen_through`

// Nearly always all rows are new, which costs the database half as much to be told than
// to find out. It fails where one is not.
const insertNew = `
WITH ` + batchGate + `
    RETURNING 1)
SELECT (SELECT frozen_through FROM gate), (SELECT holds FROM proof), count(*) FROM stored`

const insertMissing = `
WITH ` + batchGate + `
    ON CONFLICT DO NOTHING
    RETURNING epoch, worker, sample)
SELECT (SELECT frozen_through FROM gate), (SELECT holds FROM proof), array_agg(epoch), array_agg(worker), array_agg(sample) FROM stored`

// afterConflict is how many batches find out which rows are new after one in which not all were.
const afterConflict = 16

// insertBatch stores a batch that is in the order of the key, whose numbers top proves. It
// says of each item whether its row is new, or it returns a problem, where an epoch is
// being closed for long.
func (s *Service) insertBatch(ctx context.Context, batch []*item, top *fact) (*Problem, error) {
	args := batchArgs(batch, top)
	for try := 0; ; try++ {
		insert := s.insertNew
		if s.intake.conflicts.Load() > 0 {
			insert = s.insertMissing
			s.intake.conflicts.Add(-1)
		}
		open, err := insert(ctx, batch, args)
		switch {
		case isTaken(err) && try < maxTries:
			s.intake.conflicts.Store(afterConflict)
			continue
		case isContention(err) && try < maxTries:
			continue
		case err != nil:
			return nil, err
		case open:
			return nil, nil
		case try >= maxTries:
			return nil, errors.New("the intake row is missing, or a freeze is announced again and again")
		}
		if open, err = s.awaitFreeze(ctx); err != nil {
			return nil, err
		}
		if !open {
			return beingClosed(), nil
		}
	}
}

// isTaken reports whether a row was there already.
func isTaken(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

// insertNew stores a batch all of which is new; open is false while a freeze is announced.
func (s *Service) insertNew(ctx context.Context, batch []*item, args []any) (open bool, err error) {
	var frozen *int64
	var holds bool
	var count, stored int
	if err := s.front.QueryRow(ctx, insertNew, args...).Scan(&frozen, &holds, &count); err != nil || frozen == nil {
		return false, err
	}
	for _, it := range batch {
		if it.inserted = holds && it.uptime().Epoch > uint64(*frozen) && it.arrival.Epoch > uint64(*frozen); it.inserted {
			stored++
		}
	}
	if stored != count {
		return false, fmt.Errorf("%d rows were stored, not %d", count, stored)
	}
	s.believe(holds)
	return true, nil
}

// insertMissing stores what of a batch is not there yet.
func (s *Service) insertMissing(ctx context.Context, batch []*item, args []any) (open bool, err error) {
	var frozen *int64
	var holds bool
	var epochs, workers []int32
	var samples []int16
	if err := s.front.QueryRow(ctx, insertMissing, args...).Scan(&frozen, &holds, &epochs, &workers, &samples); err != nil || frozen == nil {
		return false, err
	}
	fresh := make(map[rowKey]bool, len(epochs))
	for i := range epochs {
		fresh[rowKey{epoch: epochs[i], worker: workers[i], sample: samples[i]}] = true
	}
	for _, it := range batch {
		it.inserted = fresh[it.rowKey()]
	}
	s.believe(holds)
	return true, nil
}

// believe forgets what is remembered where the database proved it wrong.
func (s *Service) believe(holds bool) {
	if !holds {
		s.intake.facts.forget()
	}
}

// batchArgs are the arguments of the statements that store a batch.
func batchArgs(batch []*item, top *fact) []any {
	n := len(batch)
	epochs, workers, inventories, arrivedEpochs := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	samples, arrivedSamples, slots, signed := make([]int16, n), make([]int16, n), make([]int64, n), make([][]byte, n)
	blocks := map[uint64]proofs.Beacon{}
	for i, it := range batch {
		u := it.uptime()
		epochs[i], workers[i], samples[i], inventories[i] = int32(u.Epoch), it.fact.workerNumber, int16(u.Sample), it.fact.number
		arrivedEpochs[i], arrivedSamples[i], slots[i] = int32(it.arrival.Epoch), int16(it.arrival.Sample), int64(u.BeaconSlot)
		signed[i] = signedColumn(&it.envelope, u)
		blocks[u.BeaconSlot] = *it.block
	}
	named, hashes := make([]int64, 0, len(blocks)), make([][]byte, 0, len(blocks))
	for slot, b := range blocks {
		named, hashes = append(named, int64(slot)), append(hashes, bytes.Clone(b.Hash[:]))
	}
	return []any{epochs, workers, samples, inventories, arrivedEpochs, arrivedSamples, slots, signed, top.number, top.lot[:], named, hashes}
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
