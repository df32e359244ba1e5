package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// usdPlaces is how many decimal places a price has: it is in micro-dollars.
const usdPlaces = 6

// usd is a price of one whole token in micro-dollars.
type usd uint64

// UnmarshalText parses an exact decimal such as "0.0731".
func (u *usd) UnmarshalText(text []byte) error {
	a, err := ionet.ParseTokens(string(text), usdPlaces)
	if err != nil || a.IsZero() {
		return fmt.Errorf("%q is not a price: give US dollars for one token as a decimal above 0 with at most %d places, such as 0.0731", text, usdPlaces)
	}
	*u = usd(a.Base())
	return nil
}

// String has all places, such as "0.073100".
func (u usd) String() string { return fmt.Sprintf("%d.%06d", u/1_000_000, u%1_000_000) }

type priceCmd struct {
	server
	Keypair string `required:"" placeholder:"FILE" help:"The observer's key, which the policy in force names."`
	USD     usd    `name:"usd" required:"" placeholder:"PRICE" help:"US dollars for one token, a decimal above 0 with at most 6 places."`
	Strict  bool   `help:"Fail where the epoch has another price already."`
}

// Help says what comes of it.
func (c *priceCmd) Help() string {
	return `An epoch whose policy draws by target needs a price: without one in reach nothing
is issued. One observation is taken for each epoch, and the first stands.

The command may be run again at any time, from a timer for instance: where the
epoch has a price, it shows which one stands and ends with status 0, whatever
price was given. With --strict another price than the one that stands is an error.

Examples:
  ionet price --server https://ionetd.example --keypair oracle.json --usd 0.0731
  IONET_SERVER=https://ionetd.example ionet price --keypair oracle.json --usd 12 --strict`
}

// Run signs the observation of the epoch of now and hands it in. The clock is this
// machine's: the observer answers for the time that it signs.
func (c *priceCmd) Run(s *stage) error {
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	now := time.Now()
	epoch, _, begun := network.Clock().At(now)
	if !begun {
		return fmt.Errorf("network %s has no epoch yet: the first begins at %s", network.Name, time.Unix(network.Clock().EpochStart(1), 0).UTC())
	}
	if taken, err := c.taken(s, api, network, epoch); taken || err != nil {
		return err
	}
	body, err := proofs.Price{Epoch: epoch, Observed: now.Unix(), MicroUSD: uint64(c.USD)}.Encode()
	if err != nil {
		return err
	}
	e := proofs.Sign(network.ID(), proofs.KindPrice, key, body)
	result, err := submit(s, api.ForNetwork(network.ID()), e)
	if err != nil {
		return err
	}
	if p := result.Problem; p != nil {
		if p.Kind() == client.OnePriceAnEpoch { // somebody was faster
			if taken, err := c.taken(s, api, network, epoch); taken || err != nil {
				return err
			}
		}
		return p
	}
	s.print("epoch %d: one token is observed at %s US dollars", epoch, c.USD)
	return printAck(s, network, result.Status, e.ID(), result.Ack)
}

// taken reports whether the epoch has a price already, and shows it. A feed on a
// timer goes on with its day where that is another one; who must know asks for
// --strict.
func (c *priceCmd) taken(s *stage, api *client.Client, network *ionet.Network, epoch uint64) (bool, error) {
	p, err := api.Price(s.ctx, epoch)
	if client.IsProblem(err, client.UnknownPrice) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at := time.Unix(p.Observed, 0).UTC().Format(time.RFC3339)
	other := usd(p.MicroUSD) != c.USD
	if other && c.Strict {
		return false, fmt.Errorf("--usd %s: one price is taken an epoch, and epoch %d has %s US dollars, observed at %s: that one stands", c.USD, epoch, usd(p.MicroUSD), at)
	}
	s.print("epoch %d: one token was observed at %s US dollars at %s", epoch, usd(p.MicroUSD), at)
	if other {
		s.print("that one stands: one price is taken an epoch, and %s was not handed in", c.USD)
	}
	return true, printAck(s, network, client.Duplicate, p.ID, p.Ack)
}

// printAck shows the service's ack of a statement, once it is found to be one.
func printAck(s *stage, network *ionet.Network, status string, id ionet.Hash, ack []byte) error {
	e, rest, err := proofs.ParseEnvelope(ack)
	if err != nil || len(rest) > 0 || e.Kind != proofs.KindAck || e.Signer != network.Keys.Service || e.Verify(network.ID()) != nil {
		return errors.New("the service's ack of the statement is not one that this network's service signed")
	}
	a, err := proofs.ParseAck(e.Body)
	if err != nil || a.Statement != id {
		return fmt.Errorf("the service's ack is not of statement %s", id)
	}
	s.print("statement %s %s, arrived in sample %d of epoch %d", id, status, a.Arrival.Sample, a.Arrival.Epoch)
	s.print("ack %x", ack)
	return nil
}
