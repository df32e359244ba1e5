package settlement

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// passedPosition is a position that the chain passed, as its history tells.
type passedPosition struct {
	lane    lane // as it was open
	content chain.Content
	landing landing
}

// recover brings the database to where the chain is, for lanes whose state no
// stored content explains: it is an older copy, or a new one. Nothing of it is
// signed or sent. In this order, each durable before the next:
//
//	epochs         each with its book, so that everybody's earnings are known;
//	deposits       where withdrawals are to be imported: they are paid from those;
//	receipt log    what this database lacks of it, so that what sessions gave back to renters,
//	               who withdrew it, and the fees that payees were paid are known;
//	freed debts    of contents that this database knew at positions which other
//	               contents won: what they carried may be in one of those;
//	all positions  of the other lanes, one by one: payments that this database
//	               never signed are taken from what is owed.
//
// Cut anywhere it begins again where the lanes' rows are.
func (s *Service) recover(ctx context.Context, lanes []lane, final finalView) error {
	paths := make([][]passedPosition, len(lanes))
	for i, l := range lanes {
		path, err := s.walk(ctx, l, final)
		if err != nil {
			return err
		}
		paths[i] = path
		s.log.Info("lane went on without this database", "lane", l.name, "from", l.position, "to", l.position+uint64(len(path)))
	}
	for i, l := range lanes {
		if l.name == epochLane {
			if err := s.resolvePath(ctx, paths[i], final.slot); err != nil {
				return err
			}
		}
	}
	if err := s.scanForWithdrawals(ctx, paths, final); err != nil {
		return err
	}
	s.doubtLog() // the database is not the one that it was compared with
	if err := s.restoreLog(ctx, final); err != nil {
		return err
	}
	if err := s.freePassed(ctx, paths); err != nil {
		return err
	}
	for i, l := range lanes {
		if l.name != epochLane {
			if err := s.resolvePath(ctx, paths[i], final.slot); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) resolvePath(ctx context.Context, path []passedPosition, slot uint64) error {
	for i := range path {
		if err := s.resolve(ctx, path[i:i+1], slot); err != nil {
			return err
		}
	}
	last := path[len(path)-1]
	s.emit(Event{Kind: EventRecovery, Lane: last.lane.name, Position: last.lane.position, Count: len(path), Signature: last.landing.signature,
		Detail: fmt.Sprintf("%d positions read from the chain's history", len(path))})
	return nil
}

// freePassed frees the debts of all contents that lost a position of the paths.
func (s *Service) freePassed(ctx context.Context, paths [][]passedPosition) error {
	var passed []*resolved
	for _, p := range slices.Concat(paths...) {
		passed = append(passed, &resolved{lane: p.lane, content: p.content, hash: p.content.Hash()})
	}
	return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		entries, err := s.freeLosers(ctx, tx, passed)
		if err != nil {
			return err
		}
		_, err = ledger.PostAll(ctx, tx, entries, s.now())
		return err
	})
}

// walk reads the lane's history back to its position in the database and
// returns what passed each position since, the oldest first. Each content is
// computed from the transaction that landed and proved by the key that the
// lane was handed to: C(n+1) holds the content, K(n+1) follows from C(n+1).
func (s *Service) walk(ctx context.Context, l lane, final finalView) ([]passedPosition, error) {
	var found []laneStep
	from, err := s.public(ctx, l.c)
	if err != nil {
		return nil, err
	}
	for st, err := range s.stepsOf(ctx, l, final.slot, 0) {
		if err != nil {
			return nil, err
		}
		found = append(found, st)
		if st.step.From == from {
			break
		}
	}
	if len(found) == 0 || found[len(found)-1].step.From != from {
		return nil, fmt.Errorf("lane %s (%s): its history at the RPC endpoint does not reach back to position %d: add an endpoint with full history (--rpc)", l.name, l.address, l.position)
	}
	if found[0].step.To != final.states[l.name] {
		return nil, fmt.Errorf("lane %s (%s): its history at the RPC endpoint is behind its state; this ends by itself", l.name, l.address)
	}
	slices.Reverse(found)
	var path []passedPosition
	for _, st := range found {
		content, err := st.decoded.Content(l.address, l.position, l.c)
		if err != nil {
			return nil, fmt.Errorf("lane %s position %d: %w", l.name, l.position, err)
		}
		next := content.Next()
		keys, err := s.signers.publics(ctx, []ionet.Hash{l.c, next})
		if err != nil {
			return nil, err
		}
		if st.step.From != keys[0] || st.step.To != keys[1] {
			return nil, fmt.Errorf("lane %s position %d: transaction %s steps from %s to %s, its content %s leads to %s: the lane secret is not that of this network, or another program signs with it",
				l.name, l.position, st.landing.signature, st.step.From, st.step.To, content.Hash(), keys[1])
		}
		path = append(path, passedPosition{l, content, st.landing})
		l.position, l.c = l.position+1, next
	}
	return path, nil
}

// laneStep is a transaction that landed and stepped a lane.
type laneStep struct {
	decoded *chain.Decoded
	step    chain.Step
	landing landing
}

// stepsOf yields the finalized transactions that stepped l up to slot at least, the
// newest first, and ends after the first error. Others may name the lane's address in
// theirs; those step nothing and are left out. It reads no more than most; 0: all.
func (s *Service) stepsOf(ctx context.Context, l lane, slot uint64, most int) iter.Seq2[laneStep, error] {
	return func(yield func(laneStep, error) bool) {
		read := 0
		for e, err := range s.cfg.Chain.History(ctx, l.address, chain.Signature{}, slot) {
			if err != nil {
				yield(laneStep{}, fmt.Errorf("read the history of lane %s: %w", l.name, err))
				return
			}
			if e.Err != nil {
				continue
			}
			if read++; most > 0 && read > most {
				return
			}
			st, err := s.readStep(ctx, l, e)
			if err != nil {
				yield(laneStep{}, fmt.Errorf("read the history of lane %s: %w", l.name, err))
				return
			}
			if st != nil && !yield(*st, nil) {
				return
			}
		}
	}
}

// laneEntry is a transaction in the history of a lane.
type laneEntry struct {
	lane      ionet.Key
	signature chain.Signature
}

// maxKnown bounds how many transactions are kept between two tries of a recovery.
const maxKnown = 1 << 18

// readStep reads one transaction of the lane's history; nil where it does not
// step the lane. What was read is kept until a recovery succeeds: strangers can
// write more into a history than one try gets through before some call fails.
func (s *Service) readStep(ctx context.Context, l lane, e rpc.Entry) (*laneStep, error) {
	key := laneEntry{l.address, e.Signature}
	if st, ok := s.known[key]; ok {
		return st, nil
	}
	st, err := s.fetchStep(ctx, l, e)
	if err != nil {
		return nil, err
	}
	if s.known == nil {
		s.known = map[laneEntry]*laneStep{}
	}
	if len(s.known) < maxKnown {
		s.known[key] = st
	}
	return st, nil
}

func (s *Service) fetchStep(ctx context.Context, l lane, e rpc.Entry) (*laneStep, error) {
	t, err := s.cfg.Chain.Transaction(ctx, e.Signature)
	if err != nil {
		return nil, err
	}
	d, err := chain.Decode(t.Bytes)
	if err != nil {
		if handsOver(t.Raw, l.address) {
			return nil, fmt.Errorf("transaction %s hands the lane over, but is none of ours: %w", e.Signature, err)
		}
		return nil, nil
	}
	for _, st := range d.Plan.Steps {
		if st.Lane == l.address {
			return &laneStep{d, st, landing{e.Signature, e.Slot}}, nil
		}
	}
	return nil, nil
}

// The instruction of the token program that steps a lane, and the authority that
// it sets; see chain.
const (
	setAuthority = 6
	mintTokens   = 0
)

// handsOver reports whether a transaction sets the lane's mint authority. Others
// may name the lane in any other instruction: those step nothing.
func handsOver(t *chain.Raw, address ionet.Key) bool {
	for _, in := range t.Instructions {
		if in.Program == chain.TokenProgram() && len(in.Data) > 1 && in.Data[0] == setAuthority && in.Data[1] == mintTokens &&
			len(in.Accounts) > 1 && in.Accounts[0].Key == address && in.Accounts[1].Signer {
			return true
		}
	}
	return false
}

// forDisplay is how many transactions of a lane's history are read where only people
// want to know: strangers can write any number of theirs into it.
const forDisplay = 32

// findStep looks up the transaction that passed l's open position, among so many that
// stepped l or name it; 0: all.
func (s *Service) findStep(ctx context.Context, l lane, slot uint64, most int) (laneStep, error) {
	from, err := s.public(ctx, l.c)
	if err != nil {
		return laneStep{}, err
	}
	for st, err := range s.stepsOf(ctx, l, slot, most) {
		if err != nil {
			return laneStep{}, err
		}
		if st.step.From == from {
			return st, nil
		}
	}
	return laneStep{}, rpc.ErrNotFound
}

// importPayments stores the payments of a content that this database never
// signed, as paid. Payees are found by the token accounts that they are paid to.
func (s *Service) importPayments(ctx context.Context, tx pgx.Tx, c chain.Content) ([]payment, error) {
	payees, err := s.payeesByAccount(ctx, tx, c)
	if err != nil {
		return nil, fmt.Errorf("import %s %s: %w", c.Kind, c.Hash(), err)
	}
	var list []payment
	for i, m := range c.Movements {
		payee, ok := payees[m.Destination]
		if !ok {
			missing := "an epoch's book is missing"
			if c.Kind == chain.KindFees {
				missing = "the receipt log lacks what he earned"
			}
			return nil, fmt.Errorf("import %s %s: movement %d pays %s, which is the token account of nobody who ever earned: %s, or this is not the network's database", c.Kind, c.Hash(), i, m.Destination, missing)
		}
		list = append(list, payment{payee, m.Destination, m.Amount})
	}
	var rows paymentRows
	rows.add(c.Kind, c.Hash(), PaymentPaid, list)
	return list, rows.insert(ctx, tx, s.now())
}

// payeesByAccount maps token accounts to everybody who ever earned. The map is
// kept while lanes catch up, as it costs a derivation for each of them; an account
// that is not in it may be of one who earned since. A claim names its wallet itself.
func (s *Service) payeesByAccount(ctx context.Context, tx pgx.Tx, c chain.Content) (map[ionet.Key]ionet.Key, error) {
	memo, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		return nil, err
	}
	if _, ok := memo.(proofs.WithdrawalMemo); ok {
		renter, err := s.importWithdrawal(ctx, tx, c)
		return map[ionet.Key]ionet.Key{c.Movements[0].Destination: renter}, err
	}
	if m, ok := memo.(proofs.ClaimMemo); ok {
		return map[ionet.Key]ionet.Key{chain.TokenAccount(m.Wallet, s.cfg.Network.Mint): m.Wallet}, nil
	}
	if c.Kind == chain.KindUnlock {
		return s.beneficiariesByAccount(), nil
	}
	if s.earners != nil && !slices.ContainsFunc(c.Movements, func(m chain.Movement) bool { return s.earners[m.Destination].IsZero() }) {
		return s.earners, nil
	}
	rows, err := tx.Query(ctx, selectEarners)
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	payees := map[ionet.Key]ionet.Key{}
	var payee []byte
	_, err = pgx.ForEachRow(rows, []any{&payee}, func() error {
		payees[chain.TokenAccount(ionet.Key(payee), s.cfg.Network.Mint)] = ionet.Key(payee)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	if err := s.addFeeEarners(ctx, tx, payees); err != nil {
		return nil, err
	}
	s.earners = payees
	return payees, nil
}

// addFeeEarners adds everybody who ever earned fees: an account of the ledger stays when
// it is empty.
func (s *Service) addFeeEarners(ctx context.Context, tx pgx.Tx, payees map[ionet.Key]ionet.Key) error {
	rows, err := tx.Query(ctx, selectFeeEarners)
	if err != nil {
		return fmt.Errorf("load payees of fees: %w", err)
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
		payee, err := ionet.ParseKey(strings.TrimPrefix(name, feesPrefix))
		payees[chain.TokenAccount(payee, s.cfg.Network.Mint)] = payee
		return err
	})
	if err != nil {
		return fmt.Errorf("load payees of fees: %w", err)
	}
	return nil
}

const selectFeeEarners = `SELECT account FROM ledger_balances WHERE starts_with(account, 'fees:')`

const selectEarners = `SELECT DISTINCT payee FROM verdicts WHERE amount > 0`

// Recover makes passes until every lane is explained and fenced, and nothing
// else: no epoch is closed, nobody is paid. Serving does the same at its start;
// this is for a person who wants to see that it succeeds.
func (s *Service) Recover(ctx context.Context) error {
	waited := s.now().Add(2 * s.cfg.LeaseTime)
	for {
		done, err := s.recoverOnce(ctx)
		switch {
		case done:
			return nil
		case err != nil && !errors.Is(err, errNotLeader):
			return err
		case err != nil && s.now().After(waited):
			return fmt.Errorf("%w: stop the running ionetd first", err)
		}
		if err := sleep(ctx, s.cfg.Poll); err != nil {
			return err
		}
	}
}

func (s *Service) recoverOnce(ctx context.Context) (bool, error) {
	s.pass.Lock()
	defer s.pass.Unlock()
	held, err := s.hold(ctx)
	if err != nil {
		return false, err
	}
	if !held {
		return false, errNotLeader
	}
	lanes, final, err := s.catchUp(ctx)
	if err != nil {
		return false, err
	}
	if err := s.restoreLog(ctx, final); err != nil {
		return false, err
	}
	if err := s.reconcile(ctx, final); err != nil {
		return false, err
	}
	live, err := s.tend(ctx)
	if err != nil {
		return false, err
	}
	fenced, err := s.fence(ctx, lanes, live)
	return fenced && err == nil, err
}
