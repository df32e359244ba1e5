package proofs

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// workerCase is all that one worker put into an epoch.
type workerCase struct {
	key         ionet.Key
	inventories []inventory
	uptimes     []uptime // by (sample, id)
	served      bool     // a job of the network in this epoch

	inventory  *inventory // the epoch's; nil where the named one is not among the inputs
	delegation *Delegation
	counted    []uptime
	failed     map[Rule][]ionet.Hash // statements that did not count, by why
	double     []ionet.Hash          // the first two that equivocate
}

type inventory struct {
	Inventory
	id      ionet.Hash
	arrival Arrival
}

type uptime struct {
	Uptime
	id      ionet.Hash
	arrival Arrival
}

// count decides which statements count.
func (w *workerCase) count(c *court) {
	slices.SortFunc(w.uptimes, func(a, b uptime) int {
		return cmp.Or(cmp.Compare(a.Sample, b.Sample), bytes.Compare(a.id[:], b.id[:]))
	})
	w.choose(c)
	w.findDouble()
	w.failed = map[Rule][]ionet.Hash{}
	late := 0
	for _, u := range w.uptimes {
		rule := w.objection(c, u)
		if rule == Accepted && w.isLate(c, u) {
			if late++; late > int(c.policy.Samples.LateLimit) {
				rule = Late
			}
		}
		if rule != Accepted {
			w.failed[rule] = append(w.failed[rule], u.id)
			continue
		}
		w.counted = append(w.counted, u)
	}
}

// choose finds the epoch's inventory and its delegation.
func (w *workerCase) choose(c *court) {
	for i := range w.inventories {
		v := &w.inventories[i]
		if len(w.uptimes) > 0 {
			if v.id == w.uptimes[0].Inventory {
				w.inventory = v
			}
		} else if w.inventory == nil || laterInventory(v, w.inventory) {
			w.inventory = v
		}
	}
	if w.inventory == nil {
		return
	}
	if d, ok := c.delegations[w.inventory.Delegation]; ok {
		w.delegation = &d
	}
}

func laterInventory(a, b *inventory) bool {
	return cmp.Or(cmp.Compare(a.arrival.Epoch, b.arrival.Epoch), cmp.Compare(a.arrival.Sample, b.arrival.Sample), bytes.Compare(a.id[:], b.id[:])) > 0
}

// findDouble finds the first two statements of one sample, or with one non-zero
// former statement.
func (w *workerCase) findDouble() {
	former := map[ionet.Hash]ionet.Hash{}
	for i, u := range w.uptimes {
		if i > 0 && w.uptimes[i-1].Sample == u.Sample {
			w.double = []ionet.Hash{w.uptimes[i-1].id, u.id}
			return
		}
		if first, twice := former[u.Previous]; twice && !u.Previous.IsZero() {
			w.double = []ionet.Hash{first, u.id}
			return
		}
		former[u.Previous] = u.id
	}
}

// objection returns the rule by which u does not count, apart from lateness, or
// Accepted.
func (w *workerCase) objection(c *court, u uptime) Rule {
	start := c.clock.SampleStart(u.Epoch, u.Sample)
	switch {
	case w.inventory == nil || u.Inventory != w.inventory.id || len(u.Devices) != len(w.inventory.Devices):
		return InventoryChanged
	case u.Delegation != w.inventory.Delegation:
		return WrongDelegation
	case w.delegation == nil || !w.delegation.Has(w.key):
		return NoDelegation
	case w.delegation.Issued > start || start >= w.delegation.Expires:
		return DelegationExpired
	case !c.revocations[w.inventory.Delegation].IsZero():
		return DelegationRevoked
	}
	b, ok := c.beacons[u.BeaconSlot]
	if !ok || b.Hash != u.BeaconHash || u.Sample >= c.clock.Samples || b.Time < start || b.Time >= start+c.clock.SampleSeconds() {
		return ForeignBeacon
	}
	if w.arrivalOrdinal(c, u) < c.clock.Ordinal(u.Epoch, u.Sample) {
		return Late // acked before its sample began: the arrival can't be true
	}
	return Accepted
}

func (w *workerCase) isLate(c *court, u uptime) bool {
	return w.arrivalOrdinal(c, u) > c.clock.Ordinal(u.Epoch, u.Sample)+uint64(c.policy.Samples.LateAfter)
}

// arrivalOrdinal numbers the arrival; an epoch 0 (before the start) is the first.
func (w *workerCase) arrivalOrdinal(c *court, u uptime) uint64 {
	if u.arrival.Epoch == 0 {
		return 0
	}
	return c.clock.Ordinal(u.arrival.Epoch, u.arrival.Sample)
}

// judge gives each device of each of the worker's inventories its verdict.
func (w *workerCase) judge(c *court) {
	seen := map[ionet.UUID]bool{}
	order := slices.Clone(w.inventories)
	slices.SortStableFunc(order, func(a, b inventory) int { // the epoch's inventory speaks first
		return cmp.Compare(w.rank(a), w.rank(b))
	})
	for _, v := range order {
		for i, d := range v.Devices {
			if seen[d.UUID] {
				continue
			}
			seen[d.UUID] = true
			c.cases = append(c.cases, w.judgeDevice(c, v, i))
		}
	}
}

func (w *workerCase) rank(v inventory) int {
	if w.inventory != nil && v.id == w.inventory.id {
		return 0
	}
	return 1
}

func (w *workerCase) judgeDevice(c *court, v inventory, i int) *deviceCase {
	d := &deviceCase{verdict: Verdict{UUID: v.Devices[i].UUID, Worker: w.key}, inventory: v.id}
	if w.delegation != nil {
		d.verdict.Provider, d.verdict.Payee = w.delegation.Provider, w.delegation.Payout
	}
	ids, busy := w.samples(c, v, i)
	d.verdict.Samples = uint16(min(len(ids), math.MaxUint16)) // more only where the worker equivocates
	rule, evidence := w.refusal(c, v, i, d.verdict.Samples)
	if idle := c.policy.Idle; rule == Accepted && idle != nil && !w.served && len(busy) > int(idle.Samples) {
		rule, evidence = Idle, busy
	}
	if rule != Accepted {
		d.verdict.refuse(rule, evidence...)
		return d
	}
	model, _ := c.policy.Model(v.Devices[i].Name)
	d.pool = model.Pool
	d.verdict.Weight = uint64(model.MultiplierMilli) * uint64(d.verdict.Samples)
	d.verdict.Evidence = evidenceOf(ids)
	return d
}

// samples returns the statements that count for the i-th device of v, and those of
// them that show it busy where the policy asks for jobs.
func (w *workerCase) samples(c *court, v inventory, i int) (ids, busy []ionet.Hash) {
	if w.rank(v) != 0 {
		return nil, nil
	}
	for _, u := range w.counted {
		d := u.Devices[i]
		if d.Status != DeviceOK {
			continue
		}
		ids = append(ids, u.id)
		if idle := c.policy.Idle; idle != nil && d.Utilization != NoUtilization && d.Utilization > idle.Utilization {
			busy = append(busy, u.id)
		}
	}
	return ids, busy
}

// refusal returns the first rule of the table that applies, but for idle and two
// first claims, with its evidence, or Accepted.
func (w *workerCase) refusal(c *court, v inventory, i int, samples uint16) (Rule, []ionet.Hash) {
	named := []ionet.Hash{v.id}
	if len(w.double) > 0 {
		return Equivocation, w.double
	}
	if w.delegation == nil || !w.delegation.Has(w.key) {
		return NoDelegation, named
	}
	delegation := w.inventory.Delegation
	lastSample := c.clock.SampleStart(c.in.Epoch, c.clock.Samples-1)
	if w.delegation.Issued > lastSample || w.delegation.Expires <= c.clock.EpochStart(c.in.Epoch) {
		return DelegationExpired, []ionet.Hash{delegation}
	}
	if r, revoked := c.revocations[delegation]; revoked {
		return DelegationRevoked, []ionet.Hash{r}
	}
	if v.Simulated && !c.policy.SimulatedDevices {
		return Simulated, named
	}
	model, known := c.policy.Model(v.Devices[i].Name)
	if !known {
		return UnknownModel, named
	}
	if model.MultiplierMilli == 0 {
		return ZeroMultiplier, named
	}
	if bound, ok := c.bindings[v.Devices[i].UUID]; ok && bound != w.key {
		return BoundElsewhere, named
	}
	if w.rank(v) != 0 {
		return InventoryChanged, named
	}
	return w.tooFew(c, v, samples)
}

// tooFew says why not enough samples counted.
func (w *workerCase) tooFew(c *court, v inventory, samples uint16) (Rule, []ionet.Hash) {
	if len(w.uptimes) == 0 {
		return NoSamples, []ionet.Hash{v.id}
	}
	if samples >= c.policy.Samples.Minimum {
		return Accepted, nil
	}
	for _, rule := range []Rule{WrongDelegation, ForeignBeacon, Late} {
		if ids := w.failed[rule]; len(ids) > 0 {
			return rule, ids
		}
	}
	all := make([]ionet.Hash, len(w.uptimes))
	for j, u := range w.uptimes {
		all[j] = u.id
	}
	return TooFewSamples, all
}
