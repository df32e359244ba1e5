package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// receiptLog is what an instance knows of the receipt log outside of its database. All of
// it can be read anew at any time.
type receiptLog struct {
	turn sync.Mutex   // one at a time looks, publishes or rebuilds
	edge *proofs.Edge // of what is published; nil: to be read. Guarded by turn
	seal Checkpoint   // that was compared last; guarded by turn

	inlineFrom uint64 // records below it are in memos, or go into none; guarded by Service.pass

	mu    sync.Mutex // guards what follows
	stand logStanding
	why   string // of a standing that is neither new nor fine
	last  publishedLog
	head  logHead // what was compared last
}

// logStanding says how this database's log compares with what is published.
type logStanding int

const (
	logUnlooked logStanding = iota // not compared yet, or something is odd since
	logAgrees                      // all that is published is in the database
	logBehind                      // the database lacks what is published: the leader takes it from there
	logForked                      // neither is a beginning of the other: a person has to find out why
	logLost                        // the chain has a seal of records that neither has: a copy of one of them has to be found
)

// publishedLog is the newest checkpoint in the store, as it was read at a moment.
type publishedLog struct {
	proofs.LogCheckpoint
	note []byte // nil where there is none
	read time.Time
}

// logHead is the row log_head.
type logHead struct {
	Checkpoint
	jobs uint64
}

// readLogHead returns the log as it is committed.
func readLogHead(ctx context.Context, q querier) (logHead, error) {
	h, _, err := readLogFrontier(ctx, q)
	return h, err
}

func readLogFrontier(ctx context.Context, q querier) (h logHead, f proofs.Frontier, err error) {
	var size, fees, jobs int64
	var hashes []byte
	if err = q.QueryRow(ctx, selectLogHead).Scan(&size, &fees, &jobs, &hashes); err == nil {
		f, err = parseFrontier(uint64(size), hashes)
	}
	if err != nil {
		return h, f, fmt.Errorf("read the head of the receipt log: %w", err)
	}
	h.Size, h.Root, h.jobs = uint64(size), f.Root(), uint64(jobs)
	h.Fees, err = ionet.NewAmount(uint64(fees))
	return h, f, err
}

const selectLogHead = `SELECT size, fees, jobs, frontier FROM log_head`

// readRecords returns the committed records from..to, without to.
func readRecords(ctx context.Context, q querier, from, to uint64) ([][]byte, error) {
	rows, err := q.Query(ctx, selectRecords, int64(from), int64(to))
	if err != nil {
		return nil, fmt.Errorf("read the receipt log from %d: %w", from, err)
	}
	records := make([][]byte, 0, to-from)
	var index int64
	var record []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &record}, func() error {
		if uint64(index) != from+uint64(len(records)) {
			return fmt.Errorf("record %d is missing", from+uint64(len(records)))
		}
		records = append(records, record)
		record = nil
		return nil
	})
	if err == nil && uint64(len(records)) != to-from {
		err = fmt.Errorf("record %d is missing", from+uint64(len(records)))
	}
	if err != nil {
		return nil, fmt.Errorf("read the receipt log from %d: %w", from, err)
	}
	return records, nil
}

const selectRecords = `SELECT index, record FROM log_entries WHERE index >= $1 AND index < $2 ORDER BY index`

// readPublished returns the newest checkpoint of the store, which the service's key must
// have signed. Of an empty store it is that of the empty log.
func (s *Service) readPublished(ctx context.Context) (publishedLog, error) {
	p := publishedLog{LogCheckpoint: proofs.LogCheckpoint{Root: ionet.HashOf()}, read: s.now()}
	note, err := s.cfg.Store.Get(ctx, publish.CheckpointName)
	if errors.Is(err, publish.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the published checkpoint: %w", err)
	}
	p.note = note
	n := s.cfg.Network
	if p.LogCheckpoint, err = proofs.OpenCheckpoint(n.ID(), n.Keys.Service, note); err != nil {
		return p, fmt.Errorf("%w: %w", errForeignCheckpoint, err)
	}
	return p, nil
}

// errForeignCheckpoint reports a checkpoint in our store that we did not sign.
var errForeignCheckpoint = errors.New("the published checkpoint is none of ours")

// SealedLog is a checkpoint that is final on chain.
type SealedLog struct {
	Seal
	Memo      string
	Signature chain.Signature // of the transaction; zeros where the history that told of it lacks it
	Slot      uint64
}

// LogState is the receipt log as it is committed, published and sealed.
type LogState struct {
	Checkpoint                      // what is committed
	Jobs       uint64               // of all receipts; a batch counts as its count
	Published  proofs.LogCheckpoint // what is signed and in the published store
	Note       []byte               // the signed note of that; nil before the first
	Sealed     *SealedLog           // the newest; nil before the first
	Halted     string               // why nothing is taken into the log; "" where it is
}

// Log returns the state of the receipt log. What is published may be Config.CheckpointEvery old.
func (s *Service) Log(ctx context.Context) (LogState, error) {
	p, err := s.published(ctx)
	if err != nil {
		return LogState{}, err
	}
	head, err := readLogHead(ctx, s.front)
	if err != nil {
		return LogState{}, err
	}
	st := LogState{Checkpoint: head.Checkpoint, Jobs: head.jobs, Published: p.LogCheckpoint, Note: p.note, Halted: s.whyNoReceipts()}
	st.Sealed, err = s.readSeal(ctx, selectNewestSealed)
	return st, err
}

// SealOf returns the first seal that commits to the record with that index, nil while there is none.
func (s *Service) SealOf(ctx context.Context, index uint64) (*SealedLog, error) {
	return s.readSeal(ctx, selectSealOf, int64(index))
}

func (s *Service) readSeal(ctx context.Context, sql string, args ...any) (*SealedLog, error) {
	var v SealedLog
	var size, fees, position, slot int64
	var root, content, signature []byte
	err := s.front.QueryRow(ctx, sql, args...).Scan(&size, &root, &fees, &v.State, &position, &v.Asked, &content, &signature, &slot)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a seal of the receipt log: %w", err)
	}
	c, err := chain.ParseContent(content)
	if err != nil {
		return nil, fmt.Errorf("read a seal of the receipt log: %w", err)
	}
	v.Size, v.Root, v.Position, v.Memo, v.Slot = uint64(size), ionet.Hash(root), uint64(position), c.Memo, uint64(slot)
	copy(v.Signature[:], signature)
	v.Fees, err = ionet.NewAmount(uint64(fees))
	return &v, err
}

const sealedColumns = `
SELECT e.size, e.root, e.fees, e.state, e.position, e.asked_at, c.bytes, c.signature, coalesce(c.slot, 0)
FROM seals e JOIN contents c ON c.lane = 'seal' AND c.position = e.position AND c.state = 'won' WHERE e.state = 'sealed'`

const selectNewestSealed = sealedColumns + ` ORDER BY e.size DESC LIMIT 1`

const selectSealOf = sealedColumns + ` AND e.size > $1 ORDER BY e.size LIMIT 1`

// published returns the newest checkpoint, from memory where that was read lately.
func (s *Service) published(ctx context.Context) (publishedLog, error) {
	l := &s.receipts
	l.mu.Lock()
	p := l.last
	l.mu.Unlock()
	if !p.read.IsZero() && s.now().Before(p.read.Add(s.cfg.CheckpointEvery)) {
		return p, nil
	}
	p, err := s.readPublished(ctx)
	if err == nil {
		l.saw(p)
	}
	return p, err
}

// saw remembers a checkpoint that was read or written.
func (l *receiptLog) saw(p publishedLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.note == nil || p.Size >= l.last.Size || p.read.After(l.last.read) {
		l.last = p
	}
}

// Inclusion returns the proof that the record with that index is in the log of a size
// that is published: the hashes from the leaf to the root.
func (s *Service) Inclusion(ctx context.Context, index, size uint64) ([]ionet.Hash, error) {
	if index >= size {
		return nil, NewProblem(ProblemUnknownReceipt, "index", "the receipt log of size %d has no record %d", size, index)
	}
	reader, err := s.logHashes(ctx, size)
	if err != nil {
		return nil, err
	}
	return proofs.ProveInclusion(reader, size, index)
}

// Consistency returns the proof that the log of size to, which is published, begins with
// that of size from.
func (s *Service) Consistency(ctx context.Context, from, to uint64) ([]ionet.Hash, error) {
	if from > to {
		return nil, NewProblem(ProblemUnknownReceipt, "from", "the receipt log of size %d does not begin with one of size %d", to, from)
	}
	reader, err := s.logHashes(ctx, to)
	if err != nil {
		return nil, err
	}
	return proofs.ProveConsistency(reader, from, to)
}

// logHashes reads the hashes of the published log, each checked against its checkpoint.
// A smaller log's are among them.
func (s *Service) logHashes(ctx context.Context, size uint64) (proofs.LogHashes, error) {
	p, err := s.published(ctx)
	if err != nil {
		return nil, err
	}
	if size > p.Size {
		return nil, NewProblem(ProblemUnknownReceipt, "size", "the published receipt log has %d records, not %d yet", p.Size, size)
	}
	return proofs.TileReader(p.Size, p.Root, s.tileReader(ctx)), nil
}

// tileReader reads tiles from the store. A partial one may have given way to the full
// one, which begins with it.
func (s *Service) tileReader(ctx context.Context) func(proofs.Tile) ([]byte, error) {
	return func(t proofs.Tile) ([]byte, error) {
		data, err := s.cfg.Store.Get(ctx, publish.TileName(t))
		if errors.Is(err, publish.ErrNotFound) && t.Width < proofs.TileWidth {
			full := proofs.Tile{Level: t.Level, Index: t.Index, Width: proofs.TileWidth}
			if data, err = s.cfg.Store.Get(ctx, publish.TileName(full)); err == nil && len(data) >= 32*t.Width {
				data = data[:32*t.Width]
			}
		}
		return data, err
	}
}
