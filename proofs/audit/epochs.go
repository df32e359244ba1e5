package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// replayEpochs checks each epoch's seal and makes its verdicts again from the
// published inputs.
func (a *auditor) replayEpochs(ctx context.Context) error {
	steps := a.lanes["epoch"]
	a.former = &proofs.Book{Inputs: &proofs.Inputs{}}
	a.firstPolicy = proofs.PolicyChange{FirstEpoch: 1, Policy: a.network.Policy}
	for i, w := range steps[1:] {
		k := uint64(i + 1)
		if w.content.Kind == chain.KindRetire {
			a.checkRetire(w)
			continue
		}
		if err := a.replayEpoch(ctx, k, w, steps[i].content.Memo); err != nil {
			return fmt.Errorf("epoch %d: %w", k, err)
		}
		a.sealed = k
		a.r.Epochs++
		a.Progress("epoch %d: %d findings so far", k, len(a.r.Findings))
	}
	return nil
}

func (a *auditor) replayEpoch(ctx context.Context, k uint64, w winner, formerMemo string) error {
	former := a.former
	a.former = nil // until this epoch's book is known to be what was committed
	parsed, err := proofs.ParseMemo(w.content.Memo)
	memo, ok := parsed.(proofs.EpochMemo)
	if err != nil || !ok {
		a.r.find(k, w.tx.signature, "epoch-memo", "an epoch memo", w.content.Memo)
		return nil
	}
	emission, err := a.schedule.Emission(k)
	if err != nil {
		a.r.find(k, w.tx.signature, "emission", "an epoch of the schedule", err)
		return nil
	}
	a.checkSeal(k, w, memo, formerMemo, emission)
	book, err := a.fetchBook(ctx, k, memo)
	if err != nil {
		return err
	}
	if book == nil {
		a.checkPolicy(k, w, memo, nil)
		a.lost = append(a.lost, w)
		return nil
	}
	policy := a.readPolicy(k, memo, book.Inputs)
	a.checkPolicy(k, w, memo, policy)
	if err := a.checkInputs(ctx, k, w, policy, former, book.Inputs); err != nil {
		return err
	}
	a.checkReach(k, book.Inputs)
	a.checkVerdicts(k, memo, emission, book)
	a.credit(k, w, book)
	a.former = book
	return nil
}

// checkSeal holds the transaction against its own memo and the schedule.
func (a *auditor) checkSeal(k uint64, w winner, memo proofs.EpochMemo, formerMemo string, emission ionet.Amount) {
	object := "seal " + w.tx.signature
	same(a.r, k, object, "epoch-memo", k, memo.Epoch)
	same(a.r, k, object, "seal-chain", ionet.HashOf([]byte(formerMemo)), memo.Prev)
	if a.network.Clock().EpochEnd(k) <= a.genesis.tx.time && !memo.Sum.IsZero() {
		a.r.find(k, object, "emission", "0, for the epoch ended before genesis", memo.Sum)
	}
	if memo.Sum.Cmp(emission) > 0 {
		a.r.find(k, object, "emission", "at most "+emission.String(), memo.Sum)
	}
	var want []chain.Movement
	if !memo.Sum.IsZero() {
		want = []chain.Movement{{Op: chain.Mint, Source: a.Mint, Destination: a.network.Vaults.Reward, Amount: memo.Sum}}
	}
	same(a.r, k, object, "mint", fmt.Sprint(want), fmt.Sprint(w.content.Movements))
	if minted, err := a.r.Minted.Add(memo.Sum); err == nil {
		a.r.Minted = minted
	}
	if rest, err := emission.Sub(memo.Sum); err == nil {
		if unissued, err := a.r.Unissued.Add(rest); err == nil {
			a.r.Unissued = unissued
		}
	}
}

// fetchBook returns the book that the memo's roots name, or nil with a finding.
func (a *auditor) fetchBook(ctx context.Context, k uint64, memo proofs.EpochMemo) (*proofs.Book, error) {
	name := publish.BookName(proofs.BookRoot(memo.Inputs, memo.Verdicts))
	file, err := a.Store.Get(ctx, name)
	if err != nil {
		a.r.skip(k, name, "published", "the epoch's book", err)
		return nil, ctx.Err()
	}
	book, err := proofs.ParseBook(file)
	if err != nil {
		a.r.find(k, name, "book", "a book of FORMAT.md section 8", err)
		return nil, nil
	}
	inputs := same(a.r, k, name, "inputs-root", memo.Inputs, book.Inputs.Root())
	verdicts := same(a.r, k, name, "verdicts-root", memo.Verdicts, book.VerdictsRoot())
	if !inputs || !verdicts {
		return nil, nil
	}
	same(a.r, k, name, "verdicts-count", memo.Count, uint64(len(book.Verdicts)))
	return book, nil
}

// checkInputs holds the inputs against everything outside the book that they
// must agree with.
func (a *auditor) checkInputs(ctx context.Context, k uint64, w winner, policy *emissions.Policy, former *proofs.Book, in *proofs.Inputs) error {
	same(a.r, k, "inputs header", "inputs-header", a.network.ID(), in.Network)
	same(a.r, k, "inputs header", "inputs-header", k, in.Epoch)
	if policy != nil {
		if due := a.network.Clock().EpochEnd(k) + int64(policy.Close.GraceSeconds); w.tx.time < due {
			a.r.find(k, "seal "+w.tx.signature, "early-close", fmt.Sprintf("block time from %d on", due), w.tx.time)
		}
	}
	a.checkBindings(k, former, in)
	c := a.checkStatements(k, w, in)
	a.checkPrice(k, policy, c.prices)
	a.hearRevocations(c.revoked)
	if err := a.announce(ctx, k, w, &c.policies); err != nil {
		return err
	}
	return a.checkBeacons(ctx, k, in, c.named)
}

// checkBindings derives the bindings from the former book: they are a pure
// function of it.
func (a *auditor) checkBindings(k uint64, former *proofs.Book, in *proofs.Inputs) {
	if former == nil {
		a.r.skip(k, "bindings", "bindings", "the former epoch's book", "one that does not hold")
		return
	}
	var want []proofs.Binding
	if k > 1 {
		var err error
		if want, err = proofs.NextBindings(former.Inputs, former.Verdicts); err != nil {
			a.r.find(k, "bindings", "bindings", "bindings that follow from the former book", err)
			return
		}
	}
	if !same(a.r, k, "bindings", "bindings", len(want), len(in.Bindings)) {
		return
	}
	for i, b := range want {
		same(a.r, k, "binding of "+b.UUID.String(), "bindings", b, in.Bindings[i])
	}
}

// checkStatements verifies every signature and what Judge takes for granted. What
// it returns holds the blocks that uptime statements name, and the announcements
// and prices that hold.
func (a *auditor) checkStatements(k uint64, w winner, in *proofs.Inputs) *statementChecker {
	c := &statementChecker{
		network: a.network, epoch: k, sealed: w.tx.time, in: in,
		kinds: map[ionet.Hash]proofs.Kind{}, named: map[uint64]map[ionet.Key]bool{},
	}
	envelopes := make([]proofs.Envelope, len(in.Statements))
	for i := range in.Statements {
		envelopes[i] = in.Statements[i].Envelope
		c.kinds[envelopes[i].ID()] = envelopes[i].Kind
	}
	for i, err := range a.verifier.Verify(envelopes) {
		s := &in.Statements[i]
		object := fmt.Sprintf("%s %s by %s", s.Envelope.Kind, s.Envelope.ID(), s.Envelope.Signer)
		wrong := c.check(s)
		if err != nil {
			a.r.find(k, object, "signature", "a valid signature", err)
		}
		if wrong != nil {
			a.r.find(k, object, "statement", "a statement of FORMAT.md sections 3 to 6", wrong)
		}
		if err == nil && wrong == nil {
			c.hold(s)
		}
		a.checkArrival(k, object, s)
	}
	return c
}

// checkArrival compares the arrival with what an earlier book said of the same
// statement: it arrived once.
func (a *auditor) checkArrival(k uint64, object string, s *proofs.Statement) {
	if s.Envelope.Kind == proofs.KindUptime {
		return // is in one book alone
	}
	id := s.Envelope.ID()
	if first, told := a.arrivals[id]; told {
		same(a.r, k, object, "arrival", first, s.Arrival)
		return
	}
	a.arrivals[id] = s.Arrival
}

// checkBeacons compares the beacon records with the chain's own blocks, and both
// ways with what the statements name: a record left out would refuse a sample.
func (a *auditor) checkBeacons(ctx context.Context, k uint64, in *proofs.Inputs, named map[uint64]map[ionet.Key]bool) error {
	listed := map[uint64]bool{}
	for _, b := range in.Beacons {
		listed[b.Slot] = true
		object := fmt.Sprintf("beacon of slot %d", b.Slot)
		if !named[b.Slot][b.Hash] {
			a.r.find(k, object, "beacon", "a block that an uptime statement names", b.Hash)
			continue
		}
		block, err := a.block(ctx, b.Slot)
		switch {
		case errors.Is(err, errNoHistory):
			a.r.skip(k, object, "beacon", "the block", err)
		case errors.Is(err, errNoBlock):
			a.r.find(k, object, "beacon", "a finalized block", err)
		case err != nil:
			return fmt.Errorf("read block %d: %w", b.Slot, err)
		default:
			same(a.r, k, object, "beacon", b.Hash, block.Hash)
			same(a.r, k, object, "beacon", b.Time, block.Time)
		}
	}
	for _, slot := range slices.Sorted(maps.Keys(named)) {
		hashes := named[slot]
		if listed[slot] {
			continue
		}
		block, err := a.block(ctx, slot)
		if err != nil && !errors.Is(err, errNoHistory) && !errors.Is(err, errNoBlock) {
			return fmt.Errorf("read block %d: %w", slot, err)
		}
		if err == nil && hashes[block.Hash] {
			a.r.find(k, fmt.Sprintf("beacon of slot %d", slot), "beacon", "a record of this finalized block, which statements name", "none")
		}
	}
	return nil
}

// checkVerdicts judges the epoch again and compares byte for byte.
func (a *auditor) checkVerdicts(k uint64, memo proofs.EpochMemo, emission ionet.Amount, book *proofs.Book) {
	a.r.Verdicts += len(book.Verdicts)
	a.checkSum(k, memo, book)
	j, err := proofs.Judge(book.Inputs, proofs.Terms{Clock: a.network.Clock(), Decimals: a.network.Decimals, Emission: emission})
	if err != nil {
		a.r.find(k, "inputs", "judge", "inputs that can be judged", err)
		return
	}
	same(a.r, k, "sum", "split", j.Sum, memo.Sum)
	if !same(a.r, k, "verdicts", "verdict", len(j.Verdicts), len(book.Verdicts)) {
		return
	}
	for i, want := range j.Verdicts {
		got := book.Verdicts[i]
		if got == want {
			continue
		}
		object := fmt.Sprintf("device %s of worker %s", want.UUID, want.Worker)
		if got.Amount != want.Amount {
			a.r.find(k, object, "split", want.Amount, got.Amount)
		}
		if got.Amount = want.Amount; got != want {
			a.r.find(k, object, "verdict", fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got))
		}
	}
}

// checkSum holds the verdicts' amounts against what the memo says and minted.
func (a *auditor) checkSum(k uint64, memo proofs.EpochMemo, book *proofs.Book) {
	var sum ionet.Amount
	var err error
	for _, v := range book.Verdicts {
		if sum, err = sum.Add(v.Amount); err != nil {
			a.r.find(k, "sum of the verdicts", "sum", memo.Sum, err)
			return
		}
	}
	same(a.r, k, "sum of the verdicts", "sum", memo.Sum, sum)
}

// credit records what the epoch owes its payees, as committed: what was wrong
// with it is already a finding.
func (a *auditor) credit(k uint64, w winner, book *proofs.Book) {
	for _, v := range book.Verdicts {
		if v.Amount.IsZero() {
			continue
		}
		a.payees[chain.TokenAccount(v.Payee, a.Mint)] = v.Payee
		a.credits = append(a.credits, credit{slot: w.tx.slot, epoch: k, payee: v.Payee, amount: v.Amount})
	}
}
