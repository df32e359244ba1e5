package signer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
)

// serving serves s at address until the test ends and returns a client of it.
func serving(t *testing.T, w *world, s *Server, address string, server, client *tls.Config) *Client {
	t.Helper()
	l, err := Listen(address, server)
	if err != nil {
		t.Fatal(err)
	}
	if server != nil {
		address = "https://" + l.Addr().String()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, s, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c, err := NewClient(ClientConfig{Address: address, Network: w.Network.ID(), TLS: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// socket is a path short enough for a socket's address.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "sock")
}

// A client answers as the server itself does.
func TestClientOverSocket(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, journalPath(t))
	path := socket(t)
	c := serving(t, w, s, "unix:"+path, nil, nil)
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the socket is %v, %v", info.Mode(), err)
		}
	}
	checkClient(t, w, s, c)
	if _, err := Listen("unix:"+path, nil); err == nil {
		t.Error("two signers listen on one socket")
	}
	stranger, err := NewClient(ClientConfig{Address: "unix:" + path, Network: ionet.Hash{1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Keys(t.Context()); err == nil || !strings.Contains(err.Error(), "network") {
		t.Errorf("a service of another network is answered: %v", err)
	}
}

func checkClient(t *testing.T, w *world, s *Server, c *Client) {
	t.Helper()
	keys, err := c.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := s.Keys(t.Context()); len(keys) != len(want) || keys[0] != want[0] {
		t.Errorf("got keys %v, want %v", keys, want)
	}
	pay := w.first("pay-0")
	many := make([]ionet.Hash, 2*MaxLaneKeys+1)
	for i := range many {
		many[i] = ionet.HashOf(hashed("c", i))
	}
	many[1500] = pay.C
	lanes, err := c.LaneKeys(t.Context(), many)
	if err != nil || len(lanes) != len(many) || lanes[1500] != w.Keys.Secret.Public(pay.C) {
		t.Errorf("%d lane keys, %v", len(lanes), err)
	}
	mustSign(t, c, ask(t, w.payout(pay, 1, 2), pay))
	mustRefuse(t, c, "window", ask(t, w.payout(pay, 10_001), pay))
	var list []Request
	for range MaxRequests + 1 {
		list = append(list, ask(t, w.skip(pay), pay))
	}
	if got := sign(t, c, list...); len(got) != len(list) {
		t.Errorf("%d answers to %d requests", len(got), len(list))
	}
}

func TestSocketOfAKilledSignerIsReplaced(t *testing.T) {
	path := socket(t)
	l, err := Listen("unix:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.(ownerOnly).Listener.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = Listen("unix:"+path, nil); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:"+path, nil); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}

// Whoever connects is told by the kernel, whatever the socket's mode.
func TestPeersOfASocket(t *testing.T) {
	path := socket(t)
	if !tellsPeers {
		if _, err := Listen("unix:"+path, nil, 1); err == nil {
			t.Error("peers are taken where nobody tells who connects")
		}
		return
	}
	l, err := Listen("unix:"+path, nil, 12345)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode of a socket with peers is %v, %v", info.Mode(), err)
	}
	own := uint32(os.Geteuid())
	if users := l.(ownerOnly).users; !slices.Contains(users, own) || !slices.Contains(users, 12345) || !slices.Contains(users, 0) {
		t.Errorf("users are %d", users)
	}
	dialed := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Error(err)
		}
		dialed <- c
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer (<-dialed).Close()
	if err := checkPeer(c, []uint32{own}); err != nil {
		t.Error(err)
	}
	if err := checkPeer(c, []uint32{own + 1}); err == nil {
		t.Error("another user passes")
	}
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, dir: t.TempDir(), key: key}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue makes a certificate of name and returns the configuration of who has it and
// trusts the authority trusted.
func (a *authority) issue(name string, trusted *authority, usage ...x509.ExtKeyUsage) *tls.Config {
	a.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	config, err := TLSFiles(a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", private), filepath.Join(trusted.dir, "ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	return config
}

func TestClientOverMutualTLS(t *testing.T) {
	w := newWorld(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	const serves, asks = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	server := ours.issue("signer", ours, serves)
	s := w.server(t, journalPath(t))
	c := serving(t, w, s, "https://127.0.0.1:0", server, ours.issue("service", ours, asks))
	checkClient(t, w, s, c)
	for name, config := range map[string]*tls.Config{
		"another authority's client":  theirs.issue("stranger", ours, asks),
		"a client that trusts others": ours.issue("other", theirs, asks),
		"another signer":              ours.issue("co-signer", ours, serves),
		"a certificate for both":      ours.issue("both", ours, serves, asks),
		"a certificate for anything":  ours.issue("any", ours),
		"an older TLS":                older(ours.issue("old", ours, asks)),
	} {
		bad, err := NewClient(ClientConfig{Address: c.Address(), Network: w.Network.ID(), TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bad.Keys(t.Context()); err == nil {
			t.Errorf("%s is answered", name)
		}
		bad.Close()
	}
	if _, err := NewClient(ClientConfig{Address: c.Address(), TLS: &tls.Config{}}); err == nil {
		t.Error("a client without a certificate is made")
	}
	for _, usages := range [][]x509.ExtKeyUsage{nil, {asks}, {serves, asks}} {
		if l, err := Listen("https://127.0.0.1:0", ours.issue("server", ours, usages...)); err == nil {
			l.Close()
			t.Errorf("a signer listens with a certificate of usages %v, by which it could ask others", usages)
		}
	}
	if _, err := Listen("https://127.0.0.1:0", &tls.Config{Certificates: server.Certificates}); err == nil {
		t.Error("a signer listens without asking for certificates")
	}
}

func older(c *tls.Config) *tls.Config {
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	return c
}

func TestKeyFilesOfTLSArePrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode there")
	}
	a := newAuthority(t)
	a.issue("signer", a)
	key := filepath.Join(a.dir, "signer.key")
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := TLSFiles(filepath.Join(a.dir, "signer.pem"), key, filepath.Join(a.dir, "ca.pem")); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "unix:", "http://a:1", "https://a", "https://a:1/x", "https://u:p@a:1", "a:1", "https://a:1?x=y"} {
		if _, err := NewClient(ClientConfig{Address: bad, TLS: &tls.Config{}}); err == nil {
			t.Errorf("address %q is taken", bad)
		}
	}
}

// A signer that answers nonsense, or nothing, is an error in time.
func TestClientOfABadSigner(t *testing.T) {
	for name, answer := range map[string]string{
		"html":    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
		"cut":     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"keys\":",
		"nothing": "",
		"empty":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"moved":   "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 1<<16))
					c.Write([]byte(answer))
					c.Close()
				}
			}()
			c, err := NewClient(ClientConfig{Address: "unix:" + path, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got, err := c.Sign(t.Context(), []Request{{Message: []byte{1}}}); err == nil {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCoSigner(t *testing.T) {
	w := newWorld(t)
	cosigner := func(c *ServerConfig) { c.Ring = NewRing(nil, w.Keys.Fees) }
	s := w.server(t, journalPath(t), cosigner)
	c := serving(t, w, s, "unix:"+socket(t), nil, nil)
	if _, err := c.LaneKeys(t.Context(), []ionet.Hash{{1}}); !errors.Is(err, ErrNoSecret) {
		t.Errorf("lane keys of a co-signer: %v", err)
	}
	p5, p9 := w.at("pay-0", 5), w.at("pay-0", 9)
	others := []ionet.Key{w.Network.Keys.Operator, w.Keys.Secret.Public(p5.C)}
	mustSign(t, c, ask(t, w.withdrawal(p5, 9), p5), others...)
	mustRefuse(t, c, "signers", ask(t, w.payout(p5, 9), p5)) // none of its keys
	// It is not asked at each position, so it can't know what leads to the next.
	mustSign(t, c, ask(t, w.withdrawal(p9, 9), p9), w.Network.Keys.Operator, w.Keys.Secret.Public(p9.C))
	mustRefuse(t, c, "past", ask(t, w.withdrawal(p5, 9), p5))
	mustRefuse(t, c, "window", ask(t, w.withdrawal(p9, 4_000), p9))
}
