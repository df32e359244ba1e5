package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// A dollar and a half for a multiplier of 1 over all samples of an epoch.
const testTarget = 1_500_000

// targetPolicy is testPolicy with a draw by target; a price stands in for two
// later epochs.
var targetPolicy = strings.Replace(testPolicy, `draw = "schedule"`, `draw = "target"`, 1) + targetOf("oracle")

func targetOf(observer string) string {
	return fmt.Sprintf("[target]\nkey = %q\nmicro_usd = %d\nmax_age_epochs = 2\n", chain.PublicOf(keyOf(observer)), testTarget)
}

// price signs an observation of epoch k, made in its first second.
func (b *books) price(k, microUSD uint64) proofs.Envelope {
	return b.priceBy("oracle", k, microUSD)
}

func (b *books) priceBy(observer string, k, microUSD uint64) proofs.Envelope {
	return b.observe(observer, proofs.Price{Epoch: k, Observed: b.clock.EpochStart(k), MicroUSD: microUSD})
}

// observe signs an observation that may be wrong in anything.
func (b *books) observe(observer string, p proofs.Price) proofs.Envelope {
	body := binary.LittleEndian.AppendUint64(nil, p.Epoch)
	body = binary.LittleEndian.AppendUint64(body, uint64(p.Observed))
	body = binary.LittleEndian.AppendUint64(body, p.MicroUSD)
	return proofs.Sign(b.net.Network.ID(), proofs.KindPrice, keyOf(observer), body)
}

// needed is what a pool's weight needs at a price, recomputed by hand:
// floor(W * target * 10^decimals / (1000 * samples * price)).
func needed(weight, microUSD uint64) *big.Int {
	n := new(big.Int).Mul(new(big.Int).SetUint64(weight), big.NewInt(testTarget*100_000_000))
	return n.Quo(n, new(big.Int).Mul(big.NewInt(1000*testSamples), new(big.Int).SetUint64(microUSD)))
}

// checkDraw closes epoch k of a host with one device in each pool. The price is
// that of epoch of, 0 for none.
func (b *books) checkDraw(h *host, k, of, microUSD uint64) *Closing {
	b.t.Helper()
	c := b.closeDue(k)
	m, book := b.memo(c), b.book(c)
	emission, err := b.intake.schedule.Emission(k)
	if err != nil {
		b.t.Fatal(err)
	}
	pools, err := emissions.PoolShares(emission, b.net.Policy.Pools) // community, enterprise
	if err != nil {
		b.t.Fatal(err)
	}
	sum := new(big.Int)
	for i, device := range []string{"gpu 1", "gpu 0"} {
		v := verdictOf(b.t, book.Verdicts, h, device)
		want, share := new(big.Int), new(big.Int).SetUint64(pools[i].Base())
		if of > 0 {
			want = needed([]uint64{1250 * testSamples, 10_000 * testSamples}[i], microUSD)
		}
		if want.Cmp(share) > 0 {
			want = share
		}
		if v.Rule != proofs.Accepted || v.Amount.String() != want.String() {
			b.t.Errorf("epoch %d: %s gets %s by rule %d, want %s", k, device, v.Amount, v.Rule, want)
		}
		sum.Add(sum, want)
	}
	if m.Sum.String() != sum.String() || len(c.Movements) != min(1, int(m.Sum.Base())) {
		b.t.Errorf("epoch %d mints %s with %d movements, want %s", k, m.Sum, len(c.Movements), sum)
	}
	b.checkPriced(book, of, microUSD)
	if j := b.judged(book); j.Sum != m.Sum || cmp.Diff(j.Verdicts, book.Verdicts, cmp.AllowUnexported(ionet.Amount{})) != "" {
		b.t.Errorf("epoch %d: judging the book again gives %s, not %s", k, j.Sum, m.Sum)
	}
	e, err := b.Epoch(b.t.Context(), k)
	if err != nil {
		b.t.Fatal(err)
	}
	unissued, err := emission.Sub(m.Sum)
	if err != nil || e.Draw != emissions.DrawTarget || e.PriceEpoch != of || of > 0 && e.MicroUSD != microUSD || e.Unissued != unissued {
		b.t.Errorf("epoch %d draws by %s at the price %d of epoch %d, %s unissued; want %d of epoch %d, %s: %v", k, e.Draw, e.MicroUSD, e.PriceEpoch, e.Unissued, microUSD, of, unissued, err)
	}
	return c
}

// checkPriced: the inputs hold the price of one epoch and no other.
func (b *books) checkPriced(book *proofs.Book, of, microUSD uint64) {
	b.t.Helper()
	var ids []ionet.Hash
	for _, s := range book.Inputs.Statements {
		if s.Envelope.Kind == proofs.KindPrice {
			ids = append(ids, s.Envelope.ID())
		}
	}
	var want []ionet.Hash
	if of > 0 {
		e := b.price(of, microUSD)
		want = append(want, e.ID())
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		b.t.Errorf("prices in the inputs of epoch %d: %s", book.Inputs.Epoch, diff)
	}
}

// Epochs below and above the schedule's ceiling; one without a price draws by the
// last, until that is out of reach: then all of it is unissued, and visible.
func TestDrawByTarget(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	const cheap, dear = 1, 73_100
	above, err := b.intake.schedule.Emission(2)
	if err != nil {
		t.Fatal(err)
	}
	if needed(10_000*testSamples, cheap).Cmp(new(big.Int).SetUint64(above.Base())) <= 0 {
		t.Fatal("the low price does not reach the ceiling")
	}
	type played struct {
		epoch, observed, of, microUSD uint64
		late                          bool // handed in within the grace, after the next epoch's
	}
	epochs := []played{
		{1, dear, 1, dear, false},
		{2, cheap, 2, cheap, true},
		{3, 0, 2, cheap, false},
		{4, 0, 2, cheap, false}, // two epochs old: the last in reach
		{5, 0, 0, 0, false},
		{6, 999_999_937, 6, 999_999_937, false}, // a prime: the floor is used
		{7, 0, 6, 999_999_937, false},
		{8, dear, 8, dear, true},
		{9, 2 * dear, 9, 2 * dear, false},
	}
	for i, c := range epochs {
		b.goTo(b.clock.EpochStart(c.epoch))
		if c.observed > 0 && !c.late && (i == 0 || !epochs[i-1].late) {
			b.accept(b.price(c.epoch, c.observed))
		}
		b.play(c.epoch, h)
		if c.late {
			b.goTo(b.clock.EpochEnd(c.epoch) + 1)
			if next := epochs[i+1]; next.observed > 0 {
				b.accept(b.price(next.epoch, next.observed))
			}
			b.accept(b.price(c.epoch, c.observed))
		}
		b.sealNow(b.checkDraw(h, c.epoch, c.of, c.microUSD))
	}
	if t.Failed() {
		return
	}
	var total ionet.Amount
	list, err := b.Epochs(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if total, err = total.Add(e.Sum); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := b.Provider(t.Context(), h.payout); err != nil || p.Earned != total || len(list) != len(epochs) {
		t.Errorf("%d epochs minted %s, the provider earned %s: %v", len(list), total, p.Earned, err)
	}
}

// An epoch that draws by schedule asks for no price, and its books have none.
func TestDrawByScheduleTakesNoPrice(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	p := b.refuse(ProblemNoPriceAsked, plain(b.price(1, 5))[0])
	if p.Field != "body.epoch" || !strings.Contains(p.Detail, "schedule") {
		t.Errorf("problem is %+v", p)
	}
	b.play(1, h)
	c := b.closeDue(1)
	b.checkPriced(b.book(c), 0, 0)
	e, err := b.Epoch(t.Context(), 1)
	if err != nil || e.Draw != emissions.DrawSchedule || e.PriceEpoch != 0 || e.MicroUSD != 0 {
		t.Errorf("epoch is %+v: %v", e, err)
	}
	if _, err := b.Price(t.Context(), 1); !isProblem(err, ProblemUnknownPrice) {
		t.Errorf("price of epoch 1: %v", err)
	}
}

func TestPriceRefusals(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	b.toClose(1)
	b.lead()
	if err := b.freeze(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b.toSample(3, 0)
	start, end := b.clock.EpochStart(3), b.clock.EpochEnd(3)
	good := proofs.Price{Epoch: 3, Observed: start + 5, MicroUSD: 73_100}
	with := func(change func(*proofs.Price)) proofs.Envelope {
		p := good
		change(&p)
		return b.observe("oracle", p)
	}
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	foreign := proofs.Sign(b.net.Network.ID(), proofs.KindPrice, keyOf("thief"), body)
	service := proofs.Sign(b.net.Network.ID(), proofs.KindPrice, b.net.Keys.Service, body)
	forged := b.observe("oracle", good)
	forged.Signature[3] ^= 1
	elsewhere := proofs.Sign(ionet.Hash{1}, proofs.KindPrice, keyOf("oracle"), body)
	long := b.observe("oracle", good)
	long = proofs.Sign(b.net.Network.ID(), proofs.KindPrice, keyOf("oracle"), append(long.Body, 0))
	for _, c := range []struct {
		name string
		e    proofs.Envelope
		kind string
		want string // in the detail
		in   string // the field
	}{
		{"foreign key", foreign, ProblemForeignPrice, chain.PublicOf(keyOf("oracle")).String(), "signer"},
		{"the service's key", service, ProblemForeignPrice, "observed by", "signer"},
		{"forged", forged, ProblemWrongSignature, "signature", "signature"},
		{"another network's", elsewhere, ProblemWrongSignature, "network", "signature"},
		{"trailing byte", long, ProblemMalformedStatement, "price", "body"},
		{"no price", with(func(p *proofs.Price) { p.MicroUSD = 0 }), ProblemMalformedStatement, "micro_usd is 0", "body"},
		{"too high a price", with(func(p *proofs.Price) { p.MicroUSD = math.MaxInt64 + 1 }), ProblemMalformedStatement, "not in 1..9223372036854775807", "body"},
		{"before the epoch", with(func(p *proofs.Price) { p.Observed = start - 1 }), ProblemMalformedStatement, "observed is", "body.observed"},
		{"after the epoch", with(func(p *proofs.Price) { p.Observed = end }), ProblemMalformedStatement, "ends before", "body.observed"},
		{"to come", with(func(p *proofs.Price) { p.Observed = b.now().Unix() + testSample + 1 }), ProblemFutureSample, "it is", "body.observed"},
		{"epoch 0", with(func(p *proofs.Price) { p.Epoch = 0 }), ProblemMalformedStatement, "epoch is 0", "body"},
		{"after the last epoch", with(func(p *proofs.Price) { p.Epoch = 1001 }), ProblemMalformedStatement, "1..1000", "body.epoch"},
		{"epoch to come", with(func(p *proofs.Price) { p.Epoch, p.Observed = 4, end }), ProblemFutureSample, "epoch 4 has not begun", "body.epoch"},
		{"frozen epoch", b.price(1, 5), ProblemEpochClosed, "the next is 2", "body.epoch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := b.refuse(c.kind, Submitted{Envelope: c.e})
			if p.Field != c.in || !strings.Contains(p.Detail, c.want) {
				t.Errorf("problem of field %q says %q, want %q in field %q", p.Field, p.Detail, c.want, c.in)
			}
		})
	}
	if n := b.count(`SELECT count(*) FROM prices`); n != 0 {
		t.Errorf("%d refused prices are stored", n)
	}
	// An ack does not open a frozen epoch.
	late := b.price(1, 5)
	ack := b.ack(late, proofs.Arrival{Epoch: 1})
	b.refuse(ProblemEpochClosed, Submitted{Envelope: late, Ack: &ack})
	// An epoch that has ended and is not frozen is still open.
	b.accept(b.observe("oracle", proofs.Price{Epoch: 3, Observed: b.now().Unix() + testSample, MicroUSD: 5}), b.price(2, 5))
}

func isProblem(err error, kind string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Type == kind
}

// Of two observations of an epoch the first stands, and the refusal names it.
func TestOnePriceAnEpoch(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	first, second := b.price(1, 73_100), b.price(1, 80_000)
	accepted := b.accept(first)[0]
	check := func(p *Problem) {
		t.Helper()
		id := first.ID()
		if p == nil || p.Type != ProblemOnePriceAnEpoch || p.Status != 409 || p.Field != "body.epoch" || !strings.Contains(p.Detail, id.String()) || !strings.Contains(p.Detail, "0.073100") {
			t.Errorf("problem is %+v, want one that names %s", p, id)
		}
	}
	check(b.refuse(ProblemOnePriceAnEpoch, Submitted{Envelope: second}))
	again := b.submit(plain(first, second)...)
	if again[0].Status != Duplicate || b.checkAck(first, again[0]) != b.checkAck(first, accepted) {
		t.Errorf("the first again is %s with ack %x, want the arrival of %x", again[0].Status, again[0].Ack.Body, accepted.Ack.Body)
	}
	check(again[1].Problem)
	p, err := b.Price(t.Context(), 1)
	if err != nil || p.ID != first.ID() || p.MicroUSD != 73_100 || p.Observed.Unix() != b.clock.EpochStart(1) || cmp.Diff(p.Ack, accepted.Ack) != "" {
		t.Errorf("price is %+v: %v", p, err)
	}
	// Both in one request.
	b.goTo(b.clock.EpochStart(2))
	results := b.submit(plain(b.price(2, 1), b.price(2, 2), b.price(2, 1))...)
	if results[0].Status != Accepted || results[1].Problem == nil || results[1].Problem.Type != ProblemOnePriceAnEpoch || results[2].Problem != nil || results[2].ID != results[0].ID {
		t.Errorf("results are %+v", results)
	}
	if _, err := b.Price(t.Context(), 3); !isProblem(err, ProblemUnknownPrice) {
		t.Errorf("price of an epoch to come: %v", err)
	}
}

// A freeze between judging a price and storing it keeps the price out.
func TestPriceMeetsFreeze(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	items := b.Service.open(plain(b.price(1, 73_100)))
	known, err := b.lookUp(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	if p := b.judge(items[0], known); p != nil {
		t.Fatal(p)
	}
	b.toClose(1)
	b.lead()
	if err := b.freeze(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.store(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	if p := items[0].problem; p == nil || p.Type != ProblemEpochClosed {
		t.Errorf("problem is %v", p)
	}
	if n := b.count(`SELECT (SELECT count(*) FROM prices) + (SELECT count(*) FROM statements)`); n != 0 {
		t.Errorf("%d rows of a price that came too late", n)
	}
}

// Any number of observations of one epoch at once: one stands, all others are
// told which.
func TestPricesAtOnce(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	const requests = 12
	results := make([]Result, requests)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r, err := b.Submit(t.Context(), plain(b.price(1, uint64(1+i))))
			if err != nil {
				t.Error(err)
				return
			}
			results[i] = r[0]
		})
	}
	wg.Wait()
	stands, err := b.Price(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, r := range results {
		switch {
		case r.Status == Accepted && r.ID == stands.ID:
			accepted++
		case r.Problem == nil || r.Problem.Type != ProblemOnePriceAnEpoch || !strings.Contains(r.Problem.Detail, stands.ID.String()):
			t.Errorf("%s is %s: %v, while %s stands", r.ID, r.Status, r.Problem, stands.ID)
		}
	}
	if n := b.count(`SELECT count(*) FROM statements WHERE kind = $1`, int16(proofs.KindPrice)); accepted != 1 || n != 1 {
		t.Errorf("%d accepted, %d stored, want one", accepted, n)
	}
}

// importing is what sealAs does with a closing that another database made.
func (b *books) importing(c *Closing) func(context.Context, pgx.Tx, chain.Content) error {
	return func(ctx context.Context, tx pgx.Tx, content chain.Content) error {
		return b.importEpoch(ctx, tx, b.memo(c), content)
	}
}

// A database that knows nothing of an epoch has the price that its book was judged
// by after the import, even where it took another one meanwhile.
func TestImportPrice(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	empty := b.copyDatabase()
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.accept(b.price(1, 73_100))
	other := b.on(empty)
	b.play(1, h)
	first := b.checkDraw(h, 1, 1, 73_100)
	b.sealNow(first)
	other.accept(other.price(1, 80_000))
	for range 2 {
		other.sealAs(first, other.importing(first))
	}
	for _, sql := range []string{`SELECT p::text FROM prices p`, `SELECT draw || price_epoch || ' ' || price_micro_usd FROM epochs`} {
		var want, got string
		if err := b.pool.QueryRow(t.Context(), sql).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if err := other.pool.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %s, want %s: %v", sql, got, want, err)
		}
	}
	// The next epoch has no price of its own: it draws by the imported one.
	b.play(2, h)
	second := b.checkDraw(h, 2, 1, 73_100)
	b.sealNow(second)
	other.accept(other.price(2, 80_000))
	other.sealAs(second, other.importing(second)) // the price stands in both books
	if _, err := other.Price(t.Context(), 2); !isProblem(err, ProblemUnknownPrice) {
		t.Errorf("the price that the book of epoch 2 left out: %v", err)
	}
	other.play(3, h)
	other.sealNow(other.checkDraw(h, 3, 1, 73_100))
}

// A request that brings a price dies at its commit, before or after: sent again, the
// price is there once, with one ack.
func TestPriceDiesAtItsCommit(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	b.toSample(1, 1)
	e := b.price(1, 73_100)
	fresh := b.copyDatabase()
	for _, f := range []fault{lost, unheard} {
		steps := 0
		for n := 1; ; n++ {
			w := &wires{}
			url := pgtest.Copy(t, fresh)
			dying := b.onWires(w, url)
			w.arm(n, f, true)
			_, err := dying.Submit(t.Context(), plain(e))
			step := w.disarm()
			if step == "" {
				if err != nil {
					t.Fatalf("no step failed: %v", err)
				}
				break
			}
			steps++
			if err == nil {
				t.Errorf("step %d, %s, was %s without an error", n, step, f)
			}
			next := b.on(url)
			if r := next.submit(plain(e)[0])[0]; r.Problem != nil || next.checkAck(e, r) != (proofs.Arrival{Epoch: 1, Sample: 1}) || (r.Status == Duplicate) != (f == unheard) {
				t.Errorf("after step %d, %s, %s: sent again it is %s: %v", n, step, f, r.Status, r.Problem)
			}
			next.refuse(ProblemOnePriceAnEpoch, Submitted{Envelope: b.price(1, 80_000)})
			if n := next.count(`SELECT (SELECT count(*) FROM prices) + (SELECT count(*) FROM statements)`); n != 2 {
				t.Errorf("%d rows of one price", n)
			}
		}
		if steps != 1 {
			t.Errorf("%d steps were %s, want the commit alone", steps, f)
		}
	}
}
