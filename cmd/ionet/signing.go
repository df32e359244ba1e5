package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// signing says whose wallet signs a text, and where: here by a key file, or elsewhere
// in two steps, of which the first prints the text and the second has the signature.
type signing struct {
	Keypair   string    `placeholder:"FILE" help:"The provider's wallet."`
	Provider  ionet.Key `placeholder:"KEY" help:"The provider's wallet where it is no file: print the exact text for it to sign, and end."`
	Signature string    `placeholder:"BASE58" help:"That wallet's signature of the text in --text-file: hand both in."`
	TextFile  string    `name:"text-file" placeholder:"FILE" help:"The text that was signed, as it was printed."`
}

// check refuses flags that don't go together.
func (c *signing) check() error {
	switch {
	case c.Keypair != "" && !c.Provider.IsZero():
		return errors.New("--keypair and --provider can't be used together: the wallet is a file, or it is not")
	case c.Keypair == "" && c.Provider.IsZero():
		return errors.New("--keypair is missing: the provider's wallet (--provider prints the text for one that is no file)")
	case (c.Signature == "") != (c.TextFile == ""):
		return errors.New("--signature and --text-file go together: the text as it was printed, and the wallet's signature of it")
	case c.Signature != "" && c.Provider.IsZero():
		return errors.New("--provider is missing: whose signature is it?")
	}
	return nil
}

// wallet returns the provider, and the key where the wallet is a file.
func (c *signing) wallet() (ionet.Key, ed25519.PrivateKey, error) {
	if c.Keypair == "" {
		return c.Provider, nil, nil
	}
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return ionet.Key{}, nil, err
	}
	return chain.PublicOf(key), key, nil
}

// signed is the statement of --text-file and --signature.
func (c *signing) signed(network ionet.Hash, kind proofs.Kind) (proofs.Envelope, error) {
	e := proofs.Envelope{Kind: kind, Signer: c.Provider}
	text, err := os.ReadFile(c.TextFile)
	if err != nil {
		return e, fmt.Errorf("--text-file: %w", err)
	}
	e.Body = []byte(strings.TrimRight(string(text), "\r\n")) // texts end without one, editors add one
	if e.Signature, err = chain.ParseSignature(c.Signature); err != nil {
		return e, fmt.Errorf("--signature: %w", err)
	}
	if err := e.Verify(network); err != nil {
		return e, fmt.Errorf("--signature: %w: is it %s's, of exactly the text in %s?", err, c.Provider, c.TextFile)
	}
	return e, nil
}

// handIn submits a statement and returns the first epoch after the one in which, as the
// service signed, it arrived.
func handIn(s *stage, api *client.Client, n *ionet.Network, e proofs.Envelope) (next uint64, err error) {
	result, err := submit(s, api.ForNetwork(n.ID()), e)
	if err != nil {
		return 0, err
	}
	if result.Problem != nil {
		return 0, result.Problem
	}
	ack, rest, err := proofs.ParseEnvelope(result.Ack)
	if err == nil && (len(rest) > 0 || ack.Kind != proofs.KindAck || ack.Signer != n.Keys.Service) {
		err = errors.New("it is none of the network's service")
	}
	if err == nil {
		err = ack.Verify(n.ID())
	}
	var a proofs.Ack
	if err == nil {
		a, err = proofs.ParseAck(ack.Body)
	}
	if err == nil && a.Statement != e.ID() {
		err = fmt.Errorf("it is of statement %s", a.Statement)
	}
	if err != nil {
		return 0, fmt.Errorf("the service's ack of %s can't be believed: %w", e.ID(), err)
	}
	return a.Arrival.Epoch + 1, nil
}

// epochTime is when an epoch begins, RFC 3339 in UTC.
func epochTime(n *ionet.Network, epoch uint64) string {
	return time.Unix(n.Clock().EpochStart(epoch), 0).UTC().Format(time.RFC3339)
}
