package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Resumption is what a person would book to go on after a halt.
type Resumption struct {
	Halts        []Halt       // that it ends
	Differences  []Difference // that it books
	Seen         string       // the differences in one line: it is carried out only while they are these
	Unresolvable string       // why it can't be carried out; "" where it can
}

// Difference is one of books and chain.
type Difference struct {
	What   string       // debit, credit or overpaid
	Books  string       // account of the ledger
	Amount ionet.Amount // base units
	Entry  string       // what is booked, for people
}

// ErrNothingToResume reports a service that is not halted, and whose books agree.
var ErrNothingToResume = errors.New("nothing is halted, and books and chain agree")

// PlanResume tells what resuming would book, as the leader saw it last.
func (s *Service) PlanResume(ctx context.Context) (Resumption, error) {
	halts, err := s.Halts(ctx)
	if err != nil {
		return Resumption{}, err
	}
	list, err := s.Standings(ctx)
	if err != nil {
		return Resumption{}, err
	}
	over, err := ledger.Balance(ctx, s.pool, ledger.Overpaid())
	if err != nil {
		return Resumption{}, err
	}
	r := Resumption{Halts: halts}
	for _, st := range list {
		d := differenceOf(st.Books, st.Held, st.Booked)
		if d.What == "credit" && !st.Whole {
			continue // its history is still being read
		}
		if d.What != "" {
			r.Differences = append(r.Differences, d)
		} else if st.Note != "" && isHalted(halts, haltAuthority, st.Books) {
			r.Unresolvable = fmt.Sprintf("%s: %s: mend the account first", st.Books, st.Note)
		}
	}
	if !over.IsZero() {
		r.Differences = append(r.Differences, overpaidDifference(over))
	}
	r.Seen = seenOf(r.Differences)
	if len(halts) == 0 && len(r.Differences) == 0 {
		return r, ErrNothingToResume
	}
	return r, nil
}

func isHalted(list []Halt, kind haltKind, object string) bool {
	for _, h := range list {
		if h.Kind == string(kind) && h.Object == object {
			return true
		}
	}
	return false
}

func differenceOf(books string, held, booked ionet.Amount) Difference {
	if more, err := held.Sub(booked); err == nil {
		if more.IsZero() {
			return Difference{}
		}
		return Difference{"credit", books, more, fmt.Sprintf("debit %s, credit %s", books, ledger.Suspense())}
	}
	less, _ := booked.Sub(held)
	return Difference{"debit", books, less, fmt.Sprintf("debit %s, credit %s", ledger.WrittenOff(), books)}
}

func overpaidDifference(over ionet.Amount) Difference {
	return Difference{"overpaid", ledger.Overpaid().String(), over, fmt.Sprintf("debit %s, credit %s", ledger.WrittenOff(), ledger.Overpaid())}
}

// seenOf names differences in one line, in whatever order they were found.
func seenOf(list []Difference) string {
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = fmt.Sprintf("%s %s %s", d.What, d.Books, d.Amount)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// AskResume has the leader book the differences that a person saw, end the halts and
// go on. Reason is what he found out; it stays with the books.
func (s *Service) AskResume(ctx context.Context, seen, reason string) (id [16]byte, err error) {
	id = draw(s.cfg.Rand)
	if strings.TrimSpace(reason) == "" {
		return id, errors.New("resume: give the reason: it stays with the books")
	}
	if _, err := s.pool.Exec(ctx, insertResumption, id[:], reason, seen, s.now()); err != nil {
		return id, fmt.Errorf("ask to resume: %w", err)
	}
	return id, nil
}

const insertResumption = `INSERT INTO resumptions (id, reason, seen, asked_at) VALUES ($1, $2, $3, $4)`

// Resumed tells what became of the resumption: done, or refused with a sentence.
func (s *Service) Resumed(ctx context.Context, id [16]byte) (done bool, refused string, err error) {
	if err := s.pool.QueryRow(ctx, selectResumption, id[:]).Scan(&done, &refused); err != nil {
		return false, "", fmt.Errorf("look for resumption %x: %w", id, err)
	}
	return done, refused, nil
}

const selectResumption = `SELECT ended_at IS NOT NULL, refused FROM resumptions WHERE id = $1`

// Reconcile makes a pass up to the books against the vaults where nobody else leads,
// and nothing else, so that resuming needs no running service. It reports whether it
// could.
func (s *Service) Reconcile(ctx context.Context) (led bool, err error) {
	s.pass.Lock()
	defer s.pass.Unlock()
	held, err := s.hold(ctx)
	if err != nil || !held {
		return false, err
	}
	_, final, err := s.catchUp(ctx)
	if err != nil {
		return true, err
	}
	if err := s.reconcile(ctx, final); err != nil && !errors.Is(err, ErrHalted) {
		return true, err
	}
	return true, nil
}

// resumeAsked carries out what a person asked for. In one SQL transaction: what he saw
// is booked, the halts are ended. Where the books are not as he saw them any more it
// is refused, and he has to look again.
func (s *Service) resumeAsked(ctx context.Context, list []vaultStanding) error {
	var id []byte
	var seen, reason string
	err := s.pool.QueryRow(ctx, selectAsked).Scan(&id, &seen, &reason)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for resumptions: %w", err)
	}
	refused := ""
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		refused = ""
		entry, now, err := s.resumption(ctx, tx, [16]byte(id), list)
		if err != nil {
			return err
		}
		if now != seen {
			refused = fmt.Sprintf("the books have changed: you saw %q, now it is %q: look again", seen, now)
		}
		for i := range list {
			if list[i].irregular != "" {
				refused = fmt.Sprintf("the %s %s: %s: mend the account first", list[i].name, list[i].address, list[i].irregular)
			}
		}
		if _, err := tx.Exec(ctx, endResumption, id, s.now(), refused); err != nil || refused != "" {
			return err
		}
		if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
			return err
		}
		for i := range list {
			if err := s.skipHistory(ctx, tx, &list[i]); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, endHalts, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	s.log.Warn("a person asked to resume", "seen", seen, "reason", reason, "refused", refused)
	if refused == "" {
		s.emit(Event{Kind: EventResumed, Detail: reason})
		s.noted = noted{}
		s.view.set(false, "")
	}
	return nil
}

const selectAsked = `SELECT id, seen, reason FROM resumptions WHERE ended_at IS NULL ORDER BY asked_at, id LIMIT 1`

const endResumption = `UPDATE resumptions SET ended_at = $2, refused = $3 WHERE id = $1`

const endHalts = `UPDATE halts SET resumed_by = $1 WHERE resumed_by IS NULL`

// resumption makes the entry that brings the books to where the chain is, and names
// the differences that it books.
func (s *Service) resumption(ctx context.Context, tx pgx.Tx, id [16]byte, list []vaultStanding) (ledger.Entry, string, error) {
	accounts := []ledger.Account{ledger.Overpaid(), ledger.WrittenOff(), ledger.Suspense()}
	for i := range list {
		accounts = append(accounts, list[i].account)
	}
	balances, err := ledger.Lock(ctx, tx, accounts...)
	if err != nil {
		return ledger.Entry{}, "", err
	}
	entry := ledger.Entry{ID: ionet.HashOf([]byte("io/entry/resumed/"), id[:]), Kind: "resumed"}
	var differences []Difference
	for i := range list {
		st := &list[i]
		d := differenceOf(st.account.String(), st.amount, balances[st.account])
		switch {
		case d.What == "credit" && (st.whole || !st.scanned):
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: st.account, Credit: ledger.Suspense(), Amount: d.Amount})
		case d.What == "debit":
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.WrittenOff(), Credit: st.account, Amount: d.Amount})
		default:
			continue
		}
		differences = append(differences, d)
	}
	if over := balances[ledger.Overpaid()]; !over.IsZero() {
		entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.WrittenOff(), Credit: ledger.Overpaid(), Amount: over})
		differences = append(differences, overpaidDifference(over))
	}
	return entry, seenOf(differences), nil
}

// skipHistory lets no later walk credit what a person has booked to suspense: from now
// on the vault's history counts as explained up to where it was read.
func (s *Service) skipHistory(ctx context.Context, tx pgx.Tx, st *vaultStanding) error {
	if !st.scanned || !st.whole || st.surplus().IsZero() {
		return nil
	}
	top := s.scanner.of(st.address).end
	if top.IsZero() {
		return nil
	}
	if _, err := tx.Exec(ctx, moveCursor, st.address[:], top[:]); err != nil {
		return fmt.Errorf("move the cursor of the %s: %w", st.name, err)
	}
	return nil
}
