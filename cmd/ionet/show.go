package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

type balanceCmd struct {
	server
	Wallet ionet.Key `required:"" placeholder:"KEY" help:"The payout wallet."`
}

// Run prints a wallet's balance.
func (c *balanceCmd) Run(s *stage) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	p, err := api.Provider(s.ctx, c.Wallet)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		name   string
		amount ionet.Amount
	}{{"earned", p.Earned}, {"paid", p.Paid}, {"in flight", p.InFlight}, {"claimable", p.Claimable}} {
		fmt.Fprintf(t, "%s\t%s IO\t\n", row.name, row.amount.Tokens(p.Decimals))
	}
	return t.Flush()
}

type epochsCmd struct {
	server
	Limit int `default:"10" help:"How many."`
}

// Run lists epochs.
func (c *epochsCmd) Run(s *stage) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
	if err != nil {
		return err
	}
	list, err := api.Epochs(s.ctx, c.Limit)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "epoch\tstate\temission\tminted\tunissued\tdraw\tverdicts\tsignature")
	for _, e := range list {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", e.Epoch, e.State, e.Emission.Tokens(network.Decimals), e.Sum.Tokens(network.Decimals),
			e.Unissued.Tokens(network.Decimals), drawn(e), e.Verdicts, e.Signature)
	}
	return t.Flush()
}

// drawn says how an epoch drew from the schedule, and by which price.
func drawn(e client.Epoch) string {
	switch p := e.Price; {
	case e.Draw != emissions.DrawTarget:
		return e.Draw
	case p == nil:
		return "target, no price"
	case p.Epoch != e.Epoch:
		return fmt.Sprintf("target at %s of epoch %d", usd(p.MicroUSD), p.Epoch)
	default:
		return fmt.Sprintf("target at %s", usd(p.MicroUSD))
	}
}

type whyCmd struct {
	server
	Device ionet.UUID `required:"" placeholder:"GPU-UUID" help:"The device."`
	Epoch  uint64     `required:"" help:"The epoch."`
}

// Run explains a device's epoch and checks that the verdicts shown are those
// that the seal's memo commits to.
func (c *whyCmd) Run(s *stage) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
	if err != nil {
		return err
	}
	d, err := api.Device(s.ctx, c.Device, c.Epoch)
	if err != nil {
		return err
	}
	memo, err := proofs.ParseMemo(d.Epoch.Memo)
	seal, ok := memo.(proofs.EpochMemo)
	if err != nil || !ok || seal.Epoch != c.Epoch {
		return errors.New("the epoch has no seal yet: its verdicts can't be proven")
	}
	for _, v := range d.Verdicts {
		record := recordOf(v.Verdict).Append(nil)
		if err := proofs.CheckProof(v.Proof, seal.Verdicts, int(seal.Count), int(v.Index), record); err != nil {
			return fmt.Errorf("the service shows a verdict that the seal does not commit to: %w", err)
		}
		s.print("epoch %d, %s, worker %s", c.Epoch, v.Verdict.Device, v.Verdict.Worker)
		s.print("  rule %d %s: %s", v.Verdict.Rule, v.Verdict.Name, v.Verdict.Text)
		s.print("  %d samples, weight %d, %s IO to %s", v.Verdict.Samples, v.Verdict.Weight, v.Verdict.Amount.Tokens(network.Decimals), v.Verdict.Payee)
	}
	s.print("proven against %s, sealed by transaction %s", seal.Verdicts, d.Epoch.Signature)
	return nil
}

func recordOf(v client.Verdict) proofs.Verdict {
	return proofs.Verdict{
		UUID: v.Device, Worker: v.Worker, Provider: v.Provider, Payee: v.Payee, Rule: proofs.Rule(v.Rule),
		Samples: v.Samples, Weight: v.Weight, Evidence: v.Evidence, Amount: v.Amount,
	}
}
