package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker"
)

// Looks at the service while no wallet has signed: a person may be watching the first
// ones, later ones must not wear the service out.
const (
	firstLook = 2 * time.Second
	lastLook  = 30 * time.Second
)

// await returns the delegation to work under: that of the folder, else the one that the
// service gets from the provider, whenever that is.
func (c *runCmd) await(s *stage, m *membership) (proofs.Envelope, error) {
	provider, err := m.folder.Provider()
	if err != nil {
		return proofs.Envelope{}, err
	}
	if provider.IsZero() {
		return proofs.Envelope{}, errors.New("start worker: no wallet has delegated to this host: give --provider <wallet> to wait for its signature, or --keypair <wallet file>")
	}
	if e, d, ok := m.delegationBy(provider); ok && time.Now().Unix() < d.Expires {
		return e, nil
	}
	said, told := "", strangers{}
	for pause := firstLook; ; pause = min(pause*5/4, lastLook) {
		e, err := m.find(s.ctx, provider)
		if err == nil {
			s.print("delegation %s by %s", e.ID(), provider)
			return e, nil
		}
		if s.ctx.Err() != nil {
			return proofs.Envelope{}, s.ctx.Err()
		}
		var other *otherNetworkError
		if errors.As(err, &other) {
			return proofs.Envelope{}, err
		}
		if errors.Is(err, worker.ErrNoDelegation) {
			if err := told.tell(s, m, m.api, provider); err != nil {
				s.log.Debug("service call", "error", err)
			}
		}
		if why := err.Error(); why != said {
			said = why
			if err := c.sayWaiting(s, m, provider, why); err != nil {
				return proofs.Envelope{}, err
			}
		}
		var p *client.Problem
		if errors.As(err, &p) {
			pause = max(pause, p.RetryAfter)
		}
		select {
		case <-time.After(pause + rand.N(pause/2)): // hosts that began together come one by one
		case <-s.ctx.Done():
			return proofs.Envelope{}, s.ctx.Err()
		}
	}
}

func (c *runCmd) sayWaiting(s *stage, m *membership, provider ionet.Key, why string) error {
	link, err := m.link(c.Server, provider, c.Payout, c.Days)
	if err != nil {
		return err
	}
	s.print("waiting for wallet %s to delegate to worker %s (%s):\n  %s", provider, m.worker(), why, link)
	return nil
}

// delegationBy returns the folder's delegation where that provider signed it.
func (m *membership) delegationBy(provider ionet.Key) (proofs.Envelope, proofs.Delegation, bool) {
	e, err := m.folder.Delegation()
	if err != nil || e.Signer != provider || worker.CheckDelegation(m.network.ID(), m.worker(), e) != nil {
		return proofs.Envelope{}, proofs.Delegation{}, false
	}
	d, err := proofs.ParseDelegation(m.network.ID(), e.Signer, e.Body)
	return e, d, err == nil
}

// find looks for a delegation at the service, by the service's clock: the host's may be
// wrong. Where the service doesn't answer, one in the folder that seems to have ended is
// better than none.
func (m *membership) find(ctx context.Context, provider ionet.Key) (proofs.Envelope, error) {
	had, d, ok := m.delegationBy(provider)
	head, err := m.api.Head(ctx)
	if err != nil && ok {
		return had, nil
	}
	if err != nil {
		return proofs.Envelope{}, err
	}
	if err := m.checkHead(m.api, head); err != nil {
		return proofs.Envelope{}, err
	}
	if ok && head.Time < d.Expires {
		return had, nil
	}
	e, err := worker.FindDelegation(ctx, m.api, m.worker(), provider, time.Unix(head.Time, 0))
	if err != nil {
		return proofs.Envelope{}, err
	}
	// Durable before it is used: the next start needs no service.
	if err := m.folder.SetDelegation(e); err != nil {
		return proofs.Envelope{}, err
	}
	return e, nil
}
