package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// settleUp ends the work, has everybody paid, and holds what wallets have against what
// they earned, to the base unit.
func (g *siege) settleUp(ctx context.Context) error {
	if err := g.endRent(ctx); err != nil {
		return err
	}
	if err := g.endWork(ctx); err != nil {
		return err
	}
	if err := g.openAllAccounts(ctx); err != nil {
		return err
	}
	for _, category := range released {
		if err := g.release(ctx, category); err != nil {
			return err
		}
	}
	if err := g.payoutsRun(ctx); err != nil {
		return err
	}
	if err := g.claimRest(ctx); err != nil {
		return err
	}
	if err := g.payoutsRun(ctx); err != nil { // a claim pays no fees, but ends what held its wallet
		return err
	}
	// What was on its way is there soon, and the last book may need a moment.
	for end := time.Now().Add(time.Minute); ; {
		err := g.checkSums(ctx)
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// endWork lets an hour of work pass in peace, stops the workers and waits until all that
// they did is sealed.
func (g *siege) endWork(ctx context.Context) error {
	head, err := g.api.Head(ctx)
	if err != nil {
		return err
	}
	if err := g.sealed(ctx, head.Epoch); err != nil {
		return err
	}
	for _, w := range g.workers {
		if err := w.stop(); err != nil {
			return err
		}
	}
	if head, err = g.api.Head(ctx); err != nil {
		return err
	}
	return g.sealed(ctx, head.Epoch)
}

// openAllAccounts gives an account to those who have closed theirs.
func (g *siege) openAllAccounts(ctx context.Context) error {
	for i := 1; i <= hosts; i++ {
		if err := g.openAccount(ctx, g.wallet(i)); err != nil {
			return err
		}
	}
	return nil
}

// claimRest has those claim whom the payout run left out: he who closed his account is
// looked at again after ten minutes.
func (g *siege) claimRest(ctx context.Context) error {
	for i := 1; i <= hosts; i++ {
		key, err := g.keyOf(i)
		if err != nil {
			return err
		}
		p, err := g.api.Provider(ctx, chain.PublicOf(key))
		if err != nil {
			return err
		}
		if p.Claimable.IsZero() {
			continue
		}
		if err := g.claim(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// checkSums compares chain and service.
func (g *siege) checkSums(ctx context.Context) error {
	out, gifts, swept, err := g.landed(ctx)
	if err != nil {
		return err
	}
	for i := 1; i <= hosts; i++ {
		if err := g.checkProvider(ctx, i, out[i]); err != nil {
			return fmt.Errorf("provider %d: %w", i, err)
		}
	}
	if err := g.checkRenter(ctx); err != nil {
		return fmt.Errorf("renter: %w", err)
	}
	if err := g.checkWallet(ctx, g.savings(), swept); err != nil {
		return fmt.Errorf("savings: %w", err)
	}
	if err := g.checkReleased(ctx); err != nil {
		return err
	}
	if err := g.checkSuspense(ctx, gifts); err != nil {
		return err
	}
	evidence, err := filepath.Glob(filepath.Join(g.dir, "host-*", "evidence", "*"))
	if err != nil {
		return fmt.Errorf("look for evidence: %w", err)
	}
	g.tellFault("all have what they earned; %s IO of gifts are in suspense; workers hold %d proofs against the service",
		gifts.Tokens(g.network.Decimals), len(evidence))
	return nil
}

// landed sums what the chain has of the outgoes: by provider, gifts, and the rest.
func (g *siege) landed(ctx context.Context) (out map[int]ionet.Amount, gifts, swept ionet.Amount, err error) {
	out = map[int]ionet.Amount{}
	for _, o := range g.outgoes {
		t, err := g.cluster.Transaction(ctx, o.signature)
		if errors.Is(err, rpc.ErrNotFound) || err == nil && t.Err != nil {
			continue
		}
		if err != nil {
			return nil, gifts, swept, err
		}
		sum := &swept
		if o.gift {
			sum = &gifts
		}
		if *sum, err = sum.Add(o.amount); err != nil {
			return nil, gifts, swept, err
		}
		if out[o.wallet], err = out[o.wallet].Add(o.amount); err != nil {
			return nil, gifts, swept, err
		}
	}
	return out, gifts, swept, nil
}

// checkProvider holds, with nothing owed any more:
//
//	wallet + prepaid + withdrawing + gone elsewhere = earned + fees
func (g *siege) checkProvider(ctx context.Context, i int, out ionet.Amount) error {
	key, err := g.keyOf(i)
	if err != nil {
		return err
	}
	wallet := chain.PublicOf(key)
	p, err := g.api.Provider(ctx, wallet)
	if err != nil {
		return err
	}
	if !p.FeesOwed.IsZero() || !p.FeesInFlight.IsZero() {
		return fmt.Errorf("fees of %s are owed, of %s in flight", p.FeesOwed, p.FeesInFlight)
	}
	if !p.Claimable.IsZero() || !p.InFlight.IsZero() || p.Paid != p.Earned {
		return fmt.Errorf("earned %s, was paid %s; %s is in flight and %s owed", p.Earned, p.Paid, p.InFlight, p.Claimable)
	}
	r, err := g.api.Renter(ctx, wallet)
	if err != nil {
		return err
	}
	has, err := g.tokensOf(ctx, wallet)
	if err != nil {
		return err
	}
	if i == seller {
		if out, err = out.Add(g.sold); err != nil {
			return err
		}
	}
	sum, err := ionet.Sum(has, r.Balance, r.Withdrawing, out)
	if err != nil {
		return err
	}
	earned, err := p.Earned.Add(p.FeesPaid)
	if err != nil {
		return err
	}
	if sum != earned {
		return fmt.Errorf("has %s, prepaid %s, withdraws %s, moved %s: %s in sum, earned %s and fees of %s", has, r.Balance, r.Withdrawing, out, sum, p.Earned, p.FeesPaid)
	}
	return nil
}

func (g *siege) checkWallet(ctx context.Context, file string, want ionet.Amount) error {
	key, err := chain.ReadKeypair(file)
	if err != nil {
		return err
	}
	has, err := g.tokensOf(ctx, chain.PublicOf(key))
	if err == nil && has != want {
		err = fmt.Errorf("has %s, want %s", has, want)
	}
	return err
}

// tokensOf reads a wallet's finalized balance; nothing where it has no account.
func (g *siege) tokensOf(ctx context.Context, wallet ionet.Key) (ionet.Amount, error) {
	n, _, err := g.cluster.TokenBalance(ctx, chain.TokenAccount(wallet, g.network.Mint), g.network.Mint, rpc.Finalized, 0)
	if errors.Is(err, chain.ErrNoAccount) {
		return ionet.Amount{}, nil
	}
	return n, err
}

// checkReleased: each category was released once, its shares by floors of running sums.
func (g *siege) checkReleased(ctx context.Context) error {
	research, ok := g.network.AllocationOf("research")
	community, found := g.network.AllocationOf("community")
	if !ok || !found {
		return errors.New("the network lacks a category that has beneficiaries")
	}
	// 3 parts of 4; no amount of the genesis supply overflows.
	first := ionet.MustAmount(research.Amount.Base()/4*3 + research.Amount.Base()%4*3/4)
	rest, err := research.Amount.Sub(first)
	if err != nil {
		return err
	}
	second, err := rest.Add(community.Amount)
	if err != nil {
		return err
	}
	for i, want := range []ionet.Amount{first, second} {
		if err := g.checkWallet(ctx, g.beneficiary(i+1), want); err != nil {
			return fmt.Errorf("beneficiary %d: %w", i+1, err)
		}
	}
	return nil
}

var inSuspense = regexp.MustCompile(`(?m)^suspense  (\S+) IO in all`)

// checkSuspense reads what an operator reads.
func (g *siege) checkSuspense(ctx context.Context, gifts ionet.Amount) error {
	var told strings.Builder
	code, out, err := run(ctx, &told, g.log, "status", filepath.Join(g.bin, "ionetd"), append([]string{"status", "--rpc", g.rpc,
		"--store", g.published(), "--database", g.db.URL()}, g.placeFlags()...)...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("ionetd status: exit status %d; see %s", code, g.log.Name())
	}
	var suspense ionet.Amount
	if m := inSuspense.FindStringSubmatch(out); m != nil {
		if suspense, err = ionet.ParseTokens(m[1], g.network.Decimals); err != nil {
			return err
		}
	}
	if suspense != gifts {
		return fmt.Errorf("%s in suspense, gifts were %s", suspense, gifts)
	}
	return nil
}
