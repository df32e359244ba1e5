package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// importEpoch makes this database know an epoch that the chain sealed with
// content and that it holds no book of, or another one: it reads the book from
// the published store, checks it against the memo, takes over its statements,
// and seals it. The order of epochs is the caller's: k after k-1.
func (s *Service) importEpoch(ctx context.Context, tx pgx.Tx, memo proofs.EpochMemo, content chain.Content) error {
	return s.importBook(ctx, tx, memo, content.Hash(), chain.Signature{}, 0)
}

func (s *Service) importBook(ctx context.Context, tx pgx.Tx, memo proofs.EpochMemo, content ionet.Hash, signature chain.Signature, slot uint64) error {
	e, err := readEpoch(ctx, tx, memo.Epoch)
	if err != nil && !errors.Is(err, errNoEpoch) {
		return fmt.Errorf("import epoch %d: %w", memo.Epoch, err)
	}
	if err == nil && e.state == EpochSealed && e.memo == memo.String() {
		return nil // done before; the bindings may have moved on since
	}
	book, err := s.fetchBook(ctx, memo)
	if err != nil {
		return fmt.Errorf("import epoch %d: %w", memo.Epoch, err)
	}
	if err := s.replaceEpoch(ctx, tx, memo, book); err != nil {
		return fmt.Errorf("import epoch %d: %w", memo.Epoch, err)
	}
	if err := s.importStatements(ctx, tx, book.Inputs); err != nil {
		return fmt.Errorf("import epoch %d: %w", memo.Epoch, err)
	}
	if err := s.seal(ctx, tx, book, content, signature, slot); err != nil {
		return fmt.Errorf("import epoch %d: %w", memo.Epoch, err)
	}
	return nil
}

// fetchBook reads the book that the memo commits to.
func (s *Service) fetchBook(ctx context.Context, memo proofs.EpochMemo) (*proofs.Book, error) {
	name := publish.BookName(proofs.BookRoot(memo.Inputs, memo.Verdicts))
	file, err := s.cfg.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) {
		return nil, fmt.Errorf("the published store lacks %s, the book that the chain sealed: put that file back from a copy of the store: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	book, err := proofs.ParseBook(file)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: put that file back from a copy of the store: %w", name, err)
	}
	in := book.Inputs
	sum, err := sumOf(book.Verdicts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case in.Root() != memo.Inputs || book.VerdictsRoot() != memo.Verdicts:
		return nil, fmt.Errorf("%s is not the book that its name says: put that file back from a copy of the store", name)
	case in.Network != s.cfg.Network.ID() || in.Epoch != memo.Epoch || ionet.HashOf(in.Policy) != memo.Policy:
		return nil, fmt.Errorf("%s is of another network, epoch or policy than its memo says", name)
	case sum != memo.Sum || uint64(len(book.Verdicts)) != memo.Count:
		return nil, fmt.Errorf("%s has %d verdicts over %s, its memo says %d over %s", name, len(book.Verdicts), sum, memo.Count, memo.Sum)
	}
	return book, nil
}

const deleteVerdicts = `DELETE FROM verdicts WHERE epoch = $1`

const upsertEpoch = `
INSERT INTO epochs (epoch, state, emission, sum, unissued, policy, inputs_root, verdicts_root, verdicts, memo, inputs, draw, price_epoch, price_micro_usd)
VALUES ($1, 'published', $2, $3, $4, $5, $6, $7, $8, $9, '', $10, $11, $12)
ON CONFLICT (epoch) DO UPDATE SET state = excluded.state, emission = excluded.emission, sum = excluded.sum, unissued = excluded.unissued,
    policy = excluded.policy, inputs_root = excluded.inputs_root, verdicts_root = excluded.verdicts_root, verdicts = excluded.verdicts,
    memo = excluded.memo, inputs = excluded.inputs, draw = excluded.draw, price_epoch = excluded.price_epoch, price_micro_usd = excluded.price_micro_usd`

func (s *Service) replaceEpoch(ctx context.Context, tx pgx.Tx, memo proofs.EpochMemo, book *proofs.Book) error {
	k := int64(memo.Epoch)
	emission, err := s.intake.schedule.Emission(memo.Epoch)
	if err != nil {
		return err
	}
	unissued, err := emission.Sub(memo.Sum)
	if err != nil {
		return fmt.Errorf("sum %s is more than the emission %s: %w", memo.Sum, emission, err)
	}
	d, err := drawOf(book.Inputs)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, deleteVerdicts, k); err != nil {
		return fmt.Errorf("delete former verdicts: %w", err)
	}
	if _, err := tx.Exec(ctx, upsertEpoch, k, emission.Int64(), memo.Sum.Int64(), unissued.Int64(), memo.Policy[:], memo.Inputs[:], memo.Verdicts[:], len(book.Verdicts), memo.String(), d.draw, d.priceEpoch, d.microUSD); err != nil {
		return fmt.Errorf("store the epoch: %w", err)
	}
	return copyVerdicts(ctx, tx, memo.Epoch, book.Verdicts)
}

// The book's arrivals are those that were acked: they replace what a statement
// got that came again, without its ack, before this import.
const correctStatements = `
UPDATE statements s SET arrival_epoch = t.arrival_epoch, arrival_sample = t.arrival_sample
FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::integer[]) AS t (epoch, id, arrival_epoch, arrival_sample)
WHERE s.epoch = t.epoch AND s.id = t.id AND (s.arrival_epoch, s.arrival_sample) <> (t.arrival_epoch, t.arrival_sample)`

const correctDelegations = `
UPDATE delegations d SET arrival_epoch = s.arrival_epoch FROM statements s
WHERE s.epoch = 0 AND s.id = d.id AND d.id = ANY ($1::bytea[]) AND d.arrival_epoch <> s.arrival_epoch`

const correctRevocations = `
UPDATE revocations r SET arrival_epoch = s.arrival_epoch FROM statements s
WHERE s.epoch = 0 AND s.id = r.id AND r.id = ANY ($1::bytea[]) AND r.arrival_epoch <> s.arrival_epoch`

const correctReleases = `
UPDATE releases r SET arrival_epoch = s.arrival_epoch FROM statements s
WHERE s.epoch = 0 AND s.id = r.id AND r.id = ANY ($1::bytea[]) AND r.arrival_epoch <> s.arrival_epoch`

const correctInventories = `
UPDATE inventories i SET arrival_epoch = s.arrival_epoch, arrival_sample = s.arrival_sample FROM statements s
WHERE s.epoch = 0 AND s.id = i.id AND i.id = ANY ($1::bytea[]) AND (i.arrival_epoch, i.arrival_sample) <> (s.arrival_epoch, s.arrival_sample)`

const correctPolicies = `
UPDATE policies p SET arrival_epoch = s.arrival_epoch FROM statements s
WHERE s.epoch = 0 AND s.id = p.id AND p.id = ANY ($1::bytea[]) AND p.arrival_epoch <> s.arrival_epoch`

// errNoPolicyFile reports a policy whose file is in the published store no more.
var errNoPolicyFile = errors.New("put that file back from a copy of the store")

// fetchPolicy reads the file that an announced policy names.
func (s *Service) fetchPolicy(ctx context.Context, policy ionet.Hash) ([]byte, error) {
	name := publish.PolicyName(policy)
	file, err := s.cfg.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) || err == nil && ionet.HashOf(file) != policy {
		return nil, fmt.Errorf("the published store lacks %s, a policy that a sealed book announces, or holds another file under that name: %w", name, errNoPolicyFile)
	}
	return file, err
}

// announcedFile returns the file of a policy that a book announces, or an empty one
// where it is lost. Whether the policy counts, and rules an epoch that is not sealed
// yet, is known later: rulesOf asks for it then.
func (s *Service) announcedFile(ctx context.Context, change proofs.PolicyChange) ([]byte, error) {
	file, err := s.fetchPolicy(ctx, change.Policy)
	if errors.Is(err, errNoPolicyFile) {
		s.log.Warn("importing an announcement without its policy", "version", change.Version, "first_epoch", change.FirstEpoch, "error", err)
		return []byte{}, nil
	}
	return file, err
}

// Every book has the policy that its epoch was judged by.
const findPolicyFile = `UPDATE policies SET file = $2 WHERE hash = $1 AND file = ''`

// importStatements stores the book's statements, what they say and the beacons
// that they name, and closes intake for the epoch. Uptime statements are in the book,
// and in the table no more.
func (s *Service) importStatements(ctx context.Context, tx pgx.Tx, in *proofs.Inputs) error {
	items := make([]*item, 0, len(in.Statements))
	for _, st := range in.Statements {
		if st.Envelope.Kind == proofs.KindUptime {
			continue
		}
		body, problem := s.parse(&st.Envelope)
		if problem != nil {
			return fmt.Errorf("statement %s: %w", st.Envelope.ID(), problem)
		}
		it := &item{envelope: st.Envelope, id: st.Envelope.ID(), body: body, arrival: st.Arrival}
		if change, ok := body.(proofs.PolicyChange); ok {
			var err error
			if it.file, err = s.announcedFile(ctx, change); err != nil {
				return err
			}
		}
		items = append(items, it)
	}
	slices.SortFunc(items, compareItems)
	var epochs, arrivedEpochs []int64
	var arrivedSamples []int32
	var ids [][]byte
	for _, it := range items {
		epochs, ids = append(epochs, int64(it.epoch())), append(ids, it.id[:])
		arrivedEpochs, arrivedSamples = append(arrivedEpochs, int64(it.arrival.Epoch)), append(arrivedSamples, int32(it.arrival.Sample))
	}
	var b pgx.Batch
	b.Queue(freezeIntake, int64(in.Epoch))
	queueStatements(&b, rowsOf(items), map[ionet.Hash]bool{}, map[ionet.Hash]proofs.Arrival{})
	b.Queue(correctStatements, epochs, ids, arrivedEpochs, arrivedSamples)
	queueRegistry(&b, items)
	policy := ionet.HashOf(in.Policy)
	b.Queue(findPolicyFile, policy[:], in.Policy)
	queueImportedPrices(&b, items)
	for _, sql := range []string{correctDelegations, correctRevocations, correctReleases, correctInventories, correctPolicies} {
		b.Queue(sql, ids)
	}
	s.queueImportedBeacons(&b, in.Beacons)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store %d statements: %w", len(items), err)
	}
	s.intake.facts.forget() // revocations of earlier epochs may be among them
	return leave(ctx, tx, in.Epoch)
}

func (s *Service) queueImportedBeacons(b *pgx.Batch, beacons []proofs.Beacon) {
	var slots, times, epochs []int64
	var hashes [][]byte
	var samples []int32
	for i := range beacons {
		epoch, sample, ok := s.clock.At(time.Unix(beacons[i].Time, 0))
		if !ok {
			continue
		}
		slots, times, hashes = append(slots, int64(beacons[i].Slot)), append(times, beacons[i].Time), append(hashes, beacons[i].Hash[:])
		epochs, samples = append(epochs, int64(epoch)), append(samples, int32(sample))
	}
	if len(slots) > 0 {
		b.Queue(insertBeacons, slots, hashes, times, epochs, samples)
	}
}
