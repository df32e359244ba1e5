package client

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProxyConfig says how a Purse is offered to programs on this machine. Purse is required.
type ProxyConfig struct {
	Purse  *Purse
	APIKey string       // that callers have to show; none when empty
	Hosts  []string     // names by which it may be called, beside localhost and IP addresses
	Log    *slog.Logger // nil: nothing is logged
}

// FeeHeader tells what an answer cost in base units, WorkerHeader who gave it. A stream has
// the fee in its trailer. JobHeader is the job's id, which its receipt has.
const (
	FeeHeader    = "Ionet-Fee"
	WorkerHeader = "Ionet-Worker"
)

// maxRequest bounds the body of a request, as workers do at least.
const maxRequest = 64 << 20

// ProxyHandler serves OpenAI's API out of a purse: any SDK works with a changed base URL.
//
//	POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/images/generations
//	GET  /v1/models, /v1/models/{model}
//
// Answers are the workers' bytes, errors have OpenAI's form. Whoever can call it spends the
// session's money: pages in a browser can't, for it takes JSON alone, answers no preflight
// and knows no names but its own.
func ProxyHandler(cfg ProxyConfig) http.Handler {
	p := &proxy{cfg: cfg, log: cfg.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	for path := range preferred {
		mux.HandleFunc("POST "+path, p.infer)
	}
	mux.HandleFunc("GET /v1/models", p.models)
	mux.HandleFunc("GET /v1/models/{model...}", p.model)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &PurseError{Status: http.StatusNotFound, Code: "unknown_url", Message: "no such call: " + r.Method + " " + r.URL.Path})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.admit(r); err != nil {
			writeError(w, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type proxy struct {
	cfg ProxyConfig
	log *slog.Logger
}

// admit refuses who is not meant to spend.
func (p *proxy) admit(r *http.Request) *PurseError {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host != "localhost" && net.ParseIP(host) == nil && !slices.Contains(p.cfg.Hosts, host) {
		return &PurseError{Status: http.StatusForbidden, Code: "foreign_host", Message: "this proxy is not called " + host}
	}
	if key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); p.cfg.APIKey != "" && subtle.ConstantTimeCompare([]byte(key), []byte(p.cfg.APIKey)) == 0 {
		return &PurseError{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "the API key is not the one that this proxy was started with"}
	}
	return nil
}

// infer serves one inference.
func (p *proxy) infer(w http.ResponseWriter, r *http.Request) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		writeError(w, &PurseError{Status: http.StatusUnsupportedMediaType, Code: CodeBadRequest, Message: "Content-Type: want application/json"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			writeError(w, &PurseError{Status: http.StatusRequestEntityTooLarge, Code: CodeBadRequest, Message: "the body has more than 64 MiB"})
		}
		return // else the caller is gone
	}
	a, err := p.cfg.Purse.Do(r.Context(), Inference{Path: r.URL.Path, ContentType: "application/json", Body: body})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer a.Body.Close()
	h := w.Header()
	h.Set(JobHeader, a.Job.String())
	h.Set("X-Request-Id", a.Job.String())
	h.Set(WorkerHeader, a.Worker.String())
	if a.Stream {
		p.stream(w, r, a)
		return
	}
	paid, _ := a.Receipt()
	h.Set(FeeHeader, paid.Fee.String())
	p.whole(w, a)
}

// whole passes on an answer that is read already. Errors of workers get OpenAI's form.
func (p *proxy) whole(w http.ResponseWriter, a *Answer) {
	media := a.Header.Get("Content-Type")
	if a.Status < 400 {
		w.Header().Set("Content-Type", cmp.Or(media, "application/json"))
		if body, ok := a.Body.(interface{ Len() int }); ok {
			w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		}
		w.WriteHeader(a.Status)
		io.Copy(w, a.Body)
		return
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return
	}
	if kind, _, _ := mime.ParseMediaType(media); kind == ProblemMediaType || !hasError(body) {
		m := meterProblem(&http.Response{StatusCode: a.Status, Status: http.StatusText(a.Status), Header: a.Header}, body)
		text := cmp.Or(m.Detail, m.Title)
		if kind != ProblemMediaType && len(body) > 0 {
			text = strings.ToValidUTF8(string(body[:min(len(body), 500)]), "?")
		}
		writeError(w, &PurseError{Status: a.Status, Code: cmp.Or(strings.ReplaceAll(strings.TrimPrefix(m.Kind(), "about:blank"), "-", "_"), "back_end"), Message: text})
		return
	}
	w.Header().Set("Content-Type", cmp.Or(media, "application/json"))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.Status)
	w.Write(body)
}

func hasError(body []byte) bool {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	return json.Unmarshal(body, &e) == nil && len(e.Error) > 0
}

// stream passes on what comes as it comes. One that breaks off, or is not what its worker
// signed, ends with an error event, which SDKs raise.
func (p *proxy) stream(w http.ResponseWriter, r *http.Request, a *Answer) {
	h := w.Header()
	h.Set("Content-Type", cmp.Or(a.Header.Get("Content-Type"), "text/event-stream"))
	h.Set("Cache-Control", "no-cache")
	h.Set("Trailer", FeeHeader)
	w.WriteHeader(a.Status)
	flush := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := a.Body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return // the caller is gone: what was produced is paid
			}
			flush.Flush()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if r.Context().Err() != nil {
				return
			}
			p.log.Warn("stream ends with an error", "job", a.Job.String(), "error", err)
			event, _ := json.Marshal(errorBody(&PurseError{Status: http.StatusBadGateway, Code: CodeWorkers, Message: err.Error()}))
			io.WriteString(w, "\n\ndata: "+string(event)+"\n\n")
			break
		}
	}
	paid, _ := a.Receipt()
	h.Set(FeeHeader, paid.Fee.String())
}

// fail answers with an error of the purse.
func (p *proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	var e *PurseError
	if !errors.As(err, &e) {
		e = &PurseError{Status: http.StatusInternalServerError, Code: "internal", Message: err.Error()}
	}
	p.log.Warn("request is refused", "code", e.Code, "reason", e.Message)
	writeError(w, e)
}

// openAIError is the form that SDKs read.
type openAIError struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	} `json:"error"`
}

func errorBody(e *PurseError) (out openAIError) {
	out.Error.Message, out.Error.Code = e.Message, e.Code
	switch {
	case e.Code == CodeReserve:
		out.Error.Type = "insufficient_quota"
	case e.Status == http.StatusTooManyRequests:
		out.Error.Type = "rate_limit_error"
	case e.Status >= 500:
		out.Error.Type = "server_error"
	default:
		out.Error.Type = "invalid_request_error"
	}
	return out
}

func writeError(w http.ResponseWriter, e *PurseError) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Code == CodeLost { // asking again costs again: that is for a person to decide
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(errorBody(e))
}

// listedModel is a model as OpenAI lists it, with what it costs here.
type listedModel struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	OwnedBy string       `json:"owned_by"`
	Offers  []modelPrice `json:"ionet_offers"`
}

type modelPrice struct {
	Worker string `json:"worker"`
	Unit   string `json:"unit"`
	Price  string `json:"price"` // of per units, base units
	Per    uint32 `json:"per"`
}

func (p *proxy) list(ctx context.Context, model string) ([]listedModel, error) {
	offers, err := p.cfg.Purse.Offers(ctx, model)
	if err != nil {
		return nil, &PurseError{Status: http.StatusServiceUnavailable, Code: CodeNoOffers, Message: "list offers: " + err.Error()}
	}
	list := []listedModel{}
	for _, o := range offers {
		i := slices.IndexFunc(list, func(m listedModel) bool { return m.ID == o.Model })
		if i < 0 {
			i = len(list)
			list = append(list, listedModel{ID: o.Model, Object: "model", Created: p.cfg.Purse.session.Issued, OwnedBy: "ionet"})
		}
		list[i].Offers = append(list[i].Offers, modelPrice{o.Worker.String(), o.Unit, o.Price.String(), o.Per})
	}
	return list, nil
}

func (p *proxy) models(w http.ResponseWriter, r *http.Request) {
	list, err := p.list(r.Context(), "")
	if err != nil {
		p.fail(w, r, err)
		return
	}
	writeJSON(w, struct {
		Object string        `json:"object"`
		Data   []listedModel `json:"data"`
	}{"list", list})
}

func (p *proxy) model(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	list, err := p.list(r.Context(), name)
	if err == nil && len(list) == 0 {
		err = &PurseError{Status: http.StatusNotFound, Code: CodeUnknownModel, Message: "nobody offers the model " + strconv.Quote(name)}
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	writeJSON(w, list[0])
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
