package audit

import (
	"crypto/ed25519"
	"math/big"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// targetPolicy draws by a target of 2 dollars for a multiplier of 1; age is how
// many epochs an observation by oracle lasts.
func targetPolicy(version, first int, oracle ed25519.PrivateKey, age string) []byte {
	table := "[target]\nkey = \"" + chain.PublicOf(oracle).String() + "\"\nmicro_usd = 2000000\nmax_age_epochs = " + age + "\n[samples]"
	return policyOf(version, first, `draw = "schedule"`, `draw = "target"`, "[samples]", table)
}

// wanted is what n devices of multiplier 10 with all 5 samples want at that price
// for 2 dollars each multiplier of 1: 20 dollars a device, in base units.
func wanted(n, microUSD int64) uint64 {
	dollars := new(big.Rat).SetInt64(20 * n)
	price := big.NewRat(microUSD, 1_000_000)
	units := dollars.Quo(dollars, price).Mul(dollars, big.NewRat(100_000_000, 1))
	return new(big.Int).Quo(units.Num(), units.Denom()).Uint64()
}

// price is an observation of epoch k that arrived while it lasted.
func (o *operator) price(oracle ed25519.PrivateKey, k, microUSD uint64) proofs.Statement {
	o.t.Helper()
	body, err := proofs.Price{Epoch: k, Observed: o.n.Clock().EpochStart(k) + 3, MicroUSD: microUSD}.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	s := o.sign(proofs.KindPrice, oracle, body)
	s.Arrival = proofs.Arrival{Epoch: k, Sample: 2}
	return s
}

// Prices below and above the ceiling, one that lasts for later epochs, none, one
// that arrives within the grace, and a policy that names another key.
func TestTarget(t *testing.T) {
	oracle, other := testKey("oracle"), testKey("other oracle")
	o := foundUnder(t, "target", targetPolicy(1, 1, oracle, "2"))
	second := targetPolicy(2, 7, other, "24")
	first := o.price(oracle, 1, 130_007)
	o.epoch(crook{inputs: with(first)})
	o.epoch(crook{inputs: with(first)})
	o.epoch(crook{inputs: with(first, o.announcement(second))})
	o.epoch(crook{})                                    // out of reach
	o.epoch(crook{inputs: with(o.price(oracle, 5, 1))}) // far above the ceiling
	inGrace := o.price(oracle, 6, 99_999)
	inGrace.Arrival = proofs.Arrival{Epoch: 7}
	o.epoch(crook{inputs: with(inGrace)})
	o.policy = second
	o.epoch(crook{}) // the other key has not spoken yet
	o.epoch(crook{inputs: with(o.price(other, 8, 3_000_000))})
	o.policy = policyOf(3, 10)
	back := o.announcement(o.policy)
	o.policy = second
	o.epoch(crook{inputs: with(back, o.price(other, 8, 3_000_000))})
	r := o.audit()
	if got, want := r.Summary(), "9 epochs, 27 verdicts, 0 payouts: all hold"; got != want {
		show(t, r)
		t.Fatalf("got %q, want %q", got, want)
	}
	want := 3*wanted(3, 130_007) + o.emitted(5).Base() + wanted(3, 99_999) + 2*wanted(3, 3_000_000)
	if got := r.Minted.Base(); got != want {
		t.Errorf("minted %d, want %d", got, want)
	}
	if got, want := r.Unissued.Base(), o.emitted(1, 2, 3, 4, 5, 6, 7, 8, 9).Base()-want; got != want {
		t.Errorf("unissued %d, want %d", got, want)
	}
}

// Each epoch draws wrongly in its own way.
func TestCrookedPrices(t *testing.T) {
	oracle, other := testKey("oracle"), testKey("other oracle")
	o := foundUnder(t, "crooked-prices", targetPolicy(1, 1, oracle, "24"))
	price := func(k uint64) proofs.Statement { return o.price(oracle, k, 100_000+k) }
	foreign, early, outside, broken := o.price(other, 7, 90_000), price(11), price(12), price(13)
	early.Arrival = proofs.Arrival{Epoch: 10, Sample: 2}
	outside.Envelope = o.outside(oracle, 12)
	broken.Envelope.Signature[5] ^= 4
	one := func(s proofs.Statement) func(*proofs.Inputs) {
		return func(in *proofs.Inputs) { // instead of the one that is there
			in.Statements = slices.DeleteFunc(in.Statements, func(s proofs.Statement) bool { return s.Envelope.Kind == proofs.KindPrice })
			o.after(s)(in)
		}
	}
	more := func(v []proofs.Verdict) { v[1].Amount = ionet.MustAmount(v[1].Amount.Base() + 1) }
	whole := func(v []proofs.Verdict) {
		v[2].Amount = ionet.MustAmount(o.emitted(10).Base() - v[0].Amount.Base() - v[1].Amount.Base())
	}
	var want []expected
	for i, c := range []struct {
		name  string
		crook crook
		rules []string
	}{
		{"honest", crook{inputs: with(price(1))}, nil},
		{"the former price is left out", crook{}, []string{"price"}},
		{"honest, with a price of its own", crook{inputs: with(price(3))}, nil},
		{"an older price than the former book's", crook{inputs: with(price(1))}, []string{"price"}},
		{"another observation of an epoch that has one", crook{inputs: with(o.price(oracle, 3, 200_000))}, []string{"price"}},
		{"an observation that its epoch's book has not", crook{inputs: with(price(5))}, []string{"price"}},
		{"a price by another key", crook{inputs: with(price(7)), hidden: one(foreign)}, []string{"judge", "price"}},
		{"two prices", crook{inputs: with(price(8)), hidden: o.after(price(5))}, []string{"judge"}},
		{"a base unit more than the draw", crook{inputs: with(price(9)), verdicts: more}, []string{"split"}},
		{"all that the schedule allows", crook{inputs: with(price(10)), verdicts: whole}, []string{"split"}},
		{"a price that arrived before its epoch", crook{inputs: with(early)}, []string{"price", "statement"}},
		{"a price observed in another epoch", crook{inputs: with(price(12)), hidden: one(outside)}, []string{"judge", "price"}},
		{"a price with a bad signature", crook{inputs: with(broken)}, []string{"price", "signature"}},
		{"honest again, with a former price", crook{inputs: with(price(10))}, nil},
		{"taken out after judging", crook{inputs: with(price(15)), hidden: func(in *proofs.Inputs) {
			in.Statements = in.Statements[:len(in.Statements)-1]
		}}, []string{"price", "split"}},
	} {
		o.epoch(c.crook)
		for _, rule := range c.rules {
			want = append(want, expected{uint64(i + 1), rule})
		}
		t.Logf("epoch %d: %s", i+1, c.name)
	}
	r := o.audit()
	if len(r.Unchecked) != 0 {
		t.Errorf("%d unchecked, want 0", len(r.Unchecked))
	}
	checkFound(t, r, want)
}

// outside is an observation of epoch k made at the end of it, a second too late.
func (o *operator) outside(oracle ed25519.PrivateKey, k uint64) proofs.Envelope {
	o.t.Helper()
	body, err := proofs.Price{Epoch: k, Observed: o.n.Clock().EpochEnd(k), MicroUSD: 100_000}.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	return proofs.Sign(o.n.ID(), proofs.KindPrice, oracle, body)
}

// Under draw schedule a price has no business in the inputs. A lost book leaves
// open whether it had the price that a later one uses.
func TestPricesWithoutUse(t *testing.T) {
	oracle := testKey("oracle")
	o := found(t, "no-target")
	target := targetPolicy(2, 3, oracle, "24")
	o.epoch(crook{inputs: with(o.announcement(target))})
	o.epoch(crook{hidden: o.after(o.price(oracle, 2, 100_000))})
	o.policy = target
	o.epoch(crook{inputs: with(o.price(oracle, 2, 100_000))}) // it was no observation: the policy of epoch 2 asked for none
	third := o.price(oracle, 4, 100_000)
	o.epoch(crook{inputs: with(third), file: func([]byte) []byte { return nil }})
	o.epoch(crook{inputs: with(third)})
	o.epoch(crook{inputs: with(third)})
	o.epoch(crook{}) // the lost book does not explain this
	r := o.audit()
	checkFound(t, r, []expected{{2, "judge"}, {3, "price"}, {7, "price"}})
	var unchecked []expected
	for _, f := range r.Unchecked {
		unchecked = append(unchecked, expected{f.Epoch, f.Rule})
	}
	if want := []expected{{4, "published"}, {5, "bindings"}, {5, "price"}}; !slices.Equal(unchecked, want) {
		show(t, r)
		t.Errorf("got unchecked %v, want %v", unchecked, want)
	}
}
