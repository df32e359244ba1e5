package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// habit names what requests without a maximum cost alike.
func (t *ticket) habit() string {
	if _, named := t.in.maximum(); named && t.offer.model.Unit == proofs.UnitToken {
		return ""
	}
	return t.offer.worker.String() + " " + t.offer.model.Name + " " + t.in.Path
}

// passedOn is an answer of the back end that is the caller's to read.
type passedOn struct{ *MeterProblem }

// refused deals with an answer that is none. Without an error the request is sent again,
// after the wait.
func (p *Purse) refused(ctx context.Context, t *ticket, cumulative ionet.Amount, m *MeterProblem, unbilled bool) (time.Duration, error) {
	fault := &workerFault{worker: t.offer.worker, reason: m.Error(), after: time.Duration(min(m.RetryAfter, int64(longestWait/time.Second))) * time.Second}
	switch kind := m.Kind(); {
	case kind == VoucherNeeded && (m.Required != nil || m.Most != nil):
		if err := p.needs(t, cumulative, m); err != nil {
			return 0, p.giveUp(t, err)
		}
		return 0, nil
	case kind == OfferChanged:
		if err := p.reoffer(t, m.Offer); err != nil {
			return 0, p.giveUp(t, err)
		}
		return 0, nil
	case kind == UnknownChannel:
		if t.handed++; t.handed > maxHanded {
			return 0, p.giveUp(t, fault)
		}
		p.mu.Lock()
		t.ch.handed = ionet.Hash{}
		p.mu.Unlock()
		return 0, nil
	case kind == JobRunning:
		return min(max(fault.after, 200*time.Millisecond), 5*time.Second), nil
	case kind == JobDone:
		return 0, p.lost(ctx, t, m.Statement)
	case kind == Closed || kind == Expired:
		return 0, p.giveUp(t, p.retire(t.ch, fault))
	case kind == ChannelStuck:
		p.unsure(t)
		return 0, p.forsake(t.ch, m.Error())
	case m.Status == http.StatusTooManyRequests:
		fault.busy = true
		return 0, p.giveUp(t, fault)
	case kind == "about:blank" || kind == JobConflict: // not the worker's word that nothing runs
		if unbilled {
			p.giveUp(t, nil)
		} else {
			p.unsure(t)
		}
		if m.Status < 500 && kind != JobConflict {
			return 0, &passedOn{m}
		}
		return 0, fault
	case m.Status >= 500 || m.Status == http.StatusUnauthorized || m.Status == http.StatusPaymentRequired || m.Status == http.StatusConflict || m.Status == http.StatusForbidden || m.Status == http.StatusNotFound:
		return 0, p.giveUp(t, fault)
	}
	p.giveUp(t, nil)
	return 0, &passedOn{m}
}

// needs takes what the worker asks a voucher for. However much it says, no more is signed
// than each request that is open may cost.
func (p *Purse) needs(t *ticket, cumulative ionet.Amount, m *MeterProblem) error {
	if m.Most != nil && (m.Required == nil || m.Most.Cmp(t.in.Most) > 0) {
		return p.aboveMost(*m.Most, t.in.Most)
	}
	required := *m.Required
	if required.Cmp(cumulative) <= 0 {
		return &workerFault{worker: t.offer.worker, reason: fmt.Sprintf("it asks for a voucher of %s, and has one of %s", required, cumulative)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// What it says that is spent and running tells what it thinks that this request costs.
	elsewhere := t.ch.spans.known()
	if m.Spent != nil && m.Running != nil {
		elsewhere, _ = m.Spent.Add(*m.Running)
	}
	bound, err := required.Sub(elsewhere)
	if err != nil || bound.Cmp(t.in.Most) > 0 {
		return p.aboveMost(bound, t.in.Most)
	}
	if most := t.ch.allowed(); required.Cmp(most) > 0 {
		return &workerFault{worker: t.offer.worker, reason: fmt.Sprintf("it asks for a voucher of %s: what is spent and what runs makes %s at most", required, most)}
	}
	if habit := t.habit(); habit != "" && len(p.extra) < maxVerified {
		if more, err := bound.Sub(smaller(bound, t.in.guess(t.offer.model, ionet.Amount{}))); err == nil {
			p.extra[habit] = more
		}
	}
	t.sent.Bound, t.required = larger(bound, t.sent.Bound), larger(required, t.required)
	return nil
}

// tokens is an amount for people: in tokens, and in base units as headers have it.
func (p *Purse) tokens(a ionet.Amount) string {
	return fmt.Sprintf("%s IO (%s base units)", a.Tokens(p.cfg.Network.Decimals), a)
}

func (p *Purse) aboveMost(bound, most ionet.Amount) error {
	return &PurseError{Status: http.StatusPaymentRequired, Code: CodeAboveMost, Message: fmt.Sprintf(
		"it may cost up to %s, more than the %s that one request is allowed: name a smaller max_tokens, or allow more (--max-fee of ionet proxy)", p.tokens(bound), p.tokens(most))}
}

// reoffer takes the worker's new offer where its price is within all caps.
func (p *Purse) reoffer(t *ticket, statement []byte) error {
	o, err := p.readOffer(statement, t.offer.model.Name, t.offer.model.Unit.String())
	if err == nil && o.worker != t.offer.worker {
		err = fmt.Errorf("it is by %s", o.worker)
	}
	if err == nil && o.id == t.offer.id {
		err = errors.New("it is the same")
	}
	if err != nil {
		return &workerFault{worker: t.offer.worker, reason: "its new offer is none: " + err.Error()}
	}
	if reason := p.tooDear(o.model); reason != "" {
		return &workerFault{worker: t.offer.worker, reason: reason}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.offer = o
	t.sent.Price, t.sent.Per = o.model.Price, o.model.Per
	t.sent.Bound = smaller(larger(t.sent.Bound, t.in.guess(o.model, p.extra[t.habit()])), t.in.Most)
	return nil
}

// authorise decides how much the channel's voucher has to cover for the request, and makes
// durable that it leaves. If we stop behind it, the next start asks the worker for the job.
func (p *Purse) authorise(ctx context.Context, t *ticket) (ionet.Amount, error) {
	need := t.sent.Bound
	p.mu.Lock()
	if t.ch != nil {
		if open := cmp.Or(t.ch.running[t.job], t.ch.unknown[t.job]); open != nil {
			need, _ = need.Sub(smaller(need, open.Bound)) // what it is committed to already
		}
		if more, err := t.required.Sub(t.ch.committed()); err == nil {
			need = larger(need, more)
		}
	}
	p.mu.Unlock()
	ch, err := p.channelTo(ctx, t.offer, need)
	if err != nil && p.lowers(t, err) {
		return p.authorise(ctx, t)
	}
	if err != nil {
		return ionet.Amount{}, p.channelFault(t, err)
	}
	p.mu.Lock()
	if t.ch != nil && t.ch != ch {
		p.mu.Unlock()
		return ionet.Amount{}, &workerFault{worker: t.offer.worker, reason: "its channel was closed meanwhile"}
	}
	t.ch = ch
	delete(ch.unknown, t.job)
	sent := *t.sent
	ch.running[t.job] = &sent
	cumulative := larger(ch.committed(), t.required)
	limit, _, _ := ch.inForce()
	if cumulative.Cmp(limit) > 0 {
		p.mu.Unlock()
		return p.authorise(ctx, t) // others took what there was: more is needed
	}
	cumulative = larger(cumulative, smaller(ch.signed, limit)) // a folder that was put back may have forgotten a top-up
	ch.signed = larger(ch.signed, cumulative)
	at, err := p.note(purseNote{Kind: noteSent, Channel: ch.key, Job: t.job, Sent: &sent, Cumulative: cumulative})
	p.mu.Unlock()
	if err != nil {
		return cumulative, err
	}
	return cumulative, p.journal.sync(at)
}

// lowers makes do with what is left of the reserve, where that does not cover our own
// guess: the worker may need less.
func (p *Purse) lowers(t *ticket, err error) bool {
	var mine *PurseError
	if !errors.As(err, &mine) || mine.Code != CodeReserve || !t.required.IsZero() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	room := mine.most
	if ch := p.channelOf(t.offer.worker); ch != nil {
		room, _ = room.Sub(smaller(room, ch.committed()))
		if ch.has(t.job) {
			return false
		}
	}
	if room.IsZero() || room.Cmp(t.sent.Bound) >= 0 {
		return false
	}
	t.sent.Bound = room
	return true
}

// has reports whether the channel is committed to a job.
func (ch *purseChannel) has(job ID) bool { return ch.running[job] != nil || ch.unknown[job] != nil }

// channelFault says whose fault it is that there is no channel.
func (p *Purse) channelFault(t *ticket, err error) error {
	var mine *PurseError
	var fault *workerFault
	var meter *MeterProblem
	var problem *Problem
	switch {
	case errors.As(err, &mine) || errors.As(err, &fault):
		return err
	case errors.As(err, &problem) && (problem.Kind() == AboveReserve || problem.Kind() == Insufficient):
		return &PurseError{Status: http.StatusPaymentRequired, Code: CodeReserve, Message: "the session's reserve does not cover another channel: " + problem.Error()}
	case errors.As(err, &problem) && (problem.Kind() == UnknownSession || problem.Kind() == Expired || problem.Kind() == Closed):
		return &PurseError{Status: http.StatusPaymentRequired, Code: CodeSession, Message: "the session can't be used: " + problem.Error()}
	case errors.As(err, &problem), errors.As(err, &meter):
		return &workerFault{worker: t.offer.worker, reason: err.Error()}
	}
	return &workerFault{worker: t.offer.worker, reason: err.Error()}
}

// post sends the request with its voucher, and what makes it ours: a voucher alone is
// public, for each job's statement shows it.
func (p *Purse) post(ctx context.Context, t *ticket, cumulative ionet.Amount) (*http.Response, error) {
	channel := t.ch.key
	voucher, err := EncodeVoucher(proofs.Voucher{Channel: channel, Cumulative: cumulative}, proofs.SignVoucher(p.cfg.Key, channel, cumulative))
	if err != nil {
		return nil, err
	}
	network := p.cfg.Network.ID()
	signature := proofs.SignRequest(network, p.cfg.Key, channel, t.job, t.sent.Request, t.sent.Most)
	ctx, wait := newPatience(ctx, t.patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.offer.offer.Endpoint, "/")+t.in.Path, bytes.NewReader(t.in.Body))
	if err != nil {
		wait.over()
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if t.in.ContentType != "" {
		req.Header.Set("Content-Type", t.in.ContentType)
	}
	req.Header.Set(VoucherHeader, voucher)
	req.Header.Set(JobHeader, t.job.String())
	req.Header.Set(SaltHeader, t.sent.Salt.String())
	req.Header.Set(OfferHeader, t.offer.id.String())
	req.Header.Set(proofs.MostHeader, t.sent.Most.String())
	req.Header.Set(proofs.RequestHeader, proofs.EncodeRequestSignature(signature))
	resp, err := p.http.Do(req)
	if err != nil {
		err = cmp.Or(silence(ctx), err)
		wait.over()
		return nil, err
	}
	wait.timer.Stop()
	resp.Body = &patientBody{ReadCloser: resp.Body, ctx: ctx, patience: wait}
	return resp, nil
}

// giveUp ends a job that the worker has not begun, and returns err.
func (p *Purse) giveUp(t *ticket, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.ch != nil {
		p.free(t.ch, t.job)
	}
	return err
}

// free ends a job that costs nothing. The caller holds p.mu. The line need not be durable:
// without it the worker is asked again.
func (p *Purse) free(ch *purseChannel, job ID) {
	if !ch.has(job) {
		return
	}
	delete(ch.running, job)
	delete(ch.unknown, job)
	if _, err := p.note(purseNote{Kind: noteFree, Channel: ch.key, Job: job}); err != nil {
		p.log.Error("write purse", "error", err)
	}
}

// unsure keeps a job whose outcome only the worker knows, and has it asked for.
func (p *Purse) unsure(t *ticket) {
	p.mu.Lock()
	if sent := t.ch.running[t.job]; sent != nil {
		delete(t.ch.running, t.job)
		sent.Open = p.cfg.Now()
		t.ch.unknown[t.job] = sent
	}
	p.mu.Unlock()
	p.wake()
}

// wake has what is open asked for now.
func (p *Purse) wake() {
	select {
	case p.settle <- struct{}{}:
	default:
	}
}
