package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type revokeCmd struct {
	server
	signing
	Delegation ionet.Hash `xor:"what" placeholder:"ID" help:"The delegation to end, for all workers that it names."`
	Worker     ionet.Key  `xor:"what" placeholder:"KEY" help:"End all of the wallet's unexpired delegations that name this worker, where they name no other."`
}

// Help shows examples below the flags.
func (c *revokeCmd) Help() string {
	return `A revoked delegation counts to the end of the epoch in which the service took the revocation, and no more after;
that can't be undone, but a new delegation may be signed. A delegation that names other workers too is ended by its id
alone: delegate those anew first.

Examples:
  ionet revoke --server https://ionetd.example --keypair wallet.json --worker 7Xk...
  ionet revoke --server https://ionetd.example --keypair wallet.json --delegation 3f2a...

A wallet that is no file signs the text as a message, in the wallet's own app:
  ionet revoke --server https://ionetd.example --provider 9aB... --worker 7Xk... >revocation.txt
  ionet revoke --server https://ionetd.example --provider 9aB... --text-file revocation.txt --signature 4vJ...`
}

// Run signs revocations and hands them in, or prints the text of one.
func (c *revokeCmd) Run(s *stage) error {
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
		e, err := c.signed(network.ID(), proofs.KindRevocation)
		if err != nil {
			return err
		}
		r, err := proofs.ParseRevocation(network.ID(), provider, e.Body)
		if err != nil {
			return fmt.Errorf("--text-file: %w", err)
		}
		return revoke(s, api, network, r.Delegation, e)
	}
	ids, err := c.delegations(s, api, network.ID(), provider)
	if err != nil {
		return err
	}
	if key == nil && len(ids) > 1 {
		return fmt.Errorf("%d delegations name worker %s, and a text ends one: give one at a time by --delegation: %s", len(ids), c.Worker, joined(ids))
	}
	for _, id := range ids {
		text, err := proofs.Revocation{Provider: provider, Delegation: id, Issued: time.Now().Unix()}.Text(network.ID())
		if err != nil {
			return err
		}
		if key == nil {
			_, err = fmt.Fprint(s.out, text)
			return err
		}
		if err := revoke(s, api, network, id, proofs.Sign(network.ID(), proofs.KindRevocation, key, []byte(text))); err != nil {
			return err
		}
	}
	return nil
}

// check refuses flags that don't go together.
func (c *revokeCmd) check() error {
	if err := c.signing.check(); err != nil {
		return err
	}
	given := !c.Delegation.IsZero() || !c.Worker.IsZero()
	switch {
	case c.Signature != "" && given:
		return errors.New("--text-file says which delegation it is: leave --delegation and --worker out")
	case c.Signature == "" && !given:
		return errors.New("--delegation or --worker is missing: what is to end?")
	}
	return nil
}

func revoke(s *stage, api *client.Client, n *ionet.Network, id ionet.Hash, e proofs.Envelope) error {
	next, err := handIn(s, api, n, e)
	if err != nil {
		return fmt.Errorf("revoke delegation %s: %w", id, err)
	}
	s.print("delegation %s is revoked: it counts no more from epoch %d on, which begins %s", id, next, epochTime(n, next))
	return nil
}

// delegations returns what is to be revoked. What the service lists is believed only
// where the provider's own signature says it.
func (c *revokeCmd) delegations(s *stage, api *client.Client, network ionet.Hash, provider ionet.Key) ([]ionet.Hash, error) {
	if !c.Delegation.IsZero() {
		return []ionet.Hash{c.Delegation}, nil
	}
	list, err := api.DelegationsBy(s.ctx, c.Worker, provider)
	if err != nil {
		return nil, err
	}
	var ids []ionet.Hash
	revoked := uint64(0)
	for _, l := range list {
		e, d, err := readDelegation(l.Envelope, network, provider, c.Worker)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the service shows a delegation that is none of %s's for worker %s: %w", provider, c.Worker, err)
		case l.Revoked != 0:
			revoked = max(revoked, l.Revoked)
		case len(d.Workers) > 1:
			return nil, fmt.Errorf("delegation %s also names workers who would earn no more: %s; delegate these anew first, then end it by --delegation %[1]s",
				e.ID(), joined(slices.DeleteFunc(d.Workers, func(w ionet.Key) bool { return w == c.Worker })))
		default:
			ids = append(ids, e.ID())
		}
	}
	if len(ids) == 0 && revoked != 0 {
		return nil, fmt.Errorf("all of %s's delegations that name worker %s are revoked already: none counts from epoch %d on", provider, c.Worker, revoked+1)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no unexpired delegation of %s names worker %s", provider, c.Worker)
	}
	return ids, nil
}

// readDelegation reads a delegation that the provider signed and that names the worker.
func readDelegation(b []byte, network ionet.Hash, provider, worker ionet.Key) (e proofs.Envelope, d proofs.Delegation, err error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err != nil {
		return e, d, err
	}
	if len(rest) > 0 || e.Kind != proofs.KindDelegation || e.Signer != provider {
		return e, d, fmt.Errorf("it is a %s by %s", e.Kind, e.Signer)
	}
	if err := e.Verify(network); err != nil {
		return e, d, err
	}
	if d, err = proofs.ParseDelegation(network, e.Signer, e.Body); err == nil && !d.Has(worker) {
		err = errors.New("it does not name the worker")
	}
	return e, d, err
}

// joined lists keys or ids with commas.
func joined[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
