package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// attempt is one signed transaction for the open positions of its lanes.
type attempt struct {
	message   ionet.Hash
	kind      chain.Kind
	tx        []byte
	signature chain.Signature
	blockhash rpc.Blockhash
	steps     []step
	payments  []payment  // the debts of its content, where that is new
	purpose   ionet.Hash // see waiting; zero where it is none of launchAll's
	sent      bool
	reason    string // why a node refused it; "" where none did
	created   time.Time
}

// step is an attempt's part in one lane.
type step struct {
	lane    lane
	content chain.Content
}

// draft is a transaction before it is signed: what it does, and where.
type draft struct {
	kind      chain.Kind
	movements []chain.Movement
	memo      string
	lanes     []lane
	payments  []payment                      // the debts that its content carries, one for each movement; none where a content is signed again
	without   func(i int) (d draft, ok bool) // the draft without payment i; nil where it makes no sense without it
}

// errPositionTaken reports a lane that moved, or a position with a live attempt.
var errPositionTaken = errors.New("the position is passed, or has a live attempt")

// launch is launchAll for one draft.
func (s *Service) launch(ctx context.Context, d draft) error { return s.launchAll(ctx, []draft{d}) }

// launchAll takes drafts the whole way to the network, all of them together:
//
//	prepare, rehearse  nothing is durable; a crash loses nothing
//	sign, read back    the same: a signature that is not persisted has left to nobody. Until it
//	                   is, the same bytes wait in memory to be asked for again
//	publish            the contents: files that nobody refers to yet
//	persist            one SQL transaction; from its commit on the attempts are live: whoever
//	                   leads resends their bytes until the lane or the dead rule ends them
//	send               as often as needed, always the same bytes
//
// A draft that can't go on is left out, with its error; the others go on.
func (s *Service) launchAll(ctx context.Context, drafts []draft) error {
	if len(drafts) == 0 {
		return nil
	}
	drafts, resting := s.unrefused(drafts)
	if len(drafts) == 0 {
		return resting
	}
	ready, failed := s.prepareAll(ctx, drafts)
	failed = errors.Join(failed, resting)
	attempts, err := s.signAll(ctx, ready)
	failed = errors.Join(failed, err)
	if len(attempts) == 0 {
		return failed
	}
	if err := s.publishContents(ctx, attempts...); err != nil {
		return errors.Join(failed, fmt.Errorf("prepare %s: %w", kindsOf(attempts), err))
	}
	live, err := s.persistAll(ctx, attempts)
	s.fees.took(live, err)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("persist %s: %w", kindsOf(attempts), err))
	}
	for _, a := range attempts {
		s.waiting.forget(a.purpose)
	}
	if len(live) < len(attempts) {
		failed = errors.Join(failed, fmt.Errorf("persist %s: %d of %d: %w", kindsOf(attempts), len(attempts)-len(live), len(attempts), errPositionTaken))
	}
	return errors.Join(failed, s.sendAll(ctx, live))
}

// kindsOf names attempts in errors.
func kindsOf(list []*attempt) string {
	if len(list) == 1 {
		return list[0].kind.String()
	}
	return fmt.Sprintf("%d transactions", len(list))
}

// unsigned is a transaction that is ready to be signed.
type unsigned struct {
	draft     draft
	steps     []step
	message   []byte
	blockhash rpc.Blockhash
	tx        []byte // the message with the signatures that are there; nil where nobody was asked yet
	purpose   ionet.Hash
	terms     terms
}

// prepareAll makes the transactions of drafts over one blockhash, side by side.
func (s *Service) prepareAll(ctx context.Context, drafts []draft) ([]unsigned, error) {
	blockhash, err := s.cfg.Chain.LatestBlockhash(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", drafts[0].kind, err)
	}
	price := s.priorityPrice(ctx, drafts)
	list := make([]*unsigned, len(drafts))
	errs := make([]error, len(drafts))
	s.each(len(drafts), func(i int) {
		if list[i], errs[i] = s.prepare(ctx, drafts[i], blockhash, price); errs[i] != nil {
			errs[i] = fmt.Errorf("prepare %s: %w", drafts[i].kind, errs[i])
		}
	})
	var ready []unsigned
	for _, u := range list {
		if u != nil {
			ready = append(ready, *u)
		}
	}
	return ready, errors.Join(errs...)
}

// each calls f for 0..n-1, Config.Senders of them at once.
func (s *Service) each(n int, f func(i int)) {
	if s.cfg.Senders == 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var g errgroup.Group
	g.SetLimit(s.cfg.Senders)
	for i := range n {
		g.Go(func() error {
			f(i)
			return nil
		})
	}
	g.Wait()
}

// prepare makes the transaction of d, after a simulation of it unsigned, which
// nobody who sees it could send. The simulation sets the limits. A payee that
// breaks it is held, and the others are tried again: nothing was signed yet. It
// returns nil where nobody is left to pay.
func (s *Service) prepare(ctx context.Context, d draft, blockhash rpc.Blockhash, price uint64) (*unsigned, error) {
	for {
		plan, steps, err := s.plan(ctx, d)
		if err != nil {
			return nil, err
		}
		plan.Blockhash, plan.Budget = blockhash.Hash, plan.DefaultBudget()
		plan.Budget.PriorityLamports = s.priorityLamports(price, plan.Budget.ComputeUnits)
		message, err := plan.Message()
		if errors.Is(err, chain.ErrTooLarge) && d.without != nil {
			smaller, ok := d.without(len(d.movements) - 1) // it is paid by a later one
			if !ok {
				return nil, err
			}
			d = smaller
			continue
		}
		if err != nil {
			return nil, err
		}
		ready := unsigned{draft: d, steps: steps, message: message, blockhash: blockhash, purpose: purposeOf(plan, steps), terms: s.termsOf(plan, blockhash, price)}
		again := s.waiting.replace(&ready)
		result, err := s.rehearse(ctx, ready.message, ready.blockhash)
		if err != nil && carriesPayments(steps[0].content) {
			return nil, err
		}
		if again && err == nil && result.Err != nil {
			s.waiting.forget(ready.purpose) // perhaps because of its blockhash or limits
			continue
		}
		if !again && err == nil && result.Err == nil {
			if ready.message, err = s.withLimits(plan, result, price); err != nil {
				return nil, err
			}
		}
		if result.Err == nil || !carriesPayments(steps[0].content) {
			// What moves no debt is sent over doubts of one node: preflight asks again.
			return &ready, nil
		}
		i, ok := plan.MovementAt(result.Err.Instruction)
		if !ok {
			return nil, fmt.Errorf("it would fail: %w", result.Err)
		}
		payee, err := s.payeeAt(ctx, d, steps[0], i)
		if err != nil {
			return nil, err
		}
		if err := s.holdPayment(ctx, d, payee, result.Err.Error()); err != nil {
			return nil, err
		}
		if d.without == nil {
			return nil, nil
		}
		if d, ok = d.without(i); !ok {
			return nil, nil
		}
	}
}

// rehearse simulates an unsigned message.
func (s *Service) rehearse(ctx context.Context, message []byte, blockhash rpc.Blockhash) (rpc.Simulation, error) {
	tx, _, err := chain.SignMessage(message)
	if err != nil {
		return rpc.Simulation{}, err
	}
	result, err := s.cfg.Chain.Simulate(ctx, tx, blockhash.ContextSlot)
	if err != nil {
		return rpc.Simulation{}, fmt.Errorf("simulate: %w", err)
	}
	return result, nil
}

// payeeAt tells whom movement i of d pays.
func (s *Service) payeeAt(ctx context.Context, d draft, st step, i int) (ionet.Key, error) {
	if i < len(d.payments) {
		return d.payments[i].payee, nil
	}
	var payee []byte
	hash, account := st.content.Hash(), d.movements[i].Destination
	if err := s.pool.QueryRow(ctx, selectPayeeAt, hash[:], account[:]).Scan(&payee); err != nil {
		return ionet.Key{}, fmt.Errorf("find the payee of %s: %w", account, err)
	}
	return ionet.Key(payee), nil
}

const selectPayeeAt = `SELECT payee FROM payments WHERE content = $1 AND account = $2 LIMIT 1`

// plan makes the chain's view of d; each lane's step follows from its content.
func (s *Service) plan(ctx context.Context, d draft) (chain.Plan, []step, error) {
	n := s.cfg.Network
	p := chain.Plan{Kind: d.kind, Version: 1, FeePayer: n.Keys.Operator, Movements: d.movements, Memo: d.memo}
	if len(d.movements) > 0 {
		p.Mint, p.Decimals = n.Mint, uint8(n.Decimals)
		if err := s.authorize(&p, d.movements[0].Source); err != nil {
			return p, nil, err
		}
	}
	var err error
	switch d.kind {
	case chain.KindUnlock:
		if p.Wallets, err = s.walletsOf(d.movements); err != nil {
			return p, nil, err
		}
	case chain.KindRetire:
		p.Mint = n.Mint
		if err := s.authorize(&p, n.Mint); err != nil {
			return p, nil, err
		}
	}
	steps, err := s.addSteps(ctx, &p, d.lanes)
	return p, steps, err
}

// addSteps gives p the lane steps from the open positions to the next.
func (s *Service) addSteps(ctx context.Context, p *chain.Plan, lanes []lane) ([]step, error) {
	var steps []step
	for _, l := range lanes {
		c := chain.Content{Kind: p.Kind, Lane: l.address, N: l.position, C: l.c, Movements: p.Movements, Memo: p.Memo}
		if err := c.Check(); err != nil {
			return nil, err
		}
		keys, err := s.signers.publics(ctx, []ionet.Hash{l.c, c.Next()})
		if err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, chain.Step{Lane: l.address, From: keys[0], To: keys[1]})
		steps = append(steps, step{l, c})
	}
	return steps, nil
}

// signAll signs what is ready and reads it back. What a signer refuses, or what
// does something else than was meant, is left out with an error.
func (s *Service) signAll(ctx context.Context, ready []unsigned) ([]*attempt, error) {
	if len(ready) == 0 {
		return nil, nil
	}
	signed, errs := s.sign(ctx, ready)
	var list []*attempt
	for i, u := range ready {
		u.tx = signed[i]
		s.waiting.keep(u)
		if errs[i] == nil {
			var a attempt
			if a, errs[i] = readBack(signed[i], u.steps, u.blockhash); errs[i] == nil {
				a.payments, a.purpose = u.draft.payments, u.purpose
				list = append(list, &a)
				continue
			}
			s.waiting.forget(u.purpose)
		}
		errs[i] = fmt.Errorf("sign %s: %w", u.draft.kind, errs[i])
	}
	return list, errors.Join(errs...)
}

// readBack decodes the final bytes and compares what they do, lane by lane,
// with what was meant: nothing is published or persisted that does else.
func readBack(tx []byte, steps []step, blockhash rpc.Blockhash) (attempt, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return attempt{}, fmt.Errorf("read back: %w", err)
	}
	if err := d.VerifySignatures(); err != nil {
		return attempt{}, fmt.Errorf("read back: %w", err)
	}
	if len(d.Plan.Steps) != len(steps) || d.Blockhash != blockhash.Hash {
		return attempt{}, errors.New("read back: steps or blockhash are others than those prepared")
	}
	for _, st := range steps {
		got, err := d.Content(st.lane.address, st.lane.position, st.lane.c)
		if err != nil {
			return attempt{}, fmt.Errorf("read back: %w", err)
		}
		if got.Hash() != st.content.Hash() {
			return attempt{}, fmt.Errorf("read back: content of %s is %s, prepared was %s", st.lane.name, got.Hash(), st.content.Hash())
		}
	}
	return attempt{message: d.MessageHash(), kind: d.Plan.Kind, tx: tx, signature: d.Signature(), blockhash: blockhash, steps: steps}, nil
}

// publishContents makes the contents durable in the published store, side by side.
func (s *Service) publishContents(ctx context.Context, list ...*attempt) error {
	var contents []chain.Content
	for _, a := range list {
		for _, st := range a.steps {
			contents = append(contents, st.content)
		}
	}
	errs := make([]error, len(contents))
	s.each(len(contents), func(i int) {
		if err := s.cfg.Store.Put(ctx, publish.ContentName(contents[i].Hash()), contents[i].Encode()); err != nil {
			errs[i] = fmt.Errorf("publish content: %w", err)
		}
	})
	return errors.Join(errs...)
}

// lanesOf returns the lanes that the attempts step.
func lanesOf(list []*attempt) []lane {
	var lanes []lane
	for _, a := range list {
		for _, st := range a.steps {
			if !slices.ContainsFunc(lanes, func(l lane) bool { return l.name == st.lane.name }) {
				lanes = append(lanes, st.lane)
			}
		}
	}
	return lanes
}
