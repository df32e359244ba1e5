package proofs

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// feeCase is a job that is held against a channel. The one of newFeeCase holds.
type feeCase struct {
	terms    FeeTerms
	worker   ionet.Key
	offer    *Offer
	job      Job
	batch    *JobBatch // instead of the job
	accepted int64
}

const feeTime = 1_763_888_400

func newFeeCase() *feeCase {
	io := ionet.MustAmount
	c := &feeCase{worker: public("worker"), accepted: feeTime + 100}
	c.terms = FeeTerms{
		Session: Session{
			Renter: public("renter"), Key: public("session"), Reserve: io(1_000_000), Issued: feeTime, Expires: feeTime + 1000,
			Caps: []PriceCap{{Model: "flux", Price: io(300), Per: 1}, {Model: "llama", Price: io(1_500), Per: 1000}},
		},
		Channel: ChannelOpen{Worker: c.worker, Channel: public("channel"), Limit: io(5_000), Expires: feeTime + 900},
		Spent:   io(10),
	}
	c.offer = &Offer{Sequence: 1, Expires: feeTime + 800, Endpoint: "https://gpu.example", Models: []OfferModel{
		{Name: "flux", Unit: UnitImage, Price: io(250), Per: 1}, {Name: "llama", Unit: UnitToken, Price: io(1_500), Per: 1000},
	}}
	c.job = Job{
		Channel: public("channel"), ID: [16]byte{1}, Served: feeTime + 100, Offer: ionet.HashOf([]byte("offer")), Model: "llama", Unit: UnitToken,
		Units: 1234, Price: io(1_500), Per: 1000, Before: io(10), Fee: io(1_851), After: io(1_861),
		Request: ionet.HashOf([]byte("request")), Response: ionet.HashOf([]byte("response")), Cumulative: io(1_900),
	}
	return c
}

// asBatch makes the job a batch of three.
func (c *feeCase) asBatch() *JobBatch {
	c.batch = &JobBatch{
		Channel: c.job.Channel, ID: c.job.ID, Served: c.job.Served, Offer: c.job.Offer, Count: 3, Root: ionet.HashOf([]byte("root")),
		Before: c.job.Before, Fee: c.job.Fee, After: c.job.After, Cumulative: c.job.Cumulative,
	}
	return c.batch
}

func (c *feeCase) bill() Bill {
	if c.batch != nil {
		return c.batch.Bill()
	}
	return c.job.Bill()
}

// judge goes the way of a statement: it is encoded, parsed and checked.
func (c *feeCase) judge() FeeRule {
	kind, parsed := KindJob, Bill{}
	w := writer{b: c.job.append(nil)}
	body := w.b
	if c.batch != nil {
		var err error
		if body, err = c.batch.Encode(); err != nil {
			return ruleOf(err)
		}
		kind = KindJobBatch
	}
	parsed, err := ParseBill(kind, body)
	if err != nil {
		return ruleOf(err)
	}
	return c.terms.Check(c.worker, parsed, c.offer, c.accepted)
}

// noRule says that a statement is malformed: no rule names that.
const noRule = FeeRule(math.MaxUint16)

func ruleOf(err error) FeeRule {
	switch {
	case errors.Is(err, ErrFee):
		return WrongFee
	case errors.Is(err, ErrCovered):
		return VoucherFails
	}
	return noRule
}

// spend sets what the job spends, all sums right.
func (c *feeCase) spend(before, units uint64) {
	j := &c.job
	fee, err := Fee(units, j.Price, j.Per)
	if err != nil {
		panic(err)
	}
	j.Units, j.Fee, j.Before = units, fee, ionet.MustAmount(before)
	j.After = ionet.MustAmount(before + fee.Base())
	j.Cumulative = ionet.MustAmount(max(j.After.Base(), j.Cumulative.Base()))
}

var feeCases = []struct {
	name  string
	rule  FeeRule
	build func(c *feeCase)
}{
	{"a job", FeeHolds, func(*feeCase) {}},
	{"a job that waits", FeeHolds, func(c *feeCase) { c.spend(11, 10) }},
	{"the last unit of the limit", FeeHolds, func(c *feeCase) { c.terms.Channel.Limit = c.job.After }},
	{"the last unit of the voucher", FeeHolds, func(c *feeCase) { c.job.Cumulative = c.job.After }},
	{"a voucher above the limit", FeeHolds, func(c *feeCase) { c.job.Cumulative = ionet.MustAmount(math.MaxInt64) }},
	{"in the session's first second", FeeHolds, func(c *feeCase) { c.job.Served = feeTime }},
	{"in the channel's last second", FeeHolds, func(c *feeCase) {
		c.terms.Channel.Expires, c.terms.Session.Expires, c.offer.Expires = feeTime+101, feeTime+101, feeTime+101
	}},
	{"arrives long after", FeeHolds, func(c *feeCase) { c.accepted = feeTime + 1_000_000 }},
	{"by a clock that is ahead", FeeHolds, func(c *feeCase) { c.accepted = feeTime + 40 }},
	{"served when the channel was asked to close", FeeHolds, func(c *feeCase) { c.terms.Closing = feeTime + 100 }},
	{"no caps at all", FeeHolds, func(c *feeCase) { c.terms.Session.Caps = nil }},
	{"a cap per other units, as high", FeeHolds, func(c *feeCase) {
		c.terms.Session.Caps = []PriceCap{{Model: "llama", Price: ionet.MustAmount(3), Per: 2}}
	}},
	{"a cap near the end of numbers", FeeHolds, func(c *feeCase) {
		c.terms.Session.Caps = []PriceCap{{Model: "llama", Price: ionet.MustAmount(math.MaxInt64), Per: math.MaxUint64 / 4}}
	}},
	{"a batch", FeeHolds, func(c *feeCase) { c.asBatch() }},
	{"a batch of a session with other caps", FeeHolds, func(c *feeCase) {
		c.terms.Session.Caps = []PriceCap{{Model: "other", Per: 1}}
		c.asBatch()
	}},

	{"a channel that nobody opened", UnknownChannel, func(c *feeCase) { c.terms = FeeTerms{} }},
	{"another channel", UnknownChannel, func(c *feeCase) { c.job.Channel[0] ^= 1 }},
	{"no channel", UnknownChannel, func(c *feeCase) { c.terms, c.job.Channel = FeeTerms{}, ionet.Key{} }},
	{"a batch of another channel", UnknownChannel, func(c *feeCase) { c.asBatch().Channel[0] ^= 1 }},
	{"another worker's channel", OtherWorker, func(c *feeCase) { c.worker = public("thief") }},
	{"a batch of another worker's channel", OtherWorker, func(c *feeCase) { c.asBatch(); c.worker = public("thief") }},
	{"no such offer", ModelNotOffered, func(c *feeCase) { c.offer = nil }},
	{"another model", ModelNotOffered, func(c *feeCase) { c.job.Model = "llama2" }},
	{"another unit", ModelNotOffered, func(c *feeCase) { c.job.Unit = UnitRequest }},
	{"another price", ModelNotOffered, func(c *feeCase) { c.offer.Models[1].Price = ionet.MustAmount(1_499) }},
	{"another per", ModelNotOffered, func(c *feeCase) { c.offer.Models[1].Per = 1001 }},
	{"an expired offer", ModelNotOffered, func(c *feeCase) { c.offer.Expires = c.job.Served }},
	{"a batch of no offer", ModelNotOffered, func(c *feeCase) { c.asBatch(); c.offer = nil }},
	{"a batch of an expired offer", ModelNotOffered, func(c *feeCase) { c.asBatch(); c.offer.Expires = c.job.Served }},
	{"a price above the cap", PriceAboveCap, func(c *feeCase) { c.terms.Session.Caps[1].Price = ionet.MustAmount(1_499) }},
	{"a price above the cap of other units", PriceAboveCap, func(c *feeCase) {
		c.terms.Session.Caps[1] = PriceCap{Model: "llama", Price: ionet.MustAmount(3), Per: 3}
	}},
	{"a model without a cap", PriceAboveCap, func(c *feeCase) { c.terms.Session.Caps = c.terms.Session.Caps[:1] }},
	{"a cap whose product has 128 bits", PriceAboveCap, func(c *feeCase) {
		c.terms.Session.Caps[1] = PriceCap{Model: "llama", Price: ionet.MustAmount(1), Per: math.MaxUint64}
	}},
	{"a fee above units times price", WrongFee, func(c *feeCase) { c.job.Fee, c.job.After = ionet.MustAmount(1_852), ionet.MustAmount(1_862) }},
	{"a fee rounded down", WrongFee, func(c *feeCase) {
		c.job.Units, c.job.Fee, c.job.After = 1, ionet.MustAmount(1), ionet.MustAmount(11)
	}},
	{"a sum that is not one", WrongFee, func(c *feeCase) { c.job.After = ionet.MustAmount(1_862) }},
	{"a sum that is not one, of a batch", WrongFee, func(c *feeCase) { c.asBatch().After = ionet.MustAmount(1_860) }},
	{"a fee beyond all numbers", WrongFee, func(c *feeCase) { c.job.Units = math.MaxUint64 }},
	{"a sum beyond all numbers", WrongFee, func(c *feeCase) { c.job.Before = ionet.MustAmount(math.MaxInt64) }},
	{"a voucher that does not cover", VoucherFails, func(c *feeCase) { c.job.Cumulative = ionet.MustAmount(1_860) }},
	{"a voucher that does not cover a batch", VoucherFails, func(c *feeCase) { c.asBatch().Cumulative = ionet.MustAmount(1_860) }},
	{"beyond the limit", AboveLimit, func(c *feeCase) { c.terms.Channel.Limit = ionet.MustAmount(1_860) }},
	{"a batch beyond the limit", AboveLimit, func(c *feeCase) { c.asBatch(); c.terms.Channel.Limit = ionet.MustAmount(1_860) }},
	{"served before the session", Expired, func(c *feeCase) { c.job.Served = feeTime - 1 }},
	{"served when the session had expired", Expired, func(c *feeCase) { c.terms.Session.Expires = c.job.Served }},
	{"served when the channel had expired", Expired, func(c *feeCase) { c.terms.Channel.Expires = c.job.Served }},
	{"served in the future", Expired, func(c *feeCase) { c.accepted = feeTime + 39 }},
	{"a batch when the channel had expired", Expired, func(c *feeCase) { c.asBatch(); c.terms.Channel.Expires = c.job.Served }},
	{"served a minute after the close", FeeHolds, func(c *feeCase) { c.terms.Closing = c.job.Served - 60 }},
	{"served later than a minute after the close", Closed, func(c *feeCase) { c.terms.Closing = c.job.Served - 61 }},
	{"a channel that is over", Closed, func(c *feeCase) { c.terms.Over = true }},
	{"a batch after the close", Closed, func(c *feeCase) { c.asBatch(); c.terms.Closing = c.job.Served - 61 }},
	{"no request hash", NoResponseHash, func(c *feeCase) { c.job.Request = ionet.Hash{} }},
	{"no response hash", NoResponseHash, func(c *feeCase) { c.job.Response = ionet.Hash{} }},
	{"no units", NoFee, func(c *feeCase) { c.spend(10, 0) }},
	{"a batch without a fee", NoFee, func(c *feeCase) {
		b := c.asBatch()
		b.Fee, b.After = ionet.Amount{}, b.Before
	}},
	{"what was spent already", Overlap, func(c *feeCase) { c.terms.Spent = ionet.MustAmount(11) }},
	{"a batch of what was spent already", Overlap, func(c *feeCase) { c.asBatch(); c.terms.Spent = c.job.After }},
	{"a name that is none", noRule, func(c *feeCase) { c.job.Model = "a model" }},
	{"a batch of nothing", noRule, func(c *feeCase) { c.asBatch().Count = 0 }},
}

func TestFeeRules(t *testing.T) {
	seen := map[FeeRule]bool{UnknownWorker: true, Replay: true} // said of what a Bill does not know
	for _, fc := range feeCases {
		seen[fc.rule] = true
		t.Run(fc.name, func(t *testing.T) {
			c := newFeeCase()
			fc.build(c)
			if got := c.judge(); got != fc.rule {
				t.Errorf("got %s, want %s", got.Name(), fc.rule.Name())
			}
			if want := slowFeeRule(c); want != fc.rule {
				t.Errorf("the slow judge says %s, want %s", want.Name(), fc.rule.Name())
			}
		})
	}
	for _, r := range FeeRules() {
		if !seen[r] {
			t.Errorf("no case of rule %s", r.Name())
		}
	}
}

// The jobs inside a batch are the renter's to check, by the same words.
func TestFeeRulesInsideBatch(t *testing.T) {
	for _, fc := range feeCases {
		switch fc.rule {
		case FeeHolds, ModelNotOffered, PriceAboveCap, NoResponseHash, NoFee:
		default:
			continue
		}
		c := newFeeCase()
		fc.build(c)
		if c.batch != nil {
			continue
		}
		if got := c.terms.CheckInBatch(c.job, c.offer); got != fc.rule {
			t.Errorf("%s: got %s, want %s", fc.name, got.Name(), fc.rule.Name())
		}
	}
}

func TestSessionAllows(t *testing.T) {
	s := newFeeCase().terms.Session
	for _, c := range []struct {
		model string
		price uint64
		per   uint32
		want  bool
	}{{"llama", 1_500, 1000, true}, {"llama", 1_501, 1000, false}, {"llama", 2, 1, false}, {"llama", 1, 1, true}, {"other", 0, 1, false}} {
		if got := s.Allows(c.model, ionet.MustAmount(c.price), c.per); got != c.want {
			t.Errorf("%s at %d per %d: got %v, want %v", c.model, c.price, c.per, got, c.want)
		}
	}
}

// FORMAT.md's table of rules is the code's, word for word.
func TestFormatHasFeeRules(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range FeeRules() {
		row := fmt.Sprintf("| %d | %s | %s | %s | %s |\n", r, r.Name(), r.Applies(), r.Evidence(), r.Text())
		if !strings.Contains(string(format), row) {
			t.Errorf("FORMAT.md has no row\n%s", row)
		}
		names[r.Name()] = true
	}
	if len(names) != 15 {
		t.Errorf("%d names for 15 rules", len(names))
	}
	for _, r := range []FeeRule{15, math.MaxUint16} {
		if r.Known() || r.Name() != "unknown" || r.Applies() != "unknown" || r.Evidence() != "unknown" || r.Text() == "" {
			t.Errorf("rule %d is known: %s", r, r.Name())
		}
	}
}
