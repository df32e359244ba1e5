package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

type sessionShowCmd struct {
	server
	Session string     `xor:"what" placeholder:"FILE" help:"The session's key, as session open wrote it."`
	ID      ionet.Hash `xor:"what" placeholder:"ID" help:"The session's id."`
	Wallet  ionet.Key  `xor:"what" placeholder:"KEY" help:"All sessions of a renter's wallet, or of a session key."`
	JSON    bool       `name:"json" help:"Print as JSON; amounts are base units."`
}

// Help shows examples below the flags.
func (c *sessionShowCmd) Help() string {
	return `Examples:
  ionet session show --server https://ionetd.example --session session.json
  ionet session show --server https://ionetd.example --wallet 9aB... --json`
}

// Run shows sessions.
func (c *sessionShowCmd) Run(s *stage) error {
	if c.Session == "" && c.ID.IsZero() && c.Wallet.IsZero() {
		return errors.New("--session is missing: which one? (--id and --wallet also tell)")
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	var list []client.Session
	if c.Session != "" {
		e, _, err := readSession(c.Session, network)
		if err != nil {
			return fmt.Errorf("--session: %w", err)
		}
		c.ID = e.ID()
	}
	if !c.ID.IsZero() {
		one, err := api.Session(s.ctx, c.ID)
		if err != nil {
			return err
		}
		list = append(list, one)
	} else if list, err = api.SessionsOf(s.ctx, c.Wallet); err != nil {
		return err
	}
	if c.JSON {
		return s.json(list)
	}
	if len(list) == 0 {
		s.print("no session is of %s", c.Wallet)
	}
	for i, one := range list {
		if i > 0 {
			s.print("")
		}
		showSession(s, one, network.Decimals)
	}
	return nil
}

func showSession(s *stage, one client.Session, decimals int) {
	s.print("session %s %s", one.ID, one.State)
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"wallet", one.Renter.String()}, {"key", one.Key.String()}, {"reserve", one.Reserve.Tokens(decimals) + " IO"}, {"spent", one.Spent.Tokens(decimals) + " IO"},
		{"in no channel", one.Free.Tokens(decimals) + " IO"}, {"issued", clockText(one.Issued)}, {"expires", clockText(one.Expires)},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", row[0], row[1])
	}
	for _, most := range one.Caps {
		fmt.Fprintf(t, "  price cap\t%s: %s IO per %d\n", most.Model, most.Price.Tokens(decimals), most.Per)
	}
	if one.ClosingAt != 0 {
		fmt.Fprintf(t, "  closing since\t%s\n", clockText(one.ClosingAt))
	}
	t.Flush()
	if len(one.Channels) > 0 {
		showChannels(s, one.Channels, decimals)
	}
}

func showChannels(s *stage, list []client.Channel, decimals int) {
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "channel\tworker\tstate\tlimit\tspent\tjobs\texpires")
	for _, ch := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", ch.Channel, ch.Worker, ch.State, ch.Limit.Tokens(decimals), ch.Spent.Tokens(decimals), ch.Jobs, clockText(ch.Expires))
	}
	t.Flush()
}

type sessionCloseCmd struct {
	server
	sessionFile
}

// Help shows an example below the flags.
func (c *sessionCloseCmd) Help() string {
	return `Workers hand in what they have served for some time after: the network's grace. Then what is left of the reserve
goes back to the wallet's balance. The key is of no more use.

Examples:
  ionet session close --server https://ionetd.example --session session.json`
}

// Run closes a session.
func (c *sessionCloseCmd) Run(s *stage) error {
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	purse, err := c.purse(api, network, client.PurseConfig{}) // nobody spends meanwhile
	if err != nil {
		return err
	}
	defer purse.Close()
	if err := purse.CloseSession(s.ctx); err != nil {
		return err
	}
	_, id := purse.Session()
	s.print("session %s is closing: after the network's grace what is left goes back to the balance", id)
	return nil
}
