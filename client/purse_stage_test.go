package client

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// What these tests need are workers that break their word, and answers that are lost at
// chosen moments: no real worker does that. cmd/ionet tests the purse with real ones.

func testKey(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte("purse test "), []byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(k ed25519.PrivateKey) ionet.Key { return ionet.Key(k.Public().(ed25519.PublicKey)) }

// purseStage is a service that acks what it is given, a session, and workers.
type purseStage struct {
	t       *testing.T
	network *ionet.Network
	session proofs.Envelope
	server  *httptest.Server
	dir     string
	now     atomic.Int64
	workers []*testWorker

	mu     sync.Mutex
	opened map[ionet.Key]ionet.Amount // limits
	closed []proofs.Kind
	down   bool

	receipt  []byte   // record that the log has under any job's id
	receipts [][]byte // records of the renter
}

const testReserve = 100_000

func newPurseStage(t *testing.T) *purseStage {
	t.Helper()
	key := func(n byte) ionet.Key { return ionet.Key{31: n} }
	file, err := ionet.EncodeNetwork(ionet.Network{
		Version: 1, Name: "purse-test", Cluster: key(1), Mint: key(2), Decimals: 8, Start: 1_795_000_000, EpochSeconds: 3600, Samples: 60, Policy: ionet.Hash{1},
		Schedule: ionet.ScheduleInfo{
			Genesis: ionet.MustAmount(500), Cap: ionet.MustAmount(800), Epochs: 175_319, FirstYearRate: "0.08", StepsPerYear: 8760,
			Decay: "0.0000138869523959793", EpochsPerStep: 1, Hash: ionet.Hash{2},
		},
		Keys:   ionet.NetworkKeys{Operator: key(3), Fees: key(4), Service: publicOf(testKey("service")), Lane: key(6)},
		Vaults: ionet.Vaults{Reward: key(7), Fee: key(8)}, Authorities: ionet.Authorities{Mint: key(3), Reward: key(3), Fee: key(4)},
		Allocation: []ionet.Allocation{{Category: "all", Owner: key(9), Account: key(10), Amount: ionet.MustAmount(500), Unlock: "immediate"}},
		Lanes:      []ionet.Lane{{Name: "epoch", Address: key(13)}, {Name: "seal", Address: key(14)}, {Name: "pay-0", Address: key(15)}, {Name: "claim-0", Address: key(17)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &purseStage{t: t, dir: filepath.Join(t.TempDir(), "purse"), opened: map[ionet.Key]ionet.Amount{}}
	if s.network, err = ionet.ParseNetwork(file); err != nil {
		t.Fatal(err)
	}
	s.now.Store(1_800_000_000)
	s.session = s.sign(proofs.Session{Reserve: ionet.MustAmount(testReserve)})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/statements", s.statements)
	mux.HandleFunc("GET /v1/offers", s.offers)
	mux.HandleFunc("GET /v1/sessions/{id}", s.shows)
	mux.HandleFunc("GET /v1/receipts/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.receipt == nil {
			problem(404, UnknownReceipt, "none", "")(w, r)
			return
		}
		json.NewEncoder(w).Encode(Receipt{Record: s.receipt})
	})
	mux.HandleFunc("GET /v1/renters/{wallet}/receipts", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var page ReceiptsPage
		for i, record := range s.receipts {
			page.Receipts = append(page.Receipts, LoggedRecord{Index: uint64(i), Record: record})
		}
		json.NewEncoder(w).Encode(page)
	})
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		if down {
			problem(500, Internal, "it is down", "")(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	return s
}

// sign makes a session of the renter's.
func (s *purseStage) sign(session proofs.Session) proofs.Envelope {
	s.t.Helper()
	session.Renter, session.Key = publicOf(testKey("renter")), publicOf(testKey("session"))
	session.Issued, session.Expires = s.now.Load()-60, s.now.Load()+3600
	text, err := session.Text(s.network.ID())
	if err != nil {
		s.t.Fatal(err)
	}
	return proofs.Sign(s.network.ID(), proofs.KindSession, testKey("renter"), []byte(text))
}

func (s *purseStage) clock() time.Time { return time.Unix(s.now.Load(), 0) }

// open opens the purse; a test that closes it may open it again.
func (s *purseStage) open(set ...func(*PurseConfig)) *Purse {
	s.t.Helper()
	api, err := New(Config{Server: s.server.URL, Pause: time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := PurseConfig{
		Service: api, Network: s.network, Key: testKey("session"), Session: s.session, Dir: s.dir, Now: s.clock,
		Most: ionet.MustAmount(10_000), First: ionet.MustAmount(1000),
	}
	for _, f := range set {
		f(&cfg)
	}
	p, err := OpenPurse(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}

// statements acks all, but openings beyond the reserve.
func (s *purseStage) statements(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e, _, err := proofs.ParseEnvelope(body)
	if err == nil {
		err = e.Verify(s.network.ID())
	}
	if err != nil {
		problem(400, MalformedEnvelope, err.Error(), "")(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Result{ID: e.ID(), Status: Accepted}
	if open, err := proofs.ParseChannelOpen(e.Body); e.Kind == proofs.KindChannelOpen && err == nil {
		sum := open.Limit
		for channel, limit := range s.opened {
			if channel != open.Channel {
				sum, _ = sum.Add(limit)
			}
		}
		if sum.Base() > testReserve {
			out.Status, out.Problem = Refused, &Problem{Type: ProblemPrefix + AboveReserve, Status: 422, Detail: "limits beyond the reserve"}
		} else {
			s.opened[open.Channel] = open.Limit
		}
	} else {
		s.closed = append(s.closed, e.Kind)
	}
	if out.Problem == nil {
		out.Ack = proofs.SignAcks(s.network.ID(), testKey("service"), proofs.Arrival{Epoch: 1}, []ionet.Hash{e.ID()})[0].Append(nil)
	}
	json.NewEncoder(w).Encode(Results{Results: []Result{out}})
}

func (s *purseStage) offers(w http.ResponseWriter, r *http.Request) {
	out := Offers{Decimals: 8, Offers: []ListedOffer{}}
	for _, worker := range s.workers {
		for _, m := range worker.offer.Models {
			if model := r.URL.Query().Get("model"); model == "" || model == m.Name {
				e := worker.offered()
				out.Offers = append(out.Offers, ListedOffer{Offer: e.ID(), Worker: worker.key(), Model: m.Name, Unit: m.Unit.String(), Price: m.Price, Per: m.Per, Statement: e.Append(nil)})
			}
		}
	}
	json.NewEncoder(w).Encode(out)
}

func (s *purseStage) shows(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := uint64(testReserve)
	for _, limit := range s.opened {
		free -= limit.Base()
	}
	json.NewEncoder(w).Encode(Session{ID: s.session.ID(), Free: ionet.MustAmount(free), State: StateOpen})
}

// testWorker is a worker that keeps section 5's protocol, but for what a test spoils.
type testWorker struct {
	stage  *purseStage
	secret ed25519.PrivateKey
	offer  proofs.Offer
	server *httptest.Server

	usage  uint64                                            // that a stream tells; 0: none
	tamper func(*proofs.Job)                                 // what it signs
	answer func(body []byte) []byte                          // what it sends
	hook   func(w http.ResponseWriter, r *http.Request) bool // before a request is looked at; true: it is done
	cut    func(served int) bool                             // a served job's answer does not come

	mu       sync.Mutex
	spent    ionet.Amount
	reserved ionet.Amount
	covered  ionet.Amount
	voucher  [64]byte
	channel  proofs.ChannelOpen
	known    bool
	jobs     map[string][]byte // statements
	answers  map[string][]byte
	asked    int
	openings int
}

// worker adds one that sells tokens of "m" at a price.
func (s *purseStage) worker(name string, price uint64) *testWorker {
	w := &testWorker{stage: s, secret: testKey(name), jobs: map[string][]byte{}, answers: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ionet/v1/channels", w.opens)
	mux.HandleFunc("GET /ionet/v1/channels/{key}", func(out http.ResponseWriter, r *http.Request) {
		w.isRenter(r)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shows(out)
	})
	mux.HandleFunc("GET /ionet/v1/jobs/{channel}/{job}", w.tells)
	mux.HandleFunc("GET /ionet/v1/offer", func(out http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(out).Encode(WorkerOffer{Statement: func() []byte { e := w.offered(); return e.Append(nil) }()})
	})
	mux.HandleFunc("POST /v1/", w.infer)
	w.server = httptest.NewServer(mux)
	s.t.Cleanup(w.server.Close)
	w.offer = proofs.Offer{Sequence: 1, Expires: s.now.Load() + 86400, Endpoint: w.server.URL, Capacity: 100, Models: []proofs.OfferModel{
		{Name: "m", Unit: proofs.UnitToken, Price: ionet.MustAmount(price), Per: 1},
	}}
	s.workers = append(s.workers, w)
	return w
}

func (w *testWorker) key() ionet.Key { return publicOf(w.secret) }

func (w *testWorker) offered() proofs.Envelope {
	body, err := w.offer.Encode()
	if err != nil {
		w.stage.t.Error(err)
	}
	return proofs.Sign(w.stage.network.ID(), proofs.KindOffer, w.secret, body)
}

func (w *testWorker) refuse(out http.ResponseWriter, status int, kind string, more func(*MeterProblem)) {
	p := MeterProblem{Type: ProblemPrefix + kind, Title: kind, Status: status, Detail: kind}
	if more != nil {
		more(&p)
	}
	out.Header().Set("Content-Type", ProblemMediaType)
	out.WriteHeader(status)
	json.NewEncoder(out).Encode(p)
}

func (w *testWorker) opens(out http.ResponseWriter, r *http.Request) {
	var in ChannelOpening
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.refuse(out, 400, MalformedJSON, nil)
		return
	}
	e, err := oneStatement(in.Open)
	ack, err2 := oneStatement(in.Ack)
	open, err3 := proofs.ParseChannelOpen(e.Body)
	if err != nil || err2 != nil || err3 != nil || checkAck(ack, w.stage.network, e.ID()) != nil || open.Worker != w.key() {
		w.refuse(out, 400, MalformedStatement, nil)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.openings++
	if !w.known || open.Limit.Cmp(w.channel.Limit) > 0 {
		w.channel, w.known = open, true
	}
	w.shows(out)
}

func (w *testWorker) shows(out http.ResponseWriter) {
	json.NewEncoder(out).Encode(WorkerChannel{
		Channel: w.channel.Channel, Worker: w.key(), Limit: w.channel.Limit, Spent: w.spent, Running: w.reserved, Covered: w.covered, Expires: w.channel.Expires,
	})
}

// isRenter fails the test where a read is not signed by the session key.
func (w *testWorker) isRenter(r *http.Request) {
	by, err := proofs.VerifyRead(w.stage.network.ID(), r.Header.Get(proofs.ReadHeader), time.Now(), r.Method, r.URL.Path)
	if err != nil || by != publicOf(testKey("session")) {
		w.stage.t.Errorf("%s %s is signed by %s: %v", r.Method, r.URL.Path, by, err)
	}
}

// isSigned reports whether the session key asks for this very job.
func (w *testWorker) isSigned(r *http.Request, channel ionet.Key, job ID, salt [32]byte, body []byte) bool {
	most, err := ionet.ParseBase(r.Header.Get(proofs.MostHeader))
	signature, err2 := proofs.ParseRequestSignature(r.Header.Get(proofs.RequestHeader))
	return err == nil && err2 == nil && proofs.VerifyRequest(w.stage.network.ID(), publicOf(testKey("session")), channel, job, proofs.RequestHash(salt, r.URL.Path, body), most, signature) == nil
}

func (w *testWorker) tells(out http.ResponseWriter, r *http.Request) {
	w.isRenter(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	statement := w.jobs[r.PathValue("job")]
	if statement == nil {
		w.refuse(out, 404, UnknownReceipt, nil)
		return
	}
	json.NewEncoder(out).Encode(WorkerJob{Statement: statement})
}

// infer bills one token for each byte of the last message, of which an answer has as many.
func (w *testWorker) infer(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked++
	w.mu.Unlock()
	if w.hook != nil && w.hook(out, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	v, signature, err := ParseVoucherHeader(r.Header.Get(VoucherHeader))
	salt, err2 := ParseSalt(r.Header.Get(SaltHeader))
	var job ID
	err3 := job.UnmarshalText([]byte(r.Header.Get(JobHeader)))
	if err != nil || err2 != nil || err3 != nil || proofs.VerifyVoucher(publicOf(testKey("session")), v.Channel, v.Cumulative, signature) != nil {
		w.refuse(out, 400, InvalidParameter, nil)
		return
	}
	if !w.isSigned(r, v.Channel, job, salt, body) {
		w.refuse(out, 401, RequestSignature, nil)
		return
	}
	bound, ok := w.begin(out, v, signature, job, body)
	if !ok {
		return
	}
	defer func() {
		w.mu.Lock()
		w.reserved, _ = w.reserved.Sub(bound)
		w.mu.Unlock()
	}()
	var ask struct {
		Messages []struct{ Content string }
		Stream   bool
	}
	json.Unmarshal(body, &ask)
	text, answer := ask.Messages[len(ask.Messages)-1].Content, []byte(nil)
	units := uint64(len(text))
	if ask.Stream {
		for i := range text {
			answer = fmt.Appendf(answer, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text[i:i+1])
		}
		if w.usage > 0 {
			answer = fmt.Appendf(answer, "data: {\"choices\":[],\"usage\":{\"total_tokens\":%d}}\n\n", w.usage)
		}
		answer = append(answer, "data: [DONE]\n\n"...)
	} else {
		answer = fmt.Appendf(nil, `{"choices":[{"message":{"content":%q}}],"usage":{"total_tokens":%d}}`, text, units)
	}
	w.serve(out, r, job, salt, body, answer, units, ask.Stream)
}

// begin admits a request as workers do.
func (w *testWorker) begin(out http.ResponseWriter, v proofs.Voucher, signature [64]byte, job ID, body []byte) (bound ionet.Amount, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known || w.channel.Channel != v.Channel {
		w.refuse(out, 402, UnknownChannel, nil)
		return bound, false
	}
	if answer := w.answers[job.String()]; answer != nil {
		out.Header().Set(StatementHeader, EncodeStatement(func() proofs.Envelope { e, _ := oneStatement(w.jobs[job.String()]); return e }()))
		out.Write(answer)
		return bound, false
	}
	if v.Cumulative.Cmp(w.covered) > 0 {
		w.covered, w.voucher = v.Cumulative, signature
	}
	bound = ionet.MustAmount((uint64(len(body)) + 64) * w.offer.Models[0].Price.Base())
	need, _ := w.spent.Add(w.reserved)
	required, _ := need.Add(bound)
	if required.Cmp(w.covered) > 0 || required.Cmp(w.channel.Limit) > 0 {
		w.refuse(out, 402, VoucherNeeded, func(p *MeterProblem) {
			p.Required, p.Spent, p.Running, p.Limit = &required, &w.spent, &w.reserved, &w.channel.Limit
		})
		return bound, false
	}
	w.reserved, _ = w.reserved.Add(bound)
	return bound, true
}

// serve signs and sends.
func (w *testWorker) serve(out http.ResponseWriter, r *http.Request, job ID, salt [32]byte, body, answer []byte, units uint64, stream bool) {
	m := w.offer.Models[0]
	w.mu.Lock()
	j := proofs.Job{
		Channel: w.channel.Channel, ID: job, Served: w.stage.now.Load(), Offer: func() ionet.Hash { e := w.offered(); return e.ID() }(), Model: m.Name, Unit: m.Unit, Units: units,
		Price: m.Price, Per: m.Per, Before: w.spent, Request: proofs.RequestHash(salt, r.URL.Path, body), Response: proofs.ResponseHash(salt, answer), Cumulative: w.covered, Voucher: w.voucher,
	}
	if w.tamper != nil {
		w.tamper(&j)
	}
	j.Fee, _ = proofs.Fee(j.Units, j.Price, j.Per)
	j.After, _ = j.Before.Add(j.Fee)
	encoded, err := j.Encode()
	if err != nil {
		w.stage.t.Error(err)
	}
	e := proofs.Sign(w.stage.network.ID(), proofs.KindJob, w.secret, encoded)
	w.spent = larger(w.spent, j.After)
	w.jobs[job.String()] = e.Append(nil)
	if !stream {
		w.answers[job.String()] = answer
	}
	served := len(w.jobs)
	w.mu.Unlock()
	if w.cut != nil && w.cut(served) {
		panic(http.ErrAbortHandler)
	}
	if w.answer != nil {
		answer = w.answer(answer)
	}
	if !stream {
		out.Header().Set("Content-Type", "application/json")
		out.Header().Set(StatementHeader, EncodeStatement(e))
		out.Write(answer)
		return
	}
	out.Header().Set("Content-Type", "text/event-stream")
	out.Header().Set("Trailer", StatementHeader)
	for _, event := range bytes.SplitAfter(answer, []byte("\n\n")) {
		out.Write(event)
		http.NewResponseController(out).Flush()
	}
	out.Header().Set(StatementHeader, EncodeStatement(e))
}

// chat asks for text, and returns the answer's body.
func chat(t *testing.T, p *Purse, text string) (*Answer, string, error) {
	t.Helper()
	a, err := p.Do(t.Context(), chatOf(text, false))
	if err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, string(b), err
}

func chatOf(text string, stream bool) Inference {
	body, _ := json.Marshal(map[string]any{"model": "m", "stream": stream, "messages": []any{map[string]string{"role": "user", "content": text}}})
	return Inference{Path: PathChat, Body: body}
}

func mustChat(t *testing.T, p *Purse, text string) KeptReceipt {
	t.Helper()
	a, body, err := chat(t, p, text)
	if err != nil || !strings.Contains(body, text) {
		t.Fatalf("chat: %q, %v", body, err)
	}
	r, ok := a.Receipt()
	if !ok || r.Fee.IsZero() {
		t.Fatalf("receipt %+v, %v", r, ok)
	}
	return r
}
