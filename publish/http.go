package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HTTP reads a store behind a web server: GET <base>/<name>.
type HTTP struct {
	base   string
	client *http.Client
	limit  int64
}

// NewHTTP returns a reader of the store below base, an http(s) URL without
// query. transport may be nil for one with time-outs of its own.
func NewHTTP(base string, transport http.RoundTripper) (*HTTP, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("open store: it is not a URL") // err would repeat it, a key in it too
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("open store: the URL of host %q is not http(s) without query", u.Host)
	}
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 30 * time.Second,
		}
	}
	return &HTTP{strings.TrimSuffix(base, "/"), &http.Client{Transport: transport, Timeout: 5 * time.Minute}, MaxSize}, nil
}

// Get returns the file of that name. Only a 404 or 410 is ErrNotFound; any
// other trouble means that the answer is not known.
func (h *HTTP) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := h.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (h *HTTP) get(ctx context.Context, name string) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readLimited(resp.Body, h.limit)
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("%s answers %s", req.URL.Redacted(), resp.Status)
}
