package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A database can be put back to an older copy, under a running service or before it
// starts, and the published store can. What they have in common must be the same; what
// the database lacks is in the store, signed, and is taken from there before anything is
// appended: two logs of one size would be two truths, each signed by us. So every
// instance compares, when it starts and every Config.CheckpointEvery, and takes nothing
// into the log before it has found the database to be whole.

// LookAtLog compares the database's receipt log with the newest published checkpoint and
// with the newest seal that is final on chain.
func (s *Service) LookAtLog(ctx context.Context) error {
	l := &s.receipts
	l.turn.Lock()
	defer l.turn.Unlock()
	return s.lookAtLog(ctx)
}

// lookAtLog is LookAtLog; the turn is held. Where something can't be read the standing
// stays what it was.
func (s *Service) lookAtLog(ctx context.Context) error {
	l := &s.receipts
	// The checkpoint first: whatever it tells of was committed before.
	p, err := s.readPublished(ctx)
	if errors.Is(err, errForeignCheckpoint) {
		s.stands(logForked, err.Error(), p, logHead{})
		return nil
	}
	if err != nil {
		return err
	}
	head, err := readLogHead(ctx, s.pool)
	if err != nil {
		return err
	}
	seal, sealed, err := finalSeal(ctx, s.pool)
	if err != nil {
		return err
	}
	if stand, last, before := l.now(); stand == logAgrees && head == before && bytes.Equal(last.note, p.note) && seal == l.seal {
		l.saw(p)
		return nil
	}
	stand, why, err := s.compareLog(ctx, p, head, seal, sealed)
	if err != nil {
		return fmt.Errorf("compare the receipt log with what is published: %w", err)
	}
	s.stands(stand, why, p, head)
	l.seal = seal
	return nil
}

// compareLog says how the database's log stands against a checkpoint and a seal.
func (s *Service) compareLog(ctx context.Context, p publishedLog, head logHead, seal Checkpoint, sealed bool) (logStanding, string, error) {
	if p.Size > head.Size {
		return logBehind, fmt.Sprintf("the database has %d records of the receipt log, %d are published", head.Size, p.Size), nil
	}
	if ok, err := s.begins(ctx, p, head); err != nil || !ok {
		return logForked, fmt.Sprintf("the first %d records of the database are others than those published with root %s", p.Size, p.Root), err
	}
	if !sealed {
		return logAgrees, "", nil
	}
	if seal.Size > head.Size {
		return logLost, fmt.Sprintf("the chain has a seal of %d records, the database has %d and %d are published: put the newer copy of one of them back", seal.Size, head.Size, p.Size), nil
	}
	root, err := s.rootAt(ctx, p, head, seal.Size)
	if err == nil && root != seal.Root {
		return logForked, fmt.Sprintf("the first %d records have root %s, the seal on chain has %s", seal.Size, root, seal.Root), nil
	}
	return logAgrees, "", err
}

// begins reports whether the database's log begins with what is published.
func (s *Service) begins(ctx context.Context, p publishedLog, head logHead) (bool, error) {
	root, known, err := storedRoot(ctx, s.pool, head, p.Size)
	if err != nil || known {
		return root == p.Root, err
	}
	// A head commits to all before it: from the published edge on it must be reached.
	f, err := s.publishedFrontier(ctx, p)
	if err != nil {
		return false, err
	}
	root, err = s.grownRoot(ctx, f, head.Size)
	return root == head.Root, err
}

// rootAt returns the root of the first size records of a database that begins with what
// is published.
func (s *Service) rootAt(ctx context.Context, p publishedLog, head logHead, size uint64) (ionet.Hash, error) {
	root, known, err := storedRoot(ctx, s.pool, head, size)
	if err != nil || known {
		return root, err
	}
	if size <= p.Size {
		h, err := tlog.TreeHash(int64(size), proofs.TileReader(p.Size, p.Root, s.tileReader(ctx)))
		return ionet.Hash(h), err
	}
	f, err := s.publishedFrontier(ctx, p)
	if err != nil {
		return ionet.Hash{}, err
	}
	return s.grownRoot(ctx, f, size)
}

// storedRoot returns the root that the database has noted for a size: each transaction
// notes that of its last record.
func storedRoot(ctx context.Context, q querier, head logHead, size uint64) (root ionet.Hash, known bool, err error) {
	switch size {
	case 0:
		return ionet.HashOf(), true, nil
	case head.Size:
		return head.Root, true, nil
	}
	var noted []byte
	if err := q.QueryRow(ctx, selectRoot, int64(size-1)).Scan(&noted); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("record %d is missing", size-1)
		}
		return root, false, fmt.Errorf("read the root of %d records: %w", size, err)
	}
	copy(root[:], noted)
	return root, noted != nil, nil
}

const selectRoot = `SELECT root FROM log_entries WHERE index = $1`

// publishedFrontier reads the frontier of what is published.
func (s *Service) publishedFrontier(ctx context.Context, p publishedLog) (proofs.Frontier, error) {
	edge, err := proofs.ReadEdge(p.Size, s.tileReader(ctx))
	if err != nil {
		return proofs.Frontier{}, err
	}
	if edge.Root() != p.Root {
		return proofs.Frontier{}, fmt.Errorf("the published tiles lead to root %s, the checkpoint of size %d has %s: the store was damaged", edge.Root(), p.Size, p.Root)
	}
	return edge.Frontier(), nil
}

// grownRoot returns the root after f has grown by the database's records up to size.
func (s *Service) grownRoot(ctx context.Context, f proofs.Frontier, size uint64) (ionet.Hash, error) {
	for f.Size() < size {
		records, err := readRecords(ctx, s.pool, f.Size(), min(size, f.Size()+logChunk))
		if err != nil {
			return ionet.Hash{}, err
		}
		f.Append(records...)
	}
	return f.Root(), nil
}

// finalSeal returns the largest checkpoint that is final on chain.
func finalSeal(ctx context.Context, q querier) (c Checkpoint, known bool, err error) {
	c, err = scanCheckpoint(q.QueryRow(ctx, selectFinalSeal))
	if errors.Is(err, pgx.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("read the newest seal: %w", err)
	}
	return c, true, nil
}

const selectFinalSeal = `SELECT size, root, fees FROM seals WHERE state = 'sealed' ORDER BY size DESC LIMIT 1`

// now returns how the log stands and what was compared last.
func (l *receiptLog) now() (logStanding, publishedLog, logHead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stand, l.last, l.head
}

// stands notes how the log stands, and tells where that changed.
func (s *Service) stands(stand logStanding, why string, p publishedLog, head logHead) {
	l := &s.receipts
	l.mu.Lock()
	was, whyWas := l.stand, l.why
	l.stand, l.why, l.last, l.head = stand, why, p, head
	l.mu.Unlock()
	s.metrics.published.Set(float64(p.Size))
	s.metrics.logHalted.Set(number(stand != logAgrees))
	if stand == logBehind && was == logAgrees {
		s.begin(draw(s.cfg.Rand)) // what was acked is presented again: it may be in no published record
	}
	switch {
	case stand == was && why == whyWas:
	case stand == logForked || stand == logLost:
		s.log.Error("the receipt log takes nothing in", "reason", why)
		s.emit(Event{Kind: EventHalted, Detail: "the receipt log: " + why})
	case stand == logBehind:
		s.log.Warn("the receipt log takes nothing in before it is as long as what is published", "reason", why)
	case was == logBehind || was == logForked || was == logLost:
		s.log.Info("the receipt log has all that is published", "size", head.Size, "published", p.Size)
	}
}

// forked notes that the database contradicts what is published, and says it.
func (s *Service) forked(why string) error {
	_, p, head := s.receipts.now()
	s.stands(logForked, why, p, head)
	return errors.New(why)
}

// doubtLog is called where the head of the log is not what this instance remembers: the
// database was put back. Nothing is appended before it is compared again.
func (s *Service) doubtLog() {
	l := &s.receipts
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stand == logAgrees {
		l.stand, l.why = logUnlooked, ""
	}
}

// mayAppend returns nil where the log may grow, else a busy Problem: workers and renters
// keep what they have signed and hand it in again. The first to ask compares.
func (s *Service) mayAppend(ctx context.Context) error {
	stand, _, _ := s.receipts.now()
	if stand == logUnlooked {
		if err := s.LookAtLog(ctx); err != nil {
			s.log.Warn("the receipt log was not compared with what is published", "error", err)
		}
		stand, _, _ = s.receipts.now()
	}
	if stand == logAgrees {
		return nil
	}
	why := s.whyNoReceipts()
	if why == "" {
		why = "it is being compared with what is published"
	}
	return NewProblem(ProblemBusy, "", "the receipt log takes nothing in: %s", why).after(10 * time.Second)
}

// whyNoReceipts returns why nothing is taken into the log; "" where it is, or where that
// is not known yet.
func (s *Service) whyNoReceipts() string {
	l := &s.receipts
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}
