package settlement

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// DepositState says what became of a credit.
type DepositState string

// A credit is one of these from the moment that it is booked.
const (
	DepositCredited DepositState = "credited" // to the renter of its reference
	DepositSuspense DepositState = "suspense" // kept, with a reason: nobody knows whose it is
)

// Deposit is one credit of a token account of ours by others.
type Deposit struct {
	Signature chain.Signature
	Place     chain.Place // Outer -1: the change of a balance as a whole
	Account   ionet.Key   // that was credited
	Mint      ionet.Key   // zero: lamports
	Amount    uint64      // base units of that mint
	Source    ionet.Key   // token account; zero where it is not known
	Slot      uint64
	Time      int64 // block time, Unix seconds
	State     DepositState
	Renter    ionet.Key // zero in suspense
	Reference ionet.Key // zero where it names none
	Reason    string    // why it is in suspense
}

// book stores credits and posts those of the vaults, in one SQL transaction. The same
// credit again changes nothing. slot is the finalized slot that the history was read
// to: no balance of before it may be compared with these books any more.
func (s *Service) book(ctx context.Context, list []credit, slot uint64) error {
	if len(list) == 0 {
		return nil
	}
	now := s.now()
	var fresh []credit
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		fresh = fresh[:0]
		resumed, err := loadResumed(ctx, tx)
		if err != nil {
			return err
		}
		var entries []ledger.Entry
		for i := range list {
			c := &list[i]
			stored, err := insertCredit(ctx, tx, c, now)
			if err != nil {
				return err
			}
			if !stored {
				continue
			}
			fresh = append(fresh, *c)
			if !c.booked {
				continue
			}
			known, err := resumed.take(ctx, tx, c)
			if err != nil {
				return err
			}
			e, err := c.entry(s.vaultAccount(c.account), known)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		if _, err := ledger.PostAll(ctx, tx, entries, now); err != nil {
			return err
		}
		if s.top.slot > 0 {
			slot = min(slot, s.top.slot) // later reads must reach it: not on one endpoint's word
		}
		_, err = tx.Exec(ctx, seenUpTo, s.cfg.Network.Vaults.Fee[:], int64(slot))
		return err
	})
	if err != nil {
		return fmt.Errorf("book credits: %w", err)
	}
	for i := range fresh {
		s.tellCredit(&fresh[i])
	}
	return nil
}

const seenUpTo = `
INSERT INTO scans (account, slot) VALUES ($1, $2)
ON CONFLICT (account) DO UPDATE SET slot = greatest(scans.slot, excluded.slot)`

// vaultAccount returns the ledger's account of a vault.
func (s *Service) vaultAccount(address ionet.Key) ledger.Account {
	if address == s.cfg.Network.Vaults.Reward {
		return ledger.VaultReward()
	}
	return ledger.VaultFee()
}

func insertCredit(ctx context.Context, tx pgx.Tx, c *credit, now time.Time) (stored bool, err error) {
	state := DepositSuspense
	if !c.renter.IsZero() {
		state = DepositCredited
	}
	tag, err := tx.Exec(ctx, insertDeposit, c.tx.Signature[:], int32(c.place.Outer), int32(c.place.Inner), int32(c.place.Sub), c.account[:], c.mint[:],
		strconv.FormatUint(c.amount, 10), orNull(c.source), int64(c.tx.Slot), c.tx.Time, string(state), orNull(c.renter), orNull(c.reference), c.reason, now)
	if err != nil {
		return false, fmt.Errorf("store a credit of %s: %w", c.tx.Signature, err)
	}
	return tag.RowsAffected() > 0, nil
}

const insertDeposit = `
INSERT INTO deposits (signature, outer_index, inner_index, sub_index, account, mint, amount, source, slot, time, state, renter, reference, reason, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::numeric, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (signature, outer_index, inner_index, sub_index) DO NOTHING`

func orNull(k ionet.Key) []byte {
	if k.IsZero() {
		return nil
	}
	return k[:]
}

// tellCredit says what came in. Suspense is no error: outsiders cause it.
func (s *Service) tellCredit(c *credit) {
	e := Event{Kind: EventDeposit, Payee: c.renter, Count: 1, Signature: c.tx.Signature, Detail: c.reason}
	if amount, err := ionet.NewAmount(c.amount); err == nil && c.mint == s.cfg.Network.Mint {
		e.Amount = amount
	}
	if c.place.Outer == whole && c.place.Sub == 0 && c.booked {
		s.log.Warn("a credit whose instructions and balances differ is in suspense", "signature", c.tx.Signature.String(), "reason", c.reason)
	} else {
		s.log.Info("credit", "signature", c.tx.Signature.String(), "amount", c.amount, "renter", c.renter.String(), "reason", c.reason)
	}
	s.emit(e)
}

// DepositRequest is what a renter's wallet needs to pay in.
type DepositRequest struct {
	Wallet    ionet.Key // who is credited
	Reference ionet.Key // what the transfer names
	Recipient ionet.Key // wallet of the fee vault
	Vault     ionet.Key // its token account, where the tokens go
	URL       string    // Solana Pay transfer request, without an amount
	Deposits  []Deposit // what came in with it, the newest first
}

// maxReferences bounds how many references without a deposit are kept for an hour: each
// is a file for ever. Beyond it a wallet gets the one that can be worked out from it.
const maxReferences = 10_000

// RequestDeposit gives out a reference: whoever sends tokens with it to the fee vault
// pays for wallet. While nothing came in with it the same wallet gets the same one.
//
// A wallet's first reference follows from the wallet. Where strangers have asked for
// very many it is given out without a row and a file: those are made when somebody pays
// with it, as his transfer names the wallet too.
func (s *Service) RequestDeposit(ctx context.Context, wallet ionet.Key) (DepositRequest, error) {
	if err := proofs.CheckKey(wallet); err != nil {
		return DepositRequest{}, NewProblem(ProblemWeakKey, "wallet", "wallet %s: %v", wallet, err)
	}
	reference, err := s.unusedReference(ctx, wallet)
	if err != nil || !reference.IsZero() {
		return s.depositRequest(wallet, reference), err
	}
	d := proofs.FirstDeposit(s.cfg.Network.ID(), wallet)
	first := d.Reference()
	var recent int
	var used bool
	if err := s.front.QueryRow(ctx, countReferences, s.now().Add(-time.Hour), first[:]).Scan(&recent, &used); err != nil {
		return DepositRequest{}, fmt.Errorf("count deposit references: %w", err)
	}
	if recent >= maxReferences {
		return s.depositRequest(wallet, first), nil
	}
	if used {
		if _, err := io.ReadFull(s.cfg.Rand, d.Nonce[:]); err != nil {
			return DepositRequest{}, fmt.Errorf("draw a nonce: %w", err)
		}
	}
	if err := s.keepReference(ctx, s.front, d); err != nil {
		return DepositRequest{}, err
	}
	return s.depositRequest(wallet, d.Reference()), nil
}

// keepReference makes a reference known: in the store first, where a database that
// forgets the row finds it.
func (s *Service) keepReference(ctx context.Context, db *pgxpool.Pool, d proofs.Deposit) error {
	reference := d.Reference()
	if err := s.cfg.Store.Put(ctx, publish.DepositName(reference), d.Encode()); err != nil {
		return fmt.Errorf("publish a deposit reference: %w", err)
	}
	if _, err := db.Exec(ctx, insertReference, reference[:], d.Wallet[:], d.Nonce[:], s.now()); err != nil {
		return fmt.Errorf("store a deposit reference: %w", err)
	}
	return nil
}

const countReferences = `
SELECT (SELECT count(*) FROM deposit_references r
        WHERE r.created_at > $1 AND NOT EXISTS (SELECT 1 FROM deposits d WHERE d.reference = r.reference)),
    EXISTS (SELECT 1 FROM deposit_references WHERE reference = $2)`

const insertReference = `
INSERT INTO deposit_references (reference, wallet, nonce, created_at, asked_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (reference) DO NOTHING`

func (s *Service) unusedReference(ctx context.Context, wallet ionet.Key) (ionet.Key, error) {
	var reference []byte
	err := s.front.QueryRow(ctx, selectUnused, wallet[:], s.now()).Scan(&reference)
	if errors.Is(err, pgx.ErrNoRows) {
		return ionet.Key{}, nil
	}
	if err != nil {
		return ionet.Key{}, fmt.Errorf("look for a deposit reference: %w", err)
	}
	return ionet.Key(reference), nil
}

const selectUnused = `
UPDATE deposit_references SET asked_at = $2 WHERE reference = (
    SELECT r.reference FROM deposit_references r
    WHERE r.wallet = $1 AND NOT EXISTS (SELECT 1 FROM deposits d WHERE d.reference = r.reference)
    ORDER BY r.created_at DESC LIMIT 1)
RETURNING reference`

// depositRequest renders the Solana Pay URL; an amount in tokens may be added to it. The
// wallet is named as a second reference, which the first one can be worked out from.
func (s *Service) depositRequest(wallet, reference ionet.Key) DepositRequest {
	n := s.cfg.Network
	recipient := s.ownerOf(n.Vaults.Fee)
	q := url.Values{"spl-token": {n.Mint.String()}, "reference": {reference.String(), wallet.String()}, "label": {"io " + n.Name}}
	return DepositRequest{Wallet: wallet, Reference: reference, Recipient: recipient, Vault: n.Vaults.Fee, URL: "solana:" + recipient.String() + "?" + q.Encode()}
}

// Deposit returns what came in with a reference. To ask has its own history read in
// the next pass, so that what went astray is found as well.
func (s *Service) Deposit(ctx context.Context, reference ionet.Key) (DepositRequest, error) {
	var wallet []byte
	err := s.front.QueryRow(ctx, askReference, reference[:], s.now()).Scan(&wallet)
	if errors.Is(err, pgx.ErrNoRows) {
		return DepositRequest{}, NewProblem(ProblemUnknownReference, "reference", "no deposit reference %s was given out", reference)
	}
	if err != nil {
		return DepositRequest{}, fmt.Errorf("look for deposit reference %s: %w", reference, err)
	}
	r := s.depositRequest(ionet.Key(wallet), reference)
	r.Deposits, err = s.deposits(ctx, selectByReference, reference[:])
	return r, err
}

// Who asks again and again writes no row each time.
const askReference = `
WITH asked AS (
    UPDATE deposit_references SET asked_at = $2 WHERE reference = $1 AND asked_at < $2::timestamptz - interval '5 seconds')
SELECT wallet FROM deposit_references WHERE reference = $1`

// Deposits returns the newest credits in suspense, or all, the newest first.
func (s *Service) Deposits(ctx context.Context, all bool, limit int) ([]Deposit, error) {
	return s.deposits(ctx, selectDeposits, all, limit)
}

const depositColumns = `
SELECT signature, outer_index, inner_index, sub_index, account, mint, amount::text, source, slot, time, state, renter, reference, reason FROM deposits `

const (
	selectDeposits    = depositColumns + `WHERE $1 OR state = 'suspense' ORDER BY created_at DESC, signature, outer_index, inner_index, sub_index LIMIT $2`
	selectByReference = depositColumns + `WHERE reference = $1 ORDER BY slot DESC, signature, outer_index, inner_index, sub_index LIMIT 100`
)

func (s *Service) deposits(ctx context.Context, sql string, args ...any) ([]Deposit, error) {
	rows, err := s.front.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("load deposits: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanDeposit)
	if err != nil {
		return nil, fmt.Errorf("load deposits: %w", err)
	}
	return list, nil
}

func scanDeposit(row pgx.CollectableRow) (Deposit, error) {
	var d Deposit
	var signature, account, mint, source, renter, reference []byte
	var outer, inner, sub int32
	var slot int64
	var amount, state string
	if err := row.Scan(&signature, &outer, &inner, &sub, &account, &mint, &amount, &source, &slot, &d.Time, &state, &renter, &reference, &d.Reason); err != nil {
		return d, err
	}
	d.Signature, d.Place, d.Slot, d.State = chain.Signature(signature), chain.Place{Outer: int(outer), Inner: int(inner), Sub: int(sub)}, uint64(slot), DepositState(state)
	copy(d.Account[:], account)
	copy(d.Mint[:], mint)
	copy(d.Source[:], source)
	copy(d.Renter[:], renter)
	copy(d.Reference[:], reference)
	var err error
	d.Amount, err = strconv.ParseUint(amount, 10, 64)
	return d, err
}
