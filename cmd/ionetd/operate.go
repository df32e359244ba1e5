package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet/settlement"
)

type recoverCmd struct {
	place
}

func (c *recoverCmd) Run(s *stage) error {
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	service, err := settlement.New(s.ctx, o.cfg)
	if err != nil {
		return err
	}
	if err := service.Recover(s.ctx); err != nil {
		return err
	}
	if err := service.Release(s.ctx); err != nil {
		return err
	}
	s.print("recovered: the database is where the chain is, all lanes are fenced")
	return nil
}

type payoutsCmd struct {
	Run payoutsRunCmd `cmd:"" help:"Have the running service pay everybody who waits, now, and wait for it."`
}

type payoutsRunCmd struct {
	place
	Wait time.Duration `default:"5m" help:"How long to wait for the run's end (default: ${default})."`
}

func (c *payoutsRunCmd) Run(s *stage) error {
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	service, err := settlement.New(s.ctx, o.cfg)
	if err != nil {
		return err
	}
	id, err := service.RequestPayout(s.ctx)
	if err != nil {
		return err
	}
	s.print("payout run %x", id)
	deadline := time.Now().Add(c.Wait)
	for {
		r, err := service.PayoutRun(s.ctx, id)
		if err != nil {
			return err
		}
		if r.Done {
			return c.report(s, service, r)
		}
		if time.Now().After(deadline) {
			return errors.New("the run is not over yet and goes on: is an ionetd serve running? see ionetd status")
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (c *payoutsRunCmd) report(s *stage, service *settlement.Service, r settlement.PayoutRun) error {
	s.print("paid %s IO to %d payees", r.Paid.Tokens(service.Network().Decimals), r.Payees)
	o, err := service.Overview(s.ctx)
	if err != nil {
		return err
	}
	for _, h := range o.Held {
		s.print("held %s until %s: %s", h.Payee, h.RetryAt.UTC().Format(time.RFC3339), h.Reason)
	}
	return nil
}

type statusCmd struct {
	place
}

func (c *statusCmd) Run(s *stage) error {
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	service, err := settlement.New(s.ctx, o.cfg)
	if err != nil {
		return err
	}
	v, err := service.Overview(s.ctx)
	if err != nil {
		return err
	}
	policies, err := service.Policies(s.ctx)
	if err != nil {
		return err
	}
	decimals := service.Network().Decimals
	leader := "nobody"
	if v.Lease > 0 {
		leader = fmt.Sprintf("instance %x, lease %d until %s", v.Leader, v.Lease, v.Expires.UTC().Format(time.RFC3339))
	}
	s.print("network   %s, mint %s", service.Network().Name, service.Network().Mint)
	s.print("leader    %s", leader)
	s.print("sealed    epoch %d", v.Sealed)
	s.print("policy    %s", policyLine(policies))
	s.print("vault     %s IO, of which %s owed and %s on the way", v.Vault.Tokens(decimals), v.Owed.Tokens(decimals), v.InFlight.Tokens(decimals))
	for _, l := range v.Lanes {
		s.print("lane      %-9s position %d, fenced %t", l.Name, l.Position, l.Fenced)
	}
	for _, a := range v.Live {
		s.print("open      %s %s, until height %d %s", a.Kind, a.Signature, a.LastValidHeight, a.Reason)
	}
	for _, h := range v.Held {
		s.print("held      %s until %s: %s", h.Payee, h.RetryAt.UTC().Format(time.RFC3339), h.Reason)
	}
	return nil
}
