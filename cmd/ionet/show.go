package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

type balanceCmd struct {
	server
	Wallet ionet.Key `required:"" placeholder:"KEY" help:"The wallet, a provider's or a renter's."`
}

// Help shows an example below the flags.
func (c *balanceCmd) Help() string {
	return `For a renter also what was prepaid and is not spent, and what is on its way back.

Examples:
  ionet balance --server https://ionetd.example --wallet 9aB...`
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
	renter, err := api.Renter(s.ctx, c.Wallet)
	if err != nil {
		return err
	}
	type row struct {
		name   string
		amount ionet.Amount
	}
	rows := []row{{"earned", p.Earned}, {"paid", p.Paid}, {"in flight", p.InFlight}, {"claimable", p.Claimable}}
	if len(renter.Deposits) > 0 || !renter.Balance.IsZero() || !renter.Withdrawing.IsZero() {
		rows = append(rows, row{"prepaid, unspent", renter.Balance}, row{"being withdrawn", renter.Withdrawing})
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%s IO\t\n", row.name, row.amount.Tokens(p.Decimals))
	}
	if err := t.Flush(); err != nil || p.Held == nil {
		return err
	}
	s.print("payout runs leave this wallet out until %s: %s", time.Unix(p.Held.RetryAt, 0).UTC().Format(time.RFC3339), p.Held.Reason)
	return nil
}

type epochsCmd struct {
	server
	Limit int `default:"10" range:"1..1000" placeholder:"N" help:"How many."`
}

// Help explains the columns below the flags.
func (c *epochsCmd) Help() string {
	return `An epoch is open while it takes in statements, frozen when it no longer does, published when its book is,
and sealed when the transaction that commits to it is final on chain. Amounts are tokens.

Examples:
  ionet epochs --server https://ionetd.example
  ionet epochs --server https://ionetd.example --limit 100`
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
		return fmt.Sprintf("target at $%s of epoch %d", usd(p.MicroUSD), p.Epoch)
	default:
		return fmt.Sprintf("target at $%s", usd(p.MicroUSD))
	}
}

type whyCmd struct {
	server
	Device ionet.UUID `required:"" placeholder:"GPU-UUID" help:"The device."`
	Epoch  uint64     `required:"" range:"1.." placeholder:"N" help:"The epoch."`
}

// Help shows an example below the flags.
func (c *whyCmd) Help() string {
	return `The verdict names the rule that accepted or refused the device. Once the epoch is sealed, the proof ties the
verdict to the seal's memo on chain; before, the verdict is judged and not proven yet.

Examples:
  ionet why --server https://ionetd.example --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b --epoch 12`
}

// Run explains a device's epoch. What is sealed is checked against the seal's memo;
// what is only judged is shown, and said not to be proven.
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
	return c.explain(s, network, d)
}

func (c *whyCmd) explain(s *stage, network *ionet.Network, d client.DeviceEpoch) error {
	isSealed := d.Epoch.State == client.EpochSealed
	var seal proofs.EpochMemo
	if isSealed || d.Epoch.Memo != "" {
		memo, err := proofs.ParseMemo(d.Epoch.Memo)
		var ok bool
		if seal, ok = memo.(proofs.EpochMemo); err != nil || !ok || seal.Epoch != c.Epoch {
			return fmt.Errorf("the service shows a memo that is not the seal of epoch %d: %q", c.Epoch, d.Epoch.Memo)
		}
	}
	if len(d.Verdicts) == 0 {
		return fmt.Errorf("the service shows no verdict of %s in epoch %d", c.Device, c.Epoch)
	}
	for _, v := range d.Verdicts {
		if seal.Epoch != 0 {
			record := recordOf(v.Verdict).Append(nil)
			if err := proofs.CheckProof(v.Proof, seal.Verdicts, int(seal.Count), int(v.Index), record); err != nil {
				return fmt.Errorf("the service shows a verdict that the seal does not commit to: %w", err)
			}
		}
		s.print("epoch %d, %s, worker %s", c.Epoch, v.Verdict.Device, v.Verdict.Worker)
		s.print("  rule %d %s: %s", v.Verdict.Rule, v.Verdict.Name, v.Verdict.Text)
		s.print("  evidence %s: %s", v.Verdict.Evidence, evidenceOf(v.Verdict))
		s.print("  %d samples, weight %d, %s IO to %s", v.Verdict.Samples, v.Verdict.Weight, v.Verdict.Amount.Tokens(network.Decimals), v.Verdict.Payee)
	}
	if d.Epoch.Draw == emissions.DrawTarget {
		s.print("epoch %d drew by %s", c.Epoch, whyDrawn(d.Epoch))
	}
	if !isSealed {
		s.print("judged, not sealed yet: the epoch is %s, and nothing on chain commits to this before its seal is final; ask again in a minute, ionet epochs shows the state", d.Epoch.State)
		return nil
	}
	s.print("proven against %s, sealed by transaction %s", seal.Verdicts, d.Epoch.Signature)
	return nil
}

// evidenceOf says of what statements a verdict's evidence is the hash.
func evidenceOf(v client.Verdict) string {
	if r := proofs.Rule(v.Rule); r.Known() {
		return "hash of the ids of " + r.Evidence()
	}
	return "of a rule that this build does not know"
}

// whyDrawn says what the draw by target did to what was issued.
func whyDrawn(e client.Epoch) string {
	if e.Price == nil {
		return "target and had no price in reach: nothing was issued, also to devices that were accepted"
	}
	return drawn(e) + ": no more was issued than the target needed"
}

func recordOf(v client.Verdict) proofs.Verdict {
	return proofs.Verdict{
		UUID: v.Device, Worker: v.Worker, Provider: v.Provider, Payee: v.Payee, Rule: proofs.Rule(v.Rule),
		Samples: v.Samples, Weight: v.Weight, Evidence: v.Evidence, Amount: v.Amount,
	}
}
