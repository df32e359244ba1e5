package emissions

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// MaxEpochs bounds Params.Epochs: 119 years of hours. The error bounds of
// fixed.go are worked out for it.
const MaxEpochs = 1 << 20

// Of hourly epochs. A month is a twelfth of a year of 365 days.
const (
	EpochsPerMonth = 730
	EpochsPerYear  = 8760
)

// ErrEpochRange reports an epoch outside the schedule.
var ErrEpochRange = errors.New("epoch is outside the schedule")

// Params are the numbers that define a schedule. Rates are exact decimals such
// as "0.08", never floats. Emission decays from step to step; the epochs of one
// step share what it emits evenly.
type Params struct {
	Genesis ionet.Amount // supply at genesis, G of the formula for ever
	Cap     ionet.Amount // supply that is reached by the last epoch and never passed
	Epochs  uint64       // number of epochs, 1..MaxEpochs, a multiple of EpochsPerStep

	FirstYearRate string // share of Genesis emitted in a year at the first step's pace, "0.08"
	StepsPerYear  uint64 // steps over which FirstYearRate spreads: 8760 hours, 12 months
	Decay         string // d: each step emits 1-d of what the one before did, 0 < d < 1
	EpochsPerStep uint64 // epochs that share a step: 1 where each hour is a step, 730 where each month is
}

// Names of the profiles that Profile knows.
const (
	ProfileHourly  = "hourly"
	ProfileMonthly = "monthly"
)

// Profile returns a published schedule by its name, ProfileHourly or
// ProfileMonthly, for a token of the given decimals (0..8).
func Profile(name string, decimals int) (Params, error) {
	switch name {
	case ProfileHourly:
		return Hourly(decimals)
	case ProfileMonthly:
		return Monthly(decimals)
	}
	return Params{}, fmt.Errorf("schedule profile %q is neither %q nor %q", name, ProfileHourly, ProfileMonthly)
}

// Hourly returns the published hourly schedule for a token of the given
// decimals (0..8): 5 billion tokens at genesis, 8 billion at the cap, 175,319
// epochs.
func Hourly(decimals int) (Params, error) {
	p, err := published(decimals)
	p.Epochs, p.EpochsPerStep, p.StepsPerYear, p.Decay = 175_319, 1, EpochsPerYear, "0.0000138869523959793"
	return p, err
}

// Monthly returns the older published schedule of 240 months with the factor
// 0.989849199, for a token of the given decimals (0..8). Each month's emission
// is spread over its 730 hours.
func Monthly(decimals int) (Params, error) {
	p, err := published(decimals)
	p.Epochs, p.EpochsPerStep, p.StepsPerYear, p.Decay = 240*EpochsPerMonth, EpochsPerMonth, 12, "0.010150801"
	return p, err
}

// published returns what the published schedules have in common.
func published(decimals int) (Params, error) {
	genesis, err := ionet.ParseTokens("5000000000", decimals)
	if err != nil {
		return Params{}, fmt.Errorf("scale genesis supply: %w", err)
	}
	limit, err := ionet.ParseTokens("8000000000", decimals)
	if err != nil {
		return Params{}, fmt.Errorf("scale cap: %w", err)
	}
	return Params{Genesis: genesis, Cap: limit, FirstYearRate: "0.08"}, nil
}

// ParamsOf returns the parameters that a network file names.
func ParamsOf(i ionet.ScheduleInfo) Params {
	return Params{
		Genesis: i.Genesis, Cap: i.Cap, Epochs: i.Epochs,
		FirstYearRate: i.FirstYearRate, StepsPerYear: i.StepsPerYear, Decay: i.Decay, EpochsPerStep: i.EpochsPerStep,
	}
}

// Info returns p as a network file names it; hash is Schedule.Hash.
func (p Params) Info(hash ionet.Hash) ionet.ScheduleInfo {
	return ionet.ScheduleInfo{
		Genesis: p.Genesis, Cap: p.Cap, Epochs: p.Epochs,
		FirstYearRate: p.FirstYearRate, StepsPerYear: p.StepsPerYear, Decay: p.Decay, EpochsPerStep: p.EpochsPerStep, Hash: hash,
	}
}

// Reach returns the highest cap that p's rates and epochs reach, whatever its
// own Cap is: Genesis + floor(C(Epochs)), at most 2^63-1 base units.
func (p Params) Reach() (ionet.Amount, error) {
	p.Cap = ionet.MustAmount(math.MaxInt64)
	s, err := prepare(p)
	if err != nil {
		return ionet.Amount{}, err
	}
	emitted, err := s.Cumulative(p.Epochs)
	if err != nil {
		return ionet.Amount{}, err
	}
	return p.Genesis.Add(emitted)
}

// Shorten returns p cut to its first epochs, with the cap that these reach.
func (p Params) Shorten(epochs uint64) (Params, error) {
	p.Epochs = epochs
	reach, err := p.Reach()
	if reach.Cmp(p.Cap) < 0 {
		p.Cap = reach
	}
	return p, err
}

// Schedule answers how much has been emitted by the end of any epoch, in
// constant time. It never changes after New and may be shared.
type Schedule struct {
	params  Params
	limit   uint64            // Cap - Genesis
	scale   fixed             // A = G*r/d with 128 fractional bits, rounded down
	powers  powers            // (1-d)^j
	decided map[uint64]uint64 // floors that the fixed-point bounds left open, see prove
}

// New prepares the schedule of p and proves that the floor of every one of its
// epochs is certain (FORMAT.md, section 1.2). It fails on parameters outside
// their ranges, naming the field, and on those whose epochs together emit less
// than Cap - Genesis.
func New(p Params) (*Schedule, error) {
	s, err := prepare(p)
	if err != nil {
		return nil, err
	}
	emitted, err := s.Cumulative(p.Epochs)
	if err != nil {
		return nil, err
	}
	if emitted.Base() < s.limit {
		return nil, fmt.Errorf("cap %s is never reached: the %d epochs emit %s of the %d above the genesis supply %s; lower the cap by %d or raise epochs or rate",
			p.Cap, p.Epochs, emitted, s.limit, p.Genesis, s.limit-emitted.Base())
	}
	return s, nil
}

func prepare(p Params) (*Schedule, error) {
	e, err := p.exact()
	if err != nil {
		return nil, err
	}
	s := &Schedule{
		params: p,
		limit:  p.Cap.Base() - p.Genesis.Base(),
		scale:  e.scale(),
		powers: newPowers(e.ratio(), p.Epochs/p.EpochsPerStep),
	}
	if err := s.prove(e); err != nil {
		return nil, err
	}
	return s, nil
}

// Params returns what the schedule was made from.
func (s *Schedule) Params() Params { return s.params }

// Epochs returns the number of epochs.
func (s *Schedule) Epochs() uint64 { return s.params.Epochs }

// Cumulative returns what epochs 1..k emit together:
//
//	floor of the straight line between K(j) and K(j+1) at k    FORMAT.md 1.1
//	K(j) = min(C(j), Cap-Genesis), C(j) = G*r*(1-(1-d)^j)/d
//
// in base units; where every epoch is a step that is floor(K(k)). Cumulative(0)
// is zero; above Epochs it is ErrEpochRange.
func (s *Schedule) Cumulative(k uint64) (ionet.Amount, error) {
	if k > s.params.Epochs {
		return ionet.Amount{}, fmt.Errorf("epoch %d of %d: %w", k, s.params.Epochs, ErrEpochRange)
	}
	return ionet.NewAmount(s.floor(k))
}

// floor is Cumulative for k in 0..Epochs.
func (s *Schedule) floor(k uint64) uint64 {
	n, certain := s.bound(k)
	if !certain {
		n = s.decided[k]
	}
	return n
}

// Emission returns what epoch k emits: Cumulative(k) - Cumulative(k-1), in base
// units. An epoch outside 1..Epochs is ErrEpochRange.
func (s *Schedule) Emission(k uint64) (ionet.Amount, error) {
	if k == 0 || k > s.params.Epochs {
		return ionet.Amount{}, fmt.Errorf("epoch %d of %d: %w", k, s.params.Epochs, ErrEpochRange)
	}
	return ionet.NewAmount(s.floor(k) - s.floor(k-1))
}

// Vector returns the emissions of all epochs in order, 8 bytes each,
// little-endian: the bytes that Hash is of.
func (s *Schedule) Vector() []byte {
	vector := make([]byte, 0, 8*s.params.Epochs)
	var before uint64
	for k := uint64(1); k <= s.params.Epochs; k++ {
		upTo := s.floor(k)
		vector = binary.LittleEndian.AppendUint64(vector, upTo-before)
		before = upTo
	}
	return vector
}

// Hash returns SHA-256 of Vector. A network's genesis memo commits to it.
func (s *Schedule) Hash() ionet.Hash { return ionet.HashOf(s.Vector()) }

// knot returns a lower bound of K(j) with 128 fractional bits. With p the lower
// bound of (1-d)^j that lacks at most 2j+1 units of 2^-256, and A the scale that
// lacks less than 2^-128, in FORMAT.md 1.2 step by step:
//
//	low(j) = A * (1-p-(2j+1)*2^-256) <= C(j) <= low(j) + (2j+3)*2^-128
func (s *Schedule) knot(j uint64) fixed {
	if j == 0 {
		return fixed{}
	}
	low := s.scale.multiply(s.powers.at(j).complement().subtract(2 * j))
	if low[3] != 0 || low[2] >= s.limit {
		return fixed{2: s.limit}
	}
	return low
}

// lower returns a lower bound of the exact running sum at epoch k with 128
// fractional bits, which lacks at most slack(k) units of its last place.
func (s *Schedule) lower(k uint64) fixed {
	per := s.params.EpochsPerStep
	j, h := k/per, k%per
	if h == 0 {
		return s.knot(j)
	}
	return between(s.knot(j), s.knot(j+1), h, per)
}

func (s *Schedule) slack(k uint64) uint64 { return 2*(k/s.params.EpochsPerStep) + 6 }

// bound returns the floor of lower(k) and whether the exact sum certainly has
// the same one.
func (s *Schedule) bound(k uint64) (n uint64, certain bool) {
	return s.round(s.lower(k), s.slack(k))
}

func (s *Schedule) round(low fixed, slack uint64) (n uint64, certain bool) {
	_, carry := bits.Add64(low[0], slack, 0)
	_, carry = bits.Add64(low[1], 0, carry)
	return low[2], carry == 0 || low[2] == s.limit
}

// prove checks every epoch's floor and settles those that the bounds leave
// open, where the sum is an integer or next to one, by exact arithmetic.
func (s *Schedule) prove(e exact) error {
	per := s.params.EpochsPerStep
	var from, to fixed
	var open []openFloor
	for k := uint64(1); k <= s.params.Epochs; k++ {
		h := k % per
		low := to
		switch {
		case per == 1:
			low = s.knot(k)
		case h == 1:
			from, to = to, s.knot(k/per+1)
			fallthrough
		case h != 0:
			low = between(from, to, h, per)
		}
		if n, certain := s.round(low, s.slack(k)); !certain {
			open = append(open, openFloor{k, n})
		}
	}
	return s.settle(e, open)
}

// openFloor is an epoch whose sum's floor is n or n+1.
type openFloor struct{ k, n uint64 }

// settle decides open floors, which are in the order of their epochs. Each may
// take numbers of 68,000 bits, but the sum never falls: of neighbours with one n
// all from some epoch on have n+1, and halving finds it.
func (s *Schedule) settle(e exact, open []openFloor) error {
	s.decided = make(map[uint64]uint64, len(open))
	for len(open) > 0 {
		n := open[0].n
		run := 1 + slices.IndexFunc(open[1:], func(o openFloor) bool { return o.n != n })
		if run == 0 {
			run = len(open)
		}
		raised, err := e.firstAbove(open[:run], n)
		if err != nil {
			return err
		}
		for i, o := range open[:run] {
			if i >= raised {
				n = o.n + 1
			}
			s.decided[o.k] = n
		}
		open = open[run:]
	}
	return nil
}
