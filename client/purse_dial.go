package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// insideNets are what IsPrivate, IsLoopback and their like leave out of the addresses that
// are not the Internet's: shared space of providers, protocol assignments, benchmarks,
// reserved ones, and IPv4 behind translators.
var insideNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isInside reports whether an address is of this machine or of a network that the Internet
// does not reach.
func isInside(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(insideNets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// insideError reports an endpoint that leads into the renter's own network: whoever signs
// an offer would have the purse post there.
type insideError struct{ address string }

func (e *insideError) Error() string {
	return fmt.Sprintf("its endpoint leads to %s, which is no address of the Internet: --allow-private uses such workers", e.address)
}

// workerTransport is the way to workers. It looks at the address that a name led to when
// it connects, so no name is looked up twice. Behind a proxy of the environment that one
// looks names up, and only addresses that stand in the endpoint can be refused.
type workerTransport struct {
	direct, proxied *http.Transport
	inside          func() bool // whether addresses inside are good
}

func newWorkerTransport(inside func() bool) *workerTransport {
	t := &workerTransport{inside: inside}
	// What is hashed are the bytes as the worker sent them, so nothing unpacks them.
	t.direct = &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, Control: t.control}).DialContext,
	}
	t.proxied = t.direct.Clone()
	t.proxied.Proxy, t.proxied.DialContext = http.ProxyFromEnvironment, (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	return t
}

// control refuses an address before anything is sent to it.
func (t *workerTransport) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if isInside(a.Addr()) && !t.inside() {
		return &insideError{address}
	}
	return nil
}

// RoundTrip sends one request.
func (t *workerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	by, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, err
	}
	if by == nil {
		return t.direct.RoundTrip(req)
	}
	host := req.URL.Hostname()
	a, err := netip.ParseAddr(host)
	if (err == nil && isInside(a) || host == "localhost" || strings.HasSuffix(host, ".localhost")) && !t.inside() {
		return nil, &insideError{host}
	}
	return t.proxied.RoundTrip(req)
}

// CloseIdleConnections lets http.Client close what is idle.
func (t *workerTransport) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// isInsideToo reports whether the service itself is inside, as on a machine that runs a
// whole network: then workers may be. It is looked up once.
func isInsideToo(server string) func() bool {
	return sync.OnceValue(func() bool {
		u, err := url.Parse(server)
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		return err == nil && len(list) > 0 && !slices.ContainsFunc(list, func(a netip.Addr) bool { return !isInside(a) })
	})
}

// checkEndpoint checks where an offer says that its worker is. A "?" or "#" at its end
// would take the path of a call away.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(endpoint, "?#") {
		return fmt.Errorf("endpoint %q is not an http(s) URL without query", endpoint)
	}
	return nil
}

// patience ends a call in which the worker sends nothing for that long: not its answer's
// beginning, nor more of it.
type patience struct {
	d     time.Duration
	timer *time.Timer
	end   context.CancelCauseFunc
}

// silentError is the cause of a call that ended so.
type silentError struct{ d time.Duration }

func (e *silentError) Error() string { return fmt.Sprintf("it sent nothing for %s", e.d) }

func newPatience(ctx context.Context, d time.Duration) (context.Context, *patience) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, &patience{d: d, end: end, timer: time.AfterFunc(d, func() { end(&silentError{d}) })}
}

func (p *patience) over() {
	p.timer.Stop()
	p.end(context.Canceled)
}

// patientBody is an answer's body that must not stand still.
type patientBody struct {
	io.ReadCloser
	ctx      context.Context
	patience *patience
}

func (b *patientBody) Read(to []byte) (int, error) {
	b.patience.timer.Reset(b.patience.d)
	n, err := b.ReadCloser.Read(to)
	b.patience.timer.Stop() // a caller may take its time
	if err != nil && err != io.EOF {
		err = cmp.Or(silence(b.ctx), err)
	}
	return n, err
}

func (b *patientBody) Close() error {
	err := b.ReadCloser.Close()
	b.patience.over()
	return err
}

// silence is the error of a call that ended because nothing came, nil for another end.
func silence(ctx context.Context) error {
	if e, ok := context.Cause(ctx).(*silentError); ok {
		return e
	}
	return nil
}
