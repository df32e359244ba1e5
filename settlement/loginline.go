package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxInline is how many compact forms the memo of one transaction holds at most: as many
// as fit its 4,096 bytes beside the lane's step, whatever the indexes are.
const maxInline = 48

// Under a policy that says so, the memos of the seal lane carry each record of the log in
// its compact form: FORMAT.md, section 12. Record mode "inline" holds for the records
// that were accepted in an epoch of such a policy; of those none is left out, they come
// in order, and a seal goes out only once all below its size are final. Where the lane
// is says which is next: the last content of kind receipts that won.

// inlineRun is what a memo would carry next, of the records below a limit. All before
// first are in memos, or go into none.
type inlineRun struct {
	first   uint64
	records [][]byte
}

// recordModes tells of each epoch whether its records go into memos.
type recordModes struct {
	s    *Service
	next uint64 // first epoch without a final seal
	list []policyRow
}

// isInline reports the mode of epoch k; an error while it is not known yet.
func (m recordModes) isInline(ctx context.Context, k uint64) (bool, error) {
	for _, r := range m.list {
		if r.FirstEpoch <= k && r.isOpen(m.next) {
			return false, fmt.Errorf("whether the receipts of epoch %d go into memos is known once policy version %d is sealed", k, r.Version)
		}
	}
	r, err := m.s.rulesOf(ctx, m.s.pool, m.s.inForce(m.list, k).Policy)
	if err != nil {
		return false, err
	}
	return r.Fees.Record == emissions.RecordInline, nil
}

// any reports whether any policy that was ever announced says inline: most networks have none.
func (m recordModes) any(ctx context.Context) (bool, error) {
	if m.s.cfg.Policy.Fees.Record == emissions.RecordInline {
		return true, nil
	}
	for _, p := range m.list {
		if r, err := m.s.rulesOf(ctx, m.s.pool, p.Policy); err != nil || r.Fees.Record == emissions.RecordInline {
			return err == nil, err
		}
	}
	return false, nil
}

// nextInline returns what the next memo carries of the records below limit.
func (s *Service) nextInline(ctx context.Context, limit uint64) (inlineRun, error) {
	none := inlineRun{first: limit}
	next, list, err := readOpenPolicies(ctx, s.pool)
	if err != nil {
		return none, err
	}
	m := recordModes{s, next, list}
	if ok, err := m.any(ctx); err != nil || !ok {
		return none, err
	}
	if stand, _, _ := s.receipts.now(); stand != logAgrees {
		return inlineRun{}, nil // what is in the database may not be what is published
	}
	from, err := s.lastInline(ctx)
	if err != nil {
		return none, err
	}
	if from, err = s.skipRoots(ctx, m, max(from, s.receipts.inlineFrom), limit); err != nil || from >= limit {
		return none, err
	}
	s.receipts.inlineFrom = from
	records, err := readRecords(ctx, s.pool, from, min(limit, from+maxInline))
	if err != nil {
		return none, err
	}
	known := uint64(0) // an epoch of mode inline
	for i, r := range records {
		k := s.epochAt(r[8:16])
		if k == known {
			continue
		}
		if ok, err := m.isInline(ctx, k); err != nil || !ok {
			return inlineRun{from, records[:i]}, err
		}
		known = k
	}
	return inlineRun{from, records}, nil
}

// skipRoots returns the first record from from on that was accepted in an epoch of mode
// inline, or limit.
func (s *Service) skipRoots(ctx context.Context, m recordModes, from, limit uint64) (uint64, error) {
	if from >= limit {
		return limit, nil
	}
	k, err := s.epochOfRecord(ctx, from)
	if err != nil {
		return 0, err
	}
	last, err := s.epochOfRecord(ctx, limit-1)
	if err != nil {
		return 0, err
	}
	first := k
	for ; k <= last; k++ {
		ok, err := m.isInline(ctx, k)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
	}
	switch {
	case k == first:
		return from, nil
	case k > last:
		return limit, nil
	}
	// Times of acceptance never fall, so the first record of epoch k is found by halves.
	n := sort.Search(int(limit-from), func(i int) bool {
		at, serr := s.epochOfRecord(ctx, from+uint64(i))
		err = errors.Join(err, serr)
		return at >= k
	})
	return from + uint64(n), err
}

// epochOfRecord returns the epoch in which a record was accepted; 1 before the first.
func (s *Service) epochOfRecord(ctx context.Context, index uint64) (uint64, error) {
	var accepted []byte
	if err := s.pool.QueryRow(ctx, selectAccepted, int64(index)).Scan(&accepted); err != nil {
		return 0, fmt.Errorf("read record %d: %w", index, err)
	}
	return s.epochAt(accepted), nil
}

// epochAt returns the epoch of a time as records have it.
func (s *Service) epochAt(accepted []byte) uint64 {
	k, _, ok := s.clock.At(time.Unix(int64(binary.LittleEndian.Uint64(accepted)), 0))
	if !ok {
		return 1
	}
	return k
}

// A record begins with its index and the time it was accepted at, eight bytes each.
const selectAccepted = `SELECT substr(record, 9, 8) FROM log_entries WHERE index = $1`

// lastInline returns the record behind the last one that is final in a memo.
func (s *Service) lastInline(ctx context.Context) (uint64, error) {
	var encoded []byte
	err := s.pool.QueryRow(ctx, selectLastSeal, sealLane, int16(chain.KindReceipts)).Scan(&encoded)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the last memo of receipts: %w", err)
	}
	content, err := chain.ParseContent(encoded)
	if err != nil {
		return 0, fmt.Errorf("read the last memo of receipts: %w", err)
	}
	memo, err := proofs.ParseMemo(content.Memo)
	if err != nil {
		return 0, fmt.Errorf("read the last memo of receipts: %w", err)
	}
	m, ok := memo.(proofs.ReceiptsMemo)
	if !ok {
		return 0, fmt.Errorf("read the last memo of receipts: it is %.40q", content.Memo)
	}
	return m.First + m.Count, nil
}

// inlineDraft makes the transaction that carries a run.
func (s *Service) inlineDraft(l lane, run inlineRun) (draft, error) {
	list := make([]proofs.Compact, len(run.records))
	for i, r := range run.records {
		var err error
		if list[i], err = proofs.CompactOf(s.cfg.Network.ID(), r); err != nil {
			return draft{}, err
		}
	}
	memo, err := proofs.NewReceiptsMemo(list)
	return draft{kind: chain.KindReceipts, memo: memo.String(), lanes: []lane{l}}, err
}
