package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// meant is whom a transfer to a vault is for.
type meant struct {
	wallet ionet.Key
	amount uint64
}

// deposit lets somebody who has tokens pay in for a renter, in one of the ways in
// which people do, right and wrong.
func (r *run) deposit(ctx context.Context) (string, error) {
	from, holds, err := r.rich(ctx)
	if err != nil || from == nil {
		return "nobody has any", err
	}
	for_, refs, outcome := r.references(ctx)
	if outcome != "" {
		return outcome, nil
	}
	amount := 1 + r.rng.Uint64N(holds)
	n := r.world.net.Network
	fee, reward := n.Vaults.Fee, n.Vaults.Reward
	var in solana.Instruction
	var credits []meant
	how := []string{"", "", "", "", "none", "two", "reward", "other mint", "batch", "batch"}[r.rng.IntN(10)]
	switch how {
	case "":
		in, credits = with(r.move(from.payee(), fee, amount), refs[0]), []meant{{for_[0], amount}}
	case "none":
		in = r.move(from.payee(), fee, amount)
	case "two":
		in = with(r.move(from.payee(), fee, amount), refs...)
	case "reward":
		in = with(r.move(from.payee(), reward, amount), refs[0])
	case "other mint":
		in, from = with(r.foreignToken(), refs[0]), nil
	case "batch":
		half := amount / 2
		if half == 0 {
			return "too little to halve", nil
		}
		in = batch(with(r.move(from.payee(), fee, amount-half), refs[0]), with(r.move(from.payee(), fee, half), refs[1]))
		credits = []meant{{for_[0], amount - half}, {for_[1], half}}
	}
	key := strangerKey()
	if from != nil {
		key = from.wallet
	}
	outcome, signature, err := r.sendAs(ctx, key, in)
	r.meant[signature] = credits
	return fmt.Sprintf("%d %s: %s", amount, how, outcome), err
}

// rich draws a provider whose token account has tokens that he may move.
func (r *run) rich(ctx context.Context) (*provider, uint64, error) {
	for range 10 {
		p := r.anybody()
		if reason, err := r.unpayable(ctx, p); err != nil || reason != "" {
			if err != nil {
				return nil, 0, err
			}
			continue
		}
		if holds, err := r.held(ctx, p.payee()); err != nil || holds > 0 {
			return p, holds, err
		}
	}
	return nil, 0, nil
}

// references asks for the references of two renters.
func (r *run) references(ctx context.Context) (wallets, references []ionet.Key, outcome string) {
	i := r.either()
	if i == nil {
		return nil, nil, "nobody listens"
	}
	first := r.rng.IntN(renters)
	for _, n := range []int{first, (first + 1) % renters} {
		d, err := i.service.RequestDeposit(ctx, r.world.providers[n].payee())
		if err != nil {
			r.said(err)
			return nil, nil, class(err)
		}
		wallets, references = append(wallets, d.Wallet), append(references, d.Reference)
	}
	return wallets, references, ""
}

// with adds references to a transfer, as Solana Pay has them.
func with(in solana.Instruction, references ...ionet.Key) solana.Instruction {
	data, err := in.Data()
	if err != nil {
		return in // built by us, so it encodes
	}
	accounts := append(solana.AccountMetaSlice{}, in.Accounts()...)
	for _, k := range references {
		accounts = append(accounts, solana.NewAccountMeta(solana.PublicKey(k), false, false))
	}
	return solana.NewInstruction(in.ProgramID(), accounts, data)
}

// batch is p-token's instruction that holds several.
func batch(list ...solana.Instruction) solana.Instruction {
	data := []byte{255}
	var accounts solana.AccountMetaSlice
	for _, in := range list {
		own, err := in.Data()
		if err != nil {
			return in
		}
		data = append(append(data, byte(len(in.Accounts())), byte(len(own))), own...)
		accounts = append(accounts, in.Accounts()...)
	}
	return solana.NewInstruction(solana.TokenProgramID, accounts, data)
}

// foreignMint is a token of somebody else, of which the stranger has some.
func foreignMint() ed25519.PrivateKey { return keyOf("foreign mint") }

// foreignToken moves one of them to the wallet that deposits go to.
func (r *run) foreignToken() solana.Instruction {
	mint, stranger := chain.PublicOf(foreignMint()), chain.PublicOf(strangerKey())
	to := chain.TokenAccount(r.world.net.Network.Keys.Fees, mint)
	return token.NewTransferCheckedInstruction(1+r.rng.Uint64N(1000), 0, solana.PublicKey(chain.TokenAccount(stranger, mint)), solana.PublicKey(mint), solana.PublicKey(to), solana.PublicKey(stranger), nil).Build()
}

// withdraw lets a renter ask for a part of what he paid in, or for more; or hand in
// again what he asked for before.
func (r *run) withdraw(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	if len(r.withdrawals) > 0 && r.rng.IntN(4) == 0 {
		w, err := i.service.SubmitWithdrawal(ctx, r.withdrawals[r.rng.IntN(len(r.withdrawals))])
		r.said(err)
		return fmt.Sprintf("again: %s %s", class(err), w.State), nil
	}
	p, err := r.holder(ctx, "renter:")
	if err != nil {
		return "", err
	}
	renter, err := i.service.Renter(ctx, p.payee())
	if err != nil {
		r.said(err)
		return class(err), nil
	}
	balance := renter.Balance.Base()
	amount, err := ionet.NewAmount(1 + r.rng.Uint64N(balance+balance/8+1))
	if err != nil {
		return "", err
	}
	e, err := r.signWithdrawal(p, amount)
	if err != nil {
		return "", err
	}
	w, err := i.service.SubmitWithdrawal(ctx, e)
	r.said(err)
	return fmt.Sprintf("%d: %s of %d: %s %s", p.number, amount, balance, class(err), w.State), nil
}

// signWithdrawal signs a statement that is valid for a while, short or long.
func (r *run) signWithdrawal(p *provider, amount ionet.Amount) (proofs.Envelope, error) {
	n := r.world.net.Network
	w := proofs.Withdrawal{Renter: p.payee(), Amount: amount, To: p.payee(), Expires: r.world.unix.Load() + 5 + int64(r.rng.IntN(400))}
	if r.rng.IntN(4) == 0 {
		w.To = r.anybody().payee()
	}
	binary.LittleEndian.PutUint64(w.ID[:], r.rng.Uint64())
	text, err := w.Text(n.ID())
	if err != nil {
		return proofs.Envelope{}, err
	}
	e := proofs.Sign(n.ID(), proofs.KindWithdrawal, p.wallet, []byte(text))
	r.withdrawals = append(r.withdrawals, e)
	return e, nil
}

// release asks for what is unlocked of the categories.
func (r *run) release(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	_, err := i.service.RequestRelease(ctx, []string{"", "research", "community", "core"}[r.rng.IntN(4)])
	r.said(err)
	return class(err), nil
}

// sealReceipts asks for the seal of the receipt log, where all of it is published.
func (r *run) sealReceipts(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	log, err := i.service.Log(ctx)
	if err == nil && log.Size > 0 && log.Size == log.Published.Size {
		err = i.service.SealReceipts(ctx, log.Checkpoint)
	}
	r.said(err)
	return fmt.Sprintf("%d of %d records: %s", log.Published.Size, log.Size, class(err)), nil
}

// offer lets a wallet ask for a claim that we sign first.
func (r *run) offer(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	p, err := r.claimant(ctx)
	if err != nil {
		return "", err
	}
	prepared, err := i.service.OfferClaim(ctx, p.payee())
	if err != nil {
		r.said(err)
		return fmt.Sprintf("%d: %s", p.number, class(err)), nil
	}
	r.offers = append(r.offers, &claim{provider: p, prepared: prepared})
	return fmt.Sprintf("%d: %s on %s %d", p.number, prepared.Amount, prepared.Lane, prepared.Position), nil
}

// take lets a wallet sign a claim that it was offered at any time, and send it
// without a word to us.
func (r *run) take(ctx context.Context) (string, error) {
	if len(r.offers) == 0 {
		return "nothing", nil
	}
	c := r.offers[len(r.offers)-1]
	if r.rng.IntN(4) == 0 {
		c = r.offers[r.rng.IntN(len(r.offers))]
	}
	if c.tx == nil {
		var err error
		if c.tx, err = chain.CoSign(c.prepared.Transaction, c.provider.wallet); err != nil {
			return "", err
		}
		r.sent = append(r.sent, c.tx)
	}
	err := r.world.clean.Send(ctx, c.tx, rpc.SendOptions{SkipPreflight: true})
	r.said(err)
	return fmt.Sprintf("%d: %s", c.provider.number, class(err)), nil
}

// steal lets somebody who has the keys take a little from a vault, for a while: the
// books must notice, and stop everything.
func (r *run) steal(ctx context.Context) (string, error) {
	if r.halts != "" {
		return "once is enough", nil
	}
	n, keys := r.world.net.Network, r.world.net.Keys
	key, owner := keys.Operator, n.Keys.Operator
	if r.rng.IntN(2) == 0 {
		key, owner = keys.Fees, n.Keys.Fees
	}
	holds, err := r.held(ctx, owner)
	if err != nil || holds == 0 {
		return "nothing there", err
	}
	amount := 1 + r.rng.Uint64N(min(holds, 1000))
	outcome, signature, err := r.sendAs(ctx, key, r.move(owner, chain.TokenAccount(chain.PublicOf(strangerKey()), n.Mint), amount))
	r.stolen[signature] = true
	r.halts = "theft"
	return fmt.Sprintf("%d of %s: %s", amount, owner, outcome), err
}

// resume lets a person book what is missing, after a look, and end the halt.
func (r *run) resume(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || r.halts == "" {
		return "nothing", nil
	}
	if r.asked != [16]byte{} {
		// What became of the last time is in the trace.
		if done, refused, err := i.service.Resumed(ctx, r.asked); err == nil && done && refused != "" {
			r.said(errors.New(refused))
		}
	}
	plan, err := i.service.PlanResume(ctx)
	if err != nil && !errors.Is(err, settlement.ErrNothingToResume) {
		r.said(err)
		return class(err), nil
	}
	// What is only unexplained is left to the scan, which finds out whose it is.
	if len(plan.Halts) == 0 {
		return "nothing is halted", nil
	}
	r.asked, err = i.service.AskResume(ctx, plan.Seen, "the simulation stole it")
	if err != nil {
		r.said(err)
	}
	return fmt.Sprintf("%q: %s", plan.Seen, class(err)), nil
}
