package settlement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Unlock is where a genesis category stands: Total = Released + InFlight + what the
// account holds still, of which Due may be released now.
type Unlock struct {
	Category      string
	Rule          emissions.Unlock
	Total         ionet.Amount
	Unlocked      ionet.Amount // by the end of Month
	Released      ionet.Amount // finally
	InFlight      ionet.Amount // in a signed content whose outcome is open
	Due           ionet.Amount // Unlocked less Released and InFlight
	Month         uint64       // that is over by the chain's time; 0 from genesis on
	Next          int64        // Unix seconds at which more is unlocked; 0: never
	Beneficiaries []ionet.Beneficiary
	Asked         bool   // a release is asked for and not over
	Reason        string // why it waits; "" where it does not
}

// IsManaged reports whether the service releases the category. Of another one only
// its owner can move the tokens, and what left is not known here.
func (u Unlock) IsManaged() bool { return len(u.Beneficiaries) > 0 }

// Unlocks tells where each category stands, in the order of the network file, by
// the finalized chain's time.
func (s *Service) Unlocks(ctx context.Context) ([]Unlock, error) {
	passed, err := s.epochsPassed(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := s.openRequests(ctx)
	if err != nil {
		return nil, err
	}
	var list []Unlock
	for _, a := range s.cfg.Network.Allocation {
		u, err := s.unlockOf(ctx, a, passed)
		if err != nil {
			return nil, err
		}
		u.Reason, u.Asked = requests[a.Category]
		list = append(list, u)
	}
	return list, nil
}

// epochsPassed returns how many epochs have ended by the finalized chain's time, as
// every endpoint tells it: what is released too early can't be called back.
func (s *Service) epochsPassed(ctx context.Context) (uint64, error) {
	now, err := s.cfg.Chain.Time(ctx)
	if err != nil {
		return 0, err
	}
	return emissions.Passed(s.clock, now), nil
}

// unlockOf works out where an allocation stands after that many epochs.
func (s *Service) unlockOf(ctx context.Context, a ionet.Allocation, passed uint64) (Unlock, error) {
	rule, err := emissions.ParseUnlock(a.Unlock)
	if err != nil {
		return Unlock{}, fmt.Errorf("allocation %s: %w", a.Category, err)
	}
	u := Unlock{Category: a.Category, Rule: rule, Total: a.Amount, Month: emissions.Month(passed), Beneficiaries: a.Beneficiaries}
	u.Unlocked = rule.ByMonth(a.Amount, u.Month)
	u.Next = s.nextUnlock(rule, a.Amount, u.Month)
	if !a.IsManaged() {
		return u, nil
	}
	locked, flying := ledger.Locked(a.Category), ledger.UnlockInFlight(a.Category)
	balances, err := ledger.Balances(ctx, s.pool, locked, flying)
	if err != nil {
		return Unlock{}, err
	}
	if balances[locked].IsZero() {
		if known, err := s.knowsGenesis(ctx); err != nil || !known {
			return u, err
		}
	}
	return u, u.settle(balances[locked], balances[flying])
}

// settle works out what was released and what is due. What is neither locked in the
// books any more nor unlocked by the rule was released too early, by others than this
// service: then nothing is due.
func (u *Unlock) settle(locked, flying ionet.Amount) error {
	gone, err := u.Total.Sub(locked)
	if err != nil {
		return fmt.Errorf("allocation %s: more is locked than it was given: %w", u.Category, err)
	}
	u.InFlight = flying
	if u.Released, err = gone.Sub(flying); err != nil {
		return fmt.Errorf("allocation %s: more is on its way than left it: %w", u.Category, err)
	}
	if gone.Cmp(u.Unlocked) < 0 {
		u.Due, err = u.Unlocked.Sub(gone)
	}
	return err
}

// knowsGenesis reports whether the genesis transaction is in the books.
func (s *Service) knowsGenesis(ctx context.Context) (bool, error) {
	var position int64
	if err := s.pool.QueryRow(ctx, selectEpochLane).Scan(&position); err != nil {
		return false, fmt.Errorf("read the epoch lane: %w", err)
	}
	return position > 0, nil
}

// nextUnlock returns when a month ends by which more is unlocked than by this one.
func (s *Service) nextUnlock(rule emissions.Unlock, total ionet.Amount, month uint64) int64 {
	last := rule.Last() / emissions.EpochsPerMonth
	for m := month + 1; m <= last; m++ {
		if rule.ByMonth(total, m) != rule.ByMonth(total, month) {
			return s.clock.EpochEnd(m * emissions.EpochsPerMonth)
		}
	}
	return 0
}

// ErrUnmanaged reports a category that the service can't release: the network file
// names no beneficiaries of it.
var ErrUnmanaged = errors.New("the network file names no beneficiaries")

// RequestRelease asks for a release of what is due of a category, "" for all that
// have beneficiaries, and returns their names: whoever leads makes it. Asking again
// while a release is open changes nothing.
func (s *Service) RequestRelease(ctx context.Context, category string) ([]string, error) {
	var names []string
	for _, a := range s.cfg.Network.Allocation {
		if a.IsManaged() && (category == "" || a.Category == category) {
			names = append(names, a.Category)
		}
	}
	if len(names) == 0 {
		if _, ok := s.cfg.Network.AllocationOf(category); category != "" && !ok {
			return nil, fmt.Errorf("release %s: the network has no such category: want one of %s", category, strings.Join(s.managed(), ", "))
		}
		if category == "" {
			return nil, fmt.Errorf("release what is unlocked: of no category %w", ErrUnmanaged)
		}
		return nil, fmt.Errorf("release %s: %w of it, its owner moves its tokens", category, ErrUnmanaged)
	}
	for _, name := range names {
		id := draw(s.cfg.Rand)
		if _, err := s.pool.Exec(ctx, insertRequest, id[:], name, s.now()); err != nil {
			return nil, fmt.Errorf("ask for the release of %s: %w", name, err)
		}
	}
	return names, nil
}

const insertRequest = `
INSERT INTO unlock_requests (id, category, asked_at) VALUES ($1, $2, $3)
ON CONFLICT (category) WHERE done_at IS NULL DO NOTHING`

// managed returns the categories that have beneficiaries.
func (s *Service) managed() (names []string) {
	for _, a := range s.cfg.Network.Allocation {
		if a.IsManaged() {
			names = append(names, a.Category)
		}
	}
	return names
}

// openRequests returns the categories whose release is asked for and not over, with
// the reason why it waits.
func (s *Service) openRequests(ctx context.Context) (map[string]string, error) {
	rows, err := s.pool.Query(ctx, selectRequests)
	if err != nil {
		return nil, fmt.Errorf("load releases that are asked for: %w", err)
	}
	open := map[string]string{}
	var category, reason string
	_, err = pgx.ForEachRow(rows, []any{&category, &reason}, func() error {
		open[category] = reason
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load releases that are asked for: %w", err)
	}
	return open, nil
}

const selectRequests = `SELECT category, reason FROM unlock_requests WHERE done_at IS NULL`

// closeRequest ends the open release of a category.
func (s *Service) closeRequest(ctx context.Context, category string) error {
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, closeRequestRow, category, s.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("close the release of %s: %w", category, err)
	}
	return nil
}

const closeRequestRow = `UPDATE unlock_requests SET done_at = $2, reason = '' WHERE category = $1 AND done_at IS NULL`

// explainRequest says why the release of a category waits; "" where it does not.
func (s *Service) explainRequest(ctx context.Context, category, was, reason string) error {
	if was == reason {
		return nil
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, markRequest, category, reason)
		return err
	})
	if err != nil {
		return fmt.Errorf("note why the release of %s waits: %w", category, err)
	}
	if reason != "" {
		s.log.Warn("a release waits", "category", category, "reason", reason)
	}
	return nil
}

const markRequest = `UPDATE unlock_requests SET reason = $2 WHERE category = $1 AND done_at IS NULL`

// lockAllocations books what genesis minted to the categories that this service
// releases: the accounts hold it, locked.
func (s *Service) lockAllocations(ctx context.Context, tx pgx.Tx, genesis ionet.Hash, now time.Time) error {
	entry := ledger.Entry{ID: entryID("genesis", genesis), Kind: "genesis"}
	for _, a := range s.cfg.Network.Allocation {
		if a.IsManaged() && !a.Amount.IsZero() {
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.VaultAllocation(a.Category), Credit: ledger.Locked(a.Category), Amount: a.Amount})
		}
	}
	if len(entry.Transfers) == 0 {
		return nil
	}
	if _, err := ledger.Post(ctx, tx, entry, now); err != nil {
		return fmt.Errorf("book the genesis allocation: %w", err)
	}
	return nil
}
