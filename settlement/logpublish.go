package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// logChunk is how many records are read and published at once. It is a number of whole
// tiles of level 1, so that only the last chunk leaves partial ones behind.
const logChunk = 1 << 16

// PublishLog brings the receipt log that is committed into the published store, where
// this instance leads; others do nothing:
//
//	bundles and tiles  each durable under its name. No checkpoint tells of them yet: after a
//	                   crash the next run puts the same bytes again, or, where the database
//	                   lost what they say, replaces them
//	partial tiles      that a full one replaces are removed; whoever looks for one finds the
//	                   full one. After a crash the next run removes them
//	checkpoint         signed, and in the place of the former. From then on nobody may change
//	                   anything below it; a database that lacks some of it is rebuilt
//
// Only rows that were committed are read, so no checkpoint tells of what may vanish, but
// by a database that is put back.
func (s *Service) PublishLog(ctx context.Context) error {
	l := &s.receipts
	l.turn.Lock()
	defer l.turn.Unlock()
	if s.leaseNumber() == 0 {
		return nil
	}
	if err := s.publishLog(ctx); err != nil {
		l.edge = nil // what it became on the way is in the store or not
		return fmt.Errorf("publish the receipt log: %w", err)
	}
	return nil
}

func (s *Service) publishLog(ctx context.Context) error {
	l := &s.receipts
	if err := s.lookAtLog(ctx); err != nil {
		return err
	}
	stand, last, head := l.now()
	if stand != logAgrees {
		return nil
	}
	if l.edge == nil || l.edge.Size() != last.Size {
		if err := s.loadEdge(ctx, last.LogCheckpoint); err != nil {
			return err
		}
	}
	if head.Size == last.Size && last.note != nil {
		return nil
	}
	from := last.Size
	if err := s.checkGrowth(ctx, head.Checkpoint); err != nil {
		return err
	}
	for l.edge.Size() < head.Size {
		if err := s.publishRecords(ctx, min(head.Size, (l.edge.Size()/logChunk+1)*logChunk)); err != nil {
			return err
		}
	}
	if l.edge.Root() != head.Root {
		return errors.New("the tiles lead to another root than the database has: records changed while they were read")
	}
	if err := s.removePartials(ctx, from, head.Size); err != nil {
		return err
	}
	return s.signLog(ctx, head.Checkpoint)
}

// loadEdge reads the right edge of the published log.
func (s *Service) loadEdge(ctx context.Context, c proofs.LogCheckpoint) error {
	edge, err := proofs.ReadEdge(c.Size, s.tileReader(ctx))
	if err != nil {
		return err
	}
	if edge.Root() != c.Root {
		return fmt.Errorf("the published tiles lead to root %s, the checkpoint of size %d has %s: the store was damaged", edge.Root(), c.Size, c.Root)
	}
	s.receipts.edge = edge
	return nil
}

// checkGrowth compares the records that are to be published, with what is published
// before them, with the head that was read: where they are many, before any file is put.
func (s *Service) checkGrowth(ctx context.Context, head Checkpoint) error {
	edge := s.receipts.edge
	if head.Size-edge.Size() <= logChunk {
		return nil // one chunk: publishRecords has them all at once
	}
	root, err := s.grownRoot(ctx, edge.Frontier(), head.Size)
	if err == nil && root != head.Root {
		err = s.forked(strayRecords(head, root))
	}
	return err
}

func strayRecords(head Checkpoint, root ionet.Hash) string {
	return fmt.Sprintf("what is published and the records of the database behind it lead to root %s of %d, the head of the database has %s", root, head.Size, head.Root)
}

// logFile is a file of the log that is to be put.
type logFile struct {
	name string
	data []byte
}

// publishRecords puts the files that the records up to to make, side by side.
func (s *Service) publishRecords(ctx context.Context, to uint64) error {
	edge := s.receipts.edge
	from := edge.Size()
	start := from - from%proofs.TileWidth // a bundle is put whole
	records, err := readRecords(ctx, s.pool, start, to)
	if err != nil {
		return err
	}
	var files []logFile
	for i := 0; i < len(records); i += proofs.TileWidth {
		part := records[i:min(len(records), i+proofs.TileWidth)]
		var bundle []byte
		for _, r := range part {
			if bundle, err = proofs.AppendEntry(bundle, r); err != nil {
				return err
			}
		}
		files = append(files, logFile{publish.EntriesName(start/proofs.TileWidth+uint64(i)/proofs.TileWidth, len(part)), bundle})
	}
	leaves := make([]ionet.Hash, 0, to-from)
	for _, r := range records[from-start:] {
		leaves = append(leaves, proofs.LeafHash(r))
	}
	for _, t := range edge.Grow(leaves) {
		files = append(files, logFile{publish.TileName(t), t.Data})
	}
	if _, _, head := s.receipts.now(); to == head.Size && edge.Root() != head.Root {
		return s.forked(strayRecords(head.Checkpoint, edge.Root()))
	}
	errs := make([]error, len(files))
	s.each(len(files), func(i int) { errs[i] = s.putLogFile(ctx, files[i]) })
	return errors.Join(errs...)
}

// putLogFile puts a file that no checkpoint tells of yet. Other bytes under its name are
// of a run that stopped before its checkpoint, on a database that was put back since.
func (s *Service) putLogFile(ctx context.Context, f logFile) error {
	err := s.cfg.Store.Put(ctx, f.name, f.data)
	if errors.Is(err, publish.ErrConflict) {
		s.log.Warn("a file of the receipt log that no checkpoint tells of gives way to another", "name", f.name)
		err = s.cfg.Store.Replace(ctx, f.name, f.data)
	}
	return err
}

// signLog puts the signed checkpoint into the place of the former, while the lease is ours.
func (s *Service) signLog(ctx context.Context, c Checkpoint) error {
	if err := s.asLeader(ctx, func(pgx.Tx, int64) error { return nil }); err != nil {
		return err
	}
	p := publishedLog{LogCheckpoint: proofs.LogCheckpoint{Size: c.Size, Root: c.Root}, read: s.now()}
	var err error
	if p.note, err = proofs.SignCheckpoint(s.cfg.Network.ID(), s.cfg.Keys.Service, p.LogCheckpoint); err != nil {
		return err
	}
	if err := s.cfg.Store.Replace(ctx, publish.CheckpointName, p.note); err != nil {
		return err
	}
	s.receipts.saw(p)
	s.metrics.published.Set(float64(p.Size))
	return nil
}

// removePartials removes the partial tiles of those that the log's growth filled: on each
// level the first one alone had any.
func (s *Service) removePartials(ctx context.Context, from, to uint64) error {
	for level := 0; to > 0; level++ {
		from, to = from/proofs.TileWidth, to/proofs.TileWidth
		if from == to {
			continue // none was filled
		}
		err := s.cfg.Store.Remove(ctx, publish.TileName(proofs.Tile{Level: level, Index: from, Width: proofs.TileWidth}))
		if err == nil && level == 0 {
			err = s.cfg.Store.Remove(ctx, publish.EntriesName(from, proofs.TileWidth))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
