package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement"
)

// claim is a claim in a wallet's hands.
type claim struct {
	provider *provider
	prepared settlement.Prepared
	tx       []byte // as the wallet signed it; nil: it has not
}

// prepareClaim lets a wallet ask for its claim.
func (r *run) prepareClaim(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	p, err := r.claimant(ctx)
	if err != nil {
		return "", err
	}
	prepared, err := i.service.PrepareClaim(ctx, p.payee())
	if err != nil {
		r.said(err)
		return fmt.Sprintf("%d: %s", p.number, class(err)), nil
	}
	r.claims = append(r.claims, &claim{provider: p, prepared: prepared})
	return fmt.Sprintf("%d: %s on %s %d", p.number, prepared.Amount, prepared.Lane, prepared.Position), nil
}

// claimant draws a provider, mostly one that is owed something.
func (r *run) claimant(ctx context.Context) (*provider, error) {
	if r.rng.IntN(8) == 0 {
		return r.anybody(), nil
	}
	return r.holder(ctx, "owed:")
}

// holder draws a provider whose ledger account of that kind holds something; where
// none does, anybody.
func (r *run) holder(ctx context.Context, prefix string) (*provider, error) {
	rows, err := r.eyes.Query(ctx, selectHolders, prefix)
	if err != nil {
		return nil, fmt.Errorf("look for who holds something: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for who holds something: %w", err)
	}
	if len(names) == 0 {
		return r.anybody(), nil
	}
	name := names[r.rng.IntN(len(names))]
	for _, p := range r.world.providers {
		if prefix+p.payee().String() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("ledger account %s is nobody's", name)
}

const selectHolders = `
SELECT account FROM ledger_balances WHERE starts_with(account, $1) AND balance > 0 ORDER BY account COLLATE "C"`

// claimAtOnce lets a wallet do all of a claim without a pause.
func (r *run) claimAtOnce(ctx context.Context) (string, error) {
	before := len(r.claims)
	prepared, err := r.prepareClaim(ctx)
	if err != nil || len(r.claims) == before {
		return prepared, err
	}
	submitted, err := r.signAndSubmit(ctx, r.a, r.claims[before])
	return prepared + ", " + submitted, err
}

// either returns an instance that lives, mostly the first; nil where none does.
func (r *run) either() *instance {
	list := []*instance{r.a, r.b}
	if r.rng.IntN(8) == 0 {
		slices.Reverse(list)
	}
	for _, i := range list {
		if i.alive() {
			return i
		}
	}
	return nil
}

// submitClaim lets a wallet sign a claim that it was handed at any time before,
// and hand it in; or hand in again what it signed.
func (r *run) submitClaim(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.claims) == 0 {
		return "nothing", nil
	}
	// Mostly the newest, at times one that is long past.
	c := r.claims[len(r.claims)-1]
	if r.rng.IntN(3) == 0 {
		c = r.claims[r.rng.IntN(len(r.claims))]
	}
	return r.signAndSubmit(ctx, i, c)
}

// signAndSubmit lets a wallet sign its claim, unless it has, and hand it in.
func (r *run) signAndSubmit(ctx context.Context, i *instance, c *claim) (string, error) {
	if !i.alive() {
		return "nobody listens", nil
	}
	again := "again "
	if c.tx == nil {
		var err error
		if c.tx, err = chain.CoSign(c.prepared.Transaction, c.provider.wallet); err != nil {
			return "", err
		}
		again = ""
	}
	got, err := i.service.SubmitClaim(ctx, c.tx)
	r.said(err)
	return fmt.Sprintf("%s%d: %s %s", again, c.provider.number, class(err), got.State), nil
}

// signTwin lets a wallet sign a claim that is on its way a second time, with
// another valid signature, and send that past us.
func (r *run) signTwin(ctx context.Context) (string, error) {
	for _, tx := range slices.Backward(r.sent) {
		d, err := chain.Decode(tx)
		if err != nil || d.Plan.Kind != chain.KindClaim {
			continue
		}
		i := slices.IndexFunc(r.world.providers, func(p *provider) bool { return p.payee() == d.FeePayer })
		if i < 0 {
			continue
		}
		signature, err := r.twinOf(r.world.providers[i].wallet, d.Raw.Message)
		if err != nil {
			return "", err
		}
		twin, err := chain.AddSignature(tx, d.FeePayer, signature)
		if err != nil {
			return "", err
		}
		err = r.world.clean.Send(ctx, twin, rpc.SendOptions{SkipPreflight: true})
		r.said(err)
		return fmt.Sprintf("%d: %s", i, class(err)), nil
	}
	return "no claim", nil
}

// twinOf signs with a nonce of its own, so that the signature is not the one that
// everybody's library makes of key and message.
func (r *run) twinOf(key ed25519.PrivateKey, message []byte) (chain.Signature, error) {
	s, err := voi.PrivateKey(key).Sign(r.entropy(uint64(r.step)), message, &voi.Options{AddedRandomness: true})
	if err != nil {
		return chain.Signature{}, fmt.Errorf("sign a second time: %w", err)
	}
	return chain.Signature(s), nil
}

// requestPayout asks for a payout run.
func (r *run) requestPayout(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	_, err := i.service.RequestPayout(ctx)
	r.said(err)
	return class(err), nil
}
