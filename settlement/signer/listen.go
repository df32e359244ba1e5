package signer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Listen opens where a signer is asked: "unix:<path>", a socket for the user of this
// process, root and the users named by number in peers, or "https://host:port" with
// mutual TLS 1.3 by config. Peers are for systems that tell who connects.
//
// A socket file that nobody listens on any more, such as a killed signer leaves, is
// replaced; one that somebody listens on is an error.
func Listen(address string, config *tls.Config, peers ...uint32) (net.Listener, error) {
	network, at, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		return listenUnix(at, peers)
	}
	if config == nil || len(config.Certificates) == 0 || config.ClientCAs == nil || config.ClientAuth != tls.RequireAndVerifyClientCert {
		return nil, errors.New("listen: https needs a certificate and the authority whose clients may ask")
	}
	if config, err = clientsOnly(config); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := tls.Listen("tcp", at, config)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func listenUnix(path string, peers []uint32) (net.Listener, error) {
	if len(peers) > 0 && !tellsPeers {
		return nil, errors.New("listen: this system does not tell which user connects: only our own may")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen: %s is there and is no socket", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen: another process listens on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	mode := fs.FileMode(0o600)
	if len(peers) > 0 {
		mode = 0o666 // who may is then told by the connection itself
	}
	l, err := listenWithMode(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ownerOnly{l, append(peers, 0, uint32(os.Geteuid()))}, nil
}

// ownerOnly drops connections of other users, where the system tells who connects.
type ownerOnly struct {
	net.Listener
	users []uint32
}

// Accept waits for a connection of our own user, of root, who can read the keys
// anyway, or of one of the peers.
func (l ownerOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if checkPeer(c, l.users) == nil {
			return c, nil
		}
		c.Close()
	}
}

// Serve answers at l until ctx ends, and then finishes what was asked.
func Serve(ctx context.Context, s *Server, l net.Listener) error {
	server := &http.Server{
		Handler: Handler(s), ErrorLog: discardLog(), MaxHeaderBytes: 1 << 13, ConnState: new(strangers).note,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(wait); err != nil {
		server.Close()
	}
	<-failed
	return nil
}

// maxStrangers is how many connections may be open that have not asked anything yet,
// for which a certificate has to be shown.
const maxStrangers = 64

// strangers are those connections, the oldest first. Where one too many comes the oldest
// makes room: whoever opens many keeps nobody out, and fills no memory.
type strangers struct {
	mu   sync.Mutex
	open []net.Conn
}

// note is an http.Server's ConnState.
func (s *strangers) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(o net.Conn) bool { return o == c })
	if state != http.StateNew {
		return
	}
	if s.open = append(s.open, c); len(s.open) > maxStrangers {
		rawOf(s.open[0]).Close()
		s.open = s.open[1:]
	}
}

// rawOf is the connection below TLS: closing that one waits for nobody.
func rawOf(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// TLSFiles reads what one end of a mutual TLS 1.3 connection needs, PEM: its own
// certificate and key, and the authority that the other end's certificate is from. The
// key file must be its owner's alone. The same configuration serves both ends.
func TLSFiles(certificate, key, authority string) (*tls.Config, error) {
	if err := checkPrivate(key); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read authority: %s holds no certificate", authority)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// checkPrivate refuses a key file that others may read.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("read key: %s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return nil
}

// discardLog: what strangers send to a port is no error of ours.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// clientsOnly has a certificate either serve or ask: signers of one authority can't ask
// each other, or whoever steals one of them would have the others sign.
func clientsOnly(config *tls.Config) (*tls.Config, error) {
	own, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if !isOnly(own, x509.ExtKeyUsageServerAuth) {
		return nil, errors.New("a signer's certificate must have the extended key usage serverAuth and no other: with it, nobody can ask another signer")
	}
	config = config.Clone()
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 || !isOnly(s.PeerCertificates[0], x509.ExtKeyUsageClientAuth) {
			return errors.New("a client's certificate must have the extended key usage clientAuth and no other")
		}
		return nil
	}
	return config, nil
}

func isOnly(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage) == 1 && c.ExtKeyUsage[0] == usage && len(c.UnknownExtKeyUsage) == 0
}
