package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type releaseCmd struct {
	server
	signing
	Device ionet.UUID `placeholder:"GPU-UUID" help:"The device that moves to another worker."`
	Worker ionet.Key  `placeholder:"KEY" help:"The worker that it is bound to; by default the one for which it was accepted in the last sealed epoch."`
}

// Help shows examples below the flags.
func (c *releaseCmd) Help() string {
	return `A device is bound to the worker with which it first earned. After a release another worker may use it from the next
epoch on; only the provider of the bound worker can sign one. Without, the binding ends once the device was idle as long
as the policy says.

Examples:
  ionet release --server https://ionetd.example --keypair wallet.json --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b
  ionet release --server https://ionetd.example --keypair wallet.json --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b \
    --worker 7Xk...

A wallet that is no file signs the text as a message, in the wallet's own app:
  ionet release --server https://ionetd.example --provider 9aB... --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b >release.txt
  ionet release --server https://ionetd.example --provider 9aB... --text-file release.txt --signature 4vJ...`
}

// Run signs a release and hands it in, or prints its text.
func (c *releaseCmd) Run(s *stage) error {
	if err := c.check(); err != nil {
		return err
	}
	provider, key, err := c.wallet()
	if err != nil {
		return err
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	if c.Signature != "" {
		e, err := c.signed(network.ID(), proofs.KindRelease)
		if err != nil {
			return err
		}
		r, err := proofs.ParseRelease(network.ID(), provider, e.Body)
		if err != nil {
			return fmt.Errorf("--text-file: %w", err)
		}
		return release(s, api, network, r, e)
	}
	r := proofs.Release{Provider: provider, Worker: c.Worker, Device: c.Device, Issued: time.Now().Unix()}
	if r.Worker.IsZero() {
		if r.Worker, err = c.bound(s, api, provider); err != nil {
			return err
		}
	}
	text, err := r.Text(network.ID())
	if err != nil {
		return err
	}
	if key == nil {
		_, err = fmt.Fprint(s.out, text)
		return err
	}
	return release(s, api, network, r, proofs.Sign(network.ID(), proofs.KindRelease, key, []byte(text)))
}

// check refuses flags that don't go together.
func (c *releaseCmd) check() error {
	if err := c.signing.check(); err != nil {
		return err
	}
	switch none := (ionet.UUID{}); {
	case c.Signature != "" && (c.Device != none || !c.Worker.IsZero()):
		return errors.New("--text-file says which device it is: leave --device and --worker out")
	case c.Signature == "" && c.Device == none:
		return errors.New("--device is missing: which device is to be released?")
	}
	return nil
}

func release(s *stage, api *client.Client, n *ionet.Network, r proofs.Release, e proofs.Envelope) error {
	next, err := handIn(s, api, n, e)
	if err != nil {
		return fmt.Errorf("release device %s: %w", r.Device, err)
	}
	s.print("device %s is released from worker %s: another worker may use it from epoch %d on, which begins %s", r.Device, r.Worker, next, epochTime(n, next))
	return nil
}

// bound returns the worker for which the device was accepted in the last sealed epoch:
// to that one it is bound.
func (c *releaseCmd) bound(s *stage, api *client.Client, provider ionet.Key) (worker ionet.Key, err error) {
	const give = "give the worker that it is bound to by --worker"
	head, err := api.Head(s.ctx)
	if err != nil {
		return worker, err
	}
	if head.Sealed == 0 {
		return worker, errors.New("--worker is missing, and no epoch is sealed that could tell: " + give)
	}
	d, err := api.Device(s.ctx, c.Device, head.Sealed)
	if err != nil && !client.IsProblem(err, client.UnknownDevice) {
		return worker, fmt.Errorf("--device %s: %w", c.Device, err)
	}
	for _, v := range d.Verdicts {
		if proofs.Rule(v.Verdict.Rule) == proofs.Accepted && v.Verdict.Provider == provider {
			return v.Verdict.Worker, nil
		}
	}
	return worker, fmt.Errorf("--worker is missing: in epoch %d device %s was accepted for no worker of %s: %s", head.Sealed, c.Device, provider, give)
}
