package settlement

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// MaxReceipts is the largest page of ReceiptsOf.
const MaxReceipts = 1000

// LoggedReceipt is a record of the receipt log that is about a statement.
type LoggedReceipt struct {
	Index  uint64
	Record []byte          // FORMAT.md, section 12
	Ack    proofs.Envelope // of the statement; zero in ReceiptsOf
}

// Receipt returns what the log has under an id of hexadecimal digits: 32 of a job or of
// a batch, or 64 of a statement. A renter draws job ids, so two channels may have the
// same: then it is the first. Where nothing has the id it is the problem
// unknown-receipt.
func (s *Service) Receipt(ctx context.Context, id string) (LoggedReceipt, error) {
	key, err := hex.DecodeString(id)
	if err != nil || len(key) != 16 && len(key) != 32 {
		return LoggedReceipt{}, NewProblem(ProblemUnknownReceipt, "id", "id %.80q is neither a job's, 32 hexadecimal digits, nor a statement's, 64", id)
	}
	sql := selectByJob
	if len(key) == 32 {
		sql = selectByStatement
	}
	rows, err := s.front.Query(ctx, sql, key)
	if err != nil {
		return LoggedReceipt{}, fmt.Errorf("look for receipt %s: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, s.scanLogged)
	if err != nil {
		return LoggedReceipt{}, fmt.Errorf("look for receipt %s: %w", id, err)
	}
	for _, r := range list {
		record, err := proofs.ParseRecord(r.Record)
		if err != nil {
			return LoggedReceipt{}, err
		}
		// A record that is no statement's has its own hash as key.
		if e, ok := record.Statement(); ok && (len(key) == 16 || e.ID() == ionet.Hash(key)) {
			return r, nil
		}
	}
	return LoggedReceipt{}, NewProblem(ProblemUnknownReceipt, "id", "the log has no receipt %s: a job that waits for those before it has none yet", id)
}

const selectByJob = `
SELECT index, record, arrival_epoch, arrival_sample FROM log_entries WHERE key = $1 AND tag = 1 ORDER BY index LIMIT 1`

// A receipt is found by an index on its statement's id, which is computed of its record:
// kind and signer stand at 120, the body at 219. Other records have the id's first half
// as key.
const selectByStatement = `
SELECT index, record, arrival_epoch, arrival_sample FROM log_entries
WHERE substring(sha256(substring(record FROM 120 FOR 33) || substring(record FROM 219)) FOR 8) = substring($1::bytea FOR 8) AND tag = 1
UNION ALL
SELECT index, record, arrival_epoch, arrival_sample FROM log_entries WHERE key = substring($1::bytea FOR 16) AND tag <> 1
ORDER BY index`

func (s *Service) scanLogged(row pgx.CollectableRow) (LoggedReceipt, error) {
	var r LoggedReceipt
	var index int64
	var epoch int32
	var sample int16
	if err := row.Scan(&index, &r.Record, &epoch, &sample); err != nil {
		return r, err
	}
	r.Index = uint64(index)
	record, err := proofs.ParseRecord(r.Record)
	if err != nil {
		return r, err
	}
	if e, ok := record.Statement(); ok {
		r.Ack = s.ackOf(e.ID(), proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)})
	}
	return r, nil
}

// ReceiptsPage is a part of a renter's receipts, ascending by index. More tells that
// receipts follow: those after the last index of this page.
type ReceiptsPage struct {
	Receipts []LoggedReceipt
	More     bool
}

// ReceiptsOf returns the receipts of a renter from index from on, at most limit of
// them, 1..MaxReceipts; 0 is MaxReceipts. Whoever appends to the log holds its head
// until the commit, so records become visible in the order of their indexes: nothing is
// ever put before what a page has shown, and a walk over pages while the log grows sees
// each receipt once.
func (s *Service) ReceiptsOf(ctx context.Context, renter ionet.Key, from uint64, limit int) (ReceiptsPage, error) {
	limit = min(limit, MaxReceipts)
	if limit <= 0 {
		limit = MaxReceipts
	}
	rows, err := s.front.Query(ctx, selectReceiptsOf, renter[:], int64(min(from, 1<<62)), limit+1)
	if err != nil {
		return ReceiptsPage{}, fmt.Errorf("list receipts of %s: %w", renter, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r LoggedReceipt, err error) {
		return r, row.Scan(&r.Index, &r.Record)
	})
	if err != nil {
		return ReceiptsPage{}, fmt.Errorf("list receipts of %s: %w", renter, err)
	}
	if len(list) > limit {
		return ReceiptsPage{list[:limit], true}, nil
	}
	return ReceiptsPage{list, false}, nil
}

// Of each channel no more is read than a page holds, by its own index, and records of
// the page alone.
const selectReceiptsOf = `
SELECT e.index, e.record FROM (
    SELECT r.index FROM channels c CROSS JOIN LATERAL (
        SELECT l.index FROM log_entries l WHERE l.channel = c.number AND l.tag = 1 AND l.index >= $2 ORDER BY l.index LIMIT $3
    ) r WHERE c.renter = $1 ORDER BY r.index LIMIT $3
) page JOIN log_entries e ON e.index = page.index ORDER BY e.index`
