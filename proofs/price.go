package proofs

import (
	"errors"
	"fmt"
	"math"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// Price is an observation of the token's price by the key that the policy names.
type Price struct {
	Epoch    uint64 // in which it was observed, from 1
	Observed int64  // Unix seconds, within that epoch
	MicroUSD uint64 // price of one whole token in 10^-6 US dollar, 1..2^63-1
}

// Encode returns the body of a price.
func (p Price) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("encode price: %w", err)
	}
	var w writer
	w.u64(p.Epoch)
	w.i64(p.Observed)
	w.u64(p.MicroUSD)
	return w.b, nil
}

// ParsePrice parses the body of a price.
func ParsePrice(body []byte) (Price, error) {
	r := reader{b: body}
	p := Price{Epoch: r.u64(), Observed: r.i64(), MicroUSD: r.u64()}
	return ended(&r, "price", p, p.check)
}

func (p Price) check() error {
	switch {
	case p.Epoch == 0 || p.Epoch > maxEpoch:
		return fmt.Errorf("epoch is %d, not in 1..%d", p.Epoch, uint64(maxEpoch))
	case p.MicroUSD == 0 || p.MicroUSD > math.MaxInt64:
		return fmt.Errorf("micro_usd is %d, not in 1..%d", p.MicroUSD, uint64(math.MaxInt64))
	}
	return nil
}

// CheckPrice returns an error where a price by signer can't be the one that
// epoch k draws by: FORMAT.md, section 7, "Draw". It names the field.
func CheckPrice(p Price, signer ionet.Key, policy *emissions.Policy, clock ionet.Clock, k uint64) error {
	t := policy.Target
	switch {
	case t == nil:
		return errors.New("the policy draws by schedule and asks for no price")
	case signer != t.Key:
		return fmt.Errorf("signer is %s, the policy names %s", signer, t.Key)
	case p.Epoch > k || k-p.Epoch > uint64(t.MaxAgeEpochs):
		return fmt.Errorf("epoch is %d, not in the %d epochs up to %d", p.Epoch, t.MaxAgeEpochs, k)
	case p.Observed < clock.EpochStart(p.Epoch) || p.Observed >= clock.EpochEnd(p.Epoch):
		return fmt.Errorf("observed is %d, not in epoch %d, %d up to %d", p.Observed, p.Epoch, clock.EpochStart(p.Epoch), clock.EpochEnd(p.Epoch))
	}
	return nil
}
