package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// EpochState says how far an epoch's closing has come.
type EpochState string

// The states of an epoch with books, in order. An epoch without a row is open,
// or was frozen a moment ago and is not judged yet.
const (
	EpochFrozen    EpochState = "frozen"    // inputs and verdicts are fixed
	EpochPublished EpochState = "published" // the book is in the published store, its memo is fixed
	EpochSealed    EpochState = "sealed"    // the memo is final on chain, the amounts are owed
)

// Closing is what the epoch lane does at position Epoch.
type Closing struct {
	Epoch     uint64
	Movements []chain.Movement
	Memo      string
}

// CloseDue closes the epoch at which the epoch lane stands, if chain time is
// past its end and the policy's grace, and returns what to send; nil when
// nothing is due. The steps are freeze, judge, publish; each is committed before
// the next begins and finds done what was done, so that CloseDue may be stopped
// anywhere and called again. The result of a published epoch never changes.
func (s *Service) CloseDue(ctx context.Context) (*Closing, error) {
	k, err := s.nextEpoch(ctx)
	if err != nil || k == 0 {
		return nil, err
	}
	c, err := s.closeEpoch(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("close epoch %d: %w", k, err)
	}
	return c, nil
}

const selectEpochLane = `SELECT position FROM lanes WHERE name = 'epoch'`

// nextEpoch returns the epoch lane's position; 0 before the genesis is known
// and after the last epoch.
func (s *Service) nextEpoch(ctx context.Context) (uint64, error) {
	var position int64
	if err := s.pool.QueryRow(ctx, selectEpochLane).Scan(&position); err != nil {
		return 0, fmt.Errorf("read the epoch lane: %w", err)
	}
	if uint64(position) > s.intake.schedule.Epochs() {
		return 0, nil
	}
	return uint64(position), nil
}

func (s *Service) closeEpoch(ctx context.Context, k uint64) (*Closing, error) {
	e, err := readEpoch(ctx, s.pool, k)
	if errors.Is(err, errNoEpoch) {
		due, derr := s.isDue(ctx, k)
		if derr != nil || !due {
			return nil, derr
		}
		if err := s.freeze(ctx, k); err != nil {
			return nil, fmt.Errorf("freeze: %w", err)
		}
		if err := s.judgeEpoch(ctx, k); err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
		e, err = readEpoch(ctx, s.pool, k)
	}
	if err != nil {
		return nil, err
	}
	if e.state == EpochFrozen {
		if err := s.publishEpoch(ctx, e); err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		if e, err = readEpoch(ctx, s.pool, k); err != nil {
			return nil, err
		}
	}
	if e.state != EpochPublished {
		return nil, nil // the chain has it, the lane's row is read again in the next pass
	}
	return s.closing(e), nil
}

func (s *Service) closing(e *epochRow) *Closing {
	c := &Closing{Epoch: e.epoch, Memo: e.memo}
	if !e.sum.IsZero() {
		n := s.cfg.Network
		c.Movements = []chain.Movement{{Op: chain.Mint, Source: n.Mint, Destination: n.Vaults.Reward, Amount: e.sum}}
	}
	return c
}

// isDue reports whether the finalized chain is past the end of epoch k and the
// grace. Our own clock is asked first, because arrivals are told by it, and
// because it costs nothing; and a service that was away gives the workers a
// grace of its own, two samples at least, to bring what they kept meanwhile.
func (s *Service) isDue(ctx context.Context, k uint64) (bool, error) {
	policy, err := s.rulesAt(ctx, k)
	if err != nil {
		return false, err
	}
	grace := int64(policy.Close.GraceSeconds)
	due := s.clock.EpochEnd(k) + grace
	wait := time.Duration(max(grace, 2*s.clock.SampleSeconds())) * time.Second
	if now := s.now(); now.Unix() < due || now.Before(time.Unix(0, s.intake.opened.Load()).Add(wait)) {
		return false, nil
	}
	newest, err := s.cfg.Chain.Newest(ctx)
	if err != nil {
		return false, fmt.Errorf("read the chain's time: %w", err)
	}
	if newest.Time < due {
		return false, nil
	}
	// What is frozen now is all that the epoch will ever have.
	forgot, err := s.recollect(ctx)
	return err == nil && !forgot, err
}

const selectWinner = `SELECT hash, bytes FROM contents WHERE lane = 'epoch' AND position = $1 AND state = 'won'`

// sealEpoch books the published epoch k, whose content was marked as the final
// winner in tx: the amounts are owed and the bindings move on. A second call
// changes nothing. Where the rows are not what the chain sealed, the chain's book
// is imported.
func (s *Service) sealEpoch(ctx context.Context, tx pgx.Tx, k uint64, signature chain.Signature, slot uint64) error {
	e, err := readEpoch(ctx, tx, k)
	if err != nil {
		return err
	}
	if e.state == EpochSealed {
		return nil
	}
	var hash, encoded []byte
	if err := tx.QueryRow(ctx, selectWinner, int64(k)).Scan(&hash, &encoded); err != nil {
		return fmt.Errorf("seal epoch %d: read the winner: %w", k, err)
	}
	content, err := chain.ParseContent(encoded)
	if err != nil {
		return fmt.Errorf("seal epoch %d: %w", k, err)
	}
	verdicts, err := readVerdicts(ctx, tx, k)
	if err != nil {
		return err
	}
	if e.state != EpochPublished || e.memo != content.Memo || proofs.VerdictsRoot(verdicts) != e.verdictsRoot {
		memo, err := proofs.ParseMemo(content.Memo)
		if err != nil {
			return fmt.Errorf("seal epoch %d: %w", k, err)
		}
		m, ok := memo.(proofs.EpochMemo)
		if !ok {
			return fmt.Errorf("seal epoch %d: memo %q is of another kind", k, content.Memo)
		}
		s.log.Warn("the rows of an epoch are not what the chain sealed: importing the published book", "epoch", k)
		return s.importBook(ctx, tx, m, ionet.Hash(hash), signature, slot)
	}
	half, err := e.readInputs()
	if err != nil {
		return fmt.Errorf("seal epoch %d: %w", k, err)
	}
	book := &proofs.Book{Inputs: half.Inputs, Verdicts: verdicts}
	if err := s.seal(ctx, tx, book, ionet.Hash(hash), signature, slot); err != nil {
		return fmt.Errorf("seal epoch %d: %w", k, err)
	}
	return nil
}

const markSealed = `
UPDATE epochs SET state = 'sealed', signature = $2, slot = $3, inputs = NULL
WHERE epoch = $1 AND state = 'published'`

const markHeard = `
UPDATE workers w SET heard = $1, last_sample = t.sample, last_statement = t.id
FROM unnest($2::bytea[], $3::smallint[], $4::bytea[]) AS t (key, sample, id)
WHERE w.key = t.key AND w.heard <= $1`

// seal does what a final book asks for. The debts, the bindings and the state
// become true together with the lane's new position, or not at all.
func (s *Service) seal(ctx context.Context, tx pgx.Tx, book *proofs.Book, content ionet.Hash, signature chain.Signature, slot uint64) error {
	k := book.Inputs.Epoch
	transfers, err := debts(book.Verdicts)
	if err != nil {
		return err
	}
	entry := ledger.Entry{ID: ionet.HashOf([]byte("epoch"), content[:]), Kind: "epoch", Transfers: transfers}
	if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
		return err
	}
	next, err := proofs.NextBindings(book.Inputs, book.Verdicts)
	if err != nil {
		return err
	}
	if err := replaceBindings(ctx, tx, next); err != nil {
		return err
	}
	if err := sealAnnouncements(ctx, tx, book.Inputs); err != nil {
		return err
	}
	if err := sealPrices(ctx, tx, book.Inputs); err != nil {
		return err
	}
	if err := markWorkers(ctx, tx, book.Inputs); err != nil {
		return fmt.Errorf("mark who was heard: %w", err)
	}
	var sig []byte
	var at *int64
	if !signature.IsZero() {
		n := int64(slot)
		sig, at = signature[:], &n
	}
	tag, err := tx.Exec(ctx, markSealed, int64(k), sig, at)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("epoch %d is not published", k)
	}
	return err
}

// markWorkers notes who was heard in the epoch, and each one's last statement.
func markWorkers(ctx context.Context, tx pgx.Tx, in *proofs.Inputs) error {
	type statement struct {
		sample uint16
		id     ionet.Hash
	}
	last := map[ionet.Key]statement{}
	for i := range in.Statements {
		e := &in.Statements[i].Envelope
		if e.Kind != proofs.KindUptime {
			continue
		}
		u, err := proofs.ParseUptime(e.Body)
		if err != nil {
			return err
		}
		if l, ok := last[e.Signer]; !ok || u.Sample >= l.sample {
			last[e.Signer] = statement{u.Sample, e.ID()}
		}
	}
	keys := make([][]byte, 0, len(last))
	for key := range last {
		keys = append(keys, key[:])
	}
	slices.SortFunc(keys, bytes.Compare) // one order for all who lock these rows
	samples, ids := make([]int16, len(keys)), make([][]byte, len(keys))
	for i, key := range keys {
		l := last[ionet.Key(key)]
		samples[i], ids[i] = int16(l.sample), l.id[:]
	}
	_, err := tx.Exec(ctx, markHeard, int64(in.Epoch), keys, samples, ids)
	return err
}

// debts returns what an epoch owes each payee, as transfers ordered by payee.
func debts(verdicts []proofs.Verdict) ([]ledger.Transfer, error) {
	sums := map[ionet.Key]ionet.Amount{}
	for _, v := range verdicts {
		sum, err := sums[v.Payee].Add(v.Amount)
		if err != nil {
			return nil, fmt.Errorf("sum for payee %s: %w", v.Payee, err)
		}
		sums[v.Payee] = sum
	}
	payees := make([]ionet.Key, 0, len(sums))
	for payee, sum := range sums {
		if !sum.IsZero() {
			payees = append(payees, payee)
		}
	}
	slices.SortFunc(payees, func(a, b ionet.Key) int { return bytes.Compare(a[:], b[:]) })
	transfers := make([]ledger.Transfer, len(payees))
	for i, payee := range payees {
		transfers[i] = ledger.Transfer{Debit: ledger.VaultReward(), Credit: ledger.Owed(payee), Amount: sums[payee]}
	}
	return transfers, nil
}
