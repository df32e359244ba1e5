package proofs

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// Unit is what a model's price counts.
type Unit uint8

// The units of prices.
const (
	UnitToken   Unit = 0
	UnitImage   Unit = 1
	UnitSecond  Unit = 2
	UnitRequest Unit = 3
)

// String returns the unit's name.
func (u Unit) String() string {
	if u > UnitRequest {
		return fmt.Sprintf("unit %d", uint8(u))
	}
	return [...]string{"token", "image", "second", "request"}[u]
}

// Fee returns what n units cost at price base units per per units, rounded up:
//
//	fee = ceil(n * price / per)                       FORMAT.md, section 5
func Fee(n uint64, price ionet.Amount, per uint32) (ionet.Amount, error) {
	if per == 0 {
		return ionet.Amount{}, errors.New("compute fee: price is per 0 units")
	}
	hi, lo := bits.Mul64(n, price.Base())
	lo, carry := bits.Add64(lo, uint64(per)-1, 0)
	if hi += carry; hi >= uint64(per) {
		return ionet.Amount{}, fmt.Errorf("compute fee of %d units: %w", n, ionet.ErrAmountRange)
	}
	fee, _ := bits.Div64(hi, lo, uint64(per))
	return ionet.NewAmount(fee)
}

// maxEndpoint is the longest endpoint of an offer in bytes.
const maxEndpoint = 256

// Offer is what a worker serves, and at what price. Of a worker's offers the one
// with the greatest sequence counts.
type Offer struct {
	Sequence uint64
	Expires  int64
	Endpoint string // 1..256 bytes of printable ASCII
	Capacity uint32
	Models   []OfferModel // ascending by (name, unit), 1..64
}

// OfferModel is the price of one model in one unit.
type OfferModel struct {
	Name  string // 1..64 of A-Z a-z 0-9 . _ : / -
	Unit  Unit
	Price ionet.Amount
	Per   uint32 // 1 or more
}

// Encode returns the body of an offer.
func (o Offer) Encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("encode offer: %w", err)
	}
	var w writer
	w.u64(o.Sequence)
	w.i64(o.Expires)
	w.str(o.Endpoint)
	w.u32(o.Capacity)
	w.u32(uint32(len(o.Models)))
	for _, m := range o.Models {
		w.str(m.Name)
		w.u8(uint8(m.Unit))
		w.money(m.Price)
		w.u32(m.Per)
	}
	return w.b, nil
}

// ParseOffer parses the body of an offer.
func ParseOffer(body []byte) (Offer, error) {
	r := reader{b: body}
	o := Offer{Sequence: r.u64(), Expires: r.i64(), Endpoint: string(r.vec()), Capacity: r.u32()}
	for range r.count("models", 1, maxCaps, 4+1+8+4) {
		o.Models = append(o.Models, OfferModel{Name: string(r.vec()), Unit: Unit(r.u8()), Price: r.money(), Per: r.u32()})
	}
	return ended(&r, "offer", o, o.check)
}

func (o Offer) check() error {
	if err := checkText("endpoint", o.Endpoint, maxEndpoint); err != nil {
		return err
	}
	if len(o.Models) == 0 || len(o.Models) > maxCaps {
		return fmt.Errorf("models has %d items, not 1..%d", len(o.Models), maxCaps)
	}
	for i, m := range o.Models {
		if err := checkPrice(m.Name, m.Unit, m.Per); err != nil {
			return fmt.Errorf("models[%d]: %w", i, err)
		}
		if i == 0 {
			continue
		}
		if last := o.Models[i-1]; cmp.Or(cmp.Compare(last.Name, m.Name), cmp.Compare(last.Unit, m.Unit)) >= 0 {
			return fmt.Errorf("models[%d] does not ascend", i)
		}
	}
	return nil
}

func checkPrice(model string, unit Unit, per uint32) error {
	switch {
	case !isModel(model):
		return fmt.Errorf("model %q is not 1..64 of A-Z a-z 0-9 . _ : / -", model)
	case unit > UnitRequest:
		return fmt.Errorf("unit is %d, not 0..3", uint8(unit))
	case per == 0:
		return errors.New("per is 0")
	}
	return nil
}

// ended ends the parsing of a body: nothing is left over and check holds.
func ended[T any](r *reader, what string, v T, check func() error) (T, error) {
	var none T
	if err := r.end(what); err != nil {
		return none, err
	}
	if err := check(); err != nil {
		return none, fmt.Errorf("parse %s: %w", what, err)
	}
	return v, nil
}
