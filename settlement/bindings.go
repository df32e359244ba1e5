package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// readBindings returns the bindings in force, ascending by device.
func readBindings(ctx context.Context, tx pgx.Tx) ([]proofs.Binding, error) {
	rows, err := tx.Query(ctx, selectAllBindings)
	if err != nil {
		return nil, fmt.Errorf("read bindings: %w", err)
	}
	var all []proofs.Binding
	var uuid, worker []byte
	var since, last int64
	_, err = pgx.ForEachRow(rows, []any{&uuid, &worker, &since, &last}, func() error {
		all = append(all, proofs.Binding{UUID: ionet.UUID(uuid), Worker: ionet.Key(worker), Since: uint64(since), Last: uint64(last)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read bindings: %w", err)
	}
	return all, nil
}

const deleteBindings = `DELETE FROM bindings WHERE uuid = ANY ($1::bytea[])`

const upsertBindings = `
INSERT INTO bindings (uuid, worker, since, last)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[])
ON CONFLICT (uuid) DO UPDATE SET worker = excluded.worker, since = excluded.since, last = excluded.last`

// replaceBindings makes the table hold just next, writing only what changes.
func replaceBindings(ctx context.Context, tx pgx.Tx, next []proofs.Binding) error {
	current, err := readBindings(ctx, tx)
	if err != nil {
		return err
	}
	gone := make(map[ionet.UUID]proofs.Binding, len(current))
	for _, b := range current {
		gone[b.UUID] = b
	}
	var uuids, workers [][]byte
	var since, last []int64
	for i := range next {
		b := &next[i]
		old, ok := gone[b.UUID]
		delete(gone, b.UUID)
		if ok && old == *b {
			continue
		}
		uuids, workers = append(uuids, b.UUID[:]), append(workers, b.Worker[:])
		since, last = append(since, int64(b.Since)), append(last, int64(b.Last))
	}
	ended := make([][]byte, 0, len(gone))
	for uuid := range gone {
		ended = append(ended, uuid[:])
	}
	var b pgx.Batch
	b.Queue(deleteBindings, ended)
	b.Queue(upsertBindings, uuids, workers, since, last)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("replace bindings: %w", err)
	}
	return nil
}
