package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/ionet-settlement/ionet"
)

// Commitment says how final a state must be that a read may see.
type Commitment string

// The two commitments that we use; state that is only processed tells nothing.
const (
	Confirmed Commitment = "confirmed"
	Finalized Commitment = "finalized"
)

// Config says how to reach a cluster. Only Endpoints is required.
type Config struct {
	Endpoints []string          // http(s) URLs of one cluster; reads prefer the first
	Cluster   ionet.Key         // genesis hash that each endpoint must have; zero: any
	Transport http.RoundTripper // nil: one of our own
	Timeout   time.Duration     // of one call; 10 s when zero
	SendTime  time.Duration     // of one call that sends or simulates, of which there are many; half of Timeout when zero
	Rate      float64           // calls a second that one endpoint gets at most; 0: no limit
	Burst     int               // calls that may come at once under Rate; Rate rounded up when zero
	Watch     []string          // ws(s) URLs for Watch; derived from Endpoints when nil
	Now       func() time.Time  // the clock of the endpoints' health; time.Now when nil
	MaxBody   int64             // largest answer in bytes; 64 MiB when zero
	Pause     time.Duration     // before the endpoints are tried again; 200 ms when zero, doubled each time
	Rounds    int               // how often a read tries all endpoints; 3 when zero
}

// maxRetryAfter bounds how long a Retry-After header can hold us.
const maxRetryAfter = 5 * time.Second

// Client is safe for concurrent use.
type Client struct {
	cfg       Config
	endpoints []*endpoint
	http      *http.Client
	pageSize  int // of histories
}

// New returns a client; it opens no connection yet.
func New(cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("open rpc: no endpoint is given")
	}
	c := &Client{cfg: cfg.withDefaults(), pageSize: maxPage}
	for _, e := range cfg.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("open rpc: endpoint %d is not an http(s) URL", len(c.endpoints)+1)
		}
		to := &endpoint{url: e, host: u.Host}
		if cfg.Rate > 0 {
			to.limit = rate.NewLimiter(rate.Limit(cfg.Rate), c.cfg.Burst)
		}
		c.endpoints = append(c.endpoints, to)
	}
	c.http = &http.Client{Transport: c.cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.SendTime == 0 {
		cfg.SendTime = cfg.Timeout / 2
	}
	if cfg.Burst == 0 {
		cfg.Burst = int(math.Ceil(cfg.Rate))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	if cfg.Pause == 0 {
		cfg.Pause = 200 * time.Millisecond
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 3
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			MaxIdleConns: 64, MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
		}
	}
	return cfg
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// read calls method on the endpoints in turn, the healthy ones first, until one
// answers; an answer that is an error of the request itself is final. One that asked to
// be left alone is called only where all did.
func (c *Client) read(ctx context.Context, out any, method string, params ...any) error {
	var err error
	pause := c.cfg.Pause
	for round := range c.cfg.Rounds {
		if round > 0 {
			if werr := sleep(ctx, max(pause, retryAfter(err))); werr != nil {
				return fmt.Errorf("%w (before: %w)", werr, err)
			}
			pause *= 2
		}
		asked := false
		for i, e := range c.ordered() {
			if c.isPaused(e) && (asked || i < len(c.endpoints)-1) {
				continue
			}
			asked = true
			if err = c.call(ctx, e, out, method, params...); err == nil || !retryable(err) || ctx.Err() != nil {
				return err
			}
		}
	}
	return err
}

// call makes one call to one endpoint, once that has told its cluster.
func (c *Client) call(ctx context.Context, e *endpoint, out any, method string, params ...any) error {
	if err := c.know(ctx, e); err != nil {
		return err
	}
	return c.ask(ctx, e, out, method, params...)
}

// ask makes one call to one endpoint.
func (c *Client) ask(ctx context.Context, e *endpoint, out any, method string, params ...any) error {
	limit := c.cfg.Timeout
	if method == "sendTransaction" || method == "simulateTransaction" {
		limit = c.cfg.SendTime
	}
	err := c.admit(ctx, e)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		began := c.cfg.Now()
		var slot uint64
		slot, err = c.roundTrip(ctx, e, out, method, params)
		c.note(e, began, slot, err)
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", method, e.host, err)
	}
	return nil
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params,omitempty"`
}

type response struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

func (c *Client) roundTrip(ctx context.Context, e *endpoint, out any, method string, params []any) (slot uint64, err error) {
	body, err := json.Marshal(request{"2.0", 1, method, params})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("endpoint is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		var withURL *url.Error // prints the whole endpoint, keys included
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return 0, &TransportError{Cause: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	if err == nil && int64(len(answer)) > c.cfg.MaxBody {
		err = fmt.Errorf("answer has more than %d bytes", c.cfg.MaxBody)
	}
	if err != nil {
		return 0, &TransportError{Status: resp.StatusCode, Cause: err}
	}
	return parseAnswer(resp, answer, out)
}

// parseAnswer reads the envelope. Anything but a result or an error object is
// a TransportError: HTML of a balancer, cut JSON, an empty body.
func parseAnswer(resp *http.Response, answer []byte, out any) (slot uint64, err error) {
	if resp.StatusCode == http.StatusTooManyRequests {
		return 0, &TransportError{Status: resp.StatusCode, After: parseRetryAfter(resp.Header.Get("Retry-After")), Cause: errors.New("too many requests")}
	}
	var r response
	if err := json.Unmarshal(answer, &r); err != nil {
		return 0, &TransportError{Status: resp.StatusCode, Cause: errors.New("answer is not JSON-RPC")}
	}
	switch {
	case r.Error != nil:
		return 0, r.Error
	case resp.StatusCode != http.StatusOK || r.Result == nil || string(r.ID) != "1":
		return 0, &TransportError{Status: resp.StatusCode, Cause: errors.New("answer is not JSON-RPC")}
	}
	slot = contextSlot(r.Result)
	if out == nil {
		return slot, nil
	}
	if err := json.Unmarshal(r.Result, out); err != nil {
		return 0, &TransportError{Status: resp.StatusCode, Cause: fmt.Errorf("result has another form than expected: %w", err)}
	}
	return slot, nil
}

func parseRetryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// everywhere runs f for each endpoint at once; one error is an error of all.
func everywhere[T any](c *Client, f func(*endpoint) (T, error)) ([]T, error) {
	values := make([]T, len(c.endpoints))
	errs := make([]error, len(c.endpoints))
	done := make(chan struct{})
	for i, e := range c.endpoints {
		go func() {
			values[i], errs[i] = f(e)
			done <- struct{}{}
		}()
	}
	for range c.endpoints {
		<-done
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return values, nil
}

// options is the last parameter of most methods; zero fields are left out.
type options struct {
	Commitment     Commitment `json:"commitment,omitempty"`
	MinContextSlot uint64     `json:"minContextSlot,omitempty"`
	Encoding       string     `json:"encoding,omitempty"`
}

// withContext is an answer that tells the slot it was read at.
type withContext[T any] struct {
	Context struct {
		Slot uint64 `json:"slot"`
	} `json:"context"`
	Value T `json:"value"`
}
