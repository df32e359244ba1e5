package main

import (
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

type channelCmds struct {
	List  channelListCmd  `cmd:"" help:"List a session's channels, as the service and this machine have them."`
	Close channelCloseCmd `cmd:"" help:"Close a channel: what is left of its limit goes back to the session."`
}

type channelListCmd struct {
	server
	sessionFile
	JSON bool `name:"json" help:"Print as JSON; amounts are base units."`
}

// Help shows an example below the flags.
func (c *channelListCmd) Help() string {
	return `A session has one channel for each worker that it used. Its limit is what that worker can be paid at most;
spent is what the receipt log has.

Examples:
  ionet channel list --server https://ionetd.example --session session.json`
}

// Run lists channels.
func (c *channelListCmd) Run(s *stage) error {
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	e, _, err := readSession(c.Session, network)
	if err != nil {
		return fmt.Errorf("--session: %w", err)
	}
	session, err := api.Session(s.ctx, e.ID())
	if err != nil {
		return err
	}
	if c.JSON {
		return s.json(session.Channels)
	}
	if len(session.Channels) == 0 {
		s.print("session %s has no channels yet: ionet proxy opens them", session.ID)
		return nil
	}
	showChannels(s, session.Channels, network.Decimals)
	own, err := client.ReadPurse(c.state(), e.ID())
	if err != nil {
		return err
	}
	for _, ch := range own {
		s.print("%s: this machine signed for %s IO and has statements of %s IO", ch.Channel, ch.Signed.Tokens(network.Decimals), ch.Spent.Tokens(network.Decimals))
		if ch.Unknown > 0 {
			s.print("  %d requests are open, whose answer was lost", ch.Unknown)
		}
		if ch.Left != "" {
			s.print("  its worker is used no more: %s", ch.Left)
		}
	}
	return nil
}

type channelCloseCmd struct {
	server
	sessionFile
	Channel ionet.Key     `required:"" placeholder:"KEY" help:"The channel; channel list shows them."`
	Wait    time.Duration `default:"0s" help:"How long to wait until it is over (default: ${default})."`
}

// Help shows an example below the flags.
func (c *channelCloseCmd) Help() string {
	return `Its worker hands in what it has served for some time after: the network's grace. Then what is left of the limit
goes back to the session, and may be spent through other channels.

Examples:
  ionet channel close --server https://ionetd.example --session session.json --channel 5Qr...`
}

// Run closes a channel.
func (c *channelCloseCmd) Run(s *stage) error {
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	purse, err := c.purse(api, network, client.PurseConfig{})
	if err != nil {
		return err
	}
	defer purse.Close()
	if err := purse.CloseChannel(s.ctx, c.Channel); err != nil {
		return err
	}
	ch, err := api.Channel(s.ctx, c.Channel)
	if err != nil {
		return err
	}
	s.print("channel %s is %s: %s of %s IO are spent", c.Channel, ch.State, ch.Spent.Tokens(network.Decimals), ch.Limit.Tokens(network.Decimals))
	for deadline := time.Now().Add(c.Wait); ch.State != client.StateOver && time.Now().Before(deadline); {
		if err := s.pause(time.Second); err != nil {
			return err
		}
		if ch, err = api.Channel(s.ctx, c.Channel); err != nil {
			return err
		}
	}
	if ch.State == client.StateOver {
		s.print("it is over: %s IO were spent", ch.Spent.Tokens(network.Decimals))
	}
	return nil
}
