package audit

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// statementChecker holds what one epoch's statements are checked against.
type statementChecker struct {
	network *ionet.Network
	epoch   uint64
	sealed  int64 // block time of the seal
	in      *proofs.Inputs
	kinds   map[ionet.Hash]proofs.Kind    // of the statements among the inputs, by id
	named   map[uint64]map[ionet.Key]bool // blocks that uptime statements name, by slot

	policies proofs.Inputs // announcements that hold
	prices   []observation // price statements that hold
	revoked  []proofs.Statement
}

// check returns what is wrong with one statement of the inputs.
func (c *statementChecker) check(s *proofs.Statement) error {
	e, clock := &s.Envelope, c.network.Clock()
	if err := proofs.CheckKey(e.Signer); err != nil {
		return err
	}
	if s.Arrival.Sample >= c.network.Samples {
		return fmt.Errorf("arrival sample %d, an epoch has %d", s.Arrival.Sample, c.network.Samples)
	}
	if s.Arrival.Epoch > c.epoch+1<<32 || s.Arrival.Epoch > 0 && clock.SampleStart(s.Arrival.Epoch, s.Arrival.Sample) > c.sealed {
		return fmt.Errorf("arrived in sample %d of epoch %d, after the seal", s.Arrival.Sample, s.Arrival.Epoch)
	}
	if s.Arrival.Epoch > c.epoch && !ofEpoch(e.Kind) {
		return fmt.Errorf("arrived in epoch %d", s.Arrival.Epoch)
	}
	return c.checkBody(s)
}

// ofEpoch reports whether statements of that kind are taken until the inputs of
// their epoch are frozen.
func ofEpoch(k proofs.Kind) bool {
	return k == proofs.KindUptime || k == proofs.KindPrice || k == proofs.KindJob || k == proofs.KindJobBatch
}

func (c *statementChecker) checkBody(s *proofs.Statement) error {
	e := &s.Envelope
	switch e.Kind {
	case proofs.KindDelegation:
		_, err := proofs.ParseDelegation(c.in.Network, e.Signer, e.Body)
		return err
	case proofs.KindRevocation:
		_, err := proofs.ParseRevocation(c.in.Network, e.Signer, e.Body)
		return err
	case proofs.KindRelease:
		_, err := proofs.ParseRelease(c.in.Network, e.Signer, e.Body)
		return err
	case proofs.KindInventory:
		v, err := proofs.ParseInventory(e.Body)
		if err == nil && c.kinds[v.Delegation] != proofs.KindDelegation {
			err = fmt.Errorf("its delegation %s is not among the inputs", v.Delegation)
		}
		return err
	case proofs.KindUptime:
		return c.checkUptime(e)
	case proofs.KindPrice:
		return checkPrice(s)
	case proofs.KindJob:
		_, err := proofs.ParseJob(e.Body) // proofs.Judge asks whether it is the epoch's
		return err
	case proofs.KindJobBatch:
		_, err := proofs.ParseJobBatch(e.Body)
		return err
	case proofs.KindPolicy:
		return c.checkPolicy(s)
	}
	return fmt.Errorf("kind %s is no input of an epoch", e.Kind)
}

func (c *statementChecker) checkUptime(e *proofs.Envelope) error {
	u, err := proofs.ParseUptime(e.Body)
	switch {
	case err != nil:
		return err
	case u.Epoch != c.epoch:
		return fmt.Errorf("it is of epoch %d", u.Epoch)
	case c.kinds[u.Inventory] != proofs.KindInventory:
		return fmt.Errorf("its inventory %s is not among the inputs", u.Inventory)
	}
	if c.named[u.BeaconSlot] == nil {
		c.named[u.BeaconSlot] = map[ionet.Key]bool{}
	}
	c.named[u.BeaconSlot][u.BeaconHash] = true
	return nil
}

// checkPrice checks an observation by itself; proofs.Judge asks whether the
// epoch may draw by it.
func checkPrice(s *proofs.Statement) error {
	p, err := proofs.ParsePrice(s.Envelope.Body)
	if err == nil && s.Arrival.Epoch < p.Epoch {
		err = fmt.Errorf("arrived in epoch %d, before its epoch %d", s.Arrival.Epoch, p.Epoch)
	}
	return err
}

// checkPolicy checks an announcement by itself.
func (c *statementChecker) checkPolicy(s *proofs.Statement) error {
	p, err := proofs.ParsePolicyChange(s.Envelope.Body)
	switch {
	case err != nil:
		return err
	case s.Envelope.Signer != c.network.Keys.Service:
		return fmt.Errorf("%s announces a policy, not the service's key %s", s.Envelope.Signer, c.network.Keys.Service)
	case s.Arrival.Epoch != c.epoch:
		return fmt.Errorf("arrived in epoch %d: an announcement is in the book of its arrival alone", s.Arrival.Epoch)
	case p.FirstEpoch > c.network.Schedule.Epochs:
		return fmt.Errorf("it is for epoch %d of %d", p.FirstEpoch, c.network.Schedule.Epochs)
	}
	return nil
}

// hold keeps what a statement that holds says to the epochs.
func (c *statementChecker) hold(s *proofs.Statement) {
	switch e := &s.Envelope; e.Kind {
	case proofs.KindPolicy:
		c.policies.Statements = append(c.policies.Statements, *s)
	case proofs.KindRevocation:
		c.revoked = append(c.revoked, *s)
	case proofs.KindPrice:
		if p, err := proofs.ParsePrice(e.Body); err == nil {
			c.prices = append(c.prices, observation{id: e.ID(), signer: e.Signer, Price: p})
		}
	}
}
