package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// Where a policy draws by target, the key that it names observes the token's
// price, once for each epoch. An observation is taken until its epoch is frozen
// and is in that epoch's book, and in later ones while it is the newest in reach:
// the books of sealed epochs hold every price that a later one can need.

// observation is what has one price at most: an epoch, by the key that observes it.
type observation struct {
	epoch  uint64
	signer ionet.Key
}

// standing is the price that was taken first, which stands.
type standing struct {
	id       ionet.Hash
	microUSD uint64
}

const selectPrices = `
SELECT p.epoch, p.signer, p.id, p.micro_usd
FROM unnest($1::bigint[], $2::bytea[]) AS t (epoch, signer)
JOIN prices p ON p.epoch = t.epoch AND p.signer = t.signer`

// lookUpPrices reads what judging the new prices among items needs. Policies are
// those of epochs that prices are still taken for.
func (s *Service) lookUpPrices(ctx context.Context, items []*item, k *known) error {
	fresh := slices.DeleteFunc(pricesIn(items), func(it *item) bool { return it.stored })
	if len(fresh) == 0 {
		return nil
	}
	for _, it := range fresh {
		e := it.epoch()
		if _, known := k.policies[e]; known || e <= k.frozen || e > min(it.arrival.Epoch, s.intake.schedule.Epochs()) {
			continue
		}
		policy, err := s.policyAt(ctx, e)
		var undecided *Problem
		if errors.As(err, &undecided) {
			named := *undecided
			named.Field = "body.epoch"
			k.undecided[e] = &named
		} else if err != nil {
			return fmt.Errorf("find the policy of epoch %d: %w", e, err)
		}
		k.policies[e] = policy
	}
	var err error
	k.prices, err = readPrices(ctx, s.front, fresh)
	return err
}

func pricesIn(items []*item) (prices []*item) {
	for _, it := range items {
		if _, ok := it.body.(proofs.Price); ok {
			prices = append(prices, it)
		}
	}
	return prices
}

// readPrices returns the prices that stand for the epochs and signers of items.
func readPrices(ctx context.Context, q querier, items []*item) (map[observation]standing, error) {
	epochs, signers := make([]int64, len(items)), make([][]byte, len(items))
	for i, it := range items {
		epochs[i], signers[i] = int64(it.epoch()), it.envelope.Signer[:]
	}
	rows, err := q.Query(ctx, selectPrices, epochs, signers)
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	prices := map[observation]standing{}
	var epoch, microUSD int64
	var signer, id []byte
	_, err = pgx.ForEachRow(rows, []any{&epoch, &signer, &id, &microUSD}, func() error {
		prices[observation{uint64(epoch), ionet.Key(signer)}] = standing{ionet.Hash(id), uint64(microUSD)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	return prices, nil
}

// judgePrice decides on a price. What has an ack of ours gets no leave: a price
// that its epoch's policy does not ask for is no input of any epoch.
func (s *Service) judgePrice(it *item, p proofs.Price, k *known) *Problem {
	if p := s.checkObserved(it, p, k.frozen); p != nil {
		return p
	}
	if p := k.undecided[p.Epoch]; p != nil {
		return p
	}
	policy := k.policies[p.Epoch]
	if policy.Target == nil {
		return NewProblem(ProblemNoPriceAsked, "body.epoch", "the policy in force at epoch %d has draw %q: it asks for no price", p.Epoch, policy.Draw)
	}
	if signer := it.envelope.Signer; signer != policy.Target.Key {
		return NewProblem(ProblemForeignPrice, "signer", "the policy in force at epoch %d has the price observed by %s, this one is signed by %s", p.Epoch, policy.Target.Key, signer)
	}
	if stands, ok := k.prices[observation{p.Epoch, it.envelope.Signer}]; ok && stands.id != it.id {
		return stands.refuse(p.Epoch)
	}
	return nil
}

// checkObserved checks what a price says of itself.
func (s *Service) checkObserved(it *item, p proofs.Price, frozen uint64) *Problem {
	last := s.intake.schedule.Epochs()
	switch {
	case p.Epoch > last:
		return NewProblem(ProblemMalformedStatement, "body.epoch", "epoch is %d, the schedule has epochs 1..%d", p.Epoch, last)
	case p.Epoch <= frozen:
		return epochClosed(p.Epoch, frozen)
	case it.arrival.Epoch < p.Epoch:
		return NewProblem(ProblemFutureSample, "body.epoch", "epoch %d has not begun: it is epoch %d", p.Epoch, it.arrival.Epoch).after(s.until(p.Epoch, 0))
	}
	start, end := s.clock.EpochStart(p.Epoch), s.clock.EpochEnd(p.Epoch)
	if p.Observed < start || p.Observed >= end {
		return NewProblem(ProblemMalformedStatement, "body.observed", "observed is %d, epoch %d begins at %d and ends before %d", p.Observed, p.Epoch, start, end)
	}
	// An observer's clock may be ahead of ours by a little.
	if now := s.now(); p.Observed > now.Unix()+s.clock.SampleSeconds() {
		return NewProblem(ProblemFutureSample, "body.observed", "observed is %d, it is %d now: a price is observed before it is sent", p.Observed, now.Unix()).after(time.Unix(p.Observed, 0).Sub(now))
	}
	return nil
}

func epochClosed(k, frozen uint64) *Problem {
	return NewProblem(ProblemEpochClosed, "body.epoch", "epoch %d is closed: its books are made, the next is %d", k, frozen+1)
}

// refuse names the price that stands to who brings another.
func (p standing) refuse(epoch uint64) *Problem {
	return NewProblem(ProblemOnePriceAnEpoch, "body.epoch", "epoch %d has a price already, %s dollars by statement %s: one is taken an epoch, the first stands", epoch, dollars(p.microUSD), p.id)
}

// dollars renders micro-dollars exactly, such as "0.073100".
func dollars(microUSD uint64) string {
	return fmt.Sprintf("%d.%06d", microUSD/1_000_000, microUSD%1_000_000)
}

const storePrices = `
INSERT INTO prices (epoch, signer, id, observed, micro_usd)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])
`

const insertPrices = storePrices + `ON CONFLICT (epoch, signer) DO NOTHING`

// priceColumns returns the prices among items as insertPrices takes them.
func priceColumns(items []*item) (prices []*item, columns []any) {
	var epochs, observed, microUSD []int64
	var signers, ids [][]byte
	prices = pricesIn(items)
	for _, it := range prices {
		p := it.body.(proofs.Price)
		epochs, signers, ids = append(epochs, int64(p.Epoch)), append(signers, it.envelope.Signer[:]), append(ids, it.id[:])
		observed, microUSD = append(observed, p.Observed), append(microUSD, int64(p.MicroUSD))
	}
	return prices, []any{epochs, signers, ids, observed, microUSD}
}

// takePrices makes each price among items the one of its epoch, in tx. Where
// another request was first, its price stands: the later one gets a problem and
// is left out of what is returned.
func takePrices(ctx context.Context, tx pgx.Tx, items []*item) ([]*item, error) {
	prices, columns := priceColumns(items)
	if len(prices) == 0 {
		return items, nil
	}
	if _, err := tx.Exec(ctx, insertPrices, columns...); err != nil {
		return nil, fmt.Errorf("store %d prices: %w", len(prices), err)
	}
	// The insert waited for whoever stored the same one: what it left is committed.
	stand, err := readPrices(ctx, tx, prices)
	if err != nil {
		return nil, err
	}
	left := make([]*item, 0, len(items))
	for _, it := range items {
		if p, ok := it.body.(proofs.Price); ok {
			if first := stand[observation{p.Epoch, it.envelope.Signer}]; first.id != it.id {
				it.problem = first.refuse(p.Epoch)
				continue
			}
		}
		left = append(left, it)
	}
	return left, nil
}

// Where an import finds another price of the epoch, that of its book stands.
const importPrices = storePrices + `
ON CONFLICT (epoch, signer) DO UPDATE SET id = excluded.id, observed = excluded.observed, micro_usd = excluded.micro_usd`

// queueImportedPrices stores the price that a book was judged by, of its epoch or of
// an earlier one.
func queueImportedPrices(b *pgx.Batch, items []*item) {
	if prices, columns := priceColumns(items); len(prices) > 0 {
		b.Queue(importPrices, columns...)
	}
}

const dropPrices = `DELETE FROM prices WHERE epoch = $1 AND id <> ALL ($2::bytea[])`

// sealPrices makes the price of an epoch the one that its sealed book has, or none:
// what was taken and is in no book, by a key that the policy in force does not name,
// draws for no later epoch.
func sealPrices(ctx context.Context, tx pgx.Tx, in *proofs.Inputs) error {
	var ids set[ionet.Hash]
	for i := range in.Statements {
		if e := &in.Statements[i].Envelope; e.Kind == proofs.KindPrice {
			ids.add(e.ID())
		}
	}
	if _, err := tx.Exec(ctx, dropPrices, int64(in.Epoch), byteas(ids)); err != nil {
		return fmt.Errorf("drop prices that no book has: %w", err)
	}
	return nil
}

// The newest price in reach of epoch $3.
const selectPriceInReach = `
SELECT s.kind, s.signer, s.signature, s.body, s.arrival_epoch, s.arrival_sample
FROM prices p JOIN statements s ON s.epoch = p.epoch AND s.id = p.id
WHERE p.signer = $1 AND p.epoch BETWEEN $2 AND $3 ORDER BY p.epoch DESC LIMIT 1`

// price adds the observation that the epoch is judged by, if its policy asks for
// one and one is in reach. FORMAT.md, section 6.
func (g *gathering) price(ctx context.Context) error {
	policy, err := emissions.ParsePolicy(g.in.Policy)
	if err != nil || policy.Target == nil {
		return err
	}
	from := int64(g.in.Epoch) - int64(policy.Target.MaxAgeEpochs)
	return g.statements(ctx, selectPriceInReach, policy.Target.Key[:], from, int64(g.in.Epoch))
}

// drawn is how an epoch draws from the schedule, as its row has it: the price is
// the one that it was judged by, nil where there was none.
type drawn struct {
	draw       string
	priceEpoch *int64
	microUSD   *int64
}

// drawOf reads it from an epoch's inputs.
func drawOf(in *proofs.Inputs) (drawn, error) {
	policy, err := emissions.ParsePolicy(in.Policy)
	if err != nil {
		return drawn{}, err
	}
	d := drawn{draw: policy.Draw}
	for i := range in.Statements {
		e := &in.Statements[i].Envelope
		if e.Kind != proofs.KindPrice {
			continue
		}
		p, err := proofs.ParsePrice(e.Body)
		if err != nil {
			return drawn{}, err
		}
		epoch, microUSD := int64(p.Epoch), int64(p.MicroUSD)
		d.priceEpoch, d.microUSD = &epoch, &microUSD
	}
	return d, nil
}

// Price is the observation that was taken for an epoch.
type Price struct {
	Epoch    uint64
	ID       ionet.Hash // of the statement
	Observer ionet.Key  // its signer
	Observed time.Time
	MicroUSD uint64 // price of one whole token in 10^-6 US dollar
	Ack      proofs.Envelope
}

const selectPrice = `
SELECT p.id, p.observed, p.micro_usd, s.arrival_epoch, s.arrival_sample
FROM prices p JOIN statements s ON s.epoch = p.epoch AND s.id = p.id
WHERE p.epoch = $1 AND p.signer = $2`

// Price returns the observation of epoch k with its ack, or an unknown-price
// Problem.
func (s *Service) Price(ctx context.Context, k uint64) (Price, error) {
	unknown := NewProblem(ProblemUnknownPrice, "epoch", "epoch %d has no price: none was observed yet, or its policy asks for none", k)
	if k == 0 || k > min(s.arrival().Epoch, s.intake.schedule.Epochs()) {
		return Price{}, unknown
	}
	policy, err := s.policyAt(ctx, k)
	if err != nil {
		return Price{}, fmt.Errorf("find the policy of epoch %d: %w", k, err)
	}
	if policy.Target == nil {
		return Price{}, unknown
	}
	p := Price{Epoch: k, Observer: policy.Target.Key}
	var id []byte
	var observed, microUSD, epoch int64
	var sample int32
	err = s.front.QueryRow(ctx, selectPrice, int64(k), p.Observer[:]).Scan(&id, &observed, &microUSD, &epoch, &sample)
	if errors.Is(err, pgx.ErrNoRows) {
		return Price{}, unknown
	}
	if err != nil {
		return Price{}, fmt.Errorf("read the price of epoch %d: %w", k, err)
	}
	p.ID, p.Observed, p.MicroUSD = ionet.Hash(id), time.Unix(observed, 0).UTC(), uint64(microUSD)
	p.Ack = s.ackOf(p.ID, proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)})
	return p, nil
}
