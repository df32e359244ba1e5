package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// feeLog reads the published receipt log in order and replays the ledger of fees.
type feeLog struct {
	a      *auditor
	ledger *feeLedger

	size     uint64             // of the published checkpoint: there is no record beyond
	root     ionet.Hash         // likewise
	frontier proofs.Frontier    // of what was replayed
	carried  map[uint64]carried // what memos say of records that were not replayed yet
	sealing  uint64             // size of the seal that is looked at: what is below must be carried
	gap      bool               // it was said of that seal that something is not
	broken   bool               // a bundle is missing or none: what follows can't be read

	bundle [][]byte // records that were read and not replayed
	first  uint64   // index of the first record of bundle
}

// carried is a compact form that a memo of receipts has.
type carried struct {
	proofs.Compact
	epoch  uint64 // of the memo
	object string
}

// atOnce is how many records are verified together.
const atOnce = 4096

// openFeeLog reads the checkpoint. A network that never published one has a log of no
// records.
func (a *auditor) openFeeLog(ctx context.Context) (*feeLog, error) {
	l := &feeLog{a: a, ledger: newFeeLedger(a), root: ionet.HashOf(), carried: map[uint64]carried{}}
	file, err := a.Store.Get(ctx, publish.CheckpointName)
	if errors.Is(err, publish.ErrNotFound) {
		return l, nil
	}
	if err != nil {
		a.feesLost = true
		a.r.skip(Genesis, publish.CheckpointName, "published", "the receipt log's checkpoint", err)
		return l, ctx.Err()
	}
	c, err := proofs.OpenCheckpoint(a.network.ID(), a.network.Keys.Service, file)
	if err != nil {
		a.feesLost = true
		a.r.find(Genesis, publish.CheckpointName, "checkpoint", "a note signed by "+a.network.Keys.Service.String(), err)
		return l, nil
	}
	l.size, l.root = c.Size, c.Root
	return l, nil
}

// replay goes on to the log of that size, as far as it is published, and reports whether
// it got there.
func (l *feeLog) replay(ctx context.Context, size uint64) (bool, error) {
	for l.frontier.Size() < min(size, l.size) && !l.broken {
		n := min(min(size, l.size)-l.frontier.Size(), atOnce)
		records, err := l.read(ctx, n)
		if err != nil {
			return false, err
		}
		l.apply(ctx, records)
		l.a.Progress("receipt log: %d of %d records", l.frontier.Size(), l.size)
	}
	return l.frontier.Size() >= size, ctx.Err()
}

// read returns up to n records, as far as they are published.
func (l *feeLog) read(ctx context.Context, n uint64) ([][]byte, error) {
	var out [][]byte
	next := l.frontier.Size()
	for uint64(len(out)) < n && !l.broken {
		at := next + uint64(len(out))
		if at < l.first || at >= l.first+uint64(len(l.bundle)) {
			if err := l.fetch(ctx, at/proofs.TileWidth); err != nil {
				return nil, err
			}
			continue
		}
		have := l.bundle[at-l.first:]
		out = append(out, have[:min(uint64(len(have)), n-uint64(len(out)))]...)
	}
	return out, nil
}

// fetch reads the bundle of that number. While the network runs on, a partial one may
// have given way to the full one.
func (l *feeLog) fetch(ctx context.Context, number uint64) error {
	l.first, l.bundle = number*proofs.TileWidth, nil
	width := int(min(l.size-l.first, proofs.TileWidth))
	name := publish.EntriesName(number, width)
	file, err := l.a.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) && width < proofs.TileWidth {
		full := publish.EntriesName(number, proofs.TileWidth)
		if more, fullErr := l.a.Store.Get(ctx, full); fullErr == nil {
			file, err, width, name = more, nil, proofs.TileWidth, full
		}
	}
	if err != nil {
		l.broken, l.a.feesLost = true, true
		l.a.r.skip(Genesis, name, "published", fmt.Sprintf("records %d to %d of the receipt log", l.first, l.first+uint64(width)-1), err)
		return ctx.Err()
	}
	if l.bundle, err = proofs.ParseBundle(file, width); err != nil {
		l.broken, l.a.feesLost, l.bundle = true, true, nil
		l.a.r.find(Genesis, name, "log-entries", fmt.Sprintf("%d records", width), err)
	}
	return nil
}

// apply replays records: their forms and signatures first, on all processors, then what
// each does to the ledger, in order.
func (l *feeLog) apply(ctx context.Context, list [][]byte) {
	parsed := make([]parsedRecord, len(list))
	parts(len(list), func(from, to int) { l.verify(list[from:to], parsed[from:to]) })
	var vouchers []spent
	for i := range parsed {
		p := &parsed[i]
		p.index = l.frontier.Size() + uint64(i)
		l.checkCarried(ctx, p, list[i])
		if v, ok := l.ledger.record(ctx, p); ok {
			vouchers = append(vouchers, v)
		}
	}
	errs := make([]error, len(vouchers))
	parts(len(vouchers), func(from, to int) {
		signed := make([]proofs.SignedVoucher, 0, to-from)
		for _, v := range vouchers[from:to] {
			signed = append(signed, v.voucher)
		}
		copy(errs[from:to], l.a.verifier.VerifyVouchers(signed))
	})
	for i, v := range vouchers {
		if errs[i] != nil {
			l.a.r.find(v.epoch, v.object, "fee-"+proofs.VoucherFails.Name(), "a voucher of the channel's session key", errs[i])
		}
	}
	l.frontier.Append(list...)
}

// parts runs f over parts of 0..n on all processors.
func parts(n int, f func(from, to int)) {
	if n == 0 {
		return
	}
	var wg sync.WaitGroup
	step := (n + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	for from := 0; from < n; from += step {
		wg.Go(func() { f(from, min(from+step, n)) })
	}
	wg.Wait()
}

// parsedRecord is a record with what can be said of it alone.
type parsedRecord struct {
	proofs.Record
	index uint64 // its place in the log
	err   error  // it is none, or a signature of it does not hold
}

func (l *feeLog) verify(list [][]byte, parsed []parsedRecord) {
	var envelopes []proofs.Envelope
	var of []int
	add := func(i int, e *proofs.Envelope) {
		if err := proofs.CheckKey(e.Signer); err != nil {
			parsed[i].err = err
		}
		envelopes, of = append(envelopes, *e), append(of, i)
	}
	for i, b := range list {
		p := &parsed[i]
		if p.Record, p.err = proofs.ParseRecord(b); p.err != nil {
			continue
		}
		if e, ok := p.Statement(); ok {
			add(i, e)
		}
		if c, ok := p.Entry.(proofs.ChannelEntry); ok {
			add(i, &c.Delegation)
		}
	}
	for j, err := range l.a.verifier.Verify(envelopes) {
		if err != nil {
			parsed[of[j]].err = err
		}
	}
}

// checkCarried holds what a memo says of a record, and whether one says something,
// against the record and the policy of its epoch.
func (l *feeLog) checkCarried(ctx context.Context, p *parsedRecord, record []byte) {
	c, there := l.carried[p.index]
	if there {
		delete(l.carried, p.index)
		if want, err := proofs.CompactOf(l.a.network.ID(), record); err == nil {
			same(l.a.r, c.epoch, c.object, "inline-form", want, c.Compact)
		} else {
			l.a.r.find(c.epoch, c.object, "inline-form", fmt.Sprintf("nothing of record %d, which has no compact form", p.index), err)
		}
	}
	epoch := l.ledger.epochAt(p.Accepted)
	policy := l.a.policyAt(ctx, epoch)
	if policy == nil {
		return // said
	}
	switch wanted := policy.Fees.Record == emissions.RecordInline; {
	case wanted && !there && p.index < l.sealing && !l.gap:
		l.gap = true // one such says enough of a seal
		l.a.r.find(epoch, fmt.Sprintf("record %d of the receipt log", p.index), "inline-missing", "its compact form in a memo before its seal", "none")
	case !wanted && there:
		l.a.r.find(c.epoch, c.object, "inline-mode", "no record in a memo: the policy of its epoch says root", fmt.Sprintf("record %d", p.index))
	}
}

// finish replays what is published beyond the last seal, on the word of the checkpoint
// alone, and compares the whole with that.
func (l *feeLog) finish(ctx context.Context, sealed uint64) error {
	if l.size < sealed {
		return nil // what the seal lacks was said
	}
	there, err := l.replay(ctx, l.size)
	if n := len(l.carried); n > 0 {
		l.a.r.skip(Genesis, "receipt log", "receipts", plural(n, "published record")+" that memos have", "none")
	}
	if err != nil || !there {
		return err
	}
	if !same(l.a.r, Genesis, publish.CheckpointName, "log-root", l.frontier.Root(), l.root) {
		l.a.feesLost = true
	}
	if n := l.size - sealed; n > 0 {
		l.a.r.note("%s of the receipt log published and not sealed yet: they have the service's signature alone", plural(int(n), "record"))
	}
	return nil
}
