package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Prepared is a claim for a wallet to sign. It reserves nothing.
type Prepared struct {
	Transaction     []byte     // version 0, all signatures zero
	Message         ionet.Hash // H of its message bytes
	Lane            string
	Position        uint64
	Amount          ionet.Amount // base units that the wallet gets
	LastValidHeight uint64       // block height after which it can't land
}

// PrepareClaim makes the transaction with which wallet gets all that it is
// owed: lifetime earned, less paid, less in flight. The wallet pays the fee and,
// where it has none, the rent of its token account. The same request gives the
// same bytes while they can land and the amount is right. A claim that is on its
// way without a live transaction of the wallet's is made again, over a newer
// blockhash and for the amount that it has; one with such a transaction is a
// problem that names it.
func (s *Service) PrepareClaim(ctx context.Context, wallet ionet.Key) (Prepared, error) {
	if err := s.mayClaim(wallet); err != nil {
		return Prepared{}, err
	}
	// One wallet's claims are prepared one at a time, so that the same request
	// gives the same bytes.
	turn := &s.claims[wallet[0]%claimStripes]
	turn.Lock()
	defer turn.Unlock()
	c, err := s.claimableBy(ctx, wallet)
	if err != nil {
		return Prepared{}, err
	}
	for _, l := range c.lanes {
		p, ok, err := s.findPrepared(ctx, c, l)
		if err != nil || ok {
			return p.public(), err
		}
	}
	p, err := s.buildClaim(ctx, c)
	if err != nil {
		return Prepared{}, err
	}
	if err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.storePrepared(ctx, tx, p) }); err != nil {
		return Prepared{}, s.claimError(err)
	}
	return p.public(), nil
}

// mayClaim checks that a claim of wallet can be prepared, here and now.
func (s *Service) mayClaim(wallet ionet.Key) error {
	if err := proofs.CheckKey(wallet); err != nil {
		return NewProblem(ProblemWeakKey, "wallet", "wallet %s: %v", wallet, err)
	}
	if !s.view.isReady() {
		return s.notReady()
	}
	return nil
}

// claimError turns the loss of the lease into the problem that it is for a wallet.
func (s *Service) claimError(err error) error {
	if errors.Is(err, errNotLeader) {
		return s.notReady()
	}
	return err
}

// claimable is what a wallet can claim now, and where.
type claimable struct {
	wallet    ionet.Key
	amount    ionet.Amount
	lanes     []lane // it may take any of them, the first is the best
	open      bool   // the claim is on its way already: lanes is the one that it stands on
	blockhash rpc.Blockhash
}

// claimableBy finds out what wallet can claim.
func (s *Service) claimableBy(ctx context.Context, wallet ionet.Key) (claimable, error) {
	c := claimable{wallet: wallet}
	o, ok, err := findOpenClaim(ctx, s.pool, wallet)
	switch {
	case err != nil:
		return c, err
	case ok && !o.signature.IsZero():
		return c, o.pending(wallet)
	case ok:
		c.amount, c.lanes, c.open = o.amount, []lane{o.lane}, true
	default:
		if c.amount, err = ledger.Balance(ctx, s.pool, ledger.Owed(wallet)); err != nil {
			return c, err
		}
		if c.amount.IsZero() || s.ownsVault(wallet) {
			return c, NewProblem(ProblemNothingToClaim, "wallet", "wallet %s is owed nothing that is not on its way already", wallet)
		}
		if c.lanes, err = s.claimLanes(ctx, wallet); err != nil {
			return c, err
		}
	}
	if c.blockhash, err = s.claimBlockhash(ctx); err != nil {
		return c, fmt.Errorf("prepare a claim: %w", err)
	}
	return c, nil
}

// claimStripes is how many wallets may have a claim prepared at once.
const claimStripes = 64

// recentHash is a blockhash that several claims share.
type recentHash struct {
	mu   sync.Mutex
	hash rpc.Blockhash
	read time.Time
}

// claimBlockhash returns a blockhash that is not older than Config.BlockhashAge.
func (s *Service) claimBlockhash(ctx context.Context) (rpc.Blockhash, error) {
	c := &s.recent
	c.mu.Lock()
	hash, read := c.hash, c.read
	c.mu.Unlock()
	if now := s.now(); !read.IsZero() && now.Sub(read) <= s.cfg.BlockhashAge {
		return hash, nil
	}
	hash, err := s.cfg.Chain.LatestBlockhash(ctx)
	if err != nil {
		return hash, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hash, c.read = hash, s.now()
	return hash, nil
}

// notReady is the problem of an instance that may not sign claims now.
func (s *Service) notReady() *Problem {
	if why := s.view.why(); why != "" {
		return NewProblem(ProblemBusy, "", "claims are halted: %s", why).after(s.cfg.LeaseTime)
	}
	return NewProblem(ProblemNotLeader, "", "this instance does not lead, or does not know yet what its predecessor sent; try again in a few seconds").after(s.cfg.LeaseTime)
}

// claimLanes returns the claim lanes that a wallet's claim may take: those without
// a live attempt, beginning with the one that its hash picks; where all are
// taken, that one alone, on which several may stand.
func (s *Service) claimLanes(ctx context.Context, wallet ionet.Key) ([]lane, error) {
	all := s.cfg.Network.LanesOf("claim")
	h := ionet.HashOf(wallet[:])
	first := int(binary.BigEndian.Uint32(h[:]) % uint32(len(all)))
	lanes, err := s.loadLanes(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, selectTakenLanes)
	if err != nil {
		return nil, fmt.Errorf("look for free claim lanes: %w", err)
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for free claim lanes: %w", err)
	}
	var free []lane
	for i := range all {
		if name := all[(first+i)%len(all)].Name; !slices.Contains(taken, name) {
			free = append(free, laneNamed(lanes, name))
		}
	}
	if len(free) == 0 {
		free = append(free, laneNamed(lanes, all[first].Name))
	}
	return free, nil
}

const selectTakenLanes = `
SELECT DISTINCT c.lane FROM attempts a JOIN attempt_steps p ON p.message = a.message JOIN contents c ON c.hash = p.content
WHERE a.state = 'live'`

// claimMargin is how many blocks a claim must have left to be handed out again.
const claimMargin = 75

// A blockhash lives for 150 blocks: the newest one's last valid height tells the
// height, and with it the least that a claim must have to be handed out again.
func freshHeight(now rpc.Blockhash) int64 { return int64(now.LastValidHeight) - 150 + claimMargin }

// findPrepared returns the claim that was handed out before, while it can be
// signed and landed in time.
func (s *Service) findPrepared(ctx context.Context, c claimable, l lane) (prepared, bool, error) {
	row, err := s.pool.Query(ctx, selectPrepared, c.wallet[:], l.name, int64(l.position), c.amount.Int64(), freshHeight(c.blockhash))
	if err != nil {
		return prepared{}, false, fmt.Errorf("look for a prepared claim: %w", err)
	}
	p, err := pgx.CollectOneRow(row, scanPrepared)
	if errors.Is(err, pgx.ErrNoRows) {
		return prepared{}, false, nil
	}
	if err != nil {
		return prepared{}, false, fmt.Errorf("look for a prepared claim: %w", err)
	}
	return p, p.lane.c == l.c && s.canCosign(p.tx), nil
}

const selectPrepared = `
SELECT ` + preparedColumns + ` FROM prepared_claims
WHERE wallet = $1 AND lane = $2 AND position = $3 AND amount = $4 AND last_valid_height >= $5
ORDER BY created_at DESC LIMIT 1`

// buildClaim makes a claim for the best lane's open position; nobody has signed it.
func (s *Service) buildClaim(ctx context.Context, c claimable) (prepared, error) {
	n, l := s.cfg.Network, c.lanes[0]
	plan, steps, err := s.plan(ctx, draft{
		kind: chain.KindClaim, lanes: []lane{l}, memo: proofs.ClaimMemo{Wallet: c.wallet, Sum: c.amount}.String(),
		movements: []chain.Movement{{Op: chain.Transfer, Source: n.Vaults.Reward, Destination: chain.TokenAccount(c.wallet, n.Mint), Amount: c.amount}},
	})
	if errors.Is(err, errNoLaneKeys) || errors.Is(err, errTooFewCosigners) {
		return prepared{}, s.notSigned(c.wallet, l, err)
	}
	if err != nil {
		return prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	// The wallet pays, and wallets read version 0.
	plan.Version, plan.FeePayer, plan.CreateDestinationFor, plan.Blockhash = 0, c.wallet, c.wallet, c.blockhash.Hash
	if err := s.authorize(&plan, n.Vaults.Reward); err != nil {
		return prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	plan.Budget = plan.DefaultBudget()
	message, err := plan.Message()
	if err != nil {
		return prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	tx, _, err := chain.SignMessage(message)
	if err != nil {
		return prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	return prepared{
		message: ionet.HashOf(message), wallet: c.wallet, tx: tx, content: steps[0].content, lane: l, amount: c.amount, blockhash: c.blockhash,
	}, nil
}

// storePrepared remembers a claim by what was handed out, so that it is known again
// when it comes back signed.
func (s *Service) storePrepared(ctx context.Context, tx pgx.Tx, p prepared) error {
	hash := p.content.Hash()
	_, err := tx.Exec(ctx, insertPrepared, p.message[:], p.wallet[:], hash[:], p.lane.name, int64(p.lane.position), p.tx, p.content.Encode(), p.amount.Int64(),
		p.blockhash.Hash[:], int64(p.blockhash.LastValidHeight), int64(p.blockhash.ContextSlot), s.now())
	if err != nil {
		return fmt.Errorf("store a prepared claim: %w", err)
	}
	return nil
}

const insertPrepared = `
INSERT INTO prepared_claims (message, wallet, content, lane, position, bytes, content_bytes, amount, blockhash, last_valid_height, context_slot, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (message) DO NOTHING`
