package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxAnswerBody bounds an answer that is no stream: images in base64 are the largest.
const maxAnswerBody = 64 << 20

// bodyTime is how long a renter may take to send a request.
const bodyTime = 30 * time.Second

// serve answers one request that costs something. What is cheap to refuse is refused
// before the body is read, and a place is taken only for a request that its renter signed.
func (m *Meter) serve(w http.ResponseWriter, r *http.Request, at *endpoint) {
	// Where the server has deadlines: it waits for the body of what is refused, too.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	a, p := m.askOf(r, at)
	if p == nil {
		p = m.verifyVoucher(a)
	}
	if p != nil {
		m.refuse(w, p)
		return
	}
	body, p := m.takeBody(w, r, a)
	if p == nil {
		p = m.verifyRequest(a, at.path, body)
	}
	var request *request
	var in *offer
	if p == nil {
		request, in, p = m.prepare(at, body)
	}
	if p == nil {
		p = m.askFirst(r.Context(), a.channel)
	}
	if p != nil {
		m.refuse(w, p)
		return
	}
	leave := m.enter()
	if leave == nil {
		m.refuse(w, later(http.StatusTooManyRequests, client.AtCapacity, "as many requests run as this worker serves at once", 1))
		return
	}
	defer leave()
	switch end := m.admit(a, request, in); {
	case end.refused != nil:
		leave()
		if err := m.journal.wait(end.ticket); err != nil {
			end.refused = problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal")
		}
		m.refuse(w, end.refused)
	case end.kept != nil:
		leave()
		m.answerAgain(w, end)
	default:
		defer m.release(end.run)
		end.run.leave = leave
		m.answer(w, r, end.run)
	}
}

// askOf reads a request's headers. One without a voucher is told what it costs.
func (m *Meter) askOf(r *http.Request, at *endpoint) (*ask, *client.MeterProblem) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, problem(http.StatusUnsupportedMediaType, client.WrongMediaType, "the body of "+at.path+" is application/json")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, problem(http.StatusUnsupportedMediaType, client.WrongMediaType, "the body must have no Content-Encoding: the job's hash is of it")
	}
	if r.Header.Get(client.VoucherHeader) != "" {
		return parseAsk(r.Header)
	}
	p := problem(http.StatusPaymentRequired, client.VoucherNeeded, "the request has no "+client.VoucherHeader+": open a channel to this worker")
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	if in, _ := m.inForce(m.now()); in != nil {
		p.Offer = in.e.Append(nil)
	}
	return nil, p
}

// enter takes one of the places of the offer in force, and returns what gives it back, or
// nil.
func (m *Meter) enter() (leave func()) {
	m.filesMu.Lock()
	capacity := int64(m.file.Capacity)
	m.filesMu.Unlock()
	if m.inFlight.Add(1) > capacity {
		m.inFlight.Add(-1)
		return nil
	}
	return sync.OnceFunc(func() { m.inFlight.Add(-1) })
}

func (m *Meter) refuse(w http.ResponseWriter, p *client.MeterProblem) {
	m.metrics.refused.WithLabelValues((&client.Problem{Type: p.Type}).Kind()).Inc()
	answerProblem(w, p)
}

// Bounds of what is read of one channel at once: bodies of four times the largest, and no
// body counts for less than leastBody.
const (
	channelBodies = 4
	leastBody     = 64 << 10
)

// takeBody reads the body, in the room that its channel has for bodies.
func (m *Meter) takeBody(w http.ResponseWriter, r *http.Request, a *ask) ([]byte, *client.MeterProblem) {
	size := m.cfg.MaxBody
	if r.ContentLength >= 0 {
		size = min(max(r.ContentLength, leastBody), m.cfg.MaxBody)
	}
	j := m.journal
	j.mu.Lock()
	ch := j.book.channels[a.channel]
	switch {
	case ch == nil:
		j.mu.Unlock()
		return nil, unknownChannel(a.channel)
	case ch.reading+size > channelBodies*max(m.cfg.MaxBody, 4*leastBody):
		j.mu.Unlock()
		return nil, later(http.StatusTooManyRequests, client.AtCapacity, "too many requests of this channel are on their way at once", 1)
	}
	ch.reading += size
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		ch.reading -= size
		j.mu.Unlock()
	}()
	return m.readBody(w, r)
}

func (m *Meter) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *client.MeterProblem) {
	c := http.NewResponseController(w)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, m.cfg.MaxBody))
	_ = c.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(http.StatusRequestEntityTooLarge, client.BodyTooLarge, fmt.Sprintf("the body has more than %d bytes", large.Limit))
	case err != nil:
		return nil, problem(http.StatusRequestTimeout, client.SlowBody, "the body did not come")
	}
	return body, nil
}

// answerAgain gives an answer that is kept, once the job that it was billed by is durable.
func (m *Meter) answerAgain(w http.ResponseWriter, end admission) {
	if err := m.journal.wait(end.ticket); err != nil {
		m.refuse(w, problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal"))
		return
	}
	m.metrics.again.Inc()
	h := w.Header()
	h.Set("Content-Type", end.kept.media)
	if end.kept.stream {
		h.Set("Trailer", client.StatementHeader)
		w.WriteHeader(end.kept.status)
		m.write(w, end.kept.body)
		h.Set(client.StatementHeader, client.EncodeStatement(end.job))
		return
	}
	h.Set(client.StatementHeader, client.EncodeStatement(end.job))
	h.Set("Content-Length", strconv.Itoa(len(end.kept.body)))
	w.WriteHeader(end.kept.status)
	m.write(w, end.kept.body)
}

// write writes an answer in pieces: who takes none for long has hung up.
func (m *Meter) write(w http.ResponseWriter, body []byte) {
	c := http.NewResponseController(w)
	for len(body) > 0 {
		n := min(len(body), 256<<10)
		_ = c.SetWriteDeadline(time.Now().Add(m.cfg.Stall)) // where the server has deadlines
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
	_ = c.SetWriteDeadline(time.Now().Add(m.cfg.Stall)) // for what is buffered
}

// answer has the back end answer. A renter who asked for a stream and hangs up ends the
// work; of any other answer he may come back for it, so that it is made and billed.
func (m *Meter) answer(w http.ResponseWriter, r *http.Request, run *run) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), m.cfg.Timeout)
	defer cancel()
	if run.request.stream {
		// The back end may still say what a renter who left has had.
		defer context.AfterFunc(r.Context(), func() { m.left(ctx, run, cancel) })()
	}
	began := m.cfg.Now()
	resp, err := m.call(ctx, run.request)
	if err != nil {
		m.backEndFailed(w, run, http.StatusBadGateway, fmt.Sprintf("the back end does not answer: %v", err))
		return
	}
	defer resp.Body.Close()
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch events := media == "text/event-stream"; {
	case events && run.request.stream && resp.StatusCode == http.StatusOK:
		m.stream(w, r, &streaming{run: run, resp: resp, cancel: cancel, began: began})
		return
	case events && resp.StatusCode < 300: // it read the request otherwise than we did
		m.backEndFailed(w, run, http.StatusBadGateway, "it answers with a stream that was not asked for")
		return
	case !events && run.request.stream && resp.StatusCode >= 200 && resp.StatusCode < 300:
		m.noStream(w, run, media) // an SDK's loop over events would end without one
		return
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBody+1))
	switch {
	case err != nil:
		m.backEndFailed(w, run, http.StatusBadGateway, fmt.Sprintf("the back end's answer breaks off: %v", err))
	case len(body) > maxAnswerBody:
		m.backEndFailed(w, run, http.StatusBadGateway, fmt.Sprintf("the back end's answer has more than %d bytes", maxAnswerBody))
	default:
		m.whole(w, run, resp, body, m.cfg.Now().Sub(began))
	}
}

// left ends the back end's work for a renter who hung up, after the while in which it may
// still tell usage; at once where this worker stops.
func (m *Meter) left(ctx context.Context, run *run, cancel func()) {
	if !m.ending.Load() {
		select {
		case <-ctx.Done():
		case <-time.After(m.linger(run)):
		}
	}
	cancel()
}

// linger is how long a back end goes on for a renter who left: only where usage is what is
// billed.
func (m *Meter) linger(run *run) time.Duration {
	if run.model.Unit != proofs.UnitToken {
		return 0
	}
	return m.cfg.Linger
}

// call asks the back end. It gets the model's own name, our authorization, and nothing
// of the renter's headers.
func (m *Meter) call(ctx context.Context, r *request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.sold.base()+r.at.path, bytes.NewReader(r.upgrade))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "ionet-worker")
	if r.sold.Authorization != "" {
		req.Header.Set("Authorization", r.sold.Authorization)
	}
	return m.cfg.Transport.RoundTrip(req)
}

// backEndFailed answers for a back end that gave nothing that could be sold. The address
// of it is ours to know.
func (m *Meter) backEndFailed(w http.ResponseWriter, run *run, status int, why string) {
	m.cfg.Logger.Warn("back end failed", "model", run.model.Name, "reason", why)
	m.release(run) // before the answer: the next try must find the job free
	m.refuse(w, problem(status, client.BackEndFailed, "the back end of model "+run.model.Name+" failed: the request costs nothing"))
}

// noStream answers for a back end that does not know streams.
func (m *Meter) noStream(w http.ResponseWriter, run *run, media string) {
	m.cfg.Logger.Warn("back end failed", "model", run.model.Name, "reason", "it answers stream:true without a stream", "media", media)
	m.release(run) // before the answer: the next try must find the job free
	m.refuse(w, problem(http.StatusBadGateway, client.BackEndFailed,
		"the back end of model "+run.model.Name+" answers stream:true without a stream: ask with stream:false; the request costs nothing"))
}

// whole answers with what a back end gave as a whole.
func (m *Meter) whole(w http.ResponseWriter, run *run, resp *http.Response, body []byte, took time.Duration) {
	switch status := resp.StatusCode; {
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity:
		m.release(run)
		m.metrics.requests.WithLabelValues("back-end-refused").Inc()
		passHeaders(w.Header(), resp.Header)
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		m.backEndFailed(w, run, http.StatusServiceUnavailable, resp.Status)
		return
	case status < 200 || status > 299:
		m.backEndFailed(w, run, http.StatusBadGateway, resp.Status)
		return
	}
	media := resp.Header.Get("Content-Type")
	m.kept.put(run.ask.channel, run.ask.job, &keptAnswer{status: resp.StatusCode, media: media, body: body})
	e, err := m.bill(run, run.request.unitsOf(body, media, took), proofs.ResponseHash(run.ask.salt, body))
	h := w.Header()
	switch {
	case errors.Is(err, errUnbilled):
		m.unbilled(run)
		h.Set(client.UnbilledHeader, "usage-missing")
	case err != nil:
		m.cfg.Logger.Error("job not signed", "error", err)
		m.refuse(w, problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal"))
		return
	default:
		m.metrics.requests.WithLabelValues("billed").Inc()
		h.Set(client.StatementHeader, client.EncodeStatement(e))
	}
	passHeaders(h, resp.Header)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(resp.StatusCode)
	run.leave() // the back end is done, however slowly the renter reads
	m.write(w, body)
}

// unbilled notes an answer that costs nothing, for the back end did not tell what it took.
func (m *Meter) unbilled(run *run) {
	m.release(run)
	m.metrics.requests.WithLabelValues("unbilled").Inc()
	m.cfg.Logger.Warn("answer not billed: the back end tells no usage", "model", run.model.Name, "path", run.request.at.path)
}

// passHeaders hands on what is about the answer and not about a connection, or a cookie,
// or ours.
func passHeaders(to, from http.Header) {
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Openai-Processing-Ms", "Openai-Version", "X-Request-Id"} {
		if v := from.Get(name); v != "" {
			to.Set(name, v)
		}
	}
}

// unitsOf counts what a whole answer is sold by; 0 where the back end does not tell.
func (r *request) unitsOf(body []byte, media string, took time.Duration) uint64 {
	switch r.sold.Unit.Unit {
	case proofs.UnitSecond:
		return seconds(took)
	case proofs.UnitRequest:
		return 1
	case proofs.UnitImage:
		if kind, _, _ := mime.ParseMediaType(media); len(kind) > 6 && kind[:6] == "image/" {
			return 1 // the picture itself
		}
		return uint64(len(parseAnswer(body).Data))
	}
	return parseAnswer(body).usage().tokens
}

// seconds rounds up: what ran, ran for one at least.
func seconds(d time.Duration) uint64 {
	return uint64(max((d+time.Second-1)/time.Second, 1))
}
