package settlement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// haltKind says what stopped everything.
type haltKind string

// A halt of either kind stops every transaction that is not signed yet, and the
// resending of those that are. Overpayments stop debts alone, and are no rows: the
// ledger's account of them is as durable.
const (
	haltDebit     haltKind = "debit"     // tokens left a vault by no content of ours
	haltAuthority haltKind = "authority" // others could take tokens from it, or it is none any more
)

// raise makes a halt durable, once, after every endpoint has said the same.
func (s *Service) raise(ctx context.Context, kind haltKind, st *vaultStanding, detail string, final finalView) error {
	var known bool
	if err := s.pool.QueryRow(ctx, selectRaised, string(kind), st.account.String()).Scan(&known); err != nil {
		return fmt.Errorf("look for halts: %w", err)
	}
	if known {
		return nil
	}
	// Whoever has lost the lease meanwhile reads another leader's books.
	if err := s.asLeader(ctx, func(pgx.Tx, int64) error { return nil }); err != nil {
		return err
	}
	if err := s.confirmWrong(ctx, kind, st, final); err != nil {
		s.view.reset()
		return err
	}
	id := draw(s.cfg.Rand)
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, insertHalt, id[:], string(kind), st.account.String(), fmt.Sprintf("%s %s: %s", st.name, st.address, detail), int64(final.slot), s.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("halt: %w", err)
	}
	return nil
}

const selectRaised = `SELECT EXISTS (SELECT 1 FROM halts WHERE kind = $1 AND object = $2 AND resumed_by IS NULL)`

const insertHalt = `
INSERT INTO halts (id, kind, object, detail, slot, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING`

// Halt is why nothing is signed.
type Halt struct {
	Kind   string // debit or authority
	Object string // the vault's account in the ledger
	Detail string
	Slot   uint64 // finalized slot at which it was seen
	Since  time.Time
}

// Halts returns those that no person has ended.
func (s *Service) Halts(ctx context.Context) ([]Halt, error) { return readHalts(ctx, s.pool) }

func readHalts(ctx context.Context, q ledger.Querier) ([]Halt, error) {
	rows, err := q.Query(ctx, selectHalts)
	if err != nil {
		return nil, fmt.Errorf("load halts: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Halt, error) {
		var h Halt
		var slot int64
		err := row.Scan(&h.Kind, &h.Object, &h.Detail, &slot, &h.Since)
		h.Slot = uint64(slot)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("load halts: %w", err)
	}
	return list, nil
}

const selectHalts = `SELECT kind, object, detail, slot, created_at FROM halts WHERE resumed_by IS NULL ORDER BY created_at, id`

// checkHalts ends the pass where a halt is open.
func (s *Service) checkHalts(ctx context.Context) error {
	list, err := s.Halts(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	var why []string
	for _, h := range list {
		why = append(why, h.Detail)
	}
	return s.halt(strings.Join(why, "; "))
}

// checkMaySign refuses to sign while a halt is open, in the SQL transaction that would
// make what is signed durable. The lease's row orders it against the one that raises.
func checkMaySign(ctx context.Context, tx pgx.Tx) error {
	var why *string
	if err := tx.QueryRow(ctx, selectWhy).Scan(&why); err != nil {
		return fmt.Errorf("look for halts: %w", err)
	}
	if why != nil {
		return fmt.Errorf("%w: %s", ErrHalted, *why)
	}
	return nil
}

const selectWhy = `SELECT min(detail) FROM halts WHERE resumed_by IS NULL`

// checkMayPay refuses to sign a debt while payees were overpaid, as checkMaySign does.
func checkMayPay(ctx context.Context, tx pgx.Tx) error {
	over, err := ledger.Balance(ctx, tx, ledger.Overpaid())
	if err == nil && !over.IsZero() {
		err = fmt.Errorf("%w: %s", ErrHalted, overpaidDetail(over))
	}
	return err
}

func overpaidDetail(over ionet.Amount) string {
	return fmt.Sprintf("payees were paid %s base units more than was theirs: the ledger's transfers from %s name the contents that did it", over, ledger.Overpaid())
}

// checkOverpaid stops payments where payees got more than they earned: something
// else signs with our keys, or a copy of this database does. The epoch lane goes on.
func (s *Service) checkOverpaid(ctx context.Context) error {
	over, err := ledger.Balance(ctx, s.pool, ledger.Overpaid())
	if err != nil || over.IsZero() {
		s.metrics.halted.Set(0)
		return err
	}
	return s.halt(overpaidDetail(over))
}

// halt says why no debt is paid.
func (s *Service) halt(why string) error {
	if s.view.why() != why {
		s.log.Error("sending is halted", "reason", why)
		s.emit(Event{Kind: EventHalted, Detail: why})
	}
	s.metrics.halted.Set(1)
	s.view.set(false, why)
	return fmt.Errorf("%w: %s", ErrHalted, why)
}

// WhyHalted returns why this network signs nothing, or no debt, as the database has it:
// any instance can answer. "" where nothing stops it.
func (s *Service) WhyHalted(ctx context.Context) (string, error) { return s.whyHalted(ctx, s.pool) }

func (s *Service) whyHalted(ctx context.Context, q ledger.Querier) (string, error) {
	list, err := readHalts(ctx, q)
	if err != nil {
		return "", err
	}
	var why []string
	for _, h := range list {
		why = append(why, h.Detail)
	}
	over, err := ledger.Balance(ctx, q, ledger.Overpaid())
	if err != nil {
		return "", err
	}
	if !over.IsZero() {
		why = append(why, overpaidDetail(over))
	}
	return strings.Join(why, "; "), nil
}

// Standing is how an account of ours stands against the books, where that differs.
type Standing struct {
	Account ionet.Key
	Books   string // its account in the ledger
	Held    ionet.Amount
	Booked  ionet.Amount
	Whole   bool // its history was read to the slot
	Note    string
	Slot    uint64
}

// Standings returns what differs, or is not read yet, as the leader saw it last.
func (s *Service) Standings(ctx context.Context) ([]Standing, error) {
	return readStandings(ctx, s.pool)
}

func readStandings(ctx context.Context, q ledger.Querier) ([]Standing, error) {
	rows, err := q.Query(ctx, selectStandings)
	if err != nil {
		return nil, fmt.Errorf("load how the vaults stand: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Standing, error) {
		var st Standing
		var account []byte
		var held, booked, slot int64
		if err := row.Scan(&account, &st.Books, &held, &booked, &st.Whole, &st.Note, &slot); err != nil {
			return st, err
		}
		copy(st.Account[:], account)
		st.Slot = uint64(slot)
		var first, second error
		st.Held, first = ionet.NewAmount(uint64(held))
		st.Booked, second = ionet.NewAmount(uint64(booked))
		return st, errors.Join(first, second)
	})
	if err != nil {
		return nil, fmt.Errorf("load how the vaults stand: %w", err)
	}
	return list, nil
}

const selectStandings = `SELECT account, books, held, booked, whole, note, slot FROM standings WHERE note <> '' ORDER BY books`

// Health is whether the service settles.
type Health struct {
	Ready     bool       // this instance leads, and its lanes are fenced
	Halted    string     // why nothing, or no debt, is signed; "" where it may
	Receipts  string     // why nothing is taken into the receipt log, as this instance sees it; "" where it is
	Standings []Standing // vaults that differ from the books, or whose history is not read yet
}

// Health reads it. Outsiders may ask as often as they like: it takes three small
// queries of the connections that are theirs.
func (s *Service) Health(ctx context.Context) (h Health, err error) {
	h.Ready, h.Receipts = s.view.isReady(), s.whyNoReceipts()
	if h.Halted, err = s.whyHalted(ctx, s.front); err != nil {
		return h, err
	}
	h.Standings, err = readStandings(ctx, s.front)
	return h, err
}
