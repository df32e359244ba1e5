package settlement

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// workerEpoch is a worker in an epoch.
type workerEpoch struct {
	worker ionet.Key
	epoch  uint64
}

// servedRow is the job with the smallest id that a worker served in an epoch.
type servedRow struct {
	id       ionet.Hash
	envelope proofs.Envelope
	arrival  proofs.Arrival
}

// serve counts an accepted job for the epoch in which it was served, FORMAT.md section 6,
// unless that is frozen: the journal holds a freeze out until it commits.
func (j *journal) serve(e proofs.Envelope, x *candidate) {
	epoch, _, ok := j.s.clock.At(time.Unix(x.bill.Served, 0))
	if !ok || epoch <= j.barrier {
		return
	}
	at := workerEpoch{e.Signer, epoch}
	if r := j.served[at]; r == nil || bytes.Compare(x.id[:], r.id[:]) < 0 {
		j.served[at] = &servedRow{x.id, e, x.arrival}
	}
}

// The rows of one worker are written by those alone who have the log's head locked.
const upsertServed = `
INSERT INTO served_jobs (epoch, worker, id, envelope, arrival_epoch, arrival_sample)
SELECT t.epoch, t.worker, t.id, t.envelope, t.arrival_epoch, t.arrival_sample
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::integer[], $6::smallint[])
    AS t (epoch, worker, id, envelope, arrival_epoch, arrival_sample)
ON CONFLICT (epoch, worker) DO UPDATE SET id = excluded.id, envelope = excluded.envelope,
    arrival_epoch = excluded.arrival_epoch, arrival_sample = excluded.arrival_sample
WHERE excluded.id < served_jobs.id`

func (j *journal) queueServed(b *pgx.Batch) {
	var epochs []int64
	var workers, ids, envelopes [][]byte
	var arrivedEpochs []int32
	var arrivedSamples []int16
	for at, r := range j.served {
		epochs, workers = append(epochs, int64(at.epoch)), append(workers, bytes.Clone(at.worker[:]))
		ids, envelopes = append(ids, r.id[:]), append(envelopes, r.envelope.Append(nil))
		arrivedEpochs, arrivedSamples = append(arrivedEpochs, int32(r.arrival.Epoch)), append(arrivedSamples, int16(r.arrival.Sample))
	}
	if len(epochs) > 0 {
		b.Queue(upsertServed, epochs, workers, ids, envelopes, arrivedEpochs, arrivedSamples)
	}
}

const selectServed = `
SELECT envelope, arrival_epoch, arrival_sample FROM served_jobs WHERE epoch = $1 AND worker = ANY ($2::bytea[])`

// served adds to an epoch's inputs, where the policy asks for it, a job of each worker
// with an uptime statement.
func (g *gathering) served(ctx context.Context) error {
	if !g.idle {
		return nil
	}
	rows, err := g.tx.Query(ctx, selectServed, int64(g.in.Epoch), byteas(g.workers))
	if err != nil {
		return err
	}
	var envelope []byte
	var epoch int32
	var sample int16
	_, err = pgx.ForEachRow(rows, []any{&envelope, &epoch, &sample}, func() error {
		e, err := storedEnvelope(envelope)
		if err != nil {
			return err
		}
		g.in.Statements = append(g.in.Statements, proofs.Statement{Arrival: proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}, Envelope: e})
		return nil
	})
	return err
}

const deleteServed = `DELETE FROM served_jobs WHERE epoch = $1`
