package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// view is what the last pass of this instance found. Claims are signed only
// while it is ready: lanes explained and fenced, books and vault agree.
type view struct {
	mu     sync.Mutex
	ready  bool
	halted string // why nothing is sent; "" where all is well
}

func (v *view) reset() { v.set(false, v.why()) }

func (v *view) set(ready bool, halted string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ready, v.halted = ready, halted
}

func (v *view) isReady() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ready
}

func (v *view) why() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.halted
}

// ErrHalted reports books and chain that disagree: no debt is paid until a
// person has found out why. What was overpaid lets epochs go on; tokens that are
// missing stop everything.
var ErrHalted = errors.New("books and chain disagree: nothing is paid")

// Settle makes one pass: it finds out what happened on chain, writes down what
// follows from it, and sends what is due. A pass that is cut anywhere is
// mended by the next one, of this instance or another; an error means that
// something is open, never that something is lost. An instance without the
// lease does nothing.
func (s *Service) Settle(ctx context.Context) error {
	s.pass.Lock()
	defer s.pass.Unlock()
	err := s.settle(ctx)
	result := "ok"
	if err != nil {
		result = "error"
	}
	s.metrics.passes.WithLabelValues(result).Inc()
	return err
}

// settle is the pass. The order of its steps is the design.
func (s *Service) settle(ctx context.Context) error {
	// 1. The lease. Durable: its number. Everything below that writes checks it
	// again in its own SQL transaction, so a pass may lose it at any line.
	held, err := s.hold(ctx)
	s.metrics.leader.Set(number(held))
	if err != nil || !held {
		s.view.set(false, "")
		return err
	}

	// 2. What landed, from the state of the lanes at finalized. Durable: each
	// winner with its payments and its ledger entries. Where the chain went on
	// without this database, history and published files tell what happened.
	// On an error nothing may be signed: a winner may be unknown.
	lanes, final, err := s.catchUp(ctx)
	if err != nil {
		s.view.reset()
		return err
	}

	// The receipt log of this database against what is published: what it lacks is taken
	// from there first. On an error it is not known what renters and payees have.
	if err := s.restoreLog(ctx, final); err != nil {
		s.view.reset()
		return err
	}

	// 3. Books against vault, both as of the slot of that read. A shortfall
	// stops here, before anything more is sent.
	if err := s.reconcile(ctx, final); err != nil {
		return err
	}

	// 4. Signed transactions whose outcome is open. Durable: those that can
	// never land. The others are sent again, byte for byte.
	live, err := s.tend(ctx)
	if err != nil {
		s.view.reset()
		return err
	}

	s.lookAround(ctx)

	// 5. The next epoch. Durable, each before the next: its inputs and verdicts,
	// its book, the attempt that mints. It needs no fence: what it carries
	// never changes position; nor does what follows the last one, which gives the mint
	// up. A seal of the receipt log moves nothing; what ends there moves nothing on chain.
	epochErr := errors.Join(s.sealNext(ctx, lanes, live), s.retireDue(ctx, lanes, live), s.sealReceiptsDue(ctx, lanes, live), s.endFees(ctx))

	// 6. The fence. Until an empty content of this leader passed every lane that
	// may carry debts, a transaction that this database forgot could still land.
	fenced, err := s.fence(ctx, lanes, live)
	s.metrics.fenced.Set(number(fenced))
	if halted := s.checkOverpaid(ctx); halted != nil {
		return errors.Join(epochErr, err, halted)
	}
	s.view.set(fenced, "")
	if err != nil || !fenced {
		return errors.Join(epochErr, err)
	}

	// 7. Debts. Payouts that died are signed again for the same position; claims
	// that died, and payouts that a payee broke, are passed, which frees their
	// debts once that is final. Then free lanes take new batches.
	retryErr := s.retry(ctx, lanes, live)
	pool, err := s.payLanes(ctx, lanes, live)
	if err != nil {
		return errors.Join(epochErr, retryErr, err)
	}
	return errors.Join(epochErr, retryErr, s.disburse(ctx, pool))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// maxReads bounds how often one pass reads the chain to come to rest.
const maxReads = 16

// catchUp settles positions until the lanes, read at one finalized slot, are
// all where the database has them.
func (s *Service) catchUp(ctx context.Context) ([]lane, finalView, error) {
	for range maxReads {
		lanes, err := s.loadLanes(ctx)
		if err != nil {
			return nil, finalView{}, err
		}
		final, err := s.readFinal(ctx, lanes)
		if err != nil {
			return nil, finalView{}, err
		}
		moved, unexplained, err := s.settleWinners(ctx, lanes, &final)
		if err != nil {
			return nil, finalView{}, err
		}
		if len(unexplained) > 0 {
			if err := s.recover(ctx, unexplained, final); err != nil {
				return nil, finalView{}, fmt.Errorf("recover: %w", err)
			}
			continue
		}
		if !moved {
			s.known, s.earners = nil, nil
			for _, l := range lanes {
				s.metrics.positions.WithLabelValues(l.name).Set(float64(l.position))
			}
			s.metrics.sealed.Set(float64(s.sealedBy(laneNamed(lanes, epochLane))))
			return lanes, final, nil
		}
	}
	return nil, finalView{}, errors.New("read lanes: they move faster than they are read")
}

// confirm compares the state of lanes that moved with what every endpoint says:
// one alone decides nothing, because what follows from a winner is final. While
// one lags, or does not answer, it is not yet known who won.
func (s *Service) confirm(ctx context.Context, moved []lane, final *finalView) error {
	for part := range slices.Chunk(moved, 100) {
		keys := make([]ionet.Key, len(part))
		for i, l := range part {
			keys[i] = l.address
		}
		views, err := s.cfg.Chain.Everywhere(ctx, keys)
		if err != nil {
			return fmt.Errorf("compare endpoints: %w", err)
		}
		for _, v := range views {
			final.slot = min(final.slot, v.Slot) // what is stored with a winner must not be one endpoint's word
			for i, l := range part {
				state, err := chain.ParseLane(v.Accounts[i].Owner, v.Accounts[i].Data)
				if err != nil {
					return fmt.Errorf("compare endpoints: lane %s at %s: %w", l.name, v.Endpoint, err)
				}
				if state != final.states[l.name] {
					return fmt.Errorf("compare endpoints: lane %s is at %s at finalized slot %d, endpoint %s says %s at slot %d: if that lags this ends by itself",
						l.name, final.states[l.name], final.slot, v.Endpoint, state, v.Slot)
				}
			}
		}
	}
	return nil
}

// movedOf returns the lanes that are not at their position any more.
func (s *Service) movedOf(ctx context.Context, lanes []lane, final finalView) (moved []lane, err error) {
	cs := make([]ionet.Hash, len(lanes))
	for i, l := range lanes {
		cs[i] = l.c
	}
	keys, err := s.signers.publics(ctx, cs)
	if err != nil {
		return nil, err
	}
	for i, l := range lanes {
		if final.states[l.name] != keys[i] {
			moved = append(moved, l)
		}
	}
	return moved, nil
}

// settleWinners resolves the lanes whose state a stored content explains and
// returns those that none explains.
func (s *Service) settleWinners(ctx context.Context, lanes []lane, final *finalView) (moved bool, unexplained []lane, err error) {
	lanes, err = s.movedOf(ctx, lanes, *final)
	if err != nil {
		return false, nil, err
	}
	if err := s.confirm(ctx, lanes, final); err != nil {
		return false, nil, err
	}
	contents, err := s.signedAt(ctx, lanes...)
	if err != nil {
		return false, nil, err
	}
	var won []passedPosition
	for _, l := range lanes {
		content, ok := winnerOf(contents[l.address], final.states[l.name])
		if !ok {
			unexplained = append(unexplained, l)
			continue
		}
		won = append(won, passedPosition{lane: l, content: content})
	}
	if len(won) == 0 {
		return false, unexplained, nil
	}
	if err := s.findLandings(ctx, won, final.slot); err != nil {
		return false, nil, err
	}
	return true, unexplained, s.resolve(ctx, won, final.slot)
}

// sealNext closes the next epoch where that is due and sends its seal.
func (s *Service) sealNext(ctx context.Context, lanes []lane, live []attempt) error {
	l := laneNamed(lanes, epochLane)
	if l.position == 0 {
		return errors.New("the genesis transaction is not final yet: run ionetd genesis, or wait")
	}
	if _, ok := liveOn(live, l, anyAttempt); ok {
		return nil
	}
	closing, err := s.CloseDue(ctx)
	if err != nil {
		return fmt.Errorf("close epoch %d: %w", l.position, err)
	}
	if closing == nil {
		return nil
	}
	if closing.Epoch != l.position {
		return fmt.Errorf("close epoch %d: the epoch lane is at position %d", closing.Epoch, l.position)
	}
	return s.launch(ctx, draft{kind: chain.KindEpoch, movements: closing.Movements, memo: closing.Memo, lanes: []lane{l}})
}

// run loops over passes until ctx ends; wake asks for one before its time.
func (s *Service) loop(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		err := s.Settle(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil && last != "":
			s.log.Info("passes succeed again")
			last = ""
		case err != nil && err.Error() != last:
			last = err.Error()
			s.log.Warn("pass is incomplete and will be repeated", "error", err)
		}
		timer.Reset(s.cfg.Poll)
	}
}

// debtOf sums what payments carry.
func debtOf(list []payment) (ionet.Amount, error) {
	var sum ionet.Amount
	var err error
	for _, p := range list {
		if sum, err = sum.Add(p.amount); err != nil {
			return ionet.Amount{}, err
		}
	}
	return sum, nil
}
