package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Resumption is what a person would book to go on after a halt.
type Resumption struct {
	Halts        []Halt       // that it ends
	Differences  []Difference // that it books
	Gifts        []Difference // that it books too, whatever they are by then: to accounts whose history is not read
	Seen         string       // Differences in one line: it is carried out only while they are these
	Unresolvable string       // why it can't be carried out; "" where it can
}

// Difference is one of books and chain.
type Difference struct {
	What   string       // debit, credit or overpaid
	Books  string       // account of the ledger
	Amount ionet.Amount // base units
	Entry  string       // what is booked, for people

	// Of a debit: the newest credits of just that amount, at most 3. If one of them never
	// happened nothing was taken.
	Credits []Deposit
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
	for i := range list {
		if err := s.planAccount(ctx, &r, &list[i]); err != nil {
			return Resumption{}, err
		}
	}
	if !over.IsZero() {
		r.Differences = append(r.Differences, overpaidDifference(over))
	}
	r.Seen = seenOf(r.Differences)
	if len(halts) == 0 && len(r.Differences) == 0 && len(r.Gifts) == 0 {
		return r, ErrNothingToResume
	}
	return r, nil
}

// planAccount adds what resuming would do about one account.
func (s *Service) planAccount(ctx context.Context, r *Resumption, st *Standing) (err error) {
	d := differenceOf(st.Books, st.Held, st.Booked)
	switch {
	case d.What == "" && st.Note != "" && isHalted(r.Halts, haltAuthority, st.Books):
		r.Unresolvable = fmt.Sprintf("%s: %s: mend the account first", st.Books, st.Note)
	case d.What == "":
	case d.What == "credit" && !s.isScanned(st.Account):
		r.Gifts = append(r.Gifts, d)
	case d.What == "credit" && !st.Whole: // its history is still being read
	default:
		if d.What == "debit" {
			d.Credits, err = s.deposits(ctx, selectOfAmount, st.Account[:], d.Amount.String())
		}
		r.Differences = append(r.Differences, d)
	}
	return err
}

const selectOfAmount = depositColumns + `WHERE account = $1 AND amount = $2::text::numeric ORDER BY created_at DESC, signature, outer_index, inner_index, sub_index LIMIT 3`

// isScanned reports whether others' credits of the account are read from its history.
func (s *Service) isScanned(account ionet.Key) bool {
	return slices.ContainsFunc(s.vaults(), func(v vault) bool { return v.address == account && v.scanned })
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
		return Difference{What: "credit", Books: books, Amount: more, Entry: fmt.Sprintf("debit %s, credit %s", books, ledger.Suspense())}
	}
	less, _ := booked.Sub(held)
	return Difference{What: "debit", Books: books, Amount: less, Entry: fmt.Sprintf("debit %s, credit %s", ledger.WrittenOff(), books)}
}

func overpaidDifference(over ionet.Amount) Difference {
	return Difference{What: "overpaid", Books: ledger.Overpaid().String(), Amount: over, Entry: fmt.Sprintf("debit %s, credit %s", ledger.WrittenOff(), ledger.Overpaid())}
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

// agreeFor is how long a resumption waits for all endpoints to say the same of the vaults.
const agreeFor = 30 * time.Second

// resumeAsked carries out what a person asked for. In one SQL transaction: what he saw
// is booked, the halts are ended. Where the books are not as he saw them any more, or
// endpoints do not agree on what the vaults hold, it is refused, and he has to look again.
func (s *Service) resumeAsked(ctx context.Context, list []vaultStanding, slot uint64) error {
	var id []byte
	var seen, reason string
	var asked time.Time
	err := s.pool.QueryRow(ctx, selectAsked).Scan(&id, &seen, &reason, &asked)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for resumptions: %w", err)
	}
	slot, differ := s.agreeOnVaults(ctx, list, slot)
	if differ != nil && (ctx.Err() != nil || s.now().Before(asked.Add(agreeFor))) {
		s.log.Info("a resumption waits", "reason", differ)
		return ctx.Err()
	}
	refused := ""
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) (err error) {
		refused, err = s.resume(ctx, tx, id, seen, list, slot, differ)
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

// resume is the SQL transaction of a resumption; refused is why it did nothing.
func (s *Service) resume(ctx context.Context, tx pgx.Tx, id []byte, seen string, list []vaultStanding, slot uint64, differ error) (refused string, err error) {
	entry, now, err := s.resumption(ctx, tx, [16]byte(id), list)
	if err != nil {
		return "", err
	}
	if now != seen {
		refused = fmt.Sprintf("the books have changed: you saw %q, now it is %q: look again", seen, now)
	}
	if differ != nil {
		refused = differ.Error()
	}
	for i := range list {
		if list[i].irregular != "" {
			refused = fmt.Sprintf("the %s %s: %s: mend the account first", list[i].name, list[i].address, list[i].irregular)
		}
	}
	if _, err := tx.Exec(ctx, endResumption, id, s.now(), refused); err != nil || refused != "" {
		return refused, err
	}
	if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
		return "", err
	}
	for i := range list {
		st := &list[i]
		if !st.scanned || !st.whole || st.surplus().IsZero() {
			continue
		}
		// What the history tells of this later is not credited on top.
		if _, err := tx.Exec(ctx, insertResumed, id, st.address[:], int64(slot), st.surplus().Int64()); err != nil {
			return "", fmt.Errorf("note what the %s held: %w", st.name, err)
		}
	}
	_, err = tx.Exec(ctx, endHalts, id)
	return "", err
}

const selectAsked = `SELECT id, seen, reason, asked_at FROM resumptions WHERE ended_at IS NULL ORDER BY asked_at, id LIMIT 1`

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
		if d.What == "debit" || st.scanned {
			differences = append(differences, d)
		}
	}
	if over := balances[ledger.Overpaid()]; !over.IsZero() {
		entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.WrittenOff(), Credit: ledger.Overpaid(), Amount: over})
		differences = append(differences, overpaidDifference(over))
	}
	return entry, seenOf(differences), nil
}
