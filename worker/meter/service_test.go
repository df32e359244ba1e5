package meter

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// ledgerService answers as the service does, by the rules of proofs, and keeps what it
// was told: what a channel has spent is what its jobs say, in the order of before.
type ledgerService struct {
	*httptest.Server
	t       testing.TB
	network *ionet.Network
	now     func() int64

	mu       sync.Mutex
	instance client.ID
	down     bool              // answers 503
	deaf     bool              // does all, and loses its answer
	refuse   map[string]string // kind of statement -> problem
	offers   map[ionet.Hash]proofs.Offer
	channels map[ionet.Key]*ledgerChannel
	logged   []ionet.Hash
	sealed   int // of logged
	bodies   int
}

type ledgerChannel struct {
	terms   proofs.FeeTerms
	jobs    uint64
	ids     map[[16]byte]ionet.Hash
	waiting []proofs.Bill
	by      map[ionet.Amount]ionet.Hash
	state   string
}

func newLedgerService(t testing.TB, network *ionet.Network, now func() int64) *ledgerService {
	s := &ledgerService{t: t, network: network, now: now, instance: client.ID{1}, refuse: map[string]string{}, offers: map[ionet.Hash]proofs.Offer{}, channels: map[ionet.Key]*ledgerChannel{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/head", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, client.Head{Instance: s.instance, Network: ionet.Key(network.ID()), Mint: network.Mint, Time: now()})
	})
	mux.HandleFunc("POST /v1/statements", s.statements)
	mux.HandleFunc("GET /v1/channels/{key}", s.channel)
	mux.HandleFunc("GET /v1/log", func(w http.ResponseWriter, _ *http.Request) {
		l := client.Log{Size: uint64(len(s.logged))}
		if s.sealed > 0 {
			l.Sealed = &client.LogSeal{Size: uint64(s.sealed)}
		}
		answerJSON(w, l)
	})
	mux.HandleFunc("GET /v1/receipts/{id}", s.receipt)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if s.deaf {
			mux.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// set changes the service between two requests.
func (s *ledgerService) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *ledgerService) client() *client.Client {
	c, err := client.New(client.Config{Server: s.URL, Network: s.network.ID(), Attempts: 1, Timeout: 10 * time.Second})
	must(s.t, err)
	return c
}

// knows has the service know a payer's channel, as if it had been handed in there.
func (s *ledgerService) knows(p *payer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, err := proofs.ParseSession(s.network.ID(), p.session.Signer, p.session.Body)
	must(s.t, err)
	if ch := s.channels[p.open.Channel]; ch != nil {
		ch.terms.Channel = p.open
		return
	}
	s.channels[p.open.Channel] = &ledgerChannel{
		terms: proofs.FeeTerms{Session: session, SessionID: p.session.ID(), Channel: p.open}, state: client.StateOpen,
		ids: map[[16]byte]ionet.Hash{}, by: map[ionet.Amount]ionet.Hash{},
	}
}

func (s *ledgerService) spent(p *payer) (spent uint64, jobs uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[p.open.Channel]
	return ch.terms.Spent.Base(), ch.jobs
}

func (s *ledgerService) channel(w http.ResponseWriter, r *http.Request) {
	key, _ := ionet.ParseKey(r.PathValue("key"))
	ch := s.channels[key]
	if ch == nil {
		answerProblem(w, problem(http.StatusNotFound, client.UnknownChannel, ""))
		return
	}
	answerJSON(w, client.Channel{Channel: key, Spent: ch.terms.Spent, Jobs: ch.jobs, State: ch.state, Limit: ch.terms.Channel.Limit, ClosingAt: ch.terms.Closing})
}

func (s *ledgerService) receipt(w http.ResponseWriter, r *http.Request) {
	for i, id := range s.logged {
		if id.String() == r.PathValue("id") {
			state := client.ReceiptLogged
			if i < s.sealed {
				state = client.ReceiptSealed
			}
			answerJSON(w, client.Receipt{Index: uint64(i), State: state})
			return
		}
	}
	answerProblem(w, problem(http.StatusNotFound, client.UnknownReceipt, ""))
}

func (s *ledgerService) statements(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // a worker that was killed
	}
	if r.Header.Get("Content-Encoding") == "zstd" {
		d, err := zstd.NewReader(bytes.NewReader(body))
		must(s.t, err)
		body, err = io.ReadAll(d)
		must(s.t, err)
	}
	s.bodies++
	var out client.Results
	for len(body) > 0 {
		e, rest, err := proofs.ParseEnvelope(body)
		must(s.t, err)
		if body = rest; e.Kind == proofs.KindAck {
			continue
		}
		out.Results = append(out.Results, s.take(e))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a worker that was killed reads none
}

func (s *ledgerService) take(e proofs.Envelope) client.Result {
	id := e.ID()
	kind := s.refuse[e.Kind.String()]
	if kind == "" {
		if err := e.Verify(s.network.ID()); err != nil {
			kind = client.WrongSignature
		}
	}
	if kind == "" {
		kind = s.apply(e, id)
	}
	if kind != "" {
		status := http.StatusUnprocessableEntity
		if kind == client.Busy {
			status = http.StatusServiceUnavailable
		}
		return client.Result{ID: id, Status: client.Refused, Problem: &client.Problem{Type: client.ProblemPrefix + kind, Status: status}}
	}
	ack := proofs.SignAcks(s.network.ID(), serviceKey, proofs.Arrival{Epoch: 1}, []ionet.Hash{id})[0]
	return client.Result{ID: id, Status: client.Accepted, Ack: ack.Append(nil)}
}

func (s *ledgerService) apply(e proofs.Envelope, id ionet.Hash) (refused string) {
	switch e.Kind {
	case proofs.KindOffer:
		o, err := proofs.ParseOffer(e.Body)
		must(s.t, err)
		s.offers[id] = o
		return ""
	case proofs.KindSession:
		return ""
	case proofs.KindChannelOpen:
		return ""
	}
	b, err := proofs.ParseBill(e.Kind, e.Body)
	must(s.t, err)
	ch := s.channels[b.Channel]
	if ch == nil {
		return client.UnknownChannel
	}
	if other, ok := ch.ids[b.ID]; ok {
		if other == id {
			return ""
		}
		return client.Replay
	}
	if err := proofs.VerifyVoucher(ch.terms.Session.Key, b.Channel, b.Cumulative, b.Voucher); err != nil {
		return client.WrongVoucher
	}
	var offer *proofs.Offer
	if o, ok := s.offers[b.Offer]; ok {
		offer = &o
	}
	if rule := ch.terms.Check(e.Signer, b, offer, s.now()); rule != proofs.FeeHolds {
		s.t.Logf("refused %s: %s", id, rule.Name())
		return rule.Name()
	}
	ch.ids[b.ID] = id
	ch.by[b.Before] = id
	ch.waiting = append(ch.waiting, b)
	s.follow(ch)
	return ""
}

// follow logs the jobs whose turn it is.
func (s *ledgerService) follow(ch *ledgerChannel) {
	for again := true; again; {
		again = false
		for i, b := range ch.waiting {
			if b.Before == ch.terms.Spent {
				ch.terms.Spent, ch.jobs = b.After, ch.jobs+uint64(b.Count)
				s.logged = append(s.logged, ch.ids[b.ID])
				ch.waiting = append(ch.waiting[:i:i], ch.waiting[i+1:]...)
				again = true
				break
			}
		}
	}
}
