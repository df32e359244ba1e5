package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// ErrPurseInUse reports a purse's folder that another process uses.
var ErrPurseInUse = errors.New("another process has this purse: one purse alone knows what its vouchers cover")

// PurseConfig says whose money a Purse spends, and how much of it at a time. Service,
// Network, Key, Session and Dir are required.
type PurseConfig struct {
	Service *Client
	Network *ionet.Network
	Key     ed25519.PrivateKey // the session key
	Session proofs.Envelope    // the session, signed by the renter's wallet
	Dir     string             // made where it is not there; nobody else may use it

	Most       ionet.Amount // one request may cost; a hundredth of the reserve when zero
	First      ionet.Amount // limit of a channel to a worker that has served us, a sixteenth of it to others; a hundredth of the reserve when zero
	Caps       []PriceCap   // beside those of the session; of a model without one any price that the session allows
	Workers    []ionet.Key  // the only ones to use; any when empty
	Again      []ionet.Key  // workers to use again that were left; what they did stays as evidence
	KeepBodies bool         // with the receipts, also requests and answers

	// AllowPrivate lets workers be at addresses that are not the Internet's. They may also
	// be where the service's own address is such a one.
	AllowPrivate bool
	Patience     time.Duration     // how long a worker may send nothing; 5 min when zero
	Transport    http.RoundTripper // to workers; nil: one of our own
	Now          func() time.Time
	Log          *slog.Logger // nil: nothing is logged
}

// Purse pays workers from one session: it picks offers, opens channels, signs vouchers,
// checks what workers sign and keeps the receipts. It is safe for concurrent use.
//
// What a worker can take at most is what the vouchers of its channel cover, so a purse
// signs for no more than is known to be spent and what the running requests may cost. It
// knows that across restarts: no voucher, opening or request leaves before the journal has
// it. An answer that was lost is asked for under the id of its job until the worker says
// what became of it.
//
// Its folder:
//
//	lock        held while a process has the purse
//	journal     what was signed and what became of it, JSON lines
//	receipts/   a file for each day (UTC) of JSON lines: KeptReceipt
//	evidence/   a file for each answer that was not what its worker signed
//	bodies/     <job>.request and <job>.answer, where PurseConfig.KeepBodies is set
type Purse struct {
	cfg     PurseConfig
	session proofs.Session
	id      ionet.Hash // of the session
	public  ionet.Key  // the session key
	lock    *os.File
	journal *purseJournal
	kept    *receiptFiles
	http    *http.Client
	log     *slog.Logger

	mu       sync.Mutex
	channels map[ionet.Key]*purseChannel
	left     map[ionet.Key]string    // workers that are used no more, and why
	resting  map[ionet.Key]*rest     // workers that did not answer
	served   map[ionet.Key]bool      // workers that did, since this start
	explored time.Time               // when a stranger was last tried before those that we know
	extra    map[string]ionet.Amount // see purse_request.go
	market   market
	tidied   int64 // size of the journal when it was last rewritten

	room    *room         // for answers
	opening chan struct{} // holds one token: one channel is opened or topped up at a time
	settle  chan struct{} // wakes the mending loop
	stop    context.CancelFunc
	done    chan struct{}
}

// OpenPurse reads the folder and checks the session. It calls nobody yet.
func OpenPurse(cfg PurseConfig) (*Purse, error) {
	p := &Purse{
		cfg: cfg, channels: map[ionet.Key]*purseChannel{}, left: map[ionet.Key]string{}, resting: map[ionet.Key]*rest{}, served: map[ionet.Key]bool{}, room: newRoom(maxRoom), extra: map[string]ionet.Amount{},
		opening: make(chan struct{}, 1), settle: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if err := p.configure(); err != nil {
		return nil, fmt.Errorf("open purse: %w", err)
	}
	if err := p.open(); err != nil {
		if p.lock != nil {
			unlockPurse(p.lock)
		}
		return nil, fmt.Errorf("open purse %s: %w", cfg.Dir, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.mend(ctx)
	return p, nil
}

// configure checks the session and sets what was left zero.
func (p *Purse) configure() error {
	c, s := &p.cfg, &p.cfg.Session
	if len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("the session key is missing")
	}
	network := c.Network.ID()
	c.Service = c.Service.ForNetwork(network)
	p.public, p.id = ionet.Key(c.Key.Public().(ed25519.PublicKey)), s.ID()
	if s.Kind != proofs.KindSession {
		return fmt.Errorf("the session's statement is a %s", s.Kind)
	}
	if err := s.Verify(network); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	var err error
	if p.session, err = proofs.ParseSession(network, s.Signer, s.Body); err != nil {
		return err
	}
	if p.session.Key != p.public {
		return fmt.Errorf("the session is of key %s, not of %s", p.session.Key, p.public)
	}
	hundredth := ionet.MustAmount(max(p.session.Reserve.Base()/100, 1))
	if c.Most.IsZero() {
		c.Most = hundredth
	}
	if c.First.IsZero() {
		c.First = hundredth
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if p.log = c.Log; p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Minute
	}
	if c.Transport == nil {
		inside := isInsideToo(c.Service.server)
		if c.AllowPrivate {
			inside = func() bool { return true }
		}
		c.Transport = newWorkerTransport(inside)
	}
	p.http = &http.Client{Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

// open takes the lock and reads the journal.
func (p *Purse) open() error {
	for _, dir := range []string{p.cfg.Dir, filepath.Join(p.cfg.Dir, "receipts"), filepath.Join(p.cfg.Dir, "evidence")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var err error
	if p.lock, err = lockPurse(filepath.Join(p.cfg.Dir, "lock")); err != nil {
		return err
	}
	path := filepath.Join(p.cfg.Dir, "journal")
	notes, whole, err := readJournal(path)
	if err != nil {
		return err
	}
	for i, n := range notes {
		if err := p.replay(n); err != nil {
			return fmt.Errorf("read line %d of %s: %w", i+1, path, err)
		}
	}
	for _, ch := range p.channels {
		for _, sent := range ch.unknown {
			sent.Open = p.cfg.Now()
		}
	}
	if p.journal, err = openJournal(path, whole); err != nil {
		return err
	}
	p.kept = &receiptFiles{dir: p.cfg.Dir}
	for _, worker := range p.cfg.Again {
		if p.left[worker] == "" {
			continue
		}
		delete(p.left, worker)
		if _, err := p.journal.add(purseNote{Kind: noteAgain, Worker: worker}); err != nil {
			return err
		}
	}
	return p.tidy()
}

// replay applies a line of the journal.
func (p *Purse) replay(n purseNote) error {
	switch n.Kind {
	case noteLeft:
		p.left[n.Worker] = n.Reason
		return nil
	case noteAgain:
		delete(p.left, n.Worker)
		return nil
	}
	ch := p.channels[n.Channel]
	if n.Kind == noteOpen {
		e, err := oneStatement(n.Statement)
		if err != nil {
			return err
		}
		open, err := proofs.ParseChannelOpen(e.Body)
		switch {
		case err != nil:
			return err
		case open.Session != p.id:
			return fmt.Errorf("it is of session %s: a purse has one session, use another folder", open.Session)
		}
		if ch == nil {
			ch = newPurseChannel(open)
			p.channels[n.Channel] = ch
		}
		ch.take(open, e, n.Endpoint)
		return nil
	}
	if ch == nil {
		return fmt.Errorf("it is of channel %s, which was not opened", n.Channel)
	}
	if n.Kind == noteVoid {
		delete(p.channels, n.Channel)
		return nil
	}
	return ch.replay(n)
}

// tidyBytes is the size from which on a journal is rewritten when it has doubled.
const tidyBytes = 1 << 20

// tidy rewrites the journal where most of it is history. The caller holds p.mu, or is
// alone.
func (p *Purse) tidy() error {
	size := p.journal.bytes()
	if size < max(tidyBytes, 2*p.tidied) {
		return nil
	}
	var notes []purseNote
	for _, ch := range p.channels {
		notes = append(notes, ch.notes()...)
	}
	for worker, reason := range p.left {
		notes = append(notes, purseNote{Kind: noteLeft, Worker: worker, Reason: reason})
	}
	if err := p.journal.rewrite(notes); err != nil {
		return err
	}
	p.tidied = p.journal.bytes()
	return nil
}

// note writes lines. The caller holds p.mu, and syncs what add returned after it has let
// it go.
func (p *Purse) note(notes ...purseNote) (uint64, error) {
	if err := p.tidy(); err != nil {
		return 0, err
	}
	return p.journal.add(notes...)
}

// Close ends the purse. Requests that run fail; the next start asks what became of them.
func (p *Purse) Close() error {
	p.stop()
	<-p.done
	return errors.Join(p.journal.close(), p.kept.close(), unlockPurse(p.lock))
}

// PurseChannel is a channel as its purse has it.
type PurseChannel struct {
	Channel  ionet.Key    `json:"channel"`
	Worker   ionet.Key    `json:"worker"`
	Endpoint string       `json:"endpoint"`
	Limit    ionet.Amount `json:"limit"`
	Signed   ionet.Amount `json:"signed"`  // what its vouchers cover
	Spent    ionet.Amount `json:"spent"`   // what its worker's statements add up to
	Unknown  int          `json:"unknown"` // requests whose outcome the worker has yet to tell
	Expires  int64        `json:"expires"` // Unix seconds
	Closing  bool         `json:"closing"`
	Left     string       `json:"left,omitempty"` // why its worker is not used any more
}

// ReadPurse returns the channels of the purse in dir, as Purse.Channels does. It may be
// read while a process has the purse.
func ReadPurse(dir string, session ionet.Hash) ([]PurseChannel, error) {
	path := filepath.Join(dir, "journal")
	notes, _, err := readJournal(path)
	if err != nil {
		return nil, fmt.Errorf("read purse: %w", err)
	}
	p := &Purse{id: session, channels: map[ionet.Key]*purseChannel{}, left: map[ionet.Key]string{}}
	for i, n := range notes {
		if err := p.replay(n); err != nil {
			return nil, fmt.Errorf("read purse: line %d of %s: %w", i+1, path, err)
		}
	}
	return p.Channels(), nil
}

// Channels returns the purse's channels, ascending by worker and channel.
func (p *Purse) Channels() []PurseChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]PurseChannel, 0, len(p.channels))
	for _, ch := range p.channels {
		list = append(list, PurseChannel{
			Channel: ch.key, Worker: ch.worker, Endpoint: ch.endpoint, Limit: ch.open.Limit, Signed: ch.signed, Spent: ch.spans.top(),
			Unknown: len(ch.unknown), Expires: ch.open.Expires, Closing: ch.closing, Left: p.left[ch.worker],
		})
	}
	slices.SortFunc(list, func(a, b PurseChannel) int {
		return cmp.Or(bytes.Compare(a.Worker[:], b.Worker[:]), bytes.Compare(a.Channel[:], b.Channel[:]))
	})
	return list
}

// Session returns the session's statement, and its id.
func (p *Purse) Session() (proofs.Session, ionet.Hash) { return p.session, p.id }

// Service returns the service's client.
func (p *Purse) Service() *Client { return p.cfg.Service }

// leave stops using a worker, for good. The caller holds p.mu.
func (p *Purse) leave(worker ionet.Key, reason string) {
	if p.left[worker] != "" {
		return
	}
	p.left[worker] = reason
	p.log.Warn("worker is used no more", "worker", worker.String(), "reason", reason)
	if _, err := p.note(purseNote{Kind: noteLeft, Worker: worker, Reason: reason}); err != nil {
		p.log.Error("write purse", "error", err)
	}
}
