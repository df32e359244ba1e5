package emissions

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxPolicyBytes bounds a policy file.
const MaxPolicyBytes = 1 << 16

// maxMultiplier bounds a model's multiplier_milli: a device's weight (multiplier
// x samples) stays below 2^36, and a pool's sum below 2^64 for 2^28 devices.
const maxMultiplier = 1_000_000

// maxPools bounds the pools: judging looks at all devices for each.
const maxPools = 64

// maxGrace bounds close.grace_seconds: a day.
const maxGrace = 86_400

// maxChannelGrace bounds fees.grace_seconds: a year.
const maxChannelGrace = 31_536_000

// ParsePolicy parses one policy file (FORMAT.md 5). It is strict: a key that
// the format does not know, a missing key and a value outside its range are
// errors that name the key and what is allowed there.
func ParsePolicy(file []byte) (*Policy, error) {
	if len(file) > MaxPolicyBytes {
		return nil, fmt.Errorf("policy has %d bytes, more than %d", len(file), MaxPolicyBytes)
	}
	var err error
	p := &Policy{hash: sha256.Sum256(file)}
	p.read(readTOML(file, &err))
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	slices.SortFunc(p.Pools, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

// read reads the outermost table and those inside it.
func (p *Policy) read(s *section) {
	s.need("version", "samples", "pools", "models")
	p.Version = uint32(s.integer("version", 1, math.MaxUint32, 0))
	p.FirstEpoch = s.integer("first_epoch", 1, MaxEpochs, 1)
	p.readPools(s.sections("pools"))
	p.readModels(s.sections("models"))
	p.readSamples(s.section("samples"))
	p.readSmall(s)
	p.readDraw(s)
	p.readIdle(s)
	s.end()
}

// readIdle reads the table that a policy may leave out.
func (p *Policy) readIdle(s *section) {
	t := s.section("idle")
	if t.keys == nil {
		return
	}
	t.need("utilization", "samples")
	p.Idle = &Idle{
		Utilization: uint8(t.integer("utilization", 0, 99, 0)),
		Samples:     uint16(t.integer("samples", 0, math.MaxUint16, 0)),
	}
	t.end()
}

// readDraw reads the draw and the table that only a target has.
func (p *Policy) readDraw(s *section) {
	switch p.Draw = s.text("draw", DrawSchedule); p.Draw {
	case DrawSchedule:
		if _, ok := s.take("target"); ok {
			s.refuse("target", "only allowed where draw is %q", DrawTarget)
		}
	case DrawTarget:
		s.need("target")
		t := s.section("target")
		t.need("key", "micro_usd")
		p.Target = &Target{
			Key:          t.key("key"),
			MicroUSD:     t.integer("micro_usd", 1, maxTarget, 0),
			MaxAgeEpochs: uint32(t.integer("max_age_epochs", 1, maxPriceAge, maxPriceAge)),
		}
		t.end()
	default:
		s.refuse("draw", "%s is unknown; allowed are %q and %q", show(p.Draw), DrawSchedule, DrawTarget)
	}
}

func (p *Policy) readPools(sections []*section) {
	for _, s := range sections {
		s.need("name", "basis_points")
		p.Pools = append(p.Pools, Pool{
			Name:        s.name("name"),
			BasisPoints: uint32(s.integer("basis_points", 0, wholePool, 0)),
		})
		s.end()
	}
}

func (p *Policy) readModels(sections []*section) {
	for _, s := range sections {
		s.need("name", "pool", "multiplier_milli", "match")
		p.Models = append(p.Models, Model{
			Name:            s.name("name"),
			Pool:            s.name("pool"),
			MultiplierMilli: uint32(s.integer("multiplier_milli", 0, maxMultiplier, 0)),
			Match:           s.products("match"),
		})
		s.end()
	}
}

func (p *Policy) readSamples(s *section) {
	s.need("minimum", "late_after", "late_limit")
	p.Samples = Samples{
		Minimum:   uint16(s.integer("minimum", 1, math.MaxUint16, 0)),
		LateAfter: uint16(s.integer("late_after", 0, math.MaxUint16, 0)),
		LateLimit: uint16(s.integer("late_limit", 0, math.MaxUint16, 0)),
	}
	s.end()
}

// readSmall reads the tables of one key each; a missing one has its default.
func (p *Policy) readSmall(s *section) {
	t := s.section("close")
	p.Close.GraceSeconds = uint32(t.integer("grace_seconds", 0, maxGrace, 300))
	t.end()
	t = s.section("simulated")
	p.SimulatedDevices = t.flag("earn", false)
	t.end()
	t = s.section("binding")
	p.BindingIdleEpochs = uint32(t.integer("idle_epochs", 1, MaxEpochs, 24))
	t.end()
	t = s.section("stake")
	p.MinStakePerMultiplier = t.amount("minimum_per_multiplier")
	t.end()
	t = s.section("fees")
	p.readFees(t)
	t = s.section("payout")
	p.Payout.Minimum = t.amount("minimum")
	t.end()
}

func (p *Policy) readFees(t *section) {
	p.Fees = Fees{
		NetworkBasisPoints: uint32(t.integer("network_basis_points", 0, wholePool, 0)),
		NetworkWallet:      t.key("network_wallet"),
		GraceSeconds:       uint32(t.integer("grace_seconds", 1, maxChannelGrace, 86_400)),
		Record:             t.text("record", RecordRoot),
	}
	if p.Fees.Record != RecordRoot && p.Fees.Record != RecordInline {
		t.refuse("record", "%s is unknown; allowed are %q and %q", show(p.Fees.Record), RecordRoot, RecordInline)
	}
	t.end()
}

// check tests the rules that hold between keys.
func (p *Policy) check() error {
	if len(p.Pools) > maxPools {
		return fmt.Errorf("pools: %d of them; at most %d", len(p.Pools), maxPools)
	}
	pools := map[string]bool{}
	var points uint32
	for i, pool := range p.Pools {
		if pools[pool.Name] {
			return fmt.Errorf("pools[%d].name: %q stands twice", i, pool.Name)
		}
		pools[pool.Name] = true
		points += pool.BasisPoints // at most maxPools of 10,000: no overflow
	}
	if points != wholePool {
		return fmt.Errorf("pools: basis_points sum to %d, not %d", points, wholePool)
	}
	return p.checkModels(pools)
}

// checkModels tests that each model has its pool, and each product one model.
func (p *Policy) checkModels(pools map[string]bool) error {
	if len(p.Models) == 0 {
		return fmt.Errorf("models: empty; at least one is needed")
	}
	names, products := map[string]bool{}, map[string]string{}
	for i, m := range p.Models {
		if names[m.Name] {
			return fmt.Errorf("models[%d].name: %q stands twice", i, m.Name)
		}
		names[m.Name] = true
		if !pools[m.Pool] {
			return fmt.Errorf("models[%d].pool: %q is none of the pools", i, m.Pool)
		}
		for j, product := range m.Match {
			if other, ok := products[product]; ok {
				return fmt.Errorf("models[%d].match[%d]: %q belongs to model %q already", i, j, product, other)
			}
			products[product] = m.Name
		}
	}
	return nil
}
