package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"sync"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Answer is a worker's answer. Of a stream the receipt is known when the body was read to
// its end, and a stream that does not match its statement ends with an error.
type Answer struct {
	Status  int
	Header  http.Header
	Body    io.ReadCloser
	Job     ID
	Worker  ionet.Key
	Channel ionet.Key
	Stream  bool

	mu      sync.Mutex
	receipt *KeptReceipt
}

// Receipt returns what the answer cost and what proves it; false while that is not known,
// and for an answer that cost nothing.
func (a *Answer) Receipt() (KeptReceipt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.receipt == nil {
		return KeptReceipt{}, false
	}
	return *a.receipt, true
}

func (a *Answer) paid(r *KeptReceipt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.receipt = r
}

func newAnswer(t *ticket, resp *http.Response) *Answer {
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: resp.Body, Job: t.job, Worker: t.offer.worker, Channel: t.ch.key}
}

// unpaid is an answer that costs nothing.
func unpaid(t *ticket, resp *http.Response, body []byte) *Answer {
	a := newAnswer(t, resp)
	a.Body = io.NopCloser(bytes.NewReader(body))
	return a
}

// answer takes what the worker sends: a stream goes on to the caller as it comes, all else
// is checked first.
func (p *Purse) answer(ctx context.Context, t *ticket, resp *http.Response) (*Answer, error) {
	if _, trailer := resp.Trailer[http.CanonicalHeaderKey(StatementHeader)]; trailer || isStream(resp) {
		a := newAnswer(t, resp)
		a.Stream = true
		s := &paidStream{purse: p, ticket: t, answer: a, resp: resp, hash: sha256.New(), kept: p.cfg.KeepBodies, held: &held{room: p.room}}
		s.hash.Write(t.sent.Salt[:])
		if t.in.ask.Options != nil && t.in.ask.Options.Usage {
			s.usage = &streamUsage{}
		}
		a.Body = s
		return a, nil
	}
	body, held, err := p.room.read(ctx, resp.Body, maxBody)
	resp.Body.Close()
	if err != nil {
		p.unsure(t)
		return nil, &workerFault{worker: t.offer.worker, reason: "read its answer: " + err.Error()}
	}
	a := newAnswer(t, resp)
	a.Body = heldBody{bytes.NewReader(body), held}
	statement := resp.Header.Get(StatementHeader)
	if statement == "" {
		p.unbilled(t, resp.Header.Get(UnbilledHeader))
		return a, nil
	}
	hash := proofs.ResponseHash(t.sent.Salt, body)
	r, err := p.bill(t, statement, heard{response: &hash, used: usedUnits(t.sent.Unit, body), body: body, whole: true})
	if err != nil {
		held.letGo()
		return nil, err
	}
	a.paid(r)
	return a, nil
}

func isStream(resp *http.Response) bool {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media == "text/event-stream" && resp.Header.Get(StatementHeader) == ""
}

// unbilled ends a job that came without a statement: it costs nothing where the worker says
// so, else the worker is asked.
func (p *Purse) unbilled(t *ticket, reason string) {
	if reason != "" {
		p.log.Info("answer is not billed", "job", t.job.String(), "reason", reason)
		p.giveUp(t, nil)
		return
	}
	p.unsure(t)
}

// heard is what is known of an answer; nothing of one that was lost.
type heard struct {
	response *ionet.Hash
	used     used
	body     []byte
	whole    bool // body is all of it
	request  []byte
}

// bill checks the statement of an answer and accounts for it. What is not as it should be
// is kept as evidence, and the worker is left.
func (p *Purse) bill(t *ticket, statement string, h heard) (*KeptReceipt, error) {
	e, err := ParseStatementHeader(statement)
	if err != nil {
		return nil, p.accuse(t.ch, t.job, t.sent, nil, h.body, err)
	}
	h.request = t.in.Body
	return p.account(t.ch, t.job, t.sent, e, h)
}

// account checks a job's statement, keeps it as a receipt and counts what it cost. The
// receipt is durable before the journal has the job as paid: if we stop in between, the
// worker is asked for the job again, and the receipt stands there twice.
func (p *Purse) account(ch *purseChannel, job ID, sent *sentRequest, e proofs.Envelope, h heard) (*KeptReceipt, error) {
	p.mu.Lock()
	signed, endpoint := ch.signed, ch.endpoint
	p.mu.Unlock()
	x := expectedJob{
		network: p.cfg.Network.ID(), worker: ch.worker, key: p.public, channel: ch.key, job: job, sent: sent, signed: signed, response: h.response, used: h.used,
	}
	j, err := x.check(e)
	if err != nil {
		return nil, p.accuse(ch, job, sent, &e, h.body, err)
	}
	r := &KeptReceipt{
		Job: job, ID: e.ID(), Channel: j.Channel, Worker: e.Signer, Endpoint: endpoint, Model: j.Model, Unit: j.Unit.String(), Units: j.Units, Price: j.Price, Per: j.Per,
		Fee: j.Fee, Before: j.Before, After: j.After, Path: sent.Path, Salt: sent.Salt, Request: j.Request, Response: j.Response,
		Answered: h.response != nil, Time: j.Served, Statement: e.Append(nil), Session: p.id,
	}
	if p.cfg.KeepBodies && h.whole {
		if err := p.kept.bodies(job, h.request, h.body); err != nil {
			p.log.Error("keep bodies", "error", err)
		}
	}
	if err := p.kept.add(p.cfg.Now(), r); err != nil {
		p.log.Error("keep receipt", "error", err)
		return r, nil // the job stays open in the journal, and is asked for at the next start
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ch.has(job) {
		return r, nil // accounted for already
	}
	delete(ch.running, job)
	delete(ch.unknown, job)
	if err := ch.spans.add(j.Before, j.After); err != nil {
		reason := fmt.Sprintf("job %s: it bills %s..%s: %v", job, j.Before, j.After, err)
		p.evidence(job, evidence{Reason: reason, Receipt: r})
		p.leave(ch.worker, reason)
		return r, &workerFault{worker: ch.worker, reason: reason}
	}
	if _, err := p.note(purseNote{Kind: notePaid, Channel: j.Channel, Job: job, Before: &j.Before, After: &j.After}); err != nil {
		p.log.Error("write purse", "error", err)
	}
	if h.response != nil {
		p.answers(ch.worker)
	}
	p.checkGaps(ch, r)
	return r, nil
}

// checkGaps leaves a worker whose statements leave parts of the channel out that the jobs
// of ours which are open can't have:
//
//	top - known <= sum of most
//
// A job that stays open for ever hides no more than it was signed for. The caller holds
// p.mu.
func (p *Purse) checkGaps(ch *purseChannel, last *KeptReceipt) {
	allowed := ch.allowed()
	if ch.spans.top().Cmp(allowed) <= 0 {
		return
	}
	reason := fmt.Sprintf("its statements go up to %s, all our jobs make %s", ch.spans.top(), allowed)
	p.evidence(last.Job, evidence{Reason: reason, Receipt: last})
	p.leave(ch.worker, reason)
}

// accuse keeps a wrong statement and leaves the worker. What the job cost is not known.
func (p *Purse) accuse(ch *purseChannel, job ID, sent *sentRequest, e *proofs.Envelope, body []byte, cause error) error {
	reason := fmt.Sprintf("its statement of job %s is wrong: %v", job, cause)
	x := evidence{Reason: reason, Sent: sent, Answer: body}
	if e != nil {
		x.Statement = e.Append(nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := cmp.Or(ch.running[job], ch.unknown[job]); s != nil {
		delete(ch.running, job)
		wrong := *s
		wrong.Wrong = true
		ch.unknown[job] = &wrong
	}
	p.evidence(job, x)
	p.leave(ch.worker, reason)
	return &workerFault{worker: ch.worker, reason: reason}
}

// lost deals with a job that was served and whose answer is kept nowhere any more.
func (p *Purse) lost(ctx context.Context, t *ticket, statement []byte) error {
	if len(statement) == 0 {
		p.unsure(t)
	} else {
		e, err := oneStatement(statement)
		if err != nil {
			return p.accuse(t.ch, t.job, t.sent, nil, statement, err)
		}
		if _, err := p.account(t.ch, t.job, t.sent, e, heard{}); err != nil {
			return err
		}
	}
	return &PurseError{Status: http.StatusBadGateway, Code: CodeLost, Message: fmt.Sprintf("worker %s served and billed job %s, and its answer was lost on the way; asking again costs again", t.offer.worker, t.job)}
}

// paidStream passes a stream on and checks it at its end.
type paidStream struct {
	purse  *Purse
	ticket *ticket
	answer *Answer
	resp   *http.Response
	hash   hash.Hash
	usage  *streamUsage // nil: the request asked for none, and may be shown a part
	kept   bool
	body   []byte
	held   *held
	done   error // set at the end
}

// Read passes on what comes. The error at the end is io.EOF only where the stream is what
// the worker signed.
func (s *paidStream) Read(b []byte) (int, error) {
	if s.done != nil {
		return 0, s.done
	}
	n, err := s.resp.Body.Read(b)
	s.hash.Write(b[:n])
	if s.usage != nil {
		s.usage.take(b[:n])
	}
	s.keep(b[:n])
	switch {
	case errors.Is(err, io.EOF):
		s.done = s.end()
		return n, s.done
	case err != nil:
		s.purse.unsure(s.ticket)
		fault := &workerFault{worker: s.ticket.offer.worker, reason: "its answer broke off: " + err.Error()}
		if !errors.Is(err, context.Canceled) { // else the caller is gone
			s.purse.setBack(fault)
		}
		s.held.letGo()
		s.done = fault
		return n, s.done
	}
	return n, nil
}

// keep keeps a stream's bytes beside its receipt while there is room for them.
func (s *paidStream) keep(b []byte) {
	for s.kept && s.held.n < int64(len(s.body)+len(b)) {
		if s.held.n >= maxBody || !s.held.room.take(roomStep) {
			s.purse.log.Warn("stream is too large to keep", "job", s.ticket.job.String())
			s.kept, s.body = false, nil
			return
		}
		s.held.n += roomStep
	}
	if s.kept {
		s.body = append(s.body, b...)
	}
}

func (s *paidStream) end() error {
	defer s.held.letGo()
	statement := s.resp.Trailer.Get(StatementHeader)
	if statement == "" {
		s.purse.setBack(&workerFault{worker: s.ticket.offer.worker})
		s.purse.unbilled(s.ticket, s.resp.Trailer.Get(UnbilledHeader))
		return io.EOF
	}
	h := heard{response: new(ionet.Hash), body: s.body, whole: s.kept}
	s.hash.Sum(h.response[:0])
	if s.usage != nil && s.ticket.sent.Unit == proofs.UnitToken.String() {
		h.used = s.usage.used
	}
	r, err := s.purse.bill(s.ticket, statement, h)
	if r != nil {
		s.answer.paid(r)
	}
	if err != nil {
		return err
	}
	return io.EOF
}

// Close ends the stream. What was produced so far is paid: the worker says how much.
func (s *paidStream) Close() error {
	err := s.resp.Body.Close()
	s.held.letGo()
	if s.done == nil {
		s.done = errors.New("the stream is closed")
		s.purse.unsure(s.ticket)
	}
	return err
}
