package web

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
)

// Config says what to serve. Service and Files are required.
type Config struct {
	Service *settlement.Service
	Files   string // folder of the published store; "": Store is read instead
	Store   publish.Reader
	Logger  *slog.Logger // discards when nil
	Now     func() time.Time

	// BodyWait is how long a thousand statements may take to come; 30 s when zero.
	BodyWait time.Duration
}

type handler struct {
	service *settlement.Service
	folder  string
	store   publish.Reader
	log     *slog.Logger
	now     func() time.Time
	clock   ionet.Clock
	heavy   chan struct{} // held by requests that read a whole epoch
	gates   *gates

	bodyWait time.Duration

	outgoing payoutsCache
}

// Handler returns the service's HTTP side.
func Handler(cfg Config) http.Handler { return newHandler(cfg).routes() }

func newHandler(cfg Config) *handler {
	h := &handler{service: cfg.Service, folder: cfg.Files, store: cfg.Store, log: cfg.Logger, now: cfg.Now, clock: cfg.Service.Network().Clock(), heavy: make(chan struct{}, maxHeavy), gates: newGates(), bodyWait: cmp.Or(cfg.BodyWait, defaultBodyWait)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, apiConfig())
	h.operations(api)
	h.renters(api)
	h.delegating(api)
	h.fees(api)
	h.receipts(api)
	h.disputes(api)
	describe(api.OpenAPI())
	mux.HandleFunc("POST /v1/statements", h.statements)
	mux.HandleFunc("GET /v1/network", h.exact("application/toml", h.service.NetworkFile()))
	mux.HandleFunc("GET /v1/policy", h.policy)
	mux.HandleFunc("GET /files/", h.files)
	mux.HandleFunc("GET "+payPrefix+"icon.svg", h.exact("image/svg+xml", payIcon))
	mux.HandleFunc("GET /healthz", h.exact("text/plain; charset=utf-8", []byte("ok\n")))
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.service.Metrics(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", h.page)
	mux.HandleFunc("GET /delegate", delegatePage())
	mux.HandleFunc("/", h.nothing)
	return openToWallets(h.refuseMethods(mux))
}

func apiConfig() huma.Config {
	cfg := huma.DefaultConfig("ionet settlement", "1")
	cfg.DocsPath = ""     // its page loads scripts from elsewhere
	cfg.SchemasPath = ""  // one document: /openapi.json
	cfg.CreateHooks = nil // no $schema field in answers
	cfg.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[problem](), reflect.TypeFor[client.Problem]())
	cfg.Info.Description = "Proofs in, verdicts and payments out. Amounts are strings of base units, keys base58, hashes hexadecimal. Refusals are RFC 9457 problems with a stable type."
	return cfg
}

// exact serves constant bytes.
func (h *handler) exact(media string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(b)
	}
}

// policy serves the exact bytes of the policy in force at the current epoch.
func (h *handler) policy(w http.ResponseWriter, r *http.Request) {
	file, err := h.service.PolicyFile(r.Context())
	if err != nil {
		asProblem(h.log, err).write(w)
		return
	}
	h.exact("application/toml", file)(w, r)
}

// refuseMethods answers a known path with another method as a problem; the
// standard mux would answer in plain text.
func (h *handler) refuseMethods(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "/" || pattern == "" {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				other := r.Clone(r.Context())
				if other.Method = method; method == r.Method {
					continue
				}
				if _, known := mux.Handler(other); known != "/" && known != "" {
					p := newProblem(http.StatusMethodNotAllowed, client.WrongMethod, "The method is not allowed here", "method", r.URL.Path+" takes "+method+", not "+r.Method+".")
					p.headers = http.Header{"Allow": {method}}
					p.write(w)
					return
				}
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// answer makes an operation of a function.
func get[In, Out any](h *handler, api huma.API, path, summary string, f func(context.Context, *In) (Out, error)) {
	register(h, api, http.MethodGet, path, summary, f)
}

func register[In, Out any](h *handler, api huma.API, method, path, summary string, f func(context.Context, *In) (Out, error)) {
	type output struct{ Body Out }
	op := huma.Operation{Method: method, Path: path, Summary: summary, OperationID: huma.GenerateOperationID(method, path, (*Out)(nil)), MaxBodyBytes: 64 << 10}
	huma.Register(api, op, func(ctx context.Context, in *In) (*output, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, asProblem(h.log, err)
		}
		return &output{out}, nil
	})
}

// maxHeavy is how many requests at once may read the verdicts of a whole epoch.
const maxHeavy = 4

// heavily answers as f does, or says that too many such requests run.
func heavily[In, Out any](h *handler, f func(context.Context, *In) (Out, error)) func(context.Context, *In) (Out, error) {
	return func(ctx context.Context, in *In) (out Out, err error) {
		select {
		case h.heavy <- struct{}{}:
			defer func() { <-h.heavy }()
			return f(ctx, in)
		default:
			p := settlement.NewProblem(settlement.ProblemBusy, "", "%d requests for the verdicts of an epoch are being answered: ask again in a moment", maxHeavy)
			p.Retry = time.Second
			return out, p
		}
	}
}
