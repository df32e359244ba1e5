package emissions

import (
	_ "embed"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// wholePool is the sum of all pools' basis points.
const wholePool = 10_000

// What an epoch draws of the schedule.
const (
	DrawSchedule = "schedule" // all that it allows
	DrawTarget   = "target"   // what a dollar target costs at an observed price, if it allows that
)

//go:embed policy.toml
var defaultPolicy []byte

// DefaultPolicy returns the exact bytes of the policy that ships with this
// package: the published multipliers and pools, an hour of 60 samples.
func DefaultPolicy() []byte { return slices.Clone(defaultPolicy) }

// Policy is the rules of an epoch, as ParsePolicy read them from one file.
// FORMAT.md 5 lists its keys with their ranges and defaults.
type Policy struct {
	Version    uint32  // number of this policy; a later one has a higher number
	FirstEpoch uint64  // first epoch that it rules, from 1
	Draw       string  // how much of the schedule an epoch draws: DrawSchedule or DrawTarget
	Target     *Target // set where Draw is DrawTarget

	Pools  []Pool  // ordered by name; basis points sum to 10,000
	Models []Model // in the file's order; names and matches are unique

	Samples Samples
	Close   Close
	Fees    Fees
	Payout  Payout
	Idle    *Idle // nil: busy devices need no jobs

	SimulatedDevices      bool         // whether devices that say they are simulated earn
	BindingIdleEpochs     uint32       // epochs without an accepted sample that end a binding
	MinStakePerMultiplier ionet.Amount // base units for each processor and multiplier of 1; 0 asks for none

	hash ionet.Hash
}

// Pool is a named part of every epoch's emission.
type Pool struct {
	Name        string
	BasisPoints uint32 // 0..10000
}

// Model maps products to a pool and a multiplier.
type Model struct {
	Name            string
	Pool            string   // name of one of the policy's pools
	MultiplierMilli uint32   // thousandths, 0..1000000; 0 earns nothing
	Match           []string // NVML product names, compared exactly
}

// Samples decides which statements of an epoch count.
type Samples struct {
	Minimum   uint16 // accepted samples below which a device earns nothing, at least 1
	LateAfter uint16 // samples between a statement and its arrival that make it late
	LateLimit uint16 // late samples of a device that count in one epoch
}

// Close decides when an epoch's books may close.
type Close struct {
	GraceSeconds uint32 // chain time after the epoch's end
}

// How receipts are recorded on chain.
const (
	RecordRoot   = "root"   // seals commit to the log's root
	RecordInline = "inline" // besides, memos carry each receipt in its compact form
)

// Fees decides how an inference's fee is split, how its channel ends and what of its
// receipt is on chain.
type Fees struct {
	NetworkBasisPoints uint32    // the network's part, 0..10000; the provider has the rest
	NetworkWallet      ionet.Key // whom the network's part is owed to; zero: it is kept as the network's
	GraceSeconds       uint32    // from the request to close a channel until what it did not spend goes back, 1..31536000
	Record             string    // RecordRoot or RecordInline
}

// Idle refuses a device that is busy while its worker has no job of the network.
type Idle struct {
	Utilization uint8  // percent above which a sample is busy, 0..99
	Samples     uint16 // busy samples that an epoch allows
}

// CheckSamples returns an error where an epoch of perEpoch samples could never
// have the minimum that p asks of a device.
func (p *Policy) CheckSamples(perEpoch uint16) error {
	if p.Samples.Minimum > perEpoch {
		return fmt.Errorf("policy: samples.minimum: %d is more than the %d samples of an epoch", p.Samples.Minimum, perEpoch)
	}
	return nil
}

// Payout decides whom a batch pays.
type Payout struct {
	Minimum ionet.Amount // base units below which a provider waits
}

// Hash returns SHA-256 of the exact bytes that were parsed.
func (p *Policy) Hash() ionet.Hash { return p.hash }

// Model returns the model that lists an NVML product name, compared exactly; ok
// is false where none does.
func (p *Policy) Model(nvmlName string) (m Model, ok bool) {
	for _, m := range p.Models {
		if slices.Contains(m.Match, nvmlName) {
			return m, true
		}
	}
	return Model{}, false
}
