package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// An offer costs us a row, a published content and a check when it dies, and anybody
// can ask for one in anybody's name. So only so many live at once. More would not
// help a wallet either: that it can't be offered a claim takes nothing from it, since
// claims that wallets sign first find room whatever offers there are.
const (
	maxOffers          = 256
	maxOffersOfContent = 3 // with claimMargin and a blockhash's life: none waits for another to be buried
)

// isOffer reports whether a claim lacks its wallet's signature: it can land, but we
// can't send it.
func (a *attempt) isOffer() bool { return a.kind == chain.KindClaim && a.signature.IsZero() }

// OfferClaim is PrepareClaim for wallets that send transactions themselves, as
// Solana Pay has them: our signatures are on it, so it is live from the moment at
// which it leaves, and is persisted as such before. Nobody need have asked whom it
// pays: the same request gives the same bytes while they can land, the claim can be
// had by PrepareClaim all the same, and a payout run that wants its debt takes it.
//
// Where the reward vault is a multisig's nothing is offered: each message would take from
// its co-signers' limits, so that strangers could leave none for claims that are meant.
func (s *Service) OfferClaim(ctx context.Context, wallet ionet.Key) (Prepared, error) {
	if err := s.mayClaim(wallet); err != nil {
		return Prepared{}, err
	}
	if a, _ := s.authorityOf(s.cfg.Network.Vaults.Reward); a.m > 0 {
		return Prepared{}, NewProblem(ProblemNoOffers, "account", "several keys sign for this network's rewards, and they sign claims only after their wallet: use ionet claim, or wait for a payout run")
	}
	// One request for a wallet at a time; nobody else waits for it.
	if _, busy := s.offering.LoadOrStore(wallet, true); busy {
		return Prepared{}, NewProblem(ProblemBusy, "account", "a claim of wallet %s is just being signed for another request", wallet).after(time.Second)
	}
	defer s.offering.Delete(wallet)
	c, err := s.claimableBy(ctx, wallet)
	if err != nil {
		return Prepared{}, err
	}
	if err := s.checkNoRun(ctx, c); err != nil {
		return Prepared{}, err
	}
	if p, ok, err := s.findOffer(ctx, c); err != nil || ok {
		return p.public(), err
	}
	p, err := s.buildClaim(ctx, c)
	if err != nil {
		return Prepared{}, err
	}
	a, err := s.signOffer(ctx, p)
	if err != nil {
		return Prepared{}, err
	}
	// Published, then committed as live, then handed out. A crash in between leaves
	// an offer that nobody has: it dies by the dead rule, and can be made anew then.
	if err := s.publishContents(ctx, a); err != nil {
		return Prepared{}, err
	}
	switch err := s.persistClaim(ctx, a, p); {
	case errors.Is(err, errHandedIn): // the wallet signed these very bytes first
		return Prepared{}, NewProblem(ProblemClaimPending, "account", "wallet %s has just handed in this claim", wallet).after(claimRetry)
	case err != nil:
		return Prepared{}, err
	}
	p.tx = a.tx
	return p.public(), nil
}

// checkNoRun refuses an offer of what an open payout run is about to pay: who asks
// again and again in others' names could else keep the run from ever getting it.
func (s *Service) checkNoRun(ctx context.Context, c claimable) error {
	minimum, err := s.payoutMinimum(ctx)
	if err != nil || c.amount.Int64() < minimum {
		return err
	}
	var running bool
	if err := s.pool.QueryRow(ctx, selectRunWants, c.wallet[:], s.now()).Scan(&running); err != nil {
		return fmt.Errorf("look for payout runs: %w", err)
	}
	if running {
		return NewProblem(ProblemBusy, "account", "a payout run is about to pay wallet %s; it can claim when the run is over", c.wallet).after(claimRetry)
	}
	return nil
}

const selectRunWants = `
SELECT EXISTS (SELECT 1 FROM payout_runs WHERE done_at IS NULL AND asked_at <= $2)
    AND NOT EXISTS (SELECT 1 FROM held_payees WHERE payee = $1 AND retry_at > $2)`

// findOffer returns the newest live offer of the claim, while the wallet can sign and
// land it in time.
func (s *Service) findOffer(ctx context.Context, c claimable) (prepared, bool, error) {
	if !c.open {
		return prepared{}, false, nil
	}
	l := c.lanes[0]
	rows, err := s.pool.Query(ctx, selectOffer, c.wallet[:], l.name, int64(l.position), freshHeight(c.blockhash))
	if err != nil {
		return prepared{}, false, fmt.Errorf("look for an offered claim: %w", err)
	}
	p, err := pgx.CollectOneRow(rows, scanPrepared)
	if errors.Is(err, pgx.ErrNoRows) {
		return prepared{}, false, nil
	}
	if err != nil {
		return prepared{}, false, fmt.Errorf("look for an offered claim: %w", err)
	}
	return p, p.lane.c == l.c, nil
}

// The bytes are those with our signatures.
const selectOffer = `
SELECT p.message, p.wallet, a.transaction, p.content_bytes, p.lane, p.amount, p.blockhash, p.last_valid_height, p.context_slot
FROM prepared_claims p JOIN attempts a ON a.message = p.message AND a.state = 'live' AND a.offered
WHERE p.wallet = $1 AND p.lane = $2 AND p.position = $3 AND p.last_valid_height >= $4
ORDER BY p.last_valid_height DESC LIMIT 1`

// signOffer simulates the claim, as of a wallet that will sign it, and adds our
// signatures.
func (s *Service) signOffer(ctx context.Context, p prepared) (*attempt, error) {
	if err := s.rehearseClaim(ctx, p.tx, p, maxOfferRehearsals); err != nil {
		return nil, err
	}
	tx, err := s.signClaim(ctx, p.tx, p.lane)
	if err != nil {
		return nil, err
	}
	a, err := readOffer(tx, step{p.lane, p.content}, p.blockhash)
	if err == nil {
		a.payments = p.debt()
	}
	return a, err
}

// readOffer is readBack for a claim that lacks its wallet's signature and no other.
func readOffer(tx []byte, st step, blockhash rpc.Blockhash) (*attempt, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	for i, key := range d.Signers {
		if missing := d.Signatures[i].IsZero(); missing != (i == 0) || !missing && !ed25519.Verify(key[:], d.Message, d.Signatures[i][:]) {
			return nil, fmt.Errorf("read back: signatures of an offered claim are not all but that of its wallet: %s", key)
		}
	}
	got, err := d.Content(st.lane.address, st.lane.position, st.lane.c)
	if err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	if got.Hash() != st.content.Hash() || d.Blockhash != blockhash.Hash || d.Plan.Kind != chain.KindClaim {
		return nil, fmt.Errorf("read back: content is %s, prepared was %s, or its blockhash is another", got.Hash(), st.content.Hash())
	}
	return &attempt{message: d.MessageHash(), kind: d.Plan.Kind, tx: tx, blockhash: blockhash, steps: []step{st}}, nil
}

// adoptOffer gives a live offer its wallet's signature, after which it is an attempt
// as any other that passes send again. It reports whether there was one of a's bytes.
func adoptOffer(ctx context.Context, tx pgx.Tx, a *attempt) (bool, error) {
	if a.isOffer() {
		return false, nil
	}
	tag, err := tx.Exec(ctx, signOffered, a.message[:], a.tx, a.signature[:])
	if err != nil {
		return false, fmt.Errorf("store the wallet's signature: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

const signOffered = `UPDATE attempts SET transaction = $2, signature = $3 WHERE message = $1 AND state = 'live' AND offered`
