package settlement

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// reach is how many epochs back a worker must have been heard for its inventory to
// be in an epoch's inputs: FORMAT.md, section 6.
const reach = 24

const freezeIntake = `UPDATE intake SET frozen_through = $1 WHERE frozen_through < $1`

// A freeze has this long, by the database's clock, until intake goes on without
// it: a leader that dies in between stops nobody for longer.
const announceClosing = `
INSERT INTO closing (epoch, ends_at) VALUES ($1, clock_timestamp() + interval '10 seconds')
ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, ends_at = excluded.ends_at`

// freeze closes intake for epoch k. It is announced first, so that no request
// begins to store; then it waits for those that are storing. It holds up none
// for longer than that and its own commit: judging comes after.
func (s *Service) freeze(ctx context.Context, k uint64) error {
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, announceClosing, int64(k))
		return err
	})
	if err != nil {
		return err
	}
	return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, freezeIntake, int64(k))
		return err
	})
	// From here on no uptime statement of epoch k enters and nothing new arrives
	// in it. If we stop, the next CloseDue finds the epoch without a row and goes on.
}

// judgeEpoch fixes the inputs of the frozen epoch k and judges them.
func (s *Service) judgeEpoch(ctx context.Context, k uint64) error {
	in, err := s.gather(ctx, k)
	if err != nil {
		return err
	}
	emission, err := s.intake.schedule.Emission(k)
	if err != nil {
		return err
	}
	j, err := proofs.Judge(in, proofs.Terms{Clock: s.clock, Decimals: s.cfg.Network.Decimals, Emission: emission})
	if err != nil {
		return err
	}
	d, err := drawOf(in)
	if err != nil {
		return err
	}
	inputs, err := proofs.EncodeBook(&proofs.Book{Inputs: in})
	if err != nil {
		return err
	}
	fixed := false
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		policy, root := ionet.HashOf(in.Policy), in.Root()
		tag, err := tx.Exec(ctx, insertEpoch, int64(k), emission.Int64(), j.Sum.Int64(), j.Unissued.Int64(), policy[:], root[:], len(j.Verdicts), inputs, d.draw, d.priceEpoch, d.microUSD)
		if fixed = tag.RowsAffected() == 1; err != nil || !fixed { // a leader before us did it: its inputs stand
			return err
		}
		return copyVerdicts(ctx, tx, k, j.Verdicts)
	})
	// Inputs and verdicts are now fixed. If we stop, the next CloseDue publishes them.
	if err == nil && fixed && d.draw == emissions.DrawTarget && d.priceEpoch == nil {
		s.log.Warn("an epoch closes without a price: nothing of its emission is minted", "epoch", k, "emission", emission.Tokens(s.cfg.Network.Decimals), "policy", ionet.HashOf(in.Policy))
	}
	return err
}

const insertEpoch = `
INSERT INTO epochs (epoch, state, emission, sum, unissued, policy, inputs_root, verdicts, inputs, draw, price_epoch, price_micro_usd)
VALUES ($1, 'frozen', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (epoch) DO NOTHING`

// gather reads the inputs of epoch k, FORMAT.md section 6, from one snapshot.
func (s *Service) gather(ctx context.Context, k uint64) (*proofs.Inputs, error) {
	policy, err := s.rulesAt(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("gather inputs: %w", err)
	}
	in := &proofs.Inputs{Network: s.cfg.Network.ID(), Epoch: k, Policy: policy.file}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		g := gathering{tx: tx, in: in, idle: policy.Idle != nil}
		return g.run(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("gather inputs: %w", err)
	}
	return in, in.Sort()
}

// gathering collects one epoch's inputs in tx.
type gathering struct {
	tx      pgx.Tx
	in      *proofs.Inputs
	workers set[ionet.Key]
	slots   set[uint64]
	ids     set[ionet.Hash] // statements without an epoch
	idle    bool            // the policy asks whether busy workers served jobs
}

const selectRegistered = `
SELECT kind, signer, signature, body, arrival_epoch, arrival_sample
FROM statements WHERE epoch = 0 AND id = ANY ($1::bytea[])`

// The inventory that arrived last of each worker that was heard in the epochs from
// $2 on; $3 are those heard in epoch $1 itself.
const selectLastInventories = `
SELECT DISTINCT ON (i.worker) i.id
FROM inventories i JOIN workers w ON w.key = i.worker
WHERE i.arrival_epoch <= $1 AND (w.heard BETWEEN greatest($2, 1) AND $1 OR i.worker = ANY ($3::bytea[]))
ORDER BY i.worker, i.arrival_epoch DESC, i.arrival_sample DESC, i.id DESC`

const selectRevocations = `
SELECT id FROM revocations WHERE delegation = ANY ($1::bytea[]) AND arrival_epoch <= $2`

const selectReleases = `SELECT id FROM releases WHERE arrival_epoch = $1`

const selectArrivedPolicies = `SELECT id FROM policies WHERE arrival_epoch = $1`

const selectAllBindings = `SELECT uuid, worker, since, last FROM bindings ORDER BY uuid`

func (g *gathering) run(ctx context.Context) error {
	k := int64(g.in.Epoch)
	if err := g.uptimes(ctx); err != nil {
		return fmt.Errorf("uptime statements: %w", err)
	}
	if err := g.price(ctx); err != nil {
		return fmt.Errorf("price: %w", err)
	}
	if err := g.served(ctx); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	if err := g.find(ctx, selectLastInventories, k, k-reach, byteas(g.workers)); err != nil {
		return fmt.Errorf("inventories: %w", err)
	}
	if err := g.statements(ctx, selectRegistered, byteas(g.take())); err != nil {
		return fmt.Errorf("inventories: %w", err)
	}
	delegations := g.take() // named by the inventories
	if err := g.find(ctx, selectRevocations, byteas(delegations), k); err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	if err := g.find(ctx, selectReleases, k); err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	if err := g.find(ctx, selectArrivedPolicies, k); err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	if err := g.statements(ctx, selectRegistered, append(byteas(delegations), byteas(g.take())...)); err != nil {
		return fmt.Errorf("delegations, revocations, releases and policies: %w", err)
	}
	return g.rest(ctx)
}

// take returns the ids that were found since the last call.
func (g *gathering) take() set[ionet.Hash] {
	ids := g.ids
	g.ids = nil
	return ids
}

// uptimes adds the epoch's uptime statements to the inputs, and what they name.
func (g *gathering) uptimes(ctx context.Context) error {
	rows, err := g.tx.Query(ctx, selectEpochUptimes, ringOf(g.in.Epoch), int64(g.in.Epoch))
	if err != nil {
		return err
	}
	return scanUptimes(rows, func(r *uptimeRow) error {
		g.in.Statements = append(g.in.Statements, r.statement)
		g.workers.add(r.at.worker)
		g.slots.add(r.slot)
		g.ids.add(r.inventory)
		return nil
	})
}

// statements adds the rows of a query to the inputs, and what they name to ids.
func (g *gathering) statements(ctx context.Context, sql string, args ...any) error {
	rows, err := g.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var kind, sample int32
	var epoch int64
	var signer, signature, body []byte
	_, err = pgx.ForEachRow(rows, []any{&kind, &signer, &signature, &body, &epoch, &sample}, func() error {
		st := proofs.Statement{
			Arrival:  proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)},
			Envelope: proofs.Envelope{Kind: proofs.Kind(kind), Signer: ionet.Key(signer), Signature: [64]byte(signature), Body: slices.Clone(body)},
		}
		g.in.Statements = append(g.in.Statements, st)
		return g.follow(&st.Envelope)
	})
	return err
}

func (g *gathering) follow(e *proofs.Envelope) error {
	if e.Kind != proofs.KindInventory {
		return nil
	}
	v, err := proofs.ParseInventory(e.Body)
	if err != nil {
		return err
	}
	g.ids.add(v.Delegation)
	return nil
}

// find adds the ids that a query returns to ids.
func (g *gathering) find(ctx context.Context, sql string, args ...any) error {
	rows, err := g.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		g.ids.add(ionet.Hash(id))
		return nil
	})
	return err
}

// rest adds beacons and bindings.
func (g *gathering) rest(ctx context.Context) error {
	slots := make([]int64, 0, len(g.slots))
	for slot := range g.slots {
		slots = append(slots, int64(slot))
	}
	rows, err := g.tx.Query(ctx, selectBeacons, slots)
	if err != nil {
		return fmt.Errorf("beacons: %w", err)
	}
	found := map[uint64]proofs.Beacon{}
	if err := scanBeacons(found)(rows); err != nil {
		return fmt.Errorf("beacons: %w", err)
	}
	for _, b := range found {
		g.in.Beacons = append(g.in.Beacons, b)
	}
	g.in.Bindings, err = readBindings(ctx, g.tx)
	return err
}

// set is a set whose zero value can be added to.
type set[T comparable] map[T]struct{}

func (s *set[T]) add(v T) {
	if *s == nil {
		*s = set[T]{}
	}
	(*s)[v] = struct{}{}
}

// byteas returns the members as SQL takes them.
func byteas[T ~[32]byte](s set[T]) [][]byte {
	out := make([][]byte, 0, len(s))
	for v := range s {
		b := [32]byte(v)
		out = append(out, b[:])
	}
	return out
}
