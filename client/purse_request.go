package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Inference is a request to a worker's OpenAI-compatible API.
type Inference struct {
	Path        string // such as /v1/chat/completions, without query
	ContentType string
	Body        []byte       // JSON; it goes out as it is
	Most        ionet.Amount // that it may cost; PurseConfig.Most when zero

	Model string // of the body; read sets the rest
	ask   asked
}

// asked is what the price of a request depends on.
type asked struct {
	Model     string  `json:"model"`
	Stream    bool    `json:"stream"`
	MaxTokens *uint64 `json:"max_tokens"`
	MaxNew    *uint64 `json:"max_completion_tokens"`
	N         *uint64 `json:"n"`
	Options   *struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// Paths that a Purse sends requests to.
const (
	PathChat        = "/v1/chat/completions"
	PathCompletions = "/v1/completions"
	PathEmbeddings  = "/v1/embeddings"
	PathImages      = "/v1/images/generations"
)

// preferred lists the units by which a path may be paid, the best first.
var preferred = map[string][]proofs.Unit{
	PathChat:        {proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond},
	PathCompletions: {proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond},
	PathEmbeddings:  {proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond},
	PathImages:      {proofs.UnitImage, proofs.UnitRequest, proofs.UnitSecond},
}

// preference is the rank of a unit for the request, below 0 for one that it can't have.
func (in *Inference) preference(u proofs.Unit) int { return slices.Index(preferred[in.Path], u) }

// read takes from the body what the price depends on.
func (in *Inference) read() error {
	refuse := func(format string, args ...any) error {
		return &PurseError{Status: http.StatusBadRequest, Code: CodeBadRequest, Message: fmt.Sprintf(format, args...)}
	}
	if preferred[in.Path] == nil {
		return refuse("%s is no path of inferences", in.Path)
	}
	if err := json.Unmarshal(in.Body, &in.ask); err != nil {
		return refuse("the body is no JSON object as OpenAI's API has it: %v", err)
	}
	if in.Model = in.ask.Model; in.Model == "" {
		return refuse("model is missing: which one? GET /v1/models lists those that are offered")
	}
	return nil
}

// templateTokens is what workers add to a prompt's bytes for a model's chat template.
const templateTokens = 512

// guess is what a request may cost by what its body says: a token has a byte at least. The worker tells where that is too little; what it adds for requests that name no
// maximum is remembered as extra.
func (in *Inference) guess(m proofs.OfferModel, extra ionet.Amount) ionet.Amount {
	n, units := uint64(1), uint64(1)
	if in.ask.N != nil {
		n = min(max(*in.ask.N, 1), 1<<10)
	}
	switch m.Unit {
	case proofs.UnitToken:
		units = uint64(len(in.Body)) + templateTokens
		if most, named := in.maximum(); named {
			units += n * min(most, 1<<32)
		}
	case proofs.UnitImage:
		units = n
	}
	fee, err := proofs.Fee(units, m.Price, m.Per)
	if err != nil {
		return ionet.Amount{}
	}
	if sum, err := fee.Add(extra); err == nil {
		return sum
	}
	return fee
}

// maximum is how many tokens one answer may have, if the request says so. Embeddings
// make none.
func (in *Inference) maximum() (uint64, bool) {
	switch {
	case in.Path == PathEmbeddings:
		return 0, true
	case in.ask.MaxNew != nil:
		return *in.ask.MaxNew, true
	case in.ask.MaxTokens != nil:
		return *in.ask.MaxTokens, true
	}
	return 0, false
}

// maxWorkers is how many workers are tried for one request, maxTries how often one of them
// is asked, maxHanded how often it is given a channel that it says it does not know,
// longestWait the longest that one can ask for.
const (
	maxWorkers  = 8
	maxTries    = 8
	maxHanded   = 2
	longestWait = time.Minute
)

// Do has a request served and paid. The answer is the worker's; one with a status of 400 or
// above costs nothing unless it has a fee. The caller closes its body. An error is a
// *PurseError, or the context's.
func (p *Purse) Do(ctx context.Context, in Inference) (*Answer, error) {
	if err := in.read(); err != nil {
		return nil, err
	}
	if in.Most.IsZero() {
		in.Most = p.cfg.Most
	}
	if p.cfg.Now().Unix() >= p.session.Expires {
		return nil, &PurseError{Status: http.StatusPaymentRequired, Code: CodeSession, Message: fmt.Sprintf("the session expired at %s: open a new one", time.Unix(p.session.Expires, 0).UTC().Format(time.RFC3339))}
	}
	offers, err := p.candidates(ctx, &in)
	if err != nil {
		return nil, err
	}
	var faults []*workerFault
	var refusal *PurseError
	var foreign *Answer // what a worker that we do not know says against the request
	reach, tries := &reach{purse: p, found: map[ionet.Key]error{}}, 0
	for i, o := range offers {
		if tries == maxWorkers {
			break
		}
		a, err := (*Answer)(nil), reach.check(ctx, offers[i:])
		if err == nil {
			tries++
			a, err = p.serve(ctx, &in, o)
		}
		if err == nil && p.stands(a) {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var fault *workerFault
		switch {
		case err == nil:
			p.setBack(&workerFault{worker: o.worker})
			if foreign == nil {
				foreign = a
			} else {
				a.Body.Close()
			}
		case errors.As(err, &fault):
			p.log.Warn("another worker is tried", "worker", o.worker.String(), "reason", fault.reason)
			p.setBack(fault)
			faults = append(faults, fault)
		case !errors.As(err, &refusal):
			return nil, &PurseError{Status: http.StatusServiceUnavailable, Code: CodeWorkers, Message: err.Error(), RetryAfter: time.Second}
		case refusal.Code != CodeAboveMost: // another worker may ask for less
			return nil, refusal
		}
	}
	if foreign != nil {
		return foreign, nil
	}
	return nil, failed(faults, refusal)
}

// stands reports whether an answer is the caller's. One that costs nothing and refuses the
// request, by a worker that has never served us, is asked for elsewhere first: it costs that
// worker nothing to refuse all.
func (p *Purse) stands(a *Answer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, paid := a.Receipt()
	return paid || a.Stream || a.Status < 400 || p.isKnown(a.Worker)
}

// failed sums up why no worker served a request.
func failed(faults []*workerFault, refusal *PurseError) *PurseError {
	if refusal != nil {
		return refusal
	}
	var texts []string
	busy, after := true, time.Second
	for _, f := range faults {
		busy, after = busy && f.busy, max(after, f.after)
		if len(texts) < maxWorkers {
			texts = append(texts, f.Error())
		}
	}
	if busy {
		return &PurseError{Status: http.StatusTooManyRequests, Code: CodeBusy, Message: strings.Join(texts, "; "), RetryAfter: after}
	}
	return &PurseError{Status: http.StatusBadGateway, Code: CodeWorkers, Message: strings.Join(texts, "; ")}
}

// ticket is one job: its id goes with the request however often that is sent.
type ticket struct {
	job   ID
	offer workerOffer
	in    *Inference
	ch    *purseChannel
	sent  *sentRequest
	known bool // the worker has served us before

	patience time.Duration // how long the worker may send nothing
	required ionet.Amount  // what the worker asked the voucher to cover
	handed   int           // how often it said that it does not know the channel
}

// serve has one worker serve the request.
func (p *Purse) serve(ctx context.Context, in *Inference, o workerOffer) (*Answer, error) {
	t := &ticket{offer: o, in: in, patience: p.cfg.Patience, sent: &sentRequest{
		Path: in.Path, Model: o.model.Name, Unit: o.model.Unit.String(), Price: o.model.Price, Per: o.model.Per, Most: in.Most, Time: p.cfg.Now().Unix(),
	}}
	rand.Read(t.job[:]) // never fails
	rand.Read(t.sent.Salt[:])
	t.sent.Request = proofs.RequestHash(t.sent.Salt, in.Path, in.Body)
	p.mu.Lock()
	t.sent.Bound = smaller(in.guess(o.model, p.extra[t.habit()]), in.Most)
	t.known = p.isKnown(o.worker)
	p.mu.Unlock()
	if !t.known {
		t.patience = min(t.patience, strangerPatience)
	}
	failures, waited := 0, time.Duration(0)
	for tries := 0; tries < maxTries; tries++ {
		cumulative, err := p.authorise(ctx, t)
		if err != nil {
			return nil, p.giveUp(t, err)
		}
		resp, err := p.post(ctx, t, cumulative)
		if err != nil { // whether the worker has it is not known: the same job again, or ask later
			var silent *silentError
			if failures++; failures >= 2 || !t.known || errors.As(err, &silent) || sleep(ctx, 100*time.Millisecond) != nil {
				p.unsure(t)
				return nil, &workerFault{worker: o.worker, reason: err.Error()}
			}
			continue
		}
		media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if media != ProblemMediaType && (resp.StatusCode < 300 || resp.Header.Get(StatementHeader) != "") {
			return p.answer(ctx, t, resp)
		}
		body, err := readAtMost(resp.Body, maxWorkerAnswer)
		resp.Body.Close()
		if err != nil {
			p.unsure(t)
			return nil, &workerFault{worker: o.worker, reason: "read its answer: " + err.Error()}
		}
		wait, err := p.refused(ctx, t, cumulative, meterProblem(resp, body), resp.Header.Get(UnbilledHeader) != "")
		if err != nil {
			var passed *passedOn
			if errors.As(err, &passed) {
				return unpaid(t, resp, body), nil
			}
			return nil, err
		}
		if wait > 0 {
			if waited += wait; waited > t.patience {
				p.unsure(t)
				return nil, &workerFault{worker: o.worker, reason: "an earlier attempt at the same job does not end"}
			}
			tries--
			if err := sleep(ctx, wait); err != nil {
				p.unsure(t)
				return nil, err
			}
		}
	}
	return nil, p.giveUp(t, &workerFault{worker: o.worker, reason: fmt.Sprintf("it asked %d times for more", maxTries)})
}

// sleep waits, or fails when the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
