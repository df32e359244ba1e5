package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker"
)

type initCmd struct {
	folder
	Server string `required:"" env:"IONET_SERVER" placeholder:"URL" help:"URL of the service."`
	consent
	Signature string `placeholder:"BASE58" help:"The wallet's signature over the text that was printed."`
	devices
}

// Help shows examples below the flags.
func (c *initCmd) Help() string {
	return `A wallet that is not here signs in a browser, by the link that --provider prints, or with ionet delegate: one
signature does for many hosts. run finds the delegation at the service then. Or it signs the text; --signature takes
that, and --delegation takes what ionet delegate --out wrote.

Examples:
  ionet-worker init --server https://ionetd.example --keypair wallet.json
  ionet-worker init --server https://ionetd.example --provider 9aB... --payout 4cD... --days 30
  ionet-worker init --server https://ionetd.example --signature 3fG...
  ionet-worker init --server https://ionetd.example --delegation delegation.bin`
}

// Run gets everything ready for run.
func (c *initCmd) Run(s *stage) (err error) {
	m, err := join(s.ctx, c.Dir, c.Server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.folder.Close()) }()
	s.print("worker %s", m.worker())
	s.print("network %s %s", m.network.Name, ionet.Key(m.network.ID()))
	c.showDevices(s)
	if err := c.take(m); err != nil {
		return err
	}
	switch {
	case c.Signature != "":
		if err := c.sign(m); err != nil {
			return err
		}
	case !c.Provider.IsZero() && c.Keypair == "" && c.Delegation == "":
		return c.draft(s, m)
	}
	return showDelegation(s, m, c.Server)
}

// showDevices prints what run would prove; a host without GPUs can be prepared too.
func (c *initCmd) showDevices(s *stage) {
	sampler, err := c.sampler()
	if err != nil {
		s.print("no devices: %v", err)
		return
	}
	list, err := sampler.Inventory(s.ctx)
	if err != nil || len(list) == 0 {
		s.print("no devices: this host has no GPU that answers: %v", err)
		return
	}
	for _, d := range list {
		s.print("device %s %s, %d MiB", d.UUID, d.Name, d.MemoryMiB)
	}
}

// draft prints the ways in which a wallet that is not here can sign.
func (c *initCmd) draft(s *stage, m *membership) error {
	text, err := worker.Delegation(c.Provider, c.Payout, m.worker(), time.Now(), c.Days).Text(m.network.ID())
	if err != nil {
		return err
	}
	if err := m.folder.SetDraft(text); err != nil {
		return err
	}
	link, err := worker.DelegateLink(c.Server, m.worker(), c.Provider, c.Payout, c.Days)
	if err != nil {
		return err
	}
	payout := ""
	if !c.Payout.IsZero() {
		payout = " --payout " + c.Payout.String()
	}
	s.print("\nWallet %s has to sign once. One signature does for many hosts. In a browser:\n\n  %s\n", c.Provider, link)
	s.print("or where the wallet is a file (repeat --worker for more hosts):\n\n  ionet delegate --server %s --keypair <wallet file>%s --days %d --worker %s\n", c.Server, payout, c.Days, m.worker())
	s.print("ionet-worker run --server %s --dir %s%s waits for that.\n", c.Server, c.Dir, c.devices)
	s.print("Or sign exactly this text with it (no line break after the last line):\n\n%s\n", text)
	s.print("then: ionet-worker init --server %s --dir %s --signature <signature in base58>", c.Server, c.Dir)
	return nil
}

func (c *initCmd) sign(m *membership) error {
	text, err := m.folder.Draft()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("take signature: there is no text to sign: run init with --provider first")
	}
	if err != nil {
		return err
	}
	signature, err := chain.ParseSignature(c.Signature)
	if err != nil {
		return fmt.Errorf("take signature: %w", err)
	}
	e, err := worker.JoinSignature(m.network.ID(), text, signature)
	if err != nil {
		return err
	}
	return m.accept(e)
}

// showDelegation prints the delegation that is there, or how to get one; server may be
// empty.
func showDelegation(s *stage, m *membership, server string) error {
	e, err := m.folder.Delegation()
	if errors.Is(err, fs.ErrNotExist) {
		if provider, err := m.folder.Provider(); err != nil || !provider.IsZero() {
			return errors.Join(err, m.showAwaited(s, server, provider))
		}
		s.print("no delegation: run init with --keypair <wallet file>, or with --provider <wallet> and then --signature")
		return nil
	}
	if err != nil {
		return err
	}
	d, err := proofs.ParseDelegation(m.network.ID(), e.Signer, e.Body)
	if err != nil {
		return err
	}
	s.print("delegation %s by %s, pays %s, until %s", e.ID(), d.Provider, d.Payout, time.Unix(d.Expires, 0).UTC().Format(time.RFC3339))
	return nil
}
