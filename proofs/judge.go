package proofs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// Judgement is what an epoch's inputs come to. Sum + Unissued is the emission.
type Judgement struct {
	Verdicts []Verdict // ascending by (uuid, worker)
	Sum      ionet.Amount
	Unissued ionet.Amount
}

// Terms is what the network gives an epoch.
type Terms struct {
	Clock    ionet.Clock
	Decimals int          // of the token, 0..8
	Emission ionet.Amount // of the schedule: the most that the epoch may mint
}

// Judge turns an epoch's inputs into verdicts; it is FORMAT.md, section 7, step
// by step. It takes signatures and beacons for checked: intake checks them
// before a statement is stored, an auditor after it is published. The error is
// for inputs that are not well formed or not in canonical order (Inputs.Sort),
// never for a device.
func Judge(in *Inputs, t Terms) (*Judgement, error) {
	policy, err := emissions.ParsePolicy(in.Policy)
	if err != nil {
		return nil, fmt.Errorf("judge epoch %d: %w", in.Epoch, err)
	}
	if err := t.Clock.Check(); err != nil {
		return nil, fmt.Errorf("judge epoch %d: %w", in.Epoch, err)
	}
	if in.Epoch == 0 || in.Epoch > maxEpoch {
		return nil, fmt.Errorf("judge epoch %d: it is not in 1..%d", in.Epoch, uint64(maxEpoch))
	}
	c := &court{in: in, policy: policy, clock: t.Clock}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("judge epoch %d: %w", in.Epoch, err)
	}
	for _, w := range c.workers {
		w.count(c)
		w.judge(c)
	}
	c.twoFirstClaims()
	return c.split(t)
}

// court is the state of one Judge.
type court struct {
	in          *Inputs
	policy      *emissions.Policy
	clock       ionet.Clock
	workers     []*workerCase // ascending by key
	delegations map[ionet.Hash]Delegation
	revocations map[ionet.Hash]ionet.Hash // delegation -> the first revocation that counts
	beacons     map[uint64]Beacon
	bindings    map[ionet.UUID]ionet.Key
	price       *Price // that the epoch draws by; nil where there is none
	cases       []*deviceCase
}

// deviceCase is a device of one worker on its way to a verdict.
type deviceCase struct {
	verdict   Verdict
	inventory ionet.Hash // of the worker, for evidence
	pool      string
}

// read sorts the statements by what they are.
func (c *court) read() error {
	c.delegations, c.revocations = map[ionet.Hash]Delegation{}, map[ionet.Hash]ionet.Hash{}
	c.beacons, c.bindings = map[uint64]Beacon{}, map[ionet.UUID]ionet.Key{}
	for _, b := range c.in.Beacons {
		c.beacons[b.Slot] = b
	}
	for _, b := range c.in.Bindings {
		c.bindings[b.UUID] = b.Worker
	}
	byKey := map[ionet.Key]*workerCase{}
	var last place
	for i := range c.in.Statements {
		s := &c.in.Statements[i]
		at := place{kind: s.Envelope.Kind, signer: s.Envelope.Signer, id: s.Envelope.ID()}
		if err := c.readStatement(s, &at, byKey); err != nil {
			return fmt.Errorf("%s %s: %w", at.kind, at.id, err)
		}
		if i > 0 && comparePlaces(last, at) >= 0 {
			return fmt.Errorf("%s %s is not in canonical order", at.kind, at.id)
		}
		last = at
	}
	for _, w := range byKey {
		c.workers = append(c.workers, w)
	}
	slices.SortFunc(c.workers, func(a, b *workerCase) int { return bytes.Compare(a.key[:], b.key[:]) })
	return nil
}

// maxEpoch keeps the arithmetic of the clock far from overflow.
const maxEpoch = 1 << 32

func (c *court) readStatement(s *Statement, at *place, byKey map[ionet.Key]*workerCase) error {
	e := &s.Envelope
	if s.Arrival.Epoch > maxEpoch || s.Arrival.Sample >= c.clock.Samples {
		return fmt.Errorf("arrival in epoch %d, sample %d can't be", s.Arrival.Epoch, s.Arrival.Sample)
	}
	switch e.Kind {
	case KindDelegation:
		d, err := ParseDelegation(c.in.Network, e.Signer, e.Body)
		c.delegations[at.id] = d
		return err
	case KindRevocation:
		r, err := ParseRevocation(c.in.Network, e.Signer, e.Body)
		if err == nil {
			c.revoke(r, at.id, s.Arrival)
		}
		return err
	case KindRelease:
		_, err := ParseRelease(c.in.Network, e.Signer, e.Body)
		return err // it counts for the next epoch's bindings
	case KindInventory:
		v, err := ParseInventory(e.Body)
		w := caseOf(byKey, e.Signer)
		w.inventories = append(w.inventories, inventory{id: at.id, arrival: s.Arrival, Inventory: v})
		return err
	case KindUptime:
		u, err := ParseUptime(e.Body)
		if err == nil && u.Epoch != c.in.Epoch {
			err = fmt.Errorf("it is of epoch %d", u.Epoch)
		}
		at.epoch, at.sample = u.Epoch, u.Sample
		w := caseOf(byKey, e.Signer)
		w.uptimes = append(w.uptimes, uptime{id: at.id, arrival: s.Arrival, Uptime: u})
		return err
	case KindJob, KindJobBatch:
		return c.readJob(e, byKey[e.Signer])
	case KindPrice:
		p, err := ParsePrice(e.Body)
		if err == nil && c.price != nil {
			err = errors.New("it is the second price of the epoch")
		}
		at.epoch, c.price = p.Epoch, &p
		return cmp.Or(err, CheckPrice(p, e.Signer, c.policy, c.clock, c.in.Epoch))
	case KindPolicy:
		_, err := ParsePolicyChange(e.Body)
		if err == nil && s.Arrival.Epoch != c.in.Epoch {
			err = fmt.Errorf("it arrived in epoch %d", s.Arrival.Epoch)
		}
		return err // it counts for the policy of later epochs
	}
	return errors.New("this kind is no input of an epoch")
}

// readJob notes that a worker served the network in this epoch. In canonical order
// its uptime statements came before.
func (c *court) readJob(e *Envelope, w *workerCase) error {
	served, err := servedAt(e)
	switch {
	case err != nil:
		return err
	case c.policy.Idle == nil:
		return errors.New("the policy asks for no jobs")
	case w == nil || len(w.uptimes) == 0:
		return fmt.Errorf("worker %s has no uptime statement", e.Signer)
	case w.served:
		return fmt.Errorf("it is the second job of worker %s", e.Signer)
	case served < c.clock.EpochStart(c.in.Epoch) || served >= c.clock.EpochEnd(c.in.Epoch):
		return fmt.Errorf("it was served at %d, not in the epoch", served)
	}
	w.served = true
	return nil
}

// revoke notes the first revocation, in canonical order, that arrived before the
// epoch. Delegations come before revocations in that order.
func (c *court) revoke(r Revocation, id ionet.Hash, arrival Arrival) {
	d, ok := c.delegations[r.Delegation]
	if _, earlier := c.revocations[r.Delegation]; ok && !earlier && d.Provider == r.Provider && arrival.Epoch < c.in.Epoch {
		c.revocations[r.Delegation] = id
	}
}

func caseOf(byKey map[ionet.Key]*workerCase, key ionet.Key) *workerCase {
	w := byKey[key]
	if w == nil {
		w = &workerCase{key: key}
		byKey[key] = w
	}
	return w
}

// twoFirstClaims refuses all first claims of a device that more than one worker
// makes good: nobody can tell which is true.
func (c *court) twoFirstClaims() {
	claims := map[ionet.UUID][]*deviceCase{}
	for _, d := range c.cases {
		if _, bound := c.bindings[d.verdict.UUID]; !bound && d.verdict.Rule == Accepted {
			claims[d.verdict.UUID] = append(claims[d.verdict.UUID], d)
		}
	}
	for _, rivals := range claims {
		if len(rivals) < 2 {
			continue
		}
		var ids []ionet.Hash // by worker: cases are in that order
		for _, d := range rivals {
			ids = append(ids, d.inventory)
		}
		for _, d := range rivals {
			d.verdict.refuse(TwoFirstClaims, ids...)
		}
	}
}

func (v *Verdict) refuse(rule Rule, evidence ...ionet.Hash) {
	v.Rule, v.Weight, v.Evidence = rule, 0, evidenceOf(evidence)
}

// evidenceOf is H of the concatenated ids.
func evidenceOf(ids []ionet.Hash) ionet.Hash {
	b := make([]byte, 0, len(ids)*32)
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return ionet.HashOf(b)
}

// split shares the emission among the pools and each pool's share among its
// accepted devices.
func (c *court) split(t Terms) (*Judgement, error) {
	shares, err := emissions.PoolShares(t.Emission, c.policy.Pools)
	if err != nil {
		return nil, fmt.Errorf("judge epoch %d: %w", c.in.Epoch, err)
	}
	slices.SortFunc(c.cases, func(a, b *deviceCase) int {
		return compareVerdicts(a.verdict, b.verdict)
	})
	for i, pool := range c.policy.Pools {
		if err := c.splitPool(pool.Name, shares[i], t.Decimals); err != nil {
			return nil, fmt.Errorf("judge epoch %d: pool %s: %w", c.in.Epoch, pool.Name, err)
		}
	}
	j := &Judgement{Verdicts: make([]Verdict, len(c.cases))}
	for i, d := range c.cases {
		j.Verdicts[i] = d.verdict
		if j.Sum, err = j.Sum.Add(d.verdict.Amount); err != nil {
			return nil, fmt.Errorf("judge epoch %d: %w", c.in.Epoch, err)
		}
	}
	if j.Unissued, err = t.Emission.Sub(j.Sum); err != nil {
		return nil, fmt.Errorf("judge epoch %d: verdicts exceed the emission: %w", c.in.Epoch, err)
	}
	return j, nil
}

func (c *court) splitPool(name string, share ionet.Amount, decimals int) error {
	var members []*deviceCase
	var weights []emissions.Weight
	for _, d := range c.cases {
		if d.verdict.Rule == Accepted && d.pool == name {
			members = append(members, d)
			weights = append(weights, emissions.Weight{UUID: d.verdict.UUID, Weight: d.verdict.Weight})
		}
	}
	share, err := c.draw(share, weights, decimals)
	if err != nil {
		return err
	}
	amounts, err := emissions.Split(share, weights)
	if err != nil {
		return err
	}
	for i, d := range members {
		d.verdict.Amount = amounts[i]
	}
	return nil
}

// draw returns how much of its share a pool of these weights hands out.
func (c *court) draw(share ionet.Amount, weights []emissions.Weight, decimals int) (ionet.Amount, error) {
	switch {
	case c.policy.Target == nil:
		return share, nil
	case c.price == nil:
		return ionet.Amount{}, nil
	}
	need, err := c.policy.Target.Need(weights, emissions.Observation{MicroUSD: c.price.MicroUSD, Samples: c.clock.Samples, Decimals: decimals})
	if err != nil || need.Cmp(share) > 0 {
		return share, err
	}
	return need, nil
}
