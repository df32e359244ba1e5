package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
)

type balanceCmd struct {
	server
	Wallet ionet.Key `required:"" placeholder:"KEY" help:"The wallet, a provider's or a renter's."`
	JSON   bool      `name:"json" help:"Print as JSON; amounts are base units."`
}

// Help shows an example below the flags.
func (c *balanceCmd) Help() string {
	return `For a provider also the fees of inferences that it served: earned, paid, in flight, and owed, which payout runs pay
without being asked. For a renter also what was prepaid and is not spent, what sessions and their channels hold, and what is on its way
back.

Examples:
  ionet balance --server https://ionetd.example --wallet 9aB...
  ionet balance --server https://ionetd.example --wallet 9aB... --json`
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
	fees, err := feesOf(p)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.json(balances{
			Wallet: c.Wallet, Decimals: p.Decimals, Earned: p.Earned, Paid: p.Paid, InFlight: p.InFlight, Claimable: p.Claimable,
			FeesEarned: fees, FeesPaid: p.FeesPaid, FeesInFlight: p.FeesInFlight, FeesOwed: p.FeesOwed,
			Balance: renter.Balance, Reserved: renter.Reserved, Withdrawing: renter.Withdrawing,
		})
	}
	type row struct {
		name   string
		amount ionet.Amount
	}
	rows := []row{{"earned", p.Earned}, {"paid", p.Paid}, {"in flight", p.InFlight}, {"claimable", p.Claimable}}
	if !fees.IsZero() {
		rows = append(rows, row{"fees earned", fees}, row{"fees paid", p.FeesPaid}, row{"fees in flight", p.FeesInFlight}, row{"fees owed", p.FeesOwed})
	}
	if len(renter.Deposits) > 0 || !renter.Balance.IsZero() || !renter.Reserved.IsZero() || !renter.Withdrawing.IsZero() {
		rows = append(rows, row{"prepaid, unspent", renter.Balance}, row{"in sessions", renter.Reserved}, row{"being withdrawn", renter.Withdrawing})
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

// feesOf sums up what a wallet earned for inferences: what is paid, on its way and owed.
func feesOf(p client.Provider) (ionet.Amount, error) {
	sum, err := p.FeesOwed.Add(p.FeesInFlight)
	if err == nil {
		sum, err = sum.Add(p.FeesPaid)
	}
	if err != nil {
		return sum, fmt.Errorf("sum up fees: %w", err)
	}
	return sum, nil
}

// balances is balance --json.
type balances struct {
	Wallet    ionet.Key    `json:"wallet"`
	Decimals  int          `json:"decimals"`
	Earned    ionet.Amount `json:"earned"`
	Paid      ionet.Amount `json:"paid"`
	InFlight  ionet.Amount `json:"in_flight"`
	Claimable ionet.Amount `json:"claimable"`

	FeesEarned   ionet.Amount `json:"fees_earned"` // for inferences: the three below
	FeesPaid     ionet.Amount `json:"fees_paid"`
	FeesInFlight ionet.Amount `json:"fees_in_flight"`
	FeesOwed     ionet.Amount `json:"fees_owed"`

	Balance     ionet.Amount `json:"balance"`  // prepaid, unspent
	Reserved    ionet.Amount `json:"reserved"` // in sessions
	Withdrawing ionet.Amount `json:"withdrawing"`
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
	api, network, err := c.network(s)
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
