package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/jackc/pgx/v5"
)

// How much of histories one pass reads. A stranger can write as much into a vault's
// history as he pays fees for; he must not hold up the passes with it.
const (
	scanReads   = 64               // transactions
	scanPages   = 8                // of a thousand signatures each
	scanSenders = 8                // transactions read side by side
	scanEvery   = 10 * time.Second // between two looks at an account whose books agree
	maxIdle     = 1 << 16          // signatures remembered that credited nothing
)

// scanner reads the histories of the vaults. What it holds is forgotten with the
// process: credits are rows, and the cursor up to which all is explained is one too.
// Guarded by Service.pass.
type scanner struct {
	walks map[ionet.Key]*walk
	idle  map[chain.Signature]bool
	stray map[ionet.Key]time.Time // references whose history did not tell, since when they rest
	reads int                     // left in this pass
	pages int
}

// walk goes through an account's history from the newest transaction to until, page
// after page, over as many passes as it takes. Where it began is fixed, so that it
// ends, however fast others write: what came later is the next walk's.
type walk struct {
	until  chain.Signature // what is older is read already; zero: nothing is
	slot   uint64          // finalized slot at which it began; 0: none is on
	top    chain.Signature // the newest that it met: until of the next one
	before chain.Signature // end of the last page
	page   []rpc.Entry     // what is left of it
	ended  time.Time       // when the last walk came to its end
	saw    ionet.Amount    // what the account held then beyond the books
	end    chain.Signature // the newest that the last whole walk has seen
	cursor chain.Signature // as the database has it
	loaded bool            // until was read from the database
	gaps   []gap           // what could not be read
	unkept unkept          // what could not be read either, since a walk began at the cursor
	anew   time.Time       // when it last began at the cursor
	forgot ionet.Amount    // surplus after which all was to be read again, last at anew
}

// begin starts the scanner's share of a pass.
func (sc *scanner) begin() {
	if sc.walks == nil {
		sc.walks, sc.idle = map[ionet.Key]*walk{}, map[chain.Signature]bool{}
	}
	sc.reads, sc.pages = scanReads, scanPages
}

func (sc *scanner) of(account ionet.Key) *walk {
	w := sc.walks[account]
	if w == nil {
		w = &walk{}
		sc.walks[account] = w
	}
	return w
}

// scan looks for credits in a vault's history up to the slot of final, and tells
// whether it came to its end, but for gaps. What it finds is booked, each credit once. An
// error means that the history does not tell at the moment: nothing is lost, the next
// pass goes on.
func (s *Service) scan(ctx context.Context, v vault, final finalView) (ended bool, err error) {
	w := s.scanner.of(v.address)
	for {
		if w.slot == 0 {
			if err := s.loadCursor(ctx, v, w); err != nil {
				return false, err
			}
			w.slot, w.top, w.before, w.page = final.slot, chain.Signature{}, chain.Signature{}, nil
		}
		if w.slot > final.slot {
			// What came after the balance was read must not be in the books it is compared with.
			return false, fmt.Errorf("read the history of the %s: the balances are of slot %d, the history was begun at %d: if an endpoint lags this ends by itself", v.name, final.slot, w.slot)
		}
		done, err := s.walkOn(ctx, v, w)
		if rpc.IsUnknownBound(err) {
			// The endpoint has pruned it, or never had it: from the newest to the first
			// that it knows. What was credited before is known by its row.
			w.until, w.slot = chain.Signature{}, 0
			return false, fmt.Errorf("read the history of the %s: it begins anew: %w", v.name, err)
		}
		if err != nil {
			return false, fmt.Errorf("read the history of the %s: %w", v.name, err)
		}
		if !done {
			return false, nil
		}
		began := w.slot
		w.slot, w.ended = 0, s.now()
		if !w.top.IsZero() {
			w.until = w.top
		}
		w.end = w.until
		if began >= final.slot {
			w.loaded = w.loaded && w.unkept.n == 0 // else from the cursor on, to meet those again
			return true, nil
		}
	}
}

// isSettled reports whether the last walk came to its end, and the account held so much
// beyond the books then.
func (w *walk) isSettled(surplus ionet.Amount) bool {
	return w.slot == 0 && !w.ended.IsZero() && surplus == w.saw
}

// isDue reports whether the vault's history has to be looked at in this pass: a walk is
// on, books and balance differ otherwise than after the last one, or it is time.
//
// While the account lacks tokens that is each pass: what came in meanwhile hides a part of
// what is missing, and a person would write off too little. One look at an account that
// nobody writes to is one page; what a pass reads is bounded anyway.
func (w *walk) isDue(now time.Time, surplus, missing ionet.Amount) bool {
	return !w.isSettled(surplus) || !missing.IsZero() || !now.Before(w.ended.Add(scanEvery))
}

// walkOn goes on with a walk as far as this pass may.
func (s *Service) walkOn(ctx context.Context, v vault, w *walk) (done bool, err error) {
	for {
		if len(w.page) == 0 {
			if s.scanner.pages <= 0 {
				return false, nil
			}
			s.scanner.pages--
			page, err := s.cfg.Chain.HistoryPage(ctx, v.address, w.before, w.until, w.slot)
			if err != nil {
				return false, err
			}
			if len(page) == 0 {
				return true, s.fillGaps(ctx, w, w.slot)
			}
			w.before = page[len(page)-1].Signature
			w.page = slices.DeleteFunc(page, func(e rpc.Entry) bool { return e.Slot > w.slot })
			if w.top.IsZero() && len(w.page) > 0 {
				w.top = w.page[0].Signature
			}
			if w.page, err = s.unread(ctx, w.page); err != nil {
				return false, err
			}
			w.page = slices.DeleteFunc(w.page, w.isGap)
			continue
		}
		n := min(len(w.page), s.scanner.reads)
		if n == 0 {
			return false, nil
		}
		s.scanner.reads -= n
		open, err := s.readEntries(ctx, w.page[:n], w.slot)
		if err != nil {
			return false, err
		}
		w.page = w.page[n:]
		w.keep(open)
	}
}

// unread leaves out what failed, what is known by its row, what is a transaction of
// ours, and what was read before and credited nothing.
func (s *Service) unread(ctx context.Context, list []rpc.Entry) ([]rpc.Entry, error) {
	list = slices.DeleteFunc(list, func(e rpc.Entry) bool { return e.Err != nil || s.scanner.idle[e.Signature] })
	if len(list) == 0 {
		return nil, nil
	}
	signatures := make([][]byte, len(list))
	for i := range list {
		signatures[i] = list[i].Signature[:]
	}
	rows, err := s.pool.Query(ctx, selectExplained, signatures)
	if err != nil {
		return nil, fmt.Errorf("look for known transactions: %w", err)
	}
	known, err := collectSignatures(rows)
	if err != nil {
		return nil, fmt.Errorf("look for known transactions: %w", err)
	}
	is := make(map[chain.Signature]bool, len(known))
	for _, k := range known {
		is[k] = true
	}
	return slices.DeleteFunc(list, func(e rpc.Entry) bool { return is[e.Signature] }), nil
}

const selectExplained = `
SELECT signature FROM deposits WHERE signature = ANY ($1::bytea[])
UNION SELECT signature FROM contents WHERE signature = ANY ($1::bytea[])
UNION SELECT signature FROM attempts WHERE signature = ANY ($1::bytea[])`

// rest remembers that a transaction credited nothing.
func (sc *scanner) rest(signature chain.Signature) {
	if len(sc.idle) >= maxIdle {
		clear(sc.idle)
	}
	sc.idle[signature] = true
}

// readCredits reads a transaction, of which of tells the credits, and finds out whose
// they are. One endpoint alone decides nothing: where it tells of a credit every one is
// asked. Its signatures are checked, so that they can't make one up together either.
func (s *Service) readCredits(ctx context.Context, signature chain.Signature, of func(*rpc.Transaction) []credit) ([]credit, error) {
	t, err := s.cfg.Chain.Transaction(ctx, signature)
	if err != nil || len(of(t)) == 0 {
		return nil, err
	}
	if t, err = s.cfg.Chain.Landed(ctx, signature); err != nil {
		return nil, err
	}
	if err := t.Raw.VerifySignatures(); err != nil {
		return nil, fmt.Errorf("transaction %s as the endpoints give it: %w", signature, err)
	}
	list := of(t)
	if err := s.assign(ctx, list); err != nil {
		return nil, err
	}
	return s.fold(list), nil
}

// loadCursor reads how far the account's history is explained, where a walk has to begin
// there.
func (s *Service) loadCursor(ctx context.Context, v vault, w *walk) error {
	if w.loaded {
		return nil
	}
	var signature []byte
	err := s.pool.QueryRow(ctx, selectCursor, v.address[:]).Scan(&signature)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read the cursor of the %s: %w", v.name, err)
	}
	w.until, w.unkept = chain.Signature{}, unkept{}
	copy(w.until[:], signature)
	w.cursor, w.loaded = w.until, true
	return nil
}

const selectCursor = `SELECT signature FROM scans WHERE account = $1`

// explained moves the cursor to where the last whole walk began: at that slot the
// vault held what the books say. Until they agree it stays where it is, so that the
// next walk looks again at all that is not explained: nodes fill gaps in.
func (s *Service) explained(ctx context.Context, v vault) error {
	w := s.scanner.of(v.address)
	if w.end == w.cursor {
		return nil
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, moveCursor, v.address[:], w.end[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("move the cursor of the %s: %w", v.name, err)
	}
	w.cursor = w.end
	return nil
}

const moveCursor = `
INSERT INTO scans (account, signature) VALUES ($1, $2)
ON CONFLICT (account) DO UPDATE SET signature = excluded.signature`

// again lets the next walk of the vault begin at the cursor: it holds so much beyond the
// books, or there are gaps. What credited nothing by one endpoint's word is read again as
// well, once for each surplus, and then now and then.
func (s *Service) again(v vault, surplus ionet.Amount) {
	w, now := s.scanner.of(v.address), s.now()
	late := !now.Before(w.anew.Add(anewFrom))
	if surplus.IsZero() && !late {
		return // the gaps are tried again as they are
	}
	w.loaded = false
	if late || surplus != w.forgot {
		clear(s.scanner.idle)
		w.gaps, w.ended = nil, time.Time{}
		w.anew, w.forgot = now, surplus
	}
}

// scanForWithdrawals reads the fee vault's history up to the slot of final before
// withdrawals are imported: what they took was paid in before.
func (s *Service) scanForWithdrawals(ctx context.Context, paths [][]passedPosition, final finalView) error {
	carried := slices.ContainsFunc(slices.Concat(paths...), func(p passedPosition) bool { return p.content.Kind == chain.KindWithdrawal })
	if !carried {
		return nil
	}
	return s.scanDeposits(ctx, final)
}

// scanDeposits reads the fee vault's history up to the slot of final, before what was paid
// from deposits is imported.
func (s *Service) scanDeposits(ctx context.Context, final finalView) error {
	for _, v := range s.vaults() {
		if v.address != s.cfg.Network.Vaults.Fee {
			continue
		}
		for range scanRounds {
			s.scanner.begin()
			ended, err := s.scan(ctx, v, final)
			if err == nil && ended {
				err = s.scanner.of(v.address).gapsError(v)
			}
			if ended || err != nil {
				return err
			}
		}
	}
	return errors.New("the fee vault's history is being read, for the deposits that withdrawals and sessions were paid from; this goes on by itself")
}

// scanRounds is how many passes' worth of history a recovery reads at once.
const scanRounds = 64
