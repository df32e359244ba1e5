package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// releaseDue makes the releases that are asked for, one content for a category and
// month: what is unlocked by the end of that month less what was released, or is on
// its way. The debt enters the books with the attempt, so that no second content
// carries it; a request is closed by the pass that finds nothing due and nothing on
// its way. Stopped anywhere, the next pass finds the same.
func (s *Service) releaseDue(ctx context.Context, pool *lanePool) error {
	requests, err := s.openRequests(ctx)
	if err != nil || len(requests) == 0 {
		return err
	}
	passed, err := s.epochsPassed(ctx)
	if err != nil {
		return fmt.Errorf("release what is unlocked: %w", err)
	}
	var errs []error
	for _, a := range s.cfg.Network.Allocation {
		if was, asked := requests[a.Category]; asked {
			errs = append(errs, s.release(ctx, pool, a, passed, was))
		}
	}
	return errors.Join(errs...)
}

// release makes the release of one category that is asked for; was is the reason why
// it waited so far.
func (s *Service) release(ctx context.Context, pool *lanePool, a ionet.Allocation, passed uint64, was string) error {
	u, err := s.unlockOf(ctx, a, passed)
	if err != nil {
		return fmt.Errorf("release %s: %w", a.Category, err)
	}
	if !u.InFlight.IsZero() {
		return nil // its lane resolves or retries it
	}
	if u.Due.IsZero() {
		return s.closeRequest(ctx, a.Category)
	}
	d, err := s.releaseDraft(a, u.Month, u.Due)
	if err != nil {
		return fmt.Errorf("release %s: %w", a.Category, err)
	}
	reason, err := s.whyNotReleasable(ctx, d.payments)
	if err != nil {
		return fmt.Errorf("release %s: %w", a.Category, err)
	}
	if reason != "" {
		return s.explainRequest(ctx, a.Category, was, reason)
	}
	l, ok := pool.take()
	if !ok {
		return nil
	}
	d.lanes = []lane{l}
	if err := s.launch(ctx, d); err != nil {
		return errors.Join(err, s.explainRequest(ctx, a.Category, was, err.Error()))
	}
	return s.explainRequest(ctx, a.Category, was, "")
}

// releaseDraft is what releases sum of an allocation as of the end of a month: a
// transfer to each beneficiary whose share is not 0.
func (s *Service) releaseDraft(a ionet.Allocation, month uint64, sum ionet.Amount) (draft, error) {
	shares, err := emissions.Divide(sum, a.Beneficiaries)
	if err != nil {
		return draft{}, err
	}
	d := draft{kind: chain.KindUnlock, memo: proofs.UnlockMemo{Category: a.Category, Tranche: month, Sum: sum}.String()}
	for i, b := range a.Beneficiaries {
		if shares[i].IsZero() {
			continue
		}
		p := payment{b.Wallet, chain.TokenAccount(b.Wallet, s.cfg.Network.Mint), shares[i]}
		d.payments = append(d.payments, p)
		d.movements = append(d.movements, chain.Movement{Op: chain.Transfer, Source: a.Account, Destination: p.account, Amount: p.amount})
	}
	return d, nil
}

// whyNotReleasable returns why one of the beneficiaries can't be paid now, "" where
// all can. A missing account is made with the release. The shares of a month are
// fixed, so that one beneficiary who can't be paid holds up the others of his
// category; the reason names him.
func (s *Service) whyNotReleasable(ctx context.Context, list []payment) (string, error) {
	keys, wallets := make([]ionet.Key, len(list)), make([][]byte, len(list))
	for i, p := range list {
		keys[i], wallets[i] = p.account, p.payee[:]
	}
	accounts, _, err := s.cfg.Chain.Accounts(ctx, keys, rpc.Confirmed, 0)
	if err != nil {
		return "", fmt.Errorf("read the beneficiaries' accounts: %w", err)
	}
	for i, p := range list {
		if _, err := chain.ParseTokenAccount(accounts[i].Owner, accounts[i].Data); errors.Is(err, chain.ErrNoAccount) {
			continue
		}
		if reason := s.whyUnpayable(p, accounts[i]); reason != "" {
			return fmt.Sprintf("beneficiary %s: %s", p.payee, reason), nil
		}
	}
	// A simulation, or a node that would not take it, may have named one.
	var payee []byte
	var reason string
	switch err := s.pool.QueryRow(ctx, selectHeldOf, wallets, s.now()).Scan(&payee, &reason); {
	case err == nil:
		return fmt.Sprintf("beneficiary %s: %s", ionet.Key(payee), reason), nil
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	default:
		return "", fmt.Errorf("look for held beneficiaries: %w", err)
	}
}

const selectHeldOf = `SELECT payee, reason FROM held_payees WHERE payee = ANY ($1::bytea[]) AND retry_at > $2 ORDER BY payee LIMIT 1`

// walletsOf returns the beneficiaries that the movements of an unlock pay: a release
// makes their accounts, so that its transaction names them.
func (s *Service) walletsOf(movements []chain.Movement) ([]ionet.Key, error) {
	byAccount := s.beneficiariesByAccount()
	wallets := make([]ionet.Key, len(movements))
	for i, m := range movements {
		wallet, ok := byAccount[m.Destination]
		if !ok {
			return nil, fmt.Errorf("movement %d goes to %s, which is the account of no beneficiary", i, m.Destination)
		}
		wallets[i] = wallet
	}
	return wallets, nil
}

// beneficiariesByAccount maps token accounts to the beneficiaries of all categories.
func (s *Service) beneficiariesByAccount() map[ionet.Key]ionet.Key {
	m := map[ionet.Key]ionet.Key{}
	for _, a := range s.cfg.Network.Allocation {
		for _, b := range a.Beneficiaries {
			m[chain.TokenAccount(b.Wallet, s.cfg.Network.Mint)] = b.Wallet
		}
	}
	return m
}

// categoryOf returns the category that an unlock releases, for people.
func categoryOf(c chain.Content) string {
	memo, err := proofs.ParseMemo(c.Memo)
	if m, ok := memo.(proofs.UnlockMemo); err == nil && ok {
		return m.Category
	}
	return c.Movements[0].Source.String()
}
