package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// The states of a claim. Only a paid one is certain to have landed and only an
// expired or superseded one never to land.
const (
	ClaimPrepared   = "prepared"   // not handed in yet
	ClaimPending    = "pending"    // signed by us too, on its way
	ClaimPaid       = "paid"       // final
	ClaimSuperseded = "superseded" // its position was taken by another transaction
	ClaimExpired    = "expired"    // it did not land in time
)

// Claim is what became of a claim.
type Claim struct {
	Message   ionet.Hash
	Wallet    ionet.Key
	Amount    ionet.Amount
	State     string
	Signature chain.Signature // of the transaction; zero before it is handed in
	Slot      uint64          // in which it landed; 0 where it has not, or nobody tells
	Reason    string          // why a node refused it; "" where none did
}

// SubmitClaim takes a claim that its wallet signed, checks that it is the one
// that was prepared, but for assertions of the Lighthouse program that wallets
// append, checks the debt again, signs, persists and sends it. Handing in the
// same claim again is answered with what became of it.
func (s *Service) SubmitClaim(ctx context.Context, tx []byte) (Claim, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return Claim{}, NewProblem(ProblemClaimChanged, "transaction", "transaction is not a claim as it was prepared: %v", err)
	}
	if known, err := s.ClaimStatus(ctx, d.MessageHash()); err == nil && known.State != ClaimPrepared {
		return known, nil
	}
	if !s.view.isReady() {
		return Claim{}, s.notReady()
	}
	p, err := s.matchPrepared(ctx, d)
	if err != nil {
		return Claim{}, err
	}
	if !ed25519.Verify(d.FeePayer[:], d.Raw.Message, d.Signatures[0][:]) {
		return Claim{}, NewProblem(ProblemWrongSignature, "transaction", "signature of wallet %s does not verify", d.FeePayer)
	}
	a, err := s.coSign(ctx, tx, p)
	if err != nil {
		return Claim{}, err
	}
	if err := s.publishContents(ctx, a); err != nil {
		return Claim{}, err
	}
	if err := s.persistClaim(ctx, a, p); errors.Is(err, errHandedIn) {
		return s.ClaimStatus(ctx, a.message)
	} else if err != nil {
		return Claim{}, err
	}
	if err := s.send(ctx, &a); err != nil {
		// It is persisted: passes resend it whatever happened here.
		s.log.Warn("sending a claim", "error", err)
	}
	return s.ClaimStatus(ctx, a.message)
}

// prepared is a row of prepared_claims.
type prepared struct {
	wallet    ionet.Key
	tx        []byte
	content   chain.Content
	lane      lane
	amount    ionet.Amount
	blockhash rpc.Blockhash
}

// matchPrepared finds the claim that d was prepared as. Blockhash and lane tell
// which ones it can be; then our instructions must be its first, byte for byte.
func (s *Service) matchPrepared(ctx context.Context, d *chain.Decoded) (prepared, error) {
	if d.Plan.Kind != chain.KindClaim || d.Plan.Version != 0 {
		return prepared{}, NewProblem(ProblemClaimChanged, "transaction", "transaction is a %s of version %d, not a claim of version 0", d.Plan.Kind, d.Plan.Version)
	}
	memo, err := proofs.ParseMemo(d.Plan.Memo)
	if err != nil {
		return prepared{}, NewProblem(ProblemClaimChanged, "transaction", "memo: %v", err)
	}
	named, _ := memo.(proofs.ClaimMemo)
	rows, err := s.pool.Query(ctx, selectByBlockhash, d.Blockhash[:], d.FeePayer[:], named.Wallet[:])
	if err != nil {
		return prepared{}, fmt.Errorf("look for a prepared claim: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanPrepared)
	if err != nil {
		return prepared{}, fmt.Errorf("look for a prepared claim: %w", err)
	}
	problem := NewProblem(ProblemUnknownClaim, "transaction", "no claim was prepared for wallet %s with blockhash %s", d.FeePayer, d.Blockhash)
	for _, p := range list {
		same, err := p.isPrefixOf(d)
		if err != nil {
			return prepared{}, err
		}
		switch {
		case same && p.wallet == d.FeePayer:
			return p, nil
		case p.wallet == d.FeePayer:
			problem = NewProblem(ProblemClaimChanged, "transaction", "instructions are not those of the claim that was prepared for %s", p.wallet)
		case d.Plan.Memo == p.content.Memo && problem.Type == ProblemUnknownClaim:
			problem = NewProblem(ProblemNotYourClaim, "transaction", "the claim was prepared for wallet %s, not for %s", p.wallet, d.FeePayer)
		}
	}
	return prepared{}, problem
}

const selectByBlockhash = `
SELECT wallet, bytes, content_bytes, lane, amount, blockhash, last_valid_height, context_slot
FROM prepared_claims WHERE blockhash = $1 AND wallet IN ($2, $3) ORDER BY created_at DESC`

func scanPrepared(row pgx.CollectableRow) (prepared, error) {
	var p prepared
	var wallet, content, blockhash []byte
	var amount, height, slot int64
	if err := row.Scan(&wallet, &p.tx, &content, &p.lane.name, &amount, &blockhash, &height, &slot); err != nil {
		return p, err
	}
	var err error
	if p.content, err = chain.ParseContent(content); err != nil {
		return p, err
	}
	p.wallet, p.lane.address, p.lane.position, p.lane.c = ionet.Key(wallet), p.content.Lane, p.content.N, p.content.C
	p.blockhash = rpc.Blockhash{Hash: ionet.Key(blockhash), LastValidHeight: uint64(height), ContextSlot: uint64(slot)}
	p.amount, err = ionet.NewAmount(uint64(amount))
	return p, err
}

// isPrefixOf compares instructions: programs, addresses and data. What the
// message may do with each address is Decode's matter.
func (p prepared) isPrefixOf(d *chain.Decoded) (bool, error) {
	ours, err := chain.ParseRaw(p.tx, nil, nil)
	if err != nil {
		return false, fmt.Errorf("read a prepared claim: %w", err)
	}
	if len(d.Instructions) < len(ours.Instructions) {
		return false, nil
	}
	return slices.EqualFunc(ours.Instructions, d.Instructions[:len(ours.Instructions)], sameInstruction), nil
}

func sameInstruction(a, b chain.Instruction) bool {
	return a.Program == b.Program && slices.Equal(a.Data, b.Data) &&
		slices.EqualFunc(a.Accounts, b.Accounts, func(x, y chain.Account) bool { return x.Key == y.Key })
}

// coSign simulates the claim, so that one that would fail takes no position
// and puts nothing in flight, and adds our signatures.
func (s *Service) coSign(ctx context.Context, tx []byte, p prepared) (attempt, error) {
	result, err := s.cfg.Chain.Simulate(ctx, tx, p.blockhash.ContextSlot)
	if err != nil {
		return attempt{}, fmt.Errorf("simulate a claim: %w", err)
	}
	if result.Err != nil {
		if result.Err.Name == "BlockhashNotFound" {
			return attempt{}, NewProblem(ProblemClaimExpired, "transaction", "the claim's blockhash is no longer valid: prepare it again")
		}
		return attempt{}, NewProblem(ProblemClaimWouldFail, "transaction", "the claim would fail: %v; the wallet needs lamports for the fee and for its token account", result.Err)
	}
	signed, err := chain.CoSign(tx, s.cfg.Keys.Lane.Key(p.lane.c), s.cfg.Keys.Operator)
	if err != nil {
		return attempt{}, fmt.Errorf("sign a claim: %w", err)
	}
	return readBack(signed, []step{{p.lane, p.content}}, p.blockhash)
}

// persistClaim checks the debt again and commits the claim as persist does. A
// claim whose content is in flight already, in another message of the same
// wallet, puts nothing in flight a second time: at most one of them lands.
func (s *Service) persistClaim(ctx context.Context, a attempt, p prepared) error {
	err := s.asSigner(ctx, func(tx pgx.Tx, number int64) error {
		open, err := lockLane(ctx, tx, p.lane)
		if err != nil {
			return err
		}
		if !open {
			return NewProblem(ProblemClaimExpired, "transaction", "position %d of %s is passed: prepare the claim again", p.lane.position, p.lane.name)
		}
		hash := p.content.Hash()
		if err := checkRoom(ctx, tx, p); err != nil {
			return err
		}
		var known bool
		if err := tx.QueryRow(ctx, selectContentKnown, hash[:]).Scan(&known); err != nil {
			return fmt.Errorf("look for the claim's content: %w", err)
		}
		if !known {
			owed, err := ledger.Lock(ctx, tx, ledger.Owed(p.wallet), ledger.InFlight(p.wallet)) // both move below
			if err != nil {
				return err
			}
			if left := owed[ledger.Owed(p.wallet)]; left.Cmp(p.amount) < 0 {
				return NewProblem(ProblemClaimExpired, "transaction", "wallet %s is owed %s base units now, the claim is for %s: prepare it again", p.wallet, left, p.amount)
			}
		}
		debt := []payment{{p.wallet, p.content.Movements[0].Destination, p.amount}}
		if err := s.storeContent(ctx, tx, chain.KindClaim, a.steps[0], debt); err != nil {
			return err
		}
		return insertAttempt(ctx, tx, a, number, s.now())
	})
	if errors.Is(err, errNotLeader) {
		return s.notReady()
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == "attempts_pkey" {
		return errHandedIn
	}
	return err
}

// errHandedIn reports a claim that another request has persisted meanwhile.
var errHandedIn = errors.New("the claim was handed in already")

// Every live attempt is sent again in each pass, at our cost, and a wallet can
// make any number of messages that carry one content: so many stand at once.
const (
	maxLiveOfContent = 2
	maxLiveOfLane    = 16
)

// checkRoom refuses a claim that would be one live attempt too many; the lane is
// locked.
func checkRoom(ctx context.Context, tx pgx.Tx, p prepared) error {
	hash := p.content.Hash()
	var same, all int
	if err := tx.QueryRow(ctx, countLiveClaims, p.lane.name, int64(p.lane.position), hash[:]).Scan(&same, &all); err != nil {
		return fmt.Errorf("count live claims: %w", err)
	}
	switch {
	case same >= maxLiveOfContent:
		return NewProblem(ProblemBusy, "transaction", "%d transactions of this claim are on their way: one of them lands, or all expire", same).after(claimRetry)
	case all >= maxLiveOfLane:
		return NewProblem(ProblemBusy, "transaction", "position %d of %s is taken by %d other claims: prepare the claim again", p.lane.position, p.lane.name, all).after(claimRetry)
	}
	return nil
}

// claimRetry is when to come again with a claim that found no room.
const claimRetry = 5 * time.Second

const countLiveClaims = `
SELECT count(*) FILTER (WHERE c.hash = $3), count(*)
FROM contents c JOIN attempt_steps p ON p.content = c.hash JOIN attempts a ON a.message = p.message
WHERE c.lane = $1 AND c.position = $2 AND a.state = 'live'`

const selectContentKnown = `SELECT EXISTS (SELECT 1 FROM contents WHERE hash = $1)`

// ClaimStatus tells what became of the claim whose message bytes have that
// hash: those that were prepared, or, once handed in, those that the wallet
// signed. Any instance can answer.
func (s *Service) ClaimStatus(ctx context.Context, message ionet.Hash) (Claim, error) {
	c, err := s.claimOf(ctx, selectSubmitted, message)
	if errors.Is(err, pgx.ErrNoRows) {
		c, err = s.claimOf(ctx, selectUnsubmitted, message)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Claim{}, NewProblem(ProblemUnknownClaim, "message", "no claim has message hash %s", message)
	}
	if err != nil {
		return Claim{}, fmt.Errorf("look for claim %s: %w", message, err)
	}
	return c, nil
}

func (s *Service) claimOf(ctx context.Context, sql string, message ionet.Hash) (Claim, error) {
	c := Claim{Message: message}
	var wallet, signature []byte
	var amount, slot int64
	err := s.pool.QueryRow(ctx, sql, message[:]).Scan(&wallet, &amount, &c.State, &signature, &slot, &c.Reason)
	if err != nil {
		return c, err
	}
	c.Wallet, c.Slot = ionet.Key(wallet), uint64(slot)
	if len(signature) == len(c.Signature) {
		c.Signature = chain.Signature(signature)
	}
	c.Amount, err = ionet.NewAmount(uint64(amount))
	return c, err
}

// A content that won was paid by whichever of its messages landed.
const selectSubmitted = `
SELECT p.payee, p.amount,
    CASE WHEN c.state = 'won' THEN 'paid' WHEN c.state = 'lost' THEN 'superseded' WHEN a.state = 'dead' THEN 'expired' ELSE 'pending' END,
    coalesce(c.signature, a.signature), coalesce(c.slot, 0), a.reason
FROM attempts a JOIN attempt_steps t ON t.message = a.message JOIN contents c ON c.hash = t.content JOIN payments p ON p.content = c.hash
WHERE a.message = $1`

const selectUnsubmitted = `
SELECT p.wallet, p.amount, CASE WHEN l.position > p.position THEN 'expired' ELSE 'prepared' END, ''::bytea, 0::bigint, ''
FROM prepared_claims p JOIN lanes l ON l.name = p.lane WHERE p.message = $1`
