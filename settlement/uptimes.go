package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// The body of an uptime statement is, FORMAT.md section 5:
//
//	epoch u64 ‖ sample u16 ‖ beacon slot u64 ‖ beacon hash ‖ previous ‖ delegation ‖ inventory ‖ devices
//
// A row of uptimes keeps what no other table has: the numbers, and in its column
// signed the signature, previous and the devices as they came.
const (
	signatureSize = 64
	uptimeHead    = 8 + 2 + 8 + 4*32
)

// signedColumn returns the row's column of an uptime statement.
func signedColumn(e *proofs.Envelope, u *proofs.Uptime) []byte {
	devices := e.Body[uptimeHead:]
	b := make([]byte, 0, signatureSize+32+len(devices))
	b = append(b, e.Signature[:]...)
	b = append(b, u.Previous[:]...)
	return append(b, devices...)
}

// uptimeRow is a row of uptimes with what its numbers stand for.
type uptimeRow struct {
	worker    int32 // number
	half      int16
	at        workerSample
	id        ionet.Hash
	slot      uint64
	inventory ionet.Hash
	statement proofs.Statement
}

const uptimeColumns = `u.epoch, u.sample, u.half, u.worker, u.beacon_slot, u.signed, u.arrival_epoch, u.arrival_sample, w.key, i.id, i.delegation, b.blockhash`

// What a row names was there before it and is never deleted. Where that is not so all
// the same, the row must be missed, not left out.
const uptimeNames = `
LEFT JOIN workers w ON w.number = u.worker
LEFT JOIN inventories i ON i.number = u.inventory
LEFT JOIN beacons b ON b.slot = u.beacon_slot`

const selectEpochUptimes = `
SELECT ` + uptimeColumns + ` FROM uptimes u` + uptimeNames + `
WHERE u.ring = $1::smallint AND u.epoch = $2`

const selectUptimesAt = `
SELECT ` + uptimeColumns + `
FROM (SELECT DISTINCT k.number, t.epoch, t.sample
      FROM unnest($1::bytea[], $2::bigint[], $3::integer[]) AS t (key, epoch, sample) JOIN workers k ON k.key = t.key) t
JOIN uptimes u ON u.ring = t.epoch % 4 AND u.epoch = t.epoch AND u.worker = t.number AND u.sample = t.sample` + uptimeNames

// The last one of a worker that is in no published book: $2 is the newest epoch that
// it may be of.
const selectLastUptime = `
SELECT ` + uptimeColumns + `
FROM generate_series((SELECT coalesce(max(epoch), 0) + 1 FROM epochs WHERE state <> 'frozen'), $2::bigint) AS e (epoch)
JOIN workers k ON k.key = $1
JOIN LATERAL (SELECT * FROM uptimes WHERE ring = e.epoch % 4 AND epoch = e.epoch AND worker = k.number
              ORDER BY sample DESC, half DESC LIMIT 1) u ON true` + uptimeNames + `
ORDER BY u.epoch DESC LIMIT 1`

// ringOf is the part of the table in which an epoch lies.
func ringOf(k uint64) int16 { return int16(k % 4) }

// scanUptimes reads rows of uptimeColumns.
func scanUptimes(rows pgx.Rows, each func(r *uptimeRow) error) error {
	var epoch, arrivedEpoch int32
	var sample, arrivedSample int16
	var slot int64
	var signed, key, inventory, delegation, hash []byte
	r := uptimeRow{}
	_, err := pgx.ForEachRow(rows, []any{&epoch, &sample, &r.half, &r.worker, &slot, &signed, &arrivedEpoch, &arrivedSample, &key, &inventory, &delegation, &hash}, func() error {
		if key == nil || inventory == nil || hash == nil {
			return fmt.Errorf("the uptime statement of worker number %d for sample %d of epoch %d names an inventory or beacon that is not there: the database was changed", r.worker, sample, epoch)
		}
		r.at = workerSample{ionet.Key(key), uint64(epoch), uint16(sample)}
		r.slot, r.inventory = uint64(slot), ionet.Hash(inventory)
		r.statement.Arrival = proofs.Arrival{Epoch: uint64(arrivedEpoch), Sample: uint16(arrivedSample)}
		previous, devices := signed[signatureSize:signatureSize+32], signed[signatureSize+32:]
		body := make([]byte, 0, uptimeHead+len(devices))
		body = binary.LittleEndian.AppendUint64(body, r.at.epoch)
		body = binary.LittleEndian.AppendUint16(body, r.at.sample)
		body = binary.LittleEndian.AppendUint64(body, r.slot)
		for _, part := range [][]byte{hash, previous, delegation, inventory, devices} {
			body = append(body, part...)
		}
		r.statement.Envelope = proofs.Envelope{Kind: proofs.KindUptime, Signer: r.at.worker, Signature: [64]byte(signed[:signatureSize]), Body: body}
		r.id = r.statement.Envelope.ID()
		return each(&r)
	})
	return err
}

// slots are samples of workers as SQL takes them.
type slots struct {
	workers [][]byte
	epochs  []int64
	samples []int32
}

func (n *slots) add(at workerSample) {
	n.workers, n.epochs, n.samples = append(n.workers, at.worker[:]), append(n.epochs, int64(at.epoch)), append(n.samples, int32(at.sample))
}

func (n *slots) args() []any { return []any{n.workers, n.epochs, n.samples} }

// queueUptimesAt reads all statements of the slots; at is filled when the batch is read.
func queueUptimesAt(b *pgx.Batch, n *slots, at map[workerSample][]uptimeRow) {
	b.Queue(selectUptimesAt, n.args()...).Query(func(rows pgx.Rows) error {
		return scanUptimes(rows, func(r *uptimeRow) error {
			at[r.at] = append(at[r.at], *r)
			return nil
		})
	})
}

// uptimesAt reads all statements of the slots.
func uptimesAt(ctx context.Context, q querier, n *slots) (map[workerSample][]uptimeRow, error) {
	at := map[workerSample][]uptimeRow{}
	rows, err := q.Query(ctx, selectUptimesAt, n.args()...)
	if err != nil {
		return nil, err
	}
	return at, scanUptimes(rows, func(r *uptimeRow) error {
		at[r.at] = append(at[r.at], *r)
		return nil
	})
}

// find returns the row of that statement among those of its sample.
func find(rows []uptimeRow, id ionet.Hash) *uptimeRow {
	for i := range rows {
		if rows[i].id == id {
			return &rows[i]
		}
	}
	return nil
}

// One order for all: see insertBatch.
const insertUptimes = `
INSERT INTO uptimes (ring, epoch, worker, sample, half, inventory, arrival_epoch, arrival_sample, beacon_slot, signed)
SELECT t.epoch % 4, t.epoch, i.worker_number, t.sample, t.half, i.number, t.arrival_epoch, t.arrival_sample, t.slot, t.signed
FROM unnest($1::integer[], $2::smallint[], $3::smallint[], $4::bytea[], $5::integer[], $6::smallint[], $7::bigint[], $8::bytea[], $9::bytea[])
    AS t (epoch, sample, half, inventory, arrival_epoch, arrival_sample, slot, hash, signed)
JOIN inventories i ON i.id = t.inventory
JOIN beacons b ON b.slot = t.slot AND b.blockhash = t.hash
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT DO NOTHING
RETURNING epoch, worker, sample, half`

// rowKey is the primary key of uptimes.
type rowKey struct {
	epoch, worker int32
	sample, half  int16
}

// maxHalves bounds how often one transaction looks for a free row for a second
// statement of a sample.
const maxHalves = 8

// insertUptimes stores uptime statements whose inventories and beacons are there, in
// tx: the first of a sample, a second one beside it, and what we acked before in any
// number. Those of one sample take their turns, as in requests of their own. It sets on
// each item what became of it.
func (s *Service) insertUptimes(ctx context.Context, tx pgx.Tx, items []*item) error {
	free := map[workerSample]int16{} // the first half that may be
	for try := 0; len(items) > 0; try++ {
		if try == maxHalves {
			return fmt.Errorf("%d uptime statements found no row after %d tries", len(items), try)
		}
		inserted, at := map[rowKey]bool{}, map[workerSample][]uptimeRow{}
		var b pgx.Batch
		queueUptimes(&b, turnsOf(items), free, inserted)
		var n slots
		for _, it := range items {
			n.add(it.slot())
		}
		queueUptimesAt(&b, &n, at)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		var left []*item
		for _, it := range items {
			rows := at[it.slot()]
			switch r := find(rows, it.id); {
			case r != nil:
				it.arrival = r.statement.Arrival
				it.inserted = inserted[rowKey{int32(r.at.epoch), r.worker, int16(r.at.sample), r.half}]
			case len(rows) >= perSample && !it.acked:
				it.problem = tooManyOfSample(it.slot())
			default:
				left = append(left, it)
			}
		}
		for slot, rows := range at {
			for _, r := range rows {
				free[slot] = max(free[slot], r.half+1)
			}
		}
		items = left
	}
	return nil
}

// turnsOf returns the first item of each sample, and all that were acked.
func turnsOf(items []*item) []*item {
	var turn []*item
	taken := map[workerSample]bool{}
	for _, it := range items {
		if !taken[it.slot()] || it.acked {
			taken[it.slot()] = true
			turn = append(turn, it)
		}
	}
	return turn
}

func tooManyOfSample(at workerSample) *Problem {
	return NewProblem(ProblemTooManyStatements, "body.sample", "worker %s has %d statements of sample %d of epoch %d: one is right, two are equivocation, more are not kept", at.worker, perSample, at.sample, at.epoch)
}

// queueUptimes inserts items as the halves of their samples from free on; inserted is
// filled when the batch is read.
func queueUptimes(b *pgx.Batch, items []*item, free map[workerSample]int16, inserted map[rowKey]bool) {
	n, next := len(items), maps.Clone(free)
	epochs, arrivedEpochs, slots := make([]int32, n), make([]int32, n), make([]int64, n)
	samples, halves, arrivedSamples := make([]int16, n), make([]int16, n), make([]int16, n)
	inventories, hashes, signed := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, it := range items {
		u := it.uptime()
		epochs[i], samples[i], halves[i], slots[i] = int32(u.Epoch), int16(u.Sample), next[it.slot()], int64(u.BeaconSlot)
		next[it.slot()]++
		arrivedEpochs[i], arrivedSamples[i] = int32(it.arrival.Epoch), int16(it.arrival.Sample)
		inventories[i], hashes[i], signed[i] = u.Inventory[:], u.BeaconHash[:], signedColumn(&it.envelope, u)
	}
	b.Queue(insertUptimes, epochs, samples, halves, inventories, arrivedEpochs, arrivedSamples, slots, hashes, signed).Query(func(rows pgx.Rows) error {
		var k rowKey
		_, err := pgx.ForEachRow(rows, []any{&k.epoch, &k.worker, &k.sample, &k.half}, func() error {
			inserted[k] = true
			return nil
		})
		return err
	})
}

// leaveWait is how long the rows of a published epoch wait for those who read them,
// before they are deleted one by one.
const leaveWait = time.Second

const limitWait = `SELECT current_setting('lock_timeout'), set_config('lock_timeout', $1, true)`

const deleteUptimes = `DELETE FROM uptimes WHERE ring = $1::smallint AND epoch = $2`

const selectOtherUptimes = `SELECT EXISTS (SELECT FROM uptimes WHERE ring = $1::smallint AND epoch <> $2)`

var errShared = errors.New("another epoch's statements lie there too")

// leave takes the uptime statements of epoch k out of the table, in the transaction
// by which its book becomes what is looked at. A whole part of the table is emptied
// where nothing else is in it and nobody reads it: that costs no log and gives the
// space back at once. The isolation of a transaction that began before does not
// reach that far: such ones read no epoch that is frozen already.
func leave(ctx context.Context, tx pgx.Tx, k uint64) error {
	ring := ringOf(k)
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		var former string
		if err := tx.QueryRow(ctx, limitWait, leaveWait.String()).Scan(&former, nil); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`LOCK TABLE uptimes_%d IN ACCESS EXCLUSIVE MODE`, ring)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, limitWait, former); err != nil {
			return err
		}
		shared := false
		if err := tx.QueryRow(ctx, selectOtherUptimes, ring, int64(k)).Scan(&shared); err != nil {
			return err
		}
		if shared {
			return errShared
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`TRUNCATE uptimes_%d`, ring))
		return err
	})
	var pg *pgconn.PgError
	if errors.Is(err, errShared) || errors.As(err, &pg) && pg.Code == "55P03" {
		_, err = tx.Exec(ctx, deleteUptimes, ring, int64(k))
	}
	if err == nil {
		_, err = tx.Exec(ctx, deleteServed, int64(k))
	}
	if err != nil {
		return fmt.Errorf("take the statements of epoch %d out of the table: %w", k, err)
	}
	return nil
}
