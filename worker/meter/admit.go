package meter

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// run is a request that is being served. Its reserve is held until it ends, so that what
// all of a channel's requests cost together stays within voucher and limit.
type run struct {
	ch       *channel
	ask      *ask
	request  *request
	hash     ionet.Hash // of the request
	leave    func()     // gives its place back
	offer    *offer
	model    proofs.OfferModel
	served   int64 // when it was admitted: offer and channel were good then
	reserved ionet.Amount
	ended    bool
}

// admission is what became of a request that asks to be served: it runs, it was served
// before, or it is refused.
type admission struct {
	run     *run
	kept    *keptAnswer
	job     proofs.Envelope // of the kept answer
	refused *client.MeterProblem
	ticket  uint64 // that must be durable before any of it leaves
}

func refuse(p *client.MeterProblem) admission { return admission{refused: p} }

// prepare reads the request's body by the offer in force.
func (m *Meter) prepare(at *endpoint, body []byte) (*request, *offer, *client.MeterProblem) {
	m.journal.mu.Lock()
	in, file := m.inForce(m.now())
	m.journal.mu.Unlock()
	if in == nil {
		return nil, nil, noOffer()
	}
	r, p := parseRequest(at, body, file.Models)
	return r, in, p
}

// admit decides whether a request is served:
//
//	bound <= most, and spent + reserved + bound <= min(cumulative, limit)
//
// and whether the service would take the job at its dearest, by the very rules that the
// service goes by.
func (m *Meter) admit(a *ask, r *request, in *offer) admission {
	bill, err := trial(a, r, in, m.now())
	if err != nil {
		return refuse(field("max_tokens", err.Error()))
	}
	j := m.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	ch := j.book.channels[a.channel]
	if ch == nil {
		return refuse(unknownChannel(a.channel))
	}
	if end, over := m.again(ch, a, bill.Request); over {
		return end
	}
	model := proofs.OfferModel{Name: bill.Model, Unit: bill.Unit, Price: bill.Price, Per: bill.Per}
	if p := m.refusal(ch, a, in, model, &bill); p != nil {
		return refuse(p)
	}
	run := &run{ch: ch, ask: a, request: r, hash: bill.Request, offer: in, model: model, served: bill.Served, reserved: bill.Fee}
	ch.cover(a.cumulative, a.signature)
	ch.reserved, _ = ch.reserved.Add(bill.Fee) // within the limit
	ch.running[a.job] = run
	return admission{run: run}
}

// trial is what the job asks for if it takes all that it may.
func trial(a *ask, r *request, in *offer, now int64) (proofs.Bill, error) {
	fee, err := proofs.Fee(r.bound, r.sold.Price, r.sold.Per)
	if err != nil {
		return proofs.Bill{}, fmt.Errorf("the request may cost more than an amount can be: %w", err)
	}
	return proofs.Bill{
		Channel: a.channel, ID: a.job, Served: now, Offer: in.id, Count: 1, Model: r.sold.Name, Unit: r.sold.Unit.Unit, Units: r.bound,
		Price: r.sold.Price, Per: r.sold.Per, Fee: fee, Request: proofs.RequestHash(a.salt, r.at.path, r.raw), Response: ionet.Hash{1}, Voucher: a.signature,
	}, nil
}

// again answers for a job that runs or was served: none is billed twice.
func (m *Meter) again(ch *channel, a *ask, request ionet.Hash) (admission, bool) {
	if r := ch.running[a.job]; r != nil {
		if r.hash != request {
			return refuse(conflict(a)), true
		}
		return refuse(later(http.StatusConflict, client.JobRunning, "the job is being served", 1)), true
	}
	done, ok := ch.byID[a.job]
	if !ok {
		return admission{}, false
	}
	p := problem(http.StatusConflict, client.JobDone, "the job was served, and its answer is not kept any more")
	if done == nil {
		return refuse(p), true
	}
	if done.job.Request != request {
		return refuse(conflict(a)), true
	}
	if kept := m.kept.get(a.channel, a.job); kept != nil {
		return admission{kept: kept, job: done.e, ticket: m.journal.queued}, true
	}
	p.Statement = done.e.Append(nil)
	return admission{refused: p, ticket: m.journal.queued}, true
}

func conflict(a *ask) *client.MeterProblem {
	return problem(http.StatusConflict, client.JobConflict, fmt.Sprintf("job %x is of another request", a.job))
}

// refusal returns why the request is not served, or nil. It completes the bill.
func (m *Meter) refusal(ch *channel, a *ask, in *offer, model proofs.OfferModel, bill *proofs.Bill) *client.MeterProblem {
	if p := m.checkState(ch); p != nil {
		return p
	}
	if p := m.journal.book.checkNamed(a, in, model); p != nil {
		return p
	}
	before, err := ch.spent.Add(ch.reserved)
	if err == nil {
		bill.Before = before
		bill.After, err = before.Add(bill.Fee)
	}
	if err != nil {
		return field("max_tokens", "the request may cost more than an amount can be")
	}
	if bill.Cumulative = ch.covered; a.cumulative.Cmp(ch.covered) > 0 {
		bill.Cumulative = a.cumulative
	}
	switch rule := ch.terms().Check(m.worker, *bill, &in.offer, bill.Served); rule {
	case proofs.FeeHolds:
	case proofs.VoucherFails:
		p := ch.payment(bill.After, in, fmt.Sprintf("the request may cost %s: the voucher has to cover %s, it covers %s", bill.Fee, bill.After, bill.Cumulative))
		p.Covered, p.Most = &bill.Cumulative, &bill.Fee
		return p
	case proofs.AboveLimit:
		p := ch.payment(bill.After, in, fmt.Sprintf("the request may cost %s: the channel's limit is %s, %s of it is spent or reserved; top the channel up", bill.Fee, ch.opened.Limit, before))
		p.Most = &bill.Fee
		return p
	default:
		p := problem(http.StatusForbidden, rule.Name(), rule.Text())
		p.Offer = in.e.Append(nil)
		return p
	}
	if bill.Fee.Cmp(a.most) > 0 {
		p := ch.payment(bill.After, in, fmt.Sprintf("the request may cost %s, and its %s is %s", bill.Fee, proofs.MostHeader, a.most))
		p.Most = &bill.Fee
		return p
	}
	if m.journal.full(int(m.inFlight.Load()+1) * jobRoom) {
		return later(http.StatusServiceUnavailable, client.JournalFull, "this worker keeps as many unsettled jobs as it may", 30)
	}
	return nil
}

// checkState refuses what the service would not pay for, as far as this worker knows.
func (m *Meter) checkState(ch *channel) *client.MeterProblem {
	switch silence := m.silence(); {
	case m.journal.broken != nil:
		return problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal")
	case ch.stuck != "":
		return problem(http.StatusConflict, client.ChannelStuck, ch.stuck)
	case ch.closed != "":
		return problem(http.StatusForbidden, client.Closed, "the service says that the channel is "+ch.closed)
	case silence > m.cfg.Silence:
		return later(http.StatusServiceUnavailable, client.Busy, "the service has not answered for "+silence.Round(time.Second).String()+": what is served may not be paid", 60)
	case silence > time.Minute && min(ch.opened.Expires, ch.session.Expires)-m.now() < int64(m.cfg.Margin.Seconds()):
		return later(http.StatusServiceUnavailable, client.Busy, "the channel is about to expire, and the service does not answer", 60)
	}
	return nil
}

// release ends a run that costs nothing. It does nothing for one that was billed.
func (m *Meter) release(r *run) {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	m.end(r)
}

func (m *Meter) end(r *run) {
	if r.ended {
		return
	}
	r.ended = true
	delete(r.ch.running, r.ask.job)
	r.ch.reserved, _ = r.ch.reserved.Sub(r.reserved)
}

// errUnbilled reports an answer that can't be billed.
var errUnbilled = errors.New("the answer costs nothing")

// bill signs the job of a run and returns once it is durable: then the answer may leave.
// If we stop before that, nobody has it, and the renter's next try is a new run.
func (m *Meter) bill(r *run, units uint64, response ionet.Hash) (proofs.Envelope, error) {
	units = min(units, r.request.bound)
	fee, err := proofs.Fee(units, r.model.Price, r.model.Per)
	if err != nil {
		return proofs.Envelope{}, err
	}
	if fee.IsZero() {
		return proofs.Envelope{}, errUnbilled
	}
	e, ticket, err := m.sign(r, units, fee, response)
	if err != nil {
		return proofs.Envelope{}, err
	}
	if err := m.journal.wait(ticket); err != nil {
		return proofs.Envelope{}, err
	}
	m.metrics.billed(r.model.Unit, units, fee)
	m.nudge()
	return e, nil
}

// sign gives the job its place behind those of its channel.
func (m *Meter) sign(r *run, units uint64, fee ionet.Amount, response ionet.Hash) (e proofs.Envelope, ticket uint64, err error) {
	j := m.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	ch := r.ch
	after, err := ch.spent.Add(fee)
	if err != nil {
		return e, 0, err
	}
	body, err := proofs.Job{
		Channel: ch.key, ID: r.ask.job, Served: r.served, Offer: r.offer.id, Model: r.model.Name, Unit: r.model.Unit, Units: units,
		Price: r.model.Price, Per: r.model.Per, Before: ch.spent, Fee: fee, After: after, Request: r.hash, Response: response,
		Cumulative: ch.covered, Voucher: ch.voucher,
	}.Encode()
	if err != nil {
		return e, 0, err
	}
	e = proofs.Sign(m.cfg.Network.ID(), proofs.KindJob, m.cfg.Key, body)
	tag := byte(tagJob)
	if m.batches() {
		tag = tagGrouped
	}
	if ticket, err = j.add(tag, e.Append(nil)); err != nil {
		return e, 0, err
	}
	m.end(r)
	return e, ticket, nil
}
