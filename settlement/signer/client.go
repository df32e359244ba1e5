package signer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
)

// ClientConfig is how to reach a signer process.
type ClientConfig struct {
	Address string      // "unix:<path>" or "https://host:port"
	Network ionet.Hash  // network id; a signer of another one answers with an error
	TLS     *tls.Config // for https: certificate of ours and the authority of theirs, see TLSFiles
	Timeout time.Duration
}

// defaultTimeout is far above what a batch takes and below a blockhash's life.
const defaultTimeout = 5 * time.Second

// Client asks a signer process. It implements Signer.
type Client struct {
	address string
	base    string
	network ionet.Key
	http    *http.Client
}

// NewClient checks the address; the signer need not be there yet.
func NewClient(c ClientConfig) (*Client, error) {
	network, address, err := splitAddress(c.Address)
	if err != nil {
		return nil, err
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	t := &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSClientConfig: c.TLS}
	base := "https://" + address
	if network == "unix" {
		base = "http://signer"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		}
	} else if c.TLS == nil || len(c.TLS.Certificates) == 0 || c.TLS.RootCAs == nil {
		return nil, fmt.Errorf("signer %s: https needs a certificate of ours and the authority that theirs is from", c.Address)
	}
	refuseRedirects := func(*http.Request, []*http.Request) error { return errors.New("a signer does not redirect") }
	return &Client{
		address: c.Address, base: base, network: ionet.Key(c.Network),
		http: &http.Client{Transport: t, Timeout: timeout, CheckRedirect: refuseRedirects},
	}, nil
}

// splitAddress returns "unix" and a path, or "tcp" and host:port.
func splitAddress(address string) (network, at string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" {
		return "unix", path, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return "", "", fmt.Errorf("signer address %.100q is neither unix:<path> nor https://host:port", address)
	}
	return "tcp", u.Host, nil
}

// Address returns where the signer is asked.
func (c *Client) Address() string { return c.address }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Keys implements Signer.
func (c *Client) Keys(ctx context.Context) ([]ionet.Key, error) {
	a, err := c.ask(ctx, pathKeys, question{})
	return a.Keys, err
}

// LaneKeys implements Signer; more than MaxLaneKeys are asked for in turns.
func (c *Client) LaneKeys(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	keys := make([]ionet.Key, 0, len(cs))
	for len(cs) > 0 {
		part := cs[:min(len(cs), MaxLaneKeys)]
		a, err := c.ask(ctx, pathLaneKeys, question{Cs: part})
		if err != nil {
			return nil, err
		}
		if len(a.Keys) != len(part) {
			return nil, fmt.Errorf("ask signer %s: %d lane keys came, %d were asked for", c.address, len(a.Keys), len(part))
		}
		keys, cs = append(keys, a.Keys...), cs[len(part):]
	}
	return keys, nil
}

// Sign implements Signer; more than MaxRequests are asked for in turns.
func (c *Client) Sign(ctx context.Context, list []Request) ([]Signed, error) {
	out := make([]Signed, 0, len(list))
	for len(list) > 0 {
		part := list[:min(len(list), MaxRequests)]
		var q question
		for _, r := range part {
			q.Requests = append(q.Requests, wireRequest(r))
		}
		a, err := c.ask(ctx, pathSign, q)
		if err != nil {
			return nil, err
		}
		if len(a.Signed) != len(part) {
			return nil, fmt.Errorf("ask signer %s: %d answers came, %d were asked for", c.address, len(a.Signed), len(part))
		}
		for _, w := range a.Signed {
			s, err := w.signed()
			if err != nil {
				return nil, fmt.Errorf("ask signer %s: %w", c.address, err)
			}
			out = append(out, s)
		}
		list = list[len(part):]
	}
	return out, nil
}

func (c *Client) ask(ctx context.Context, path string, q question) (answer, error) {
	q.Network = c.network
	body, err := json.Marshal(q)
	if err != nil {
		return answer{}, fmt.Errorf("ask signer %s: %w", c.address, err)
	}
	a, err := c.post(ctx, path, body)
	if err != nil {
		return answer{}, fmt.Errorf("ask signer %s: %w", c.address, err)
	}
	return a, nil
}

func (c *Client) post(ctx context.Context, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without our stand-in of a host name
		}
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return answer{}, fmt.Errorf("status %d, and no answer of a signer", res.StatusCode)
	}
	switch {
	case a.Problem != nil && a.Problem.Rule == "no-secret":
		return answer{}, ErrNoSecret
	case a.Problem != nil:
		return answer{}, a.Problem
	case res.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("status %d", res.StatusCode)
	}
	return a, nil
}
