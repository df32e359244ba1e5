package settlement

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// mustBe fails unless err is a problem of that type.
func mustBe(t *testing.T, err error, kind string) {
	t.Helper()
	if !isProblem(err, kind) {
		t.Errorf("error is %v, want problem %s", err, kind)
	}
}

func TestOffersByModelAndPrice(t *testing.T) {
	b := newBooks(t)
	model := func(name string, unit proofs.Unit, price uint64, per uint32) proofs.OfferModel {
		return proofs.OfferModel{Name: name, Unit: unit, Price: ionet.MustAmount(price), Per: per}
	}
	hosts := map[string][]proofs.OfferModel{
		"a": {model("b-model", proofs.UnitToken, 1, 3), model("c-model", proofs.UnitToken, 5, 1)},
		"b": {model("B-model", proofs.UnitToken, 9, 1), model("b-model", proofs.UnitToken, 1<<62, 1<<32-1)},
		// As close as two prices can be, and further than a float tells apart.
		"c": {model("b-model", proofs.UnitToken, 1<<62-1, 1<<32-1), model("b-model", proofs.UnitImage, 1, 1)},
		"d": {model("b-model", proofs.UnitToken, 333_333_333_333_333_333, 1_000_000_000)},
		"e": {model("b-model", proofs.UnitToken, 2, 6)},
	}
	name, worker := map[ionet.Key]string{}, map[string]ionet.Key{}
	for n, models := range hosts {
		h := b.newHost(n, "gpu "+n)
		b.register(h)
		name[h.worker()], worker[n] = n, h.worker()
		b.accept(h.offer(1, model("old", proofs.UnitToken, 1, 1)))
		b.accept(h.offer(2, models...))
	}
	got := func(q OfferQuery) (list []string) {
		offers, err := b.Offers(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range offers {
			list = append(list, fmt.Sprintf("%s %s %s", o.Model, o.Unit, name[o.Worker]))
			e, _, err := proofs.ParseEnvelope(o.Envelope)
			if err != nil || e.ID() != o.Offer || e.Signer != o.Worker || o.Endpoint == "" || o.Capacity != 8 || o.Expires <= b.now().Unix() {
				t.Errorf("offer %+v does not fit its statement: %v", o, err)
			}
		}
		return list
	}
	// 1/3 twice: by worker.
	thirds := []string{"b-model token a", "b-model token e"}
	if a, e := worker["a"], worker["e"]; string(a[:]) > string(e[:]) {
		slices.Reverse(thirds)
	}
	want := slices.Concat([]string{"B-model token b"}, thirds, []string{"b-model token d", "b-model token c", "b-model token b", "b-model image c", "c-model token a"})
	if list := got(OfferQuery{}); !slices.Equal(list, want) {
		t.Errorf("offers are\n%q, want\n%q", list, want)
	}
	if list := got(OfferQuery{Model: "b-model", Limit: 2}); !slices.Equal(list, thirds) {
		t.Errorf("the two cheapest are %q, want %q", list, thirds)
	}
	if list := got(OfferQuery{Model: "none"}); len(list) != 0 {
		t.Errorf("offers of an unknown model are %q", list)
	}
	b.exec(`UPDATE offers SET expires = $1 WHERE ordinal = 2`, b.now().Unix())
	if list := got(OfferQuery{}); len(list) != 0 {
		t.Errorf("of workers whose newest offer is expired there are %q", list)
	}
}

// Where there are more offers than are asked for, those of workers that were accepted of
// late come first, however cheap the others are; a worker without a delegation in force is
// not listed.
func TestAcceptedWorkersAreListedFirst(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.seal(m.alice)
	cheap := testModel
	cheap.Price = amountBase(1)
	offer := func(sequence uint64) { m.accept(m.alice.offer(sequence), m.bob.offer(sequence, cheap)) }
	listed := func(limit int, want ...*host) {
		t.Helper()
		got, err := m.Offers(t.Context(), OfferQuery{Limit: limit})
		if err != nil || !slices.EqualFunc(got, want, func(o ListedOffer, h *host) bool { return o.Worker == h.worker() }) {
			t.Errorf("of %d offers there are %+v (%v), want %d", limit, got, err, len(want))
		}
	}
	offer(1)
	listed(1, m.alice)
	listed(2, m.bob, m.alice)

	m.toSample(k+acceptedEpochs+1, 0) // nobody was accepted since
	offer(2)
	listed(1, m.bob)

	m.accept(m.bob.revoke(m.bob.delegation.ID()))
	listed(2, m.bob, m.alice) // for what is left of this epoch
	m.toSample(m.current()+1, 0)
	m.accept(m.alice.offer(3))
	listed(2, m.alice)
}

func TestSessionsAndChannelsAreRead(t *testing.T) {
	b := newBooks(t)
	h, other := b.newHost("a", "gpu a"), b.newHost("b", "gpu b")
	b.register(h, other)
	s := b.newSpender("r", 1000, 600, proofs.PriceCap{Model: "llama", Price: ionet.MustAmount(2), Per: 1})
	first, second := s.openSeat(h, h.offer(1), 200), s.openSeat(other, other.offer(1), 100)
	b.accept(first.serve(20), first.serve(2))

	got, err := b.Session(t.Context(), s.session.ID())
	if err != nil {
		t.Fatal(err)
	}
	if got.Renter != s.renter() || got.Reserve.Base() != 600 || got.Free.Base() != 300 || got.Spent.Base() != 33 || got.State != "open" || got.Index != 0 || len(got.Caps) != 1 ||
		got.ClosingAt != 0 || got.ID != s.session.ID() || string(got.Envelope) != string(s.session.Append(nil)) {
		t.Errorf("session is %+v", got)
	}
	if len(got.Channels) != 2 || got.Channels[0].Channel != first.text.Channel || got.Channels[1].Channel != second.text.Channel {
		t.Fatalf("channels are %+v", got.Channels)
	}
	c, err := b.Channel(t.Context(), first.text.Channel)
	if err != nil {
		t.Fatal(err)
	}
	if c.Session != s.session.ID() || c.Worker != h.worker() || c.Renter != s.renter() || c.Key != s.text.Key || c.Payee != h.payout || c.Limit.Base() != 200 || c.Spent.Base() != 33 ||
		c.Jobs != 2 || c.Waiting != 0 || c.Expires != first.text.Expires || c.State != "open" || c.Index != 1 || c.Open != first.opened.ID() {
		t.Errorf("channel is %+v", c)
	}
	// One that is ahead waits, and is told.
	first.take(first.next(4))
	b.accept(first.serve(2))
	if c, err = b.Channel(t.Context(), first.text.Channel); err != nil || c.Waiting != 1 || c.Spent.Base() != 33 {
		t.Errorf("channel with a job ahead is %+v, %v", c, err)
	}
	for _, key := range []ionet.Key{s.renter(), s.text.Key} {
		list, err := b.SessionsOf(t.Context(), key)
		if err != nil || len(list) != 1 || list[0].ID != s.session.ID() || list[0].Spent.Base() != 33 || list[0].Free.Base() != 300 || list[0].Channels != nil {
			t.Errorf("sessions of %s are %+v, %v", key, list, err)
		}
		if ok, err := b.MayRead(t.Context(), s.renter(), key); err != nil || !ok {
			t.Errorf("%s may read what the renter owns: %v, %v", key, ok, err)
		}
	}
	if ok, err := b.MayRead(t.Context(), s.renter(), h.worker()); err != nil || ok {
		t.Errorf("the worker may read what the renter owns: %v, %v", ok, err)
	}
	if r, err := b.Renter(t.Context(), s.renter()); err != nil || r.Balance.Base() != 400 || r.Reserved.Base() != 600-33 {
		t.Errorf("renter is %+v, %v", r, err)
	}
	if list, err := b.SessionsOf(t.Context(), h.worker()); err != nil || len(list) != 0 {
		t.Errorf("sessions of a worker are %+v, %v", list, err)
	}
	_, err = b.Session(t.Context(), ionet.Hash{1})
	mustBe(t, err, ProblemUnknownSession)
	_, err = b.Channel(t.Context(), ionet.Key{1})
	mustBe(t, err, ProblemUnknownChannel)
}

func TestReceiptsAreFound(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu a")
	b.register(h)
	s := b.newSpender("r", 1000, 600)
	c := s.openSeat(h, h.offer(1), 300)
	job := c.serve(20)
	batch, jobs := c.serveBatch(3, 4)
	results := b.accept(job, batch)
	text, err := proofs.ParseJobBatch(batch.Body)
	if err != nil {
		t.Fatal(err)
	}
	id := c.jobID(0)
	for i, ask := range []struct {
		id   string
		want *proofs.Envelope
	}{
		{hex.EncodeToString(id[:]), &job}, {job.ID().String(), &job}, {hex.EncodeToString(text.ID[:]), &batch}, {batch.ID().String(), &batch},
		{s.session.ID().String(), &s.session}, {c.opened.ID().String(), &c.opened}, {c.offer.ID().String(), &c.offer},
	} {
		r, err := b.Receipt(t.Context(), ask.id)
		if err != nil {
			t.Errorf("%s %s: %v", ask.want.Kind, ask.id, err)
			continue
		}
		record, err := proofs.ParseRecord(r.Record)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := record.Statement()
		if !ok || e.ID() != ask.want.ID() || record.Index != r.Index {
			t.Errorf("%s is record %d of %s", ask.id, r.Index, e.ID())
		}
		b.checkAck(*ask.want, Result{Ack: r.Ack})
		if i == 0 && b.checkAck(job, Result{Ack: r.Ack}) != b.checkAck(job, results[0]) {
			t.Error("the receipt's ack shows another arrival than the first")
		}
	}
	inner, unlogged := jobs[1].ID, c.signJob(jobs[0])
	for _, unknown := range []string{
		"", "00", "zz", hex.EncodeToString(inner[:]), ionet.HashOf([]byte("none")).String(), hex.EncodeToString(make([]byte, 16)), unlogged.ID().String(),
	} {
		_, err := b.Receipt(t.Context(), unknown)
		mustBe(t, err, ProblemUnknownReceipt)
	}
}

// Pages that are read while the log grows show each receipt once, in order.
func TestReceiptPagesWhileTheLogGrows(t *testing.T) {
	b := newBooks(t)
	h, other := b.newHost("a", "gpu a"), b.newHost("b", "gpu b")
	b.register(h, other)
	s, stranger := b.newSpender("r", 100_000, 90_000), b.newSpender("x", 100_000, 90_000)
	offer := h.offer(1)
	seats := []*seat{s.openSeat(h, offer, 20_000), s.openSeat(other, other.offer(1), 20_000), stranger.openSeat(h, offer, 20_000)}
	draw := rand.New(rand.NewPCG(1, 2))
	want := map[ionet.Hash]bool{}
	grow := func() {
		var all []proofs.Envelope
		for range 1 + draw.IntN(20) {
			c := seats[draw.IntN(len(seats))]
			e := c.serve(1 + draw.Uint64N(5))
			if c.s == s {
				want[e.ID()] = true
			}
			all = append(all, e)
		}
		b.accept(all...)
	}
	grow()
	var from uint64
	got := map[ionet.Hash]bool{}
	for round := 0; ; round++ {
		page, err := b.ReceiptsOf(t.Context(), s.renter(), from, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Receipts {
			record, err := proofs.ParseRecord(r.Record)
			if err != nil || record.Index != r.Index || r.Index < from {
				t.Fatalf("record %d from %d on: %v", r.Index, from, err)
			}
			e, _ := record.Statement()
			if receipt := record.Entry.(proofs.Receipt); receipt.Renter != s.renter() || got[e.ID()] {
				t.Fatalf("receipt %d is of renter %s, or twice", r.Index, receipt.Renter)
			}
			got[e.ID()], from = true, r.Index+1
		}
		if round < 15 {
			grow()
			continue
		}
		if !page.More {
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("pages have %d receipts, want %d", len(got), len(want))
	}
	for id := range want {
		if !got[id] {
			t.Errorf("no page has receipt %s", id)
		}
	}
	if page, err := b.ReceiptsOf(t.Context(), s.renter(), 1<<63, 0); err != nil || len(page.Receipts) != 0 || page.More {
		t.Errorf("after the end there are %+v, %v", page, err)
	}
	if err := ledger.TrialBalance(t.Context(), b.pool); err != nil {
		t.Error(err)
	}
}
