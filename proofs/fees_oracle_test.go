package proofs

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// slowFeeRule judges by FORMAT.md's table alone, row by row, in whole numbers.
func slowFeeRule(c *feeCase) FeeRule {
	n := func(a ionet.Amount) *big.Int { return new(big.Int).SetUint64(a.Base()) }
	more := func(a, b *big.Int) bool { return a.Cmp(b) > 0 }
	times := func(a *big.Int, b uint64) *big.Int { return new(big.Int).Mul(a, new(big.Int).SetUint64(b)) }
	b, j := c.bill(), c.job
	isJob := c.batch == nil
	if strings.Contains(j.Model, " ") || !isJob && c.batch.Count == 0 {
		return noRule
	}
	holds := map[FeeRule]bool{}
	holds[WrongFee] = n(b.After).Cmp(new(big.Int).Add(n(b.Before), n(b.Fee))) != 0
	if isJob {
		quotient, rest := new(big.Int).DivMod(times(n(j.Price), j.Units), big.NewInt(int64(j.Per)), new(big.Int))
		if rest.Sign() > 0 {
			quotient.Add(quotient, big.NewInt(1))
		}
		holds[WrongFee] = holds[WrongFee] || quotient.Cmp(n(j.Fee)) != 0
	}
	holds[VoucherFails] = more(n(b.After), n(b.Cumulative))
	// The two that are said when the statement is read come before all others.
	for _, r := range []FeeRule{WrongFee, VoucherFails} {
		if holds[r] {
			return r
		}
	}
	t := c.terms
	holds[UnknownChannel] = t.Channel.Channel == ionet.Key{} || t.Channel.Channel != b.Channel
	holds[OtherWorker] = t.Channel.Worker != c.worker
	holds[ModelNotOffered] = true
	if c.offer != nil && c.offer.Expires > b.Served {
		holds[ModelNotOffered] = isJob
		for _, m := range c.offer.Models {
			if isJob && m == (OfferModel{j.Model, j.Unit, j.Price, j.Per}) {
				holds[ModelNotOffered] = false
			}
		}
	}
	if isJob && len(t.Session.Caps) > 0 {
		holds[PriceAboveCap] = true
		for _, k := range t.Session.Caps {
			if k.Model == j.Model && !more(times(n(j.Price), k.Per), times(n(k.Price), uint64(j.Per))) {
				holds[PriceAboveCap] = false
			}
		}
	}
	holds[AboveLimit] = more(n(b.After), n(t.Channel.Limit))
	holds[Expired] = b.Served < t.Session.Issued || b.Served >= min(t.Session.Expires, t.Channel.Expires) || b.Served-60 > c.accepted
	holds[Closed] = t.Over || t.Closing > 0 && b.Served-t.Closing > 60
	holds[NoResponseHash] = isJob && (j.Request == ionet.Hash{} || j.Response == ionet.Hash{})
	holds[NoFee] = b.Fee.Base() == 0
	holds[Overlap] = more(n(t.Spent), n(b.Before))
	for _, r := range FeeRules() {
		if holds[r] {
			return r
		}
	}
	return FeeHolds
}

// Any job against any channel has the verdict of the slow judge.
func TestFeeRulesAgainstSlowJudge(t *testing.T) {
	count := map[FeeRule]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 30 {
			c := newFeeCase()
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				changeFeeCase(t, c)
			}
			got, want := c.judge(), slowFeeRule(c)
			if got != want {
				t.Fatalf("got %s, want %s\n%+v", got.Name(), want.Name(), c)
			}
			count[got]++
		}
	})
	if len(count) < 6 {
		t.Errorf("only %d verdicts were met: %v", len(count), count)
	}
}

// changeFeeCase changes one thing, mostly to something near the edge.
func changeFeeCase(t *rapid.T, c *feeCase) {
	pick := func(name string, at ...uint64) ionet.Amount {
		n := rapid.SampledFrom(at).Draw(t, name) + rapid.Uint64Range(0, 2).Draw(t, name+" more")
		return ionet.MustAmount(min(n, math.MaxInt64))
	}
	when := func(name string) int64 {
		return rapid.SampledFrom([]int64{0, feeTime, feeTime + 100, feeTime + 160, feeTime + 900}).Draw(t, name) + rapid.Int64Range(-1, 1).Draw(t, name+" more")
	}
	switch rapid.IntRange(0, 17).Draw(t, "change") {
	case 0:
		c.job.Channel[0] ^= 1
	case 1:
		c.worker[5]++
	case 2:
		c.offer = nil
	case 3:
		c.job.Unit = Unit(rapid.IntRange(0, 3).Draw(t, "unit"))
	case 4:
		c.job.Model = rapid.SampledFrom([]string{"llama", "flux", "other"}).Draw(t, "model")
	case 5:
		c.job.Price = pick("price", 0, 1_498, math.MaxInt64)
	case 6:
		c.job.Per = rapid.SampledFrom([]uint32{1, 999, 1000, 1001, math.MaxUint32}).Draw(t, "per")
	case 7:
		i := rapid.IntRange(0, 1).Draw(t, "which cap") % max(1, len(c.terms.Session.Caps))
		if len(c.terms.Session.Caps) > 0 {
			c.terms.Session.Caps[i].Price, c.terms.Session.Caps[i].Per = pick("cap", 0, 1_498, math.MaxInt64), rapid.SampledFrom([]uint64{1, 999, 1000, 1001, math.MaxUint64}).Draw(t, "cap per")
		}
	case 8:
		c.terms.Session.Caps = c.terms.Session.Caps[:rapid.IntRange(0, len(c.terms.Session.Caps)).Draw(t, "caps")]
	case 9:
		c.job.Before = pick("before", 0, 9, math.MaxInt64)
		c.job.After = ionet.MustAmount(min(math.MaxInt64, c.job.Before.Base()+c.job.Fee.Base()))
	case 10:
		c.job.Cumulative = pick("cumulative", 0, 1_859, math.MaxInt64)
	case 11:
		c.terms.Channel.Limit, c.terms.Spent = pick("limit", 0, 1_859, math.MaxInt64), pick("spent", 0, 9, 1_859)
	case 12:
		c.job.Served = when("served")
	case 13:
		c.terms.Session.Issued, c.terms.Session.Expires = when("issued"), when("expires")
	case 14:
		c.terms.Channel.Expires, c.offer = when("channel expires"), &Offer{Expires: when("offer expires"), Models: newFeeCase().offer.Models}
	case 15:
		c.terms.Closing, c.terms.Over = max(0, when("closing"))*int64(rapid.IntRange(0, 1).Draw(t, "asked")), rapid.IntRange(0, 3).Draw(t, "over") == 0
	case 16:
		c.job.Request, c.job.Fee = ionet.Hash{}, pick("fee", 0, 1_850)
	case 17:
		c.asBatch()
	}
}
