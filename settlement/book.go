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

// epochRow is an epoch's row; fields that its state lacks are zero.
type epochRow struct {
	epoch        uint64
	state        EpochState
	emission     ionet.Amount
	sum          ionet.Amount
	unissued     ionet.Amount
	policy       ionet.Hash
	inputsRoot   ionet.Hash
	verdictsRoot ionet.Hash
	verdicts     int
	memo         string
	inputs       []byte
	signature    []byte
	slot         uint64
	draw         string
	priceEpoch   uint64 // of the price that it was judged by; 0: none
	microUSD     uint64
}

const epochColumns = `epoch, state, emission, sum, unissued, policy, inputs_root, coalesce(verdicts_root, ''), verdicts, coalesce(memo, ''), signature, coalesce(slot, 0), draw, coalesce(price_epoch, 0), coalesce(price_micro_usd, 0)`

const selectEpoch = `SELECT ` + epochColumns + `, inputs FROM epochs WHERE epoch = $1`

// querier reads: the pool, or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// errNoEpoch reports an epoch without a row.
var errNoEpoch = errors.New("epoch has no books")

// readEpoch returns the row of epoch k with its inputs, or errNoEpoch.
func readEpoch(ctx context.Context, q querier, k uint64) (*epochRow, error) {
	var inputs []byte
	all, err := scanEpochs(ctx, q, []any{&inputs}, selectEpoch, int64(k))
	if err != nil {
		return nil, fmt.Errorf("read epoch %d: %w", k, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read epoch %d: %w", k, errNoEpoch)
	}
	all[0].inputs = inputs
	return &all[0], nil
}

// scanEpochs reads rows of epochColumns and then more.
func scanEpochs(ctx context.Context, q querier, more []any, sql string, args ...any) ([]epochRow, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	var all []epochRow
	var epoch, emission, sum, unissued, slot, priceEpoch, microUSD int64
	var policy, inputsRoot, verdictsRoot, signature []byte
	var r epochRow
	fields := []any{&epoch, &r.state, &emission, &sum, &unissued, &policy, &inputsRoot, &verdictsRoot, &r.verdicts, &r.memo, &signature, &slot, &r.draw, &priceEpoch, &microUSD}
	_, err = pgx.ForEachRow(rows, append(fields, more...), func() error {
		r.epoch, r.slot, r.signature = uint64(epoch), uint64(slot), signature
		r.priceEpoch, r.microUSD = uint64(priceEpoch), uint64(microUSD)
		r.policy, r.inputsRoot, r.verdictsRoot = ionet.Hash(policy), ionet.Hash(inputsRoot), ionet.Hash{}
		if len(verdictsRoot) > 0 {
			r.verdictsRoot = ionet.Hash(verdictsRoot)
		}
		var errs [3]error
		r.emission, errs[0] = amountOf(emission)
		r.sum, errs[1] = amountOf(sum)
		r.unissued, errs[2] = amountOf(unissued)
		all = append(all, r)
		return errors.Join(errs[:]...)
	})
	return all, err
}

// amountOf reads a column that a constraint keeps from being negative.
func amountOf(n int64) (ionet.Amount, error) {
	if n < 0 {
		return ionet.Amount{}, fmt.Errorf("amount %d is negative", n)
	}
	return ionet.NewAmount(uint64(n))
}

const verdictColumns = `epoch, uuid, worker, provider, payee, rule, samples, weight, evidence, amount`

const selectVerdicts = `SELECT ` + verdictColumns + ` FROM verdicts WHERE epoch = $1 ORDER BY uuid, worker`

// scanVerdicts reads rows of verdictColumns.
func scanVerdicts(ctx context.Context, q querier, sql string, args ...any) ([]EpochVerdict, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	var all []EpochVerdict
	var epoch, weight, amount int64
	var rule, samples int32
	var uuid, worker, provider, payee, evidence []byte
	_, err = pgx.ForEachRow(rows, []any{&epoch, &uuid, &worker, &provider, &payee, &rule, &samples, &weight, &evidence, &amount}, func() error {
		a, err := amountOf(amount)
		all = append(all, EpochVerdict{Epoch: uint64(epoch), Verdict: proofs.Verdict{
			UUID: ionet.UUID(uuid), Worker: ionet.Key(worker), Provider: ionet.Key(provider), Payee: ionet.Key(payee),
			Rule: proofs.Rule(rule), Samples: uint16(samples), Weight: uint64(weight), Evidence: ionet.Hash(evidence), Amount: a,
		}})
		return err
	})
	return all, err
}

func readVerdicts(ctx context.Context, q querier, k uint64) ([]proofs.Verdict, error) {
	all, err := scanVerdicts(ctx, q, selectVerdicts, int64(k))
	if err != nil {
		return nil, fmt.Errorf("read verdicts of epoch %d: %w", k, err)
	}
	out := make([]proofs.Verdict, len(all))
	for i, v := range all {
		out[i] = v.Verdict
	}
	return out, nil
}

// copyVerdicts stores verdicts of an epoch that has none.
func copyVerdicts(ctx context.Context, tx pgx.Tx, k uint64, verdicts []proofs.Verdict) error {
	columns := []string{"epoch", "uuid", "worker", "provider", "payee", "rule", "samples", "weight", "evidence", "amount"}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"verdicts"}, columns, pgx.CopyFromSlice(len(verdicts), func(i int) ([]any, error) {
		v := &verdicts[i]
		return []any{int64(k), v.UUID[:], v.Worker[:], v.Provider[:], v.Payee[:], int16(v.Rule), int32(v.Samples), int64(v.Weight), v.Evidence[:], v.Amount.Int64()}, nil
	}))
	if err != nil {
		return fmt.Errorf("store %d verdicts of epoch %d: %w", len(verdicts), k, err)
	}
	return nil
}

func sumOf(verdicts []proofs.Verdict) (sum ionet.Amount, err error) {
	for _, v := range verdicts {
		if sum, err = sum.Add(v.Amount); err != nil {
			return sum, fmt.Errorf("sum of the verdicts: %w", err)
		}
	}
	return sum, nil
}

// publishEpoch makes the book of the frozen epoch from its rows, publishes it and
// then marks the epoch as published. What is minted later is what this book
// says; anybody can judge its inputs again and compare.
func (s *Service) publishEpoch(ctx context.Context, e *epochRow) error {
	verdicts, err := readVerdicts(ctx, s.pool, e.epoch)
	if err != nil {
		return err
	}
	half, err := e.readInputs()
	if err != nil {
		return err
	}
	book := &proofs.Book{Inputs: half.Inputs, Verdicts: verdicts}
	sum, err := sumOf(verdicts)
	if err != nil {
		return err
	}
	unissued, err := e.emission.Sub(sum)
	if err != nil {
		return fmt.Errorf("verdict rows sum to %s, the emission is %s: they were changed after judging, nothing is minted: %w", sum, e.emission, err)
	}
	prev, err := s.previousMemo(ctx, e.epoch)
	if err != nil {
		return err
	}
	memo := proofs.EpochMemo{
		Epoch: e.epoch, Inputs: book.Inputs.Root(), Verdicts: book.VerdictsRoot(), Count: uint64(len(verdicts)),
		Sum: sum, Policy: e.policy, Prev: prev,
	}
	if err := s.putBook(ctx, book); err != nil {
		return err
	}
	// The book is durable under its root. If we stop here, the same rows give the
	// same book again, and putting it twice changes nothing.
	var marked bool
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		tag, err := tx.Exec(ctx, markPublished, int64(e.epoch), memo.Verdicts[:], len(verdicts), sum.Int64(), unissued.Int64(), memo.String())
		if marked = tag.RowsAffected() == 1; err != nil || !marked {
			return err
		}
		return leave(ctx, tx, e.epoch) // the book has them
	})
	if err == nil && marked {
		s.emit(Event{Kind: EventPublished, Epoch: e.epoch, Amount: sum, Emission: e.emission, Count: len(verdicts), Statements: countUptimes(book.Inputs), Detail: proofs.BookRoot(memo.Inputs, memo.Verdicts).String()})
	}
	return err
}

func countUptimes(in *proofs.Inputs) int {
	n := 0
	for i := range in.Statements {
		if in.Statements[i].Envelope.Kind == proofs.KindUptime {
			n++
		}
	}
	return n
}

const markPublished = `
UPDATE epochs SET state = 'published', verdicts_root = $2, verdicts = $3, sum = $4, unissued = $5, memo = $6
WHERE epoch = $1 AND state = 'frozen'`

// readInputs returns the inputs that were judged, as a book without verdicts.
func (e *epochRow) readInputs() (*proofs.Book, error) {
	half, err := proofs.ParseBook(e.inputs)
	if err != nil {
		return nil, fmt.Errorf("read inputs: %w", err)
	}
	if root := half.Inputs.Root(); root != e.inputsRoot {
		return nil, fmt.Errorf("the inputs of epoch %d have root %s, judged were those of root %s: the row was changed after judging, nothing is minted", e.epoch, root, e.inputsRoot)
	}
	return half, nil
}

// putBook stores the book under its root. A file that another build of this
// program compressed otherwise is fine if it is the same book.
func (s *Service) putBook(ctx context.Context, book *proofs.Book) error {
	file, err := proofs.EncodeBook(book)
	if err != nil {
		return err
	}
	root := book.Root()
	err = s.cfg.Store.Put(ctx, publish.BookName(root), file)
	if !errors.Is(err, publish.ErrConflict) {
		return err
	}
	there, err := s.cfg.Store.Get(ctx, publish.BookName(root))
	if err != nil {
		return err
	}
	if other, err := proofs.ParseBook(there); err != nil || other.Root() != root {
		return fmt.Errorf("the published store holds something else as %s: move it away", publish.BookName(root))
	}
	return nil
}

const selectMemo = `SELECT memo FROM epochs WHERE epoch = $1 AND memo IS NOT NULL`

// previousMemo returns H of the memo that epoch k follows: for epoch 1 that of
// the genesis, which the network file determines.
func (s *Service) previousMemo(ctx context.Context, k uint64) (ionet.Hash, error) {
	if k == 1 {
		n := s.cfg.Network
		return ionet.HashOf([]byte(proofs.GenesisMemo{Network: n.ID(), Emission: n.Schedule.Hash}.String())), nil
	}
	var memo string
	if err := s.pool.QueryRow(ctx, selectMemo, int64(k-1)).Scan(&memo); err != nil {
		return ionet.Hash{}, fmt.Errorf("read the memo of epoch %d: %w", k-1, err)
	}
	return ionet.HashOf([]byte(memo)), nil
}
