package emissions

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// MaxEpochs bounds Params.Epochs: 119 years of hours. The error bounds of
// fixed.go are worked out for it.
const MaxEpochs = 1 << 20

// hourlyPerYear is the number of epochs over which Params.FirstYearRate spreads
// where the Params do not say otherwise.
const hourlyPerYear = 8760

// ErrEpochRange reports an epoch outside the schedule.
var ErrEpochRange = errors.New("epoch is outside the schedule")

// Params are the numbers that define a schedule. Rates are exact decimals such
// as "0.08", never floats.
type Params struct {
	Genesis ionet.Amount // supply at genesis, G of the formula for ever
	Cap     ionet.Amount // supply that is never passed; emission ends at Cap - Genesis
	Epochs  uint64       // number of epochs, 1..MaxEpochs

	FirstYearRate string // share of Genesis emitted in a year at the first epoch's pace, "0.08"
	EpochsPerYear uint64 // epochs over which FirstYearRate spreads; 0 means 8760 (hours)
	Decay         string // d: each epoch emits 1-d of what the one before did, 0 < d < 1
}

// Hourly returns the published hourly schedule for a token of the given
// decimals (0..8): 5 billion tokens at genesis, 8 billion at the cap, 175,319
// epochs.
func Hourly(decimals int) (Params, error) {
	genesis, err := ionet.ParseTokens("5000000000", decimals)
	if err != nil {
		return Params{}, fmt.Errorf("scale genesis supply: %w", err)
	}
	limit, err := ionet.ParseTokens("8000000000", decimals)
	if err != nil {
		return Params{}, fmt.Errorf("scale cap: %w", err)
	}
	return Params{
		Genesis: genesis, Cap: limit, Epochs: 175_319,
		FirstYearRate: "0.08", EpochsPerYear: hourlyPerYear, Decay: "0.0000138869523959793",
	}, nil
}

// Schedule answers how much has been emitted by the end of any epoch, in
// constant time. It never changes after New and may be shared.
type Schedule struct {
	epochs  uint64
	limit   uint64            // Cap - Genesis
	scale   fixed             // A = G*r/d with 128 fractional bits, rounded down
	powers  powers            // (1-d)^k
	decided map[uint64]uint64 // floors that the fixed-point bounds left open, see prove
}

// New prepares the schedule of p and proves that the floor of every one of its
// epochs is certain (FORMAT.md, section 1.2). It fails on parameters outside
// their ranges, naming the field.
func New(p Params) (*Schedule, error) {
	e, err := p.exact()
	if err != nil {
		return nil, err
	}
	s := &Schedule{
		epochs: p.Epochs,
		limit:  p.Cap.Base() - p.Genesis.Base(),
		scale:  e.scale(),
		powers: newPowers(e.ratio(), p.Epochs),
	}
	if err := s.prove(e); err != nil {
		return nil, err
	}
	return s, nil
}

// Epochs returns the number of epochs.
func (s *Schedule) Epochs() uint64 { return s.epochs }

// Cumulative returns what epochs 1..k emit together:
//
//	min(floor(C(k)), Cap - Genesis), C(k) = G*r*(1-(1-d)^k)/d      FORMAT.md 1.1
//
// in base units. Cumulative(0) is zero; above Epochs it is ErrEpochRange.
func (s *Schedule) Cumulative(k uint64) (ionet.Amount, error) {
	if k > s.epochs {
		return ionet.Amount{}, fmt.Errorf("epoch %d of %d: %w", k, s.epochs, ErrEpochRange)
	}
	if k == 0 {
		return ionet.Amount{}, nil
	}
	n, certain := s.bound(k)
	if !certain {
		n = s.decided[k]
	}
	return ionet.NewAmount(n)
}

// Emission returns what epoch k emits: Cumulative(k) - Cumulative(k-1), in base
// units. An epoch outside 1..Epochs is ErrEpochRange.
func (s *Schedule) Emission(k uint64) (ionet.Amount, error) {
	if k == 0 || k > s.epochs {
		return ionet.Amount{}, fmt.Errorf("epoch %d of %d: %w", k, s.epochs, ErrEpochRange)
	}
	upTo, err := s.Cumulative(k)
	if err != nil {
		return ionet.Amount{}, err
	}
	before, err := s.Cumulative(k - 1)
	if err != nil {
		return ionet.Amount{}, err
	}
	return upTo.Sub(before)
}

// lower returns a lower bound of C(k), k >= 1, with 128 fractional bits. With p
// the lower bound of (1-d)^k that lacks at most 2k+1 units of 2^-256, and A the
// scale that lacks less than 2^-128, in FORMAT.md 1.2 step by step:
//
//	low(k) = A * (1-p-(2k+1)*2^-256) <= C(k) <= low(k) + (2k+3)*2^-128
func (s *Schedule) lower(k uint64) fixed {
	return s.scale.multiply(s.powers.at(k).complement().subtract(2 * k))
}

// bound returns the clamped floor of lower(k) and whether C(k) certainly has the
// same one.
func (s *Schedule) bound(k uint64) (n uint64, certain bool) {
	low := s.lower(k)
	if low[3] != 0 || low[2] >= s.limit {
		return s.limit, true
	}
	_, carry := bits.Add64(low[0], 2*k+3, 0)
	_, carry = bits.Add64(low[1], 0, carry)
	return low[2], carry == 0
}

// prove checks every epoch's floor and settles those that the bounds leave
// open, where C(k) is an integer or next to one, by exact arithmetic.
func (s *Schedule) prove(e exact) error {
	for k := uint64(1); k <= s.epochs; k++ {
		n, certain := s.bound(k)
		if certain {
			continue
		}
		n, err := e.settle(k, n)
		if err != nil {
			return err
		}
		if s.decided == nil {
			s.decided = make(map[uint64]uint64)
		}
		s.decided[k] = min(n, s.limit)
	}
	return nil
}
