package web

import (
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// maxNoise is how many statements of one stream may be no statement at all, or signed
// by nobody: it is read no further.
const maxNoise = 1000

// statements takes envelopes back to back, however many come, and answers them in
// their order. An ack directly after a statement presents the one that the service
// once gave for it.
//
// They are read, handed in and answered a chunk at a time: what is acked is stored,
// and what a torn connection leaves unanswered is sent again. A body of one chunk is
// refused as a whole where it can't be read or nothing of it can be taken; in a longer
// one that becomes known when answers are on their way, so the rest is answered with
// problems, or the stream ends with one.
func (h *handler) statements(w http.ResponseWriter, r *http.Request) {
	in, p := h.openStream(w, r)
	if p != nil {
		p.write(w)
		return
	}
	defer in.close()
	list, p := in.next()
	if p != nil {
		p.write(w)
		return
	}
	results, err := h.service.Submit(r.Context(), list)
	if err != nil {
		h.unavailable(err).write(w)
		return
	}
	if in.done() && len(results) == 1 && results[0].Problem != nil {
		wireProblem(results[0].Problem).write(w)
		return
	}
	t := taking{h: h, in: in, out: newAnswers(w, r, in)}
	t.answer(results)
	t.rest(r)
	t.out.end(t.problem)
}

// taking is a stream whose answers have begun.
type taking struct {
	h       *handler
	in      *stream
	out     *answers
	failed  *problem // the service takes nothing more of it; the rest is answered with this
	problem *problem // why it was not read to its end
	noise   int
}

func (t *taking) answer(results []settlement.Result) {
	for i := range results {
		res := &results[i]
		if res.Problem == nil {
			t.out.addAcked(res)
			continue
		}
		t.out.add(wireRefusal(res))
		if isNoise(res.Problem.Type) {
			t.noise++
		}
	}
	if !t.in.done() { // or it goes out with the end
		t.out.flush()
	}
}

// rest takes the chunks after the first.
func (t *taking) rest(r *http.Request) {
	for t.problem == nil && r.Context().Err() == nil {
		if t.noise > maxNoise {
			t.problem = newProblem(http.StatusUnprocessableEntity, client.TooManyRefused, "Too much of the stream is refused", "body",
				fmt.Sprintf("body: more than %d statements of the stream are malformed or carry no valid signature: the rest was not read", maxNoise))
			return
		}
		var list []settlement.Submitted
		if list, t.problem = t.in.next(); len(list) == 0 {
			return
		}
		if t.failed == nil {
			results, err := t.h.service.Submit(r.Context(), list)
			if err == nil {
				t.answer(results)
				continue
			}
			t.failed = t.h.midway(err)
		}
		for i := range list {
			t.out.add(client.Result{ID: list[i].Envelope.ID(), Status: client.Refused, Problem: &t.failed.Problem})
		}
		t.out.flush()
	}
}

// isNoise reports whether a refusal says that nobody signed this for us.
func isNoise(kind string) bool {
	switch kind {
	case settlement.ProblemMalformedEnvelope, settlement.ProblemMalformedStatement, settlement.ProblemUnknownKind,
		settlement.ProblemWrongSignature, settlement.ProblemWrongNetwork, settlement.ProblemWeakKey:
		return true
	}
	return false
}

// unavailable answers a submission that the service could not take: nobody is
// refused because of it, the sender keeps its statements and asks again.
func (h *handler) unavailable(err error) *problem {
	p := asProblem(h.log, err)
	if p.Kind() == client.Internal {
		p.Status = http.StatusServiceUnavailable
		p.retry(busyRetry)
	}
	return p
}

// midway is unavailable for statements of whose fellows some were answered.
func (h *handler) midway(err error) *problem {
	if p := h.unavailable(err); p.Kind() != client.Internal {
		return p
	}
	return busy("", "the service could not take the statement: send it again in a moment")
}

func wireRefusal(r *settlement.Result) client.Result {
	return client.Result{ID: r.ID, Status: string(r.Status), Problem: &wireProblem(r.Problem).Problem}
}

// openStream checks what concerns the request as a whole.
func (h *handler) openStream(w http.ResponseWriter, r *http.Request) (*stream, *problem) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != client.StatementsMediaType {
		return nil, newProblem(http.StatusUnsupportedMediaType, client.WrongMediaType, "The Content-Type is not accepted", "Content-Type",
			"Content-Type must be "+client.StatementsMediaType)
	}
	named, err := ionet.ParseKey(r.Header.Get(client.NetworkHeader))
	if err != nil || ionet.Hash(named) != h.service.Network().ID() {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemWrongNetwork, client.NetworkHeader,
			"header %s is %q, this service settles network %s", client.NetworkHeader, r.Header.Get(client.NetworkHeader), client.NetworkText(h.service.Network().ID())))
	}
	conn := http.NewResponseController(w)
	begin := func() {
		// Where the connection knows no deadlines the server's own hold.
		_ = conn.SetReadDeadline(time.Now().Add(h.bodyWait))
		_ = conn.SetWriteDeadline(time.Now().Add(h.bodyWait + defaultBodyWait))
	}
	begin()
	end := func(read bool) {
		past := time.Unix(1, 0)
		_ = conn.SetReadDeadline(past)
		if read { // it is still to be told why
			past = time.Now().Add(endedWait)
		}
		_ = conn.SetWriteDeadline(past)
	}
	b, p := openBody(r, h.gates.newHolder(r.Body, end))
	if p != nil {
		b.close()
		return nil, p
	}
	return &stream{body: b, begin: begin, first: true}, nil
}
