package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Config says which service to call. Only Server is required.
type Config struct {
	Server    string            // http(s) URL of the service
	Network   ionet.Hash        // network id; needed to submit statements
	Transport http.RoundTripper // nil: one of our own
	Timeout   time.Duration     // of one attempt; 15 s when zero
	Attempts  int               // how often a call is tried; 4 when zero
	Pause     time.Duration     // before the second attempt, then doubled; 200 ms when zero
}

// Limits of answers in bytes, and of how long a Retry-After can hold a call: with a
// longer one the call ends at once, and its *Problem tells the caller.
const (
	maxAnswer     = 64 << 20
	maxFile       = 1 << 30
	maxRetryAfter = 5 * time.Second
)

// Client calls one service. It is safe for concurrent use.
type Client struct {
	cfg    Config
	base   string
	server string // scheme and host of base
	http   *http.Client
	zip    *compressor
}

// New returns a client; it opens no connection yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("open service: it is not an http(s) URL, such as https://ionetd.example")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("open service: the URL with host %s must have no query and no fragment", u.Host)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 4
	}
	if cfg.Pause == 0 {
		cfg.Pause = 200 * time.Millisecond
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second,
		}
	}
	return &Client{
		cfg: cfg, base: strings.TrimSuffix(cfg.Server, "/"), server: u.Scheme + "://" + u.Host, http: &http.Client{Transport: cfg.Transport}, zip: &compressor{},
	}, nil
}

// Server names the service for messages: scheme and host of its URL. User, password and
// path may be secrets, and are in no error either.
func (c *Client) Server() string { return c.server }

// Network returns the network id that submissions name.
func (c *Client) Network() ionet.Hash { return c.cfg.Network }

// ForNetwork returns a client of the same service for that network.
func (c *Client) ForNetwork(id ionet.Hash) *Client {
	d := *c
	d.cfg.Network = id
	return &d
}

// call describes one request; it is sent as often as the answer stays unknown.
type call struct {
	method, path string
	media        string // of body
	coding       string // Content-Encoding
	read         string // proofs.ReadHeader
	body         []byte
	limit        int64
	timeout      time.Duration // of one attempt; that of the configuration when zero
}

// errUnknown is an outcome that the service did not tell: the call may be repeated.
type errUnknown struct {
	cause error
	after time.Duration
}

func (e *errUnknown) Error() string { return e.cause.Error() }
func (e *errUnknown) Unwrap() error { return e.cause }

// do makes the call until it has an answer and returns the body of a 200.
func (c *Client) do(ctx context.Context, r call) ([]byte, error) {
	pause := c.cfg.Pause
	for attempt := 1; ; attempt++ {
		body, err := c.once(ctx, r)
		var unknown *errUnknown
		if err == nil || !errors.As(err, &unknown) {
			return body, err
		}
		if attempt >= c.cfg.Attempts || unknown.after > maxRetryAfter || ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, unknown.cause)
		}
		wait := time.NewTimer(spread(max(pause, unknown.after)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, unknown.cause)
		}
		pause *= 2
	}
}

// spread lengthens a wait by up to a quarter: callers that were turned away together
// do not come back together.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d/4+1)
}

func (c *Client) once(ctx context.Context, r call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.timeout, c.cfg.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, c.withoutURL(err))
	}
	req.Header.Set("Accept", "application/json, "+ProblemMediaType+", */*")
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	if r.coding != "" {
		req.Header.Set("Content-Encoding", r.coding)
	}
	if r.read != "" {
		req.Header.Set(proofs.ReadHeader, r.read)
	}
	if !c.cfg.Network.IsZero() {
		req.Header.Set(NetworkHeader, NetworkText(c.cfg.Network))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &errUnknown{cause: c.withoutURL(err)}
	}
	defer resp.Body.Close()
	limit := r.limit
	if limit == 0 {
		limit = maxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, &errUnknown{cause: fmt.Errorf("read answer: %w", err)}
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%s %s: answer has more than %d bytes", r.method, r.path, limit)
	case resp.StatusCode == http.StatusOK:
		return body, nil
	}
	return nil, refusal(resp, body)
}

// withoutURL returns the error of a request with the service's name in place of the URL.
func (c *Client) withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("%s: %w", c.server, err)
}

// refusal turns an answer that is not 200 into a *Problem, wrapped in errUnknown
// where another attempt may fare better.
func refusal(resp *http.Response, body []byte) error {
	p := &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != ProblemMediaType || json.Unmarshal(body, p) != nil || p.Type == "" {
		// Not the service itself: a balancer or another program at this address.
		p = &Problem{Type: "about:blank", Status: resp.StatusCode, Title: resp.Status, Detail: "the service's address answers " + resp.Status}
	}
	if d, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		p.RetryAfter = d
	}
	if p.Field == codingField {
		return p // the same bytes fare no better, others may at once
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &errUnknown{cause: p, after: p.RetryAfter}
	}
	return p
}

// retryAfter reads the header, which has seconds or, from some balancers, a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if s, err := strconv.ParseUint(header, 10, 32); err == nil {
		return time.Duration(s) * time.Second, true
	}
	at, err := http.ParseTime(header)
	return max(at.Sub(now), 0), err == nil
}

// get reads a JSON answer into out.
func (c *Client) get(ctx context.Context, out any, path string, args ...any) error {
	return c.json(ctx, call{method: http.MethodGet, path: fmt.Sprintf(path, args...)}, out)
}

// post sends in as JSON and reads the answer into out.
func (c *Client) post(ctx context.Context, in, out any, path string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return c.json(ctx, call{method: http.MethodPost, path: path, media: "application/json", body: body}, out)
}

func (c *Client) json(ctx context.Context, r call, out any) error {
	body, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: answer has another form than expected: %w", r.method, r.path, err)
	}
	return nil
}
