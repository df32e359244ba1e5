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
// same bytes while they can land and the amount is right.
func (s *Service) PrepareClaim(ctx context.Context, wallet ionet.Key) (Prepared, error) {
	if err := proofs.CheckKey(wallet); err != nil {
		return Prepared{}, NewProblem(ProblemWeakKey, "wallet", "wallet %s: %v", wallet, err)
	}
	if !s.view.isReady() {
		return Prepared{}, s.notReady()
	}
	// One wallet's claims are prepared one at a time, so that the same request
	// gives the same bytes.
	turn := &s.claims[wallet[0]%claimStripes]
	turn.Lock()
	defer turn.Unlock()
	amount, err := ledger.Balance(ctx, s.pool, ledger.Owed(wallet))
	if err != nil {
		return Prepared{}, err
	}
	if amount.IsZero() || wallet == s.cfg.Network.Keys.Operator {
		return Prepared{}, NewProblem(ProblemNothingToClaim, "wallet", "wallet %s is owed nothing that is not on its way already", wallet)
	}
	free, err := s.claimLanes(ctx, wallet)
	if err != nil {
		return Prepared{}, err
	}
	blockhash, err := s.claimBlockhash(ctx)
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	for _, l := range free {
		p, ok, err := s.findPrepared(ctx, wallet, l, amount, blockhash)
		if err != nil || ok {
			return p, err
		}
	}
	return s.newClaim(ctx, wallet, free[0], amount, blockhash)
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

// findPrepared returns the claim that was handed out before, while it can be
// signed and landed in time.
func (s *Service) findPrepared(ctx context.Context, wallet ionet.Key, l lane, amount ionet.Amount, now rpc.Blockhash) (Prepared, bool, error) {
	p := Prepared{Lane: l.name, Position: l.position, Amount: amount}
	var message []byte
	var height int64
	// A blockhash lives for 150 blocks: now's LastValidHeight tells the height.
	oldest := int64(now.LastValidHeight) - 150 + claimMargin
	err := s.pool.QueryRow(ctx, selectPrepared, wallet[:], l.name, int64(l.position), amount.Int64(), oldest).Scan(&message, &p.Transaction, &height)
	if errors.Is(err, pgx.ErrNoRows) {
		return Prepared{}, false, nil
	}
	if err != nil {
		return Prepared{}, false, fmt.Errorf("look for a prepared claim: %w", err)
	}
	p.Message, p.LastValidHeight = ionet.Hash(message), uint64(height)
	return p, true, nil
}

const selectPrepared = `
SELECT message, bytes, last_valid_height FROM prepared_claims
WHERE wallet = $1 AND lane = $2 AND position = $3 AND amount = $4 AND last_valid_height >= $5
ORDER BY created_at DESC LIMIT 1`

// newClaim builds and stores a claim for the lane's open position.
func (s *Service) newClaim(ctx context.Context, wallet ionet.Key, l lane, amount ionet.Amount, blockhash rpc.Blockhash) (Prepared, error) {
	n := s.cfg.Network
	plan := chain.Plan{
		Kind: chain.KindClaim, Version: 0, FeePayer: wallet, Memo: proofs.ClaimMemo{Wallet: wallet, Sum: amount}.String(),
		Movements: []chain.Movement{{Op: chain.Transfer, Source: n.Vaults.Reward, Destination: chain.TokenAccount(wallet, n.Mint), Amount: amount}},
		Mint:      n.Mint, Decimals: uint8(n.Decimals), Owners: map[ionet.Key]ionet.Key{n.Vaults.Reward: n.Keys.Operator},
		CreateDestinationFor: wallet, Blockhash: blockhash.Hash,
	}
	steps, err := s.addSteps(&plan, []lane{l})
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	plan.Budget = plan.DefaultBudget()
	message, err := plan.Message()
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	tx, _, err := chain.SignMessage(message)
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare a claim: %w", err)
	}
	p := Prepared{Transaction: tx, Message: ionet.HashOf(message), Lane: l.name, Position: l.position, Amount: amount, LastValidHeight: blockhash.LastValidHeight}
	content := steps[0].content
	hash := content.Hash()
	err = s.asLeader(ctx, func(t pgx.Tx, _ int64) error {
		_, err := t.Exec(ctx, insertPrepared, p.Message[:], wallet[:], hash[:], l.name, int64(l.position), tx, content.Encode(), amount.Int64(),
			blockhash.Hash[:], int64(blockhash.LastValidHeight), int64(blockhash.ContextSlot), s.now())
		return err
	})
	if errors.Is(err, errNotLeader) {
		return Prepared{}, s.notReady()
	}
	if err != nil {
		return Prepared{}, fmt.Errorf("store a prepared claim: %w", err)
	}
	return p, nil
}

const insertPrepared = `
INSERT INTO prepared_claims (message, wallet, content, lane, position, bytes, content_bytes, amount, blockhash, last_valid_height, context_slot, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (message) DO NOTHING`

// sweepEvery is how often prepared claims that can't land any more are deleted.
const sweepEvery = time.Minute

// sweepAfter is how many blocks past its last valid height a prepared claim is
// kept, so that its status can still be asked for.
const sweepAfter = 300

const sweepPrepared = `DELETE FROM prepared_claims WHERE last_valid_height < $1`

// sweepClaims deletes prepared claims that can't land any more. It is called in
// passes only, one at a time.
func (s *Service) sweepClaims(ctx context.Context) error {
	now := s.now()
	if now.Before(s.swept.Add(sweepEvery)) {
		return nil
	}
	head, err := s.cfg.Chain.FinalizedHead(ctx)
	if err != nil {
		return fmt.Errorf("read the finalized height: %w", err)
	}
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, sweepPrepared, int64(head.BlockHeight)-sweepAfter)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete old prepared claims: %w", err)
	}
	s.swept = now
	return nil
}
