package proofs

import (
	"bytes"
	"math/big"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// The oracle is FORMAT.md, section 7, a second time: sentence by sentence, slow,
// on sets and big numbers, sharing no code with Judge but the parsers.
type oracle struct {
	in  *Inputs
	pol *emissions.Policy
}

// said is an uptime statement of one worker.
type said struct {
	Uptime
	id ionet.Hash
	at Arrival
}

// held is an inventory of one worker.
type held struct {
	Inventory
	id ionet.Hash
	at Arrival
}

func (o oracle) each(kind Kind, f func(s Statement, id ionet.Hash)) {
	for _, s := range o.in.Statements {
		if s.Envelope.Kind == kind {
			f(s, s.Envelope.ID())
		}
	}
}

func (o oracle) delegation(id ionet.Hash) (d Delegation, ok bool) {
	o.each(KindDelegation, func(s Statement, other ionet.Hash) {
		if other == id {
			d, _ = ParseDelegation(o.in.Network, s.Envelope.Signer, s.Envelope.Body)
			ok = true
		}
	})
	return d, ok
}

func (o oracle) revocation(id ionet.Hash) (first ionet.Hash, ok bool) {
	d, _ := o.delegation(id)
	o.each(KindRevocation, func(s Statement, rev ionet.Hash) {
		r, _ := ParseRevocation(o.in.Network, s.Envelope.Signer, s.Envelope.Body)
		if r.Delegation != id || s.Envelope.Signer != d.Provider || s.Arrival.Epoch >= o.in.Epoch {
			return
		}
		if !ok || bytes.Compare(rev[:], first[:]) < 0 {
			first, ok = rev, true
		}
	})
	return first, ok
}

func (o oracle) uptimes(w ionet.Key) (list []said) {
	o.each(KindUptime, func(s Statement, id ionet.Hash) {
		if s.Envelope.Signer == w {
			u, _ := ParseUptime(s.Envelope.Body)
			list = append(list, said{u, id, s.Arrival})
		}
	})
	sort.Slice(list, func(i, j int) bool {
		if list[i].Sample != list[j].Sample {
			return list[i].Sample < list[j].Sample
		}
		return bytes.Compare(list[i].id[:], list[j].id[:]) < 0
	})
	return list
}

func (o oracle) inventories(w ionet.Key) (list []held) {
	o.each(KindInventory, func(s Statement, id ionet.Hash) {
		if s.Envelope.Signer == w {
			v, _ := ParseInventory(s.Envelope.Body)
			list = append(list, held{v, id, s.Arrival})
		}
	})
	sort.Slice(list, func(i, j int) bool { return bytes.Compare(list[i].id[:], list[j].id[:]) < 0 })
	return list
}

func (o oracle) inventory(w ionet.Key) (best held, ok bool) {
	us := o.uptimes(w)
	for _, v := range o.inventories(w) { // by id: a tie goes to the later in this loop
		if len(us) > 0 {
			if v.id == us[0].Inventory {
				return v, true
			}
			continue
		}
		if !ok || v.at.Epoch > best.at.Epoch || v.at.Epoch == best.at.Epoch && v.at.Sample >= best.at.Sample {
			best, ok = v, true
		}
	}
	return best, ok
}

func ordinal(a Arrival) int64 {
	if a.Epoch == 0 {
		return 0
	}
	return int64(a.Epoch-1)*int64(testClock.Samples) + int64(a.Sample)
}

// failing returns the condition that u fails by: "1a", "1b", "2", "3", "4" or "".
func (o oracle) failing(w ionet.Key, u said) string {
	if c := o.failingBut4(w, u); c != "" {
		return c
	}
	own := ordinal(Arrival{u.Epoch, u.Sample})
	if ordinal(u.at) < own {
		return "4"
	}
	isLate := func(x said) bool {
		return ordinal(x.at) > ordinal(Arrival{x.Epoch, x.Sample})+int64(o.pol.Samples.LateAfter)
	}
	if !isLate(u) {
		return ""
	}
	rank := 0
	for _, x := range o.uptimes(w) {
		if x.id == u.id {
			break
		}
		if o.failingBut4(w, x) == "" && isLate(x) {
			rank++
		}
	}
	if rank >= int(o.pol.Samples.LateLimit) {
		return "4"
	}
	return ""
}

func (o oracle) failingBut4(w ionet.Key, u said) string {
	v, ok := o.inventory(w)
	if !ok || u.Inventory != v.id || len(u.Devices) != len(v.Devices) {
		return "1a"
	}
	if u.Delegation != v.Delegation {
		return "1b"
	}
	d, ok := o.delegation(v.Delegation)
	start := testClock.SampleStart(o.in.Epoch, u.Sample)
	if _, revoked := o.revocation(v.Delegation); !ok || revoked || !slices.Contains(d.Workers, w) || d.Issued > start || d.Expires <= start {
		return "2"
	}
	for _, b := range o.in.Beacons {
		if b.Slot == u.BeaconSlot && b.Hash == u.BeaconHash && u.Sample < testClock.Samples && b.Time >= start && b.Time < start+testClock.SampleSeconds() {
			return ""
		}
	}
	return "3"
}

// verdict applies the table to a device of a worker, but for rule 9.
func (o oracle) verdict(w ionet.Key, dev ionet.UUID) (v Verdict, view held) {
	v = Verdict{UUID: dev, Worker: w}
	has := func(x held) int {
		return slices.IndexFunc(x.Devices, func(d InventoryDevice) bool { return d.UUID == dev })
	}
	inv, chosen := o.inventory(w)
	at, own := -1, false
	if chosen {
		at = has(inv)
		view, own = inv, at >= 0
	}
	for _, x := range o.inventories(w) {
		if at < 0 {
			view, at = x, has(x)
		}
	}
	name := view.Devices[at].Name
	d, known := o.delegation(inv.Delegation)
	if chosen && known {
		v.Provider, v.Payee = d.Provider, d.Payout
	}
	var good, busy []ionet.Hash
	us := o.uptimes(w)
	failed := map[string][]ionet.Hash{}
	var all []ionet.Hash
	for _, u := range us {
		all = append(all, u.id)
		c := o.failing(w, u)
		failed[c] = append(failed[c], u.id)
		if c == "" && own && u.Devices[at].Status == DeviceOK {
			good = append(good, u.id)
			if at := u.Devices[at].Utilization; o.pol.Idle != nil && at <= 100 && at > o.pol.Idle.Utilization {
				busy = append(busy, u.id)
			}
		}
	}
	v.Samples = uint16(len(good))
	refuse := func(r Rule, ids ...ionet.Hash) (Verdict, held) {
		v.Rule, v.Evidence = r, ionet.HashOf(slices.Concat(raw(ids)...))
		return v, view
	}
	for j := range us { // the smallest second of a pair
		for i := j - 1; i >= 0; i-- {
			if us[i].Sample == us[j].Sample {
				return refuse(Equivocation, us[i].id, us[j].id)
			}
		}
		for i := range j {
			if us[i].Previous == us[j].Previous && us[j].Previous != (ionet.Hash{}) {
				return refuse(Equivocation, us[i].id, us[j].id)
			}
		}
	}
	revocation, revoked := o.revocation(inv.Delegation)
	model, modelled := o.pol.Model(name)
	bound, isBound := ionet.Key{}, false
	for _, b := range o.in.Bindings {
		if b.UUID == dev {
			bound, isBound = b.Worker, true
		}
	}
	few := v.Samples < o.pol.Samples.Minimum
	switch {
	case !chosen || !known || !slices.Contains(d.Workers, w):
		return refuse(NoDelegation, view.id)
	case d.Issued > testClock.SampleStart(o.in.Epoch, testClock.Samples-1) || d.Expires <= testClock.EpochStart(o.in.Epoch):
		return refuse(DelegationExpired, inv.Delegation)
	case revoked:
		return refuse(DelegationRevoked, revocation)
	case view.Simulated && !o.pol.SimulatedDevices:
		return refuse(Simulated, view.id)
	case !modelled:
		return refuse(UnknownModel, view.id)
	case model.MultiplierMilli == 0:
		return refuse(ZeroMultiplier, view.id)
	case isBound && bound != w:
		return refuse(BoundElsewhere, view.id)
	case !own:
		return refuse(InventoryChanged, view.id)
	case len(us) == 0:
		return refuse(NoSamples, view.id)
	case few && len(failed["1b"]) > 0:
		return refuse(WrongDelegation, failed["1b"]...)
	case few && len(failed["3"]) > 0:
		return refuse(ForeignBeacon, failed["3"]...)
	case few && len(failed["4"]) > 0:
		return refuse(Late, failed["4"]...)
	case few:
		return refuse(TooFewSamples, all...)
	case o.pol.Idle != nil && !o.served(w) && len(busy) > int(o.pol.Idle.Samples):
		return refuse(Idle, busy...)
	}
	v.Weight = uint64(model.MultiplierMilli) * uint64(v.Samples)
	return refuse(Accepted, good...)
}

// served tells whether the inputs have a job or a batch of jobs of w.
func (o oracle) served(w ionet.Key) bool {
	found := false
	for _, kind := range []Kind{KindJob, KindJobBatch} {
		o.each(kind, func(s Statement, _ ionet.Hash) { found = found || s.Envelope.Signer == w })
	}
	return found
}

func raw(ids []ionet.Hash) (list [][]byte) {
	for _, id := range ids {
		list = append(list, id[:])
	}
	return list
}

// judge gives all verdicts, with rule 9 and amounts.
func (o oracle) judge(emission uint64) []Verdict {
	type claim struct {
		v    Verdict
		view held
		pool string
	}
	var all []claim
	seen := map[string]bool{}
	o.each(KindInventory, func(s Statement, _ ionet.Hash) {
		inv, _ := ParseInventory(s.Envelope.Body)
		for _, d := range inv.Devices {
			if id := string(d.UUID[:]) + string(s.Envelope.Signer[:]); !seen[id] {
				seen[id] = true
				v, view := o.verdict(s.Envelope.Signer, d.UUID)
				i := slices.IndexFunc(view.Devices, func(x InventoryDevice) bool { return x.UUID == d.UUID })
				m, _ := o.pol.Model(view.Devices[i].Name)
				all = append(all, claim{v, view, m.Pool})
			}
		}
	})
	sort.Slice(all, func(i, j int) bool {
		if c := bytes.Compare(all[i].v.UUID[:], all[j].v.UUID[:]); c != 0 {
			return c < 0
		}
		return bytes.Compare(all[i].v.Worker[:], all[j].v.Worker[:]) < 0
	})
	quarrel := map[ionet.UUID][]ionet.Hash{}
	for _, c := range all {
		isBound := slices.ContainsFunc(o.in.Bindings, func(b Binding) bool { return b.UUID == c.v.UUID })
		if c.v.Rule == Accepted && !isBound {
			quarrel[c.v.UUID] = append(quarrel[c.v.UUID], c.view.id)
		}
	}
	pools := map[string][]*Verdict{}
	verdicts := make([]Verdict, len(all))
	for i, c := range all {
		verdicts[i] = c.v
		if ids := quarrel[c.v.UUID]; c.v.Rule == Accepted && len(ids) > 1 {
			verdicts[i].Rule, verdicts[i].Weight, verdicts[i].Evidence = TwoFirstClaims, 0, ionet.HashOf(slices.Concat(raw(ids)...))
		}
		if verdicts[i].Rule == Accepted {
			pools[c.pool] = append(pools[c.pool], &verdicts[i])
		}
	}
	community := new(big.Int).Div(big.NewInt(int64(emission)*500), big.NewInt(10_000)).Uint64()
	share(pools["community"], o.drawn(pools["community"], community))
	share(pools["enterprise"], o.drawn(pools["enterprise"], emission-community))
	return verdicts
}

// drawn is what a pool hands out of its share.
func (o oracle) drawn(members []*Verdict, share uint64) uint64 {
	if o.pol.Target == nil {
		return share
	}
	need := new(big.Rat) // 0 without a price
	o.each(KindPrice, func(s Statement, _ ionet.Hash) {
		p, _ := ParsePrice(s.Envelope.Body)
		for _, v := range members {
			need.Add(need, new(big.Rat).SetUint64(v.Weight))
		}
		need.Mul(need, new(big.Rat).SetUint64(o.pol.Target.MicroUSD))
		need.Quo(need, new(big.Rat).SetUint64(p.MicroUSD))
		need.Mul(need, big.NewRat(1e8, 1000*int64(testClock.Samples)))
	})
	whole := new(big.Int).Quo(need.Num(), need.Denom())
	if whole.IsUint64() && whole.Uint64() < share {
		return whole.Uint64()
	}
	return share
}

// share divides by largest remainder, ties to the smaller UUID.
func share(members []*Verdict, total uint64) {
	sum := new(big.Int)
	for _, v := range members {
		sum.Add(sum, new(big.Int).SetUint64(v.Weight))
	}
	rest := map[*Verdict]*big.Int{}
	left := total
	for _, v := range members {
		q, r := new(big.Int).DivMod(new(big.Int).Mul(new(big.Int).SetUint64(total), new(big.Int).SetUint64(v.Weight)), sum, new(big.Int))
		v.Amount, rest[v] = ionet.MustAmount(q.Uint64()), r
		left -= q.Uint64()
	}
	order := slices.Clone(members) // by UUID already
	sort.SliceStable(order, func(i, j int) bool { return rest[order[i]].Cmp(rest[order[j]]) > 0 })
	for _, v := range order[:left*uint64(min(1, len(order)))] {
		v.Amount = ionet.MustAmount(v.Amount.Base() + 1)
	}
}

func TestJudgeAgainstOracle(t *testing.T) {
	count := map[Rule]int{}
	rapid.Check(t, func(r *rapid.T) {
		w := drawWorld(r, t)
		if rapid.Bool().Draw(r, "target") {
			w.in.Policy = []byte(targetPolicy)
			if rapid.IntRange(0, 4).Draw(r, "priced") > 0 {
				w.price("oracle", rapid.Uint64Range(worldEpoch-2, worldEpoch).Draw(r, "observed"), rapid.Uint64Range(1, 40_000_000).Draw(r, "price"))
			}
		}
		if rapid.Bool().Draw(r, "idle") {
			drawIdle(r, w)
		}
		pol := must[*emissions.Policy](t)(emissions.ParsePolicy(w.in.Policy))
		w.in.Statements = unique(w.in.Statements)
		j := w.judge()
		checkTotals(r, j)
		want := oracle{w.in, pol}.judge(testEmission.Base())
		if len(want) != len(j.Verdicts) {
			r.Fatalf("got %d verdicts, want %d", len(j.Verdicts), len(want))
		}
		for i, v := range j.Verdicts {
			count[v.Rule]++
			if v != want[i] {
				r.Errorf("got %+v (%s)\nwant %+v (%s)", v, v.Rule.Name(), want[i], want[i].Rule.Name())
			}
		}
	})
	for _, rule := range Rules() {
		if count[rule] == 0 {
			t.Logf("no verdict by rule %s: %v", rule.Name(), count)
		}
	}
}

// unique drops statements that were drawn twice.
func unique(list []Statement) []Statement {
	seen := map[ionet.Hash]bool{}
	return slices.DeleteFunc(list, func(s Statement) bool {
		id := s.Envelope.ID()
		twice := seen[id]
		seen[id] = true
		return twice
	})
}
