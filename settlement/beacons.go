package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/singleflight"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// beaconCache remembers the last beacon that Beacon found, and makes one look-up
// of all calls that come in while it runs: each worker asks each sample.
type beaconCache struct {
	flights singleflight.Group
	reading chan struct{} // held while the chain is read: so many reads at once at most
	readers atomic.Int32  // requests with statements that read, or wait for it; lookups.go
	mu      sync.Mutex
	sample  sampleOf
	answer  proofs.Beacon
	blocks  map[uint64]lookup // what the chain said of slots that are not in the table
}

// Outsiders make us read the chain; they may not use up what settling needs.
const (
	maxReading = 4
	maxBlocks  = 4096 // remembered
)

func (c *beaconCache) block(slot uint64) (lookup, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.blocks[slot]
	return l, ok
}

func (c *beaconCache) remember(slot uint64, l lookup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks == nil || len(c.blocks) >= maxBlocks {
		c.blocks = map[uint64]lookup{}
	}
	c.blocks[slot] = l
}

// enter waits for a turn to read the chain; leave gives it back.
func (c *beaconCache) enter(ctx context.Context) error {
	select {
	case c.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *beaconCache) leave() { <-c.reading }

func (c *beaconCache) get(at sampleOf) (proofs.Beacon, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer, c.sample == at
}

func (c *beaconCache) put(at sampleOf, b proofs.Beacon) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sample, c.answer = at, b
}

type sampleOf struct {
	epoch  uint64
	sample uint16
}

func (a sampleOf) String() string { return fmt.Sprintf("sample %d of epoch %d", a.sample, a.epoch) }

const selectBeacon = `
SELECT slot, blockhash, time FROM beacons WHERE epoch = $1 AND sample = $2 ORDER BY slot LIMIT 1`

const selectFrozen = `SELECT frozen_through FROM intake`

const selectBeacons = `
SELECT slot, blockhash, time FROM beacons WHERE slot = ANY ($1::bigint[])`

const insertBeacons = `
INSERT INTO beacons (slot, blockhash, time, epoch, sample)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::integer[])
ON CONFLICT (slot) DO NOTHING`

// Beacon returns a finalized block whose time lies in the sample: the same one
// on every call. Before there is one it is a beacon-not-ready Problem that says
// when to ask again; once the epoch is closed, for a sample that nobody proved,
// an epoch-closed one.
func (s *Service) Beacon(ctx context.Context, epoch uint64, sample uint16) (proofs.Beacon, error) {
	if epoch == 0 || epoch > s.intake.schedule.Epochs() || sample >= s.clock.Samples {
		return proofs.Beacon{}, NewProblem(ProblemBeaconNotReady, "sample", "there is no sample %d of epoch %d: epochs are 1..%d, samples 0..%d", sample, epoch, s.intake.schedule.Epochs(), s.clock.Samples-1)
	}
	if wait := s.until(epoch, sample); wait > 0 {
		return proofs.Beacon{}, notReady(sampleOf{epoch, sample}, wait)
	}
	c, at := &s.intake.beacons, sampleOf{epoch, sample}
	if b, ok := c.get(at); ok {
		return b, nil
	}
	flight := c.flights.DoChan(fmt.Sprintf("%d/%d", epoch, sample), func() (any, error) {
		// The look-up is for all who wait: it does not end with the first of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beaconTimeout)
		defer cancel()
		return s.findBeacon(ctx, at)
	})
	select {
	case <-ctx.Done():
		return proofs.Beacon{}, ctx.Err()
	case r := <-flight:
		if r.Err != nil {
			return proofs.Beacon{}, r.Err
		}
		b := r.Val.(proofs.Beacon)
		c.put(at, b)
		return b, nil
	}
}

// beaconTimeout bounds one look-up on chain.
const beaconTimeout = 20 * time.Second

// until returns how long it takes until the sample begins, 0 once it has.
func (s *Service) until(epoch uint64, sample uint16) time.Duration {
	return max(0, time.Unix(s.clock.SampleStart(epoch, sample), 0).Sub(s.now()))
}

// beaconRetry is when to ask again for the beacon of a sample that has begun.
const beaconRetry = time.Second

func notReady(at sampleOf, wait time.Duration) *Problem {
	return NewProblem(ProblemBeaconNotReady, "sample", "%s has no finalized block yet", at).after(max(wait, beaconRetry))
}

// findBeacon returns the sample's block from the table, or from the chain: then it is
// stored, as one that is handed out must be.
func (s *Service) findBeacon(ctx context.Context, at sampleOf) (proofs.Beacon, error) {
	if b, ok, err := s.storedBeacon(ctx, at); err != nil || ok {
		return b, err
	}
	if err := s.intake.beacons.enter(ctx); err != nil {
		return proofs.Beacon{}, NewProblem(ProblemBusy, "sample", "too many samples are asked for at once").after(beaconRetry)
	}
	defer s.intake.beacons.leave()
	b, err := s.readBeacon(ctx, at)
	if err != nil {
		return proofs.Beacon{}, err
	}
	if _, err := s.front.Exec(ctx, insertBeacons, []int64{int64(b.Slot)}, [][]byte{b.Hash[:]}, []int64{b.Time}, []int64{int64(at.epoch)}, []int32{int32(at.sample)}); err != nil {
		return proofs.Beacon{}, fmt.Errorf("store the beacon of %s: %w", at, err)
	}
	return b, nil
}

// storedBeacon returns the sample's block as the table has it. Of a closed epoch that
// has none it is a Problem: no more are needed there, anybody may ask, and each look-up
// is many calls of the chain.
func (s *Service) storedBeacon(ctx context.Context, at sampleOf) (b proofs.Beacon, ok bool, err error) {
	rows, err := s.front.Query(ctx, selectBeacon, int64(at.epoch), int32(at.sample))
	if err != nil {
		return b, false, fmt.Errorf("read the beacon of %s: %w", at, err)
	}
	found := map[uint64]proofs.Beacon{}
	if err := scanBeacons(found)(rows); err != nil {
		return b, false, fmt.Errorf("read the beacon of %s: %w", at, err)
	}
	for _, b := range found {
		return b, true, nil
	}
	var frozen int64
	if err := s.front.QueryRow(ctx, selectFrozen).Scan(&frozen); err != nil {
		return b, false, fmt.Errorf("read how far intake is frozen: %w", err)
	}
	if at.epoch <= uint64(frozen) {
		return b, false, NewProblem(ProblemEpochClosed, "epoch", "epoch %d is closed: its books are made, the next is %d", at.epoch, frozen+1)
	}
	return b, false, nil
}

// readBeacon returns the sample's block as the chain has it.
func (s *Service) readBeacon(ctx context.Context, at sampleOf) (proofs.Beacon, error) {
	start := s.clock.SampleStart(at.epoch, at.sample)
	block, err := s.cfg.Chain.BlockAt(ctx, start, start+s.clock.SampleSeconds())
	switch {
	case errors.Is(err, rpc.ErrNotYet):
		return proofs.Beacon{}, notReady(at, 0)
	case errors.Is(err, rpc.ErrNoBlock):
		return proofs.Beacon{}, NewProblem(ProblemBeaconNotReady, "sample", "the chain has no block in %s: it can't be proven", at)
	case err != nil:
		return proofs.Beacon{}, fmt.Errorf("find the beacon of %s: %w", at, err)
	}
	return proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}, nil
}

func scanBeacons(into map[uint64]proofs.Beacon) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var slot, at int64
		var hash []byte
		_, err := pgx.ForEachRow(rows, []any{&slot, &hash, &at}, func() error {
			into[uint64(slot)] = proofs.Beacon{Slot: uint64(slot), Hash: ionet.Key(hash), Time: at}
			return nil
		})
		return err
	}
}

// checkBeacons holds the beacon of each new uptime statement against the table
// and, where the table lacks its slot, against the chain. A block from there is
// kept on the item, to be stored with the statement.
func (s *Service) checkBeacons(ctx context.Context, items []*item) error {
	var slots []int64
	for _, it := range items {
		if u, ok := it.body.(*proofs.Uptime); ok && it.problem == nil && !it.stored {
			slots = append(slots, int64(u.BeaconSlot))
		}
	}
	if len(slots) == 0 {
		return nil
	}
	rows, err := s.front.Query(ctx, selectBeacons, slots)
	if err != nil {
		return fmt.Errorf("read beacons: %w", err)
	}
	stored := map[uint64]proofs.Beacon{}
	if err := scanBeacons(stored)(rows); err != nil {
		return fmt.Errorf("read beacons: %w", err)
	}
	l := s.newLookups()
	defer l.leave()
	for _, it := range items {
		u, ok := it.body.(*proofs.Uptime)
		if !ok || it.problem != nil || it.stored {
			continue
		}
		b, ok := stored[u.BeaconSlot]
		if !ok {
			if b, it.problem, err = l.block(ctx, it); err != nil {
				return fmt.Errorf("check beacons: %w", err)
			}
			if it.problem != nil {
				continue
			}
		}
		if it.problem = s.checkBeacon(u, b); it.problem == nil && !ok {
			it.beacon = &b
		}
	}
	return nil
}

// checkBeacon compares the beacon that u names with the block of that slot.
func (s *Service) checkBeacon(u *proofs.Uptime, b proofs.Beacon) *Problem {
	if b.Hash != u.BeaconHash {
		return NewProblem(ProblemForeignBeacon, "body.beacon_hash", "the block of slot %d is %s, the statement says %s", u.BeaconSlot, b.Hash, u.BeaconHash)
	}
	epoch, sample, ok := s.clock.At(time.Unix(b.Time, 0))
	if !ok || epoch != u.Epoch || sample != u.Sample {
		return NewProblem(ProblemStaleBeacon, "body.beacon_slot", "the block of slot %d has time %d, which is not in sample %d of epoch %d", u.BeaconSlot, b.Time, u.Sample, u.Epoch)
	}
	return nil
}

// queueBeacons stores the blocks that were read from the chain for items.
func queueBeacons(b *pgx.Batch, items []*item) {
	var slots, times, epochs []int64
	var hashes [][]byte
	var samples []int32
	for _, it := range items {
		if it.beacon == nil {
			continue
		}
		slots, times, hashes = append(slots, int64(it.beacon.Slot)), append(times, it.beacon.Time), append(hashes, it.beacon.Hash[:])
		epochs, samples = append(epochs, int64(it.epoch())), append(samples, int32(it.sample()))
	}
	if len(slots) > 0 {
		b.Queue(insertBeacons, slots, hashes, times, epochs, samples)
	}
}
