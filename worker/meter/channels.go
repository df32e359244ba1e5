package meter

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxOpening bounds a channel's three envelopes in base64: a session has 64 price caps
// at most.
const maxOpening = 128 << 10

// openChannel takes a channel, or a greater limit of one, on the word of its renter, of
// the session key and of the service, which then says how it is now.
func (m *Meter) openChannel(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTime)) // where the server has deadlines
	var in client.ChannelOpening
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOpening)).Decode(&in); err != nil {
		m.refuse(w, problem(http.StatusBadRequest, client.MalformedJSON, "the body is not a channel's session, open and ack"))
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	o, p := m.checkOpening(in)
	if p == nil {
		p = m.takeOpening(o)
	}
	if p != nil {
		m.refuse(w, p)
		return
	}
	if p := m.askFirst(r.Context(), o.open.Channel); p != nil {
		m.refuse(w, p)
		return
	}
	m.answerChannel(w, r, o.open.Channel)
}

// opening is what opens a channel, checked.
type opening struct {
	envelopes [3]proofs.Envelope // session, open, ack
	session   proofs.Session
	open      proofs.ChannelOpen
}

// checkOpening checks that the three statements belong together and verifies them: the
// session by its renter, the opening by the session's key, of the address that follows
// from them and of this worker, and the service's ack of it. A stranger can sign the first
// two himself, so the ack is verified before them.
func (m *Meter) checkOpening(in client.ChannelOpening) (*opening, *client.MeterProblem) {
	o := &opening{}
	parts := [...]struct {
		name  string
		bytes []byte
		kind  proofs.Kind
	}{{"session", in.Session, proofs.KindSession}, {"open", in.Open, proofs.KindChannelOpen}, {"ack", in.Ack, proofs.KindAck}}
	for i, part := range parts {
		e, err := oneEnvelope(part.bytes)
		if err == nil && e.Kind != part.kind {
			err = fmt.Errorf("it is a %s", e.Kind)
		}
		if err != nil {
			return nil, field(part.name, part.name+": "+err.Error())
		}
		o.envelopes[i] = e
	}
	var err error
	if o.session, err = proofs.ParseSession(m.cfg.Network.ID(), o.envelopes[0].Signer, o.envelopes[0].Body); err != nil {
		return nil, field("session", err.Error())
	}
	if o.open, err = proofs.ParseChannelOpen(o.envelopes[1].Body); err != nil {
		return nil, field("open", err.Error())
	}
	if err := m.checkAck(o.envelopes[2], o.envelopes[1].ID()); err != nil {
		return nil, field("ack", err.Error())
	}
	if p := o.check(m.cfg.Network.Mint, m.worker, m.now()); p != nil {
		return nil, p
	}
	for i := len(parts) - 1; i >= 0; i-- {
		e := &o.envelopes[i]
		if err := errors.Join(proofs.CheckKey(e.Signer), e.Verify(m.cfg.Network.ID())); err != nil {
			return nil, field(parts[i].name, parts[i].name+": "+err.Error())
		}
	}
	return o, nil
}

// check holds the opening against its session.
func (o *opening) check(mint, worker ionet.Key, now int64) *client.MeterProblem {
	address, err := proofs.ChannelAddress(o.session.Renter, o.open.Worker, mint, o.session.Key, o.open.Salt, o.open.OpenSlot)
	switch {
	case err != nil || address != o.open.Channel:
		return field("open", "open: the channel is not the address of its renter, worker, mint, key, salt and slot")
	case o.open.Worker != worker:
		p := problem(http.StatusForbidden, client.OtherWorker, "the channel pays worker "+o.open.Worker.String())
		p.Field = "open"
		return p
	case o.envelopes[1].Signer != o.session.Key || o.open.Session != o.envelopes[0].ID():
		return field("open", "open: it is not by the key of this session")
	case o.open.Limit.IsZero() || o.open.Limit.Cmp(o.session.Reserve) > 0:
		return field("open", "open: the limit is 0, or above the session's reserve")
	case o.open.Expires > o.session.Expires || o.open.Expires <= now:
		return field("open", "open: it is expired, or expires after its session")
	}
	return nil
}

// checkAck checks that the envelope is the service's ack of a statement. Its signature
// was verified.
func (m *Meter) checkAck(e proofs.Envelope, of ionet.Hash) error {
	if e.Kind != proofs.KindAck || e.Signer != m.cfg.Network.Keys.Service {
		return fmt.Errorf("%s by %s is not an ack by the network's service", e.Kind, e.Signer)
	}
	ack, err := proofs.ParseAck(e.Body)
	if err != nil {
		return err
	}
	if ack.Statement != of {
		return fmt.Errorf("it is the ack of statement %s, not of %s", ack.Statement, of)
	}
	return nil
}

// takeOpening keeps the channel, durably. A limit never falls and an end never comes
// closer: an older opening of the same channel changes nothing.
func (m *Meter) takeOpening(o *opening) *client.MeterProblem {
	j := m.journal
	j.mu.Lock()
	ch := j.book.channels[o.open.Channel]
	if ch != nil && ch.opened.Session != o.open.Session {
		j.mu.Unlock()
		return field("open", "open: the channel is of session "+ch.opened.Session.String())
	}
	if ch != nil && (ch.opened.Limit.Cmp(o.open.Limit) >= 0 || o.open.Expires < ch.opened.Expires) {
		ticket := j.queued
		j.mu.Unlock()
		return m.durable(ticket)
	}
	if ch == nil {
		if p := m.roomFor(o); p != nil {
			j.mu.Unlock()
			return p
		}
	}
	ticket, err := j.add(tagChannel, o.envelopes[0].Append(nil), o.envelopes[1].Append(nil), o.envelopes[2].Append(nil))
	j.mu.Unlock()
	if err != nil {
		m.cfg.Logger.Error("channel not kept", "error", err)
		return problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal")
	}
	m.nudge() // what the service has of it is asked
	return m.durable(ticket)
}

// roomFor refuses a new channel that is too small or for which there is no room. Channels
// that served nothing make room first. The caller holds the journal's lock.
func (m *Meter) roomFor(o *opening) *client.MeterProblem {
	m.filesMu.Lock()
	least := m.file.LeastLimit
	m.filesMu.Unlock()
	if o.open.Limit.Cmp(least) < 0 {
		return field("open", "open: the limit is below "+least.String()+", the least that this worker takes")
	}
	j := m.journal
	need := int(m.inFlight.Load()+1)*jobRoom + 4*len(o.envelopes[0].Body)
	if !j.full(need) {
		return nil
	}
	if err := j.forgetUnused(); err != nil {
		return problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal")
	}
	if j.full(need) {
		return later(http.StatusServiceUnavailable, client.JournalFull, "this worker keeps as many unsettled jobs as it may", 30)
	}
	return nil
}

// durable waits for a ticket.
func (m *Meter) durable(ticket uint64) *client.MeterProblem {
	if err := m.journal.wait(ticket); err != nil {
		return problem(http.StatusServiceUnavailable, client.Internal, "this worker can't write its journal")
	}
	return nil
}

func (m *Meter) showChannel(w http.ResponseWriter, r *http.Request) {
	key, err := ionet.ParseKey(r.PathValue("key"))
	if err != nil {
		m.refuse(w, field("key", "the channel is not a base58 key"))
		return
	}
	m.answerChannel(w, r, key)
}

// reads reports whether the request is signed by the key that may read the channel's jobs:
// their vouchers are worth money here, and jobs that go in batches are in no log.
func (m *Meter) reads(r *http.Request, sessionKey ionet.Key) error {
	headers := r.Header.Values(proofs.ReadHeader)
	if len(headers) != 1 {
		return fmt.Errorf("the request has not one header %s", proofs.ReadHeader)
	}
	key, err := proofs.VerifyRead(m.cfg.Network.ID(), headers[0], time.Now(), r.Method, r.URL.RequestURI())
	if err == nil && key != sessionKey {
		err = fmt.Errorf("%s is not the key of the channel's session", key)
	}
	return err
}

// answerChannel shows a channel once all of it is durable, and its last job to whom it is
// of.
func (m *Meter) answerChannel(w http.ResponseWriter, r *http.Request, key ionet.Key) {
	m.journal.mu.Lock()
	ch := m.journal.book.channels[key]
	if ch == nil {
		m.journal.mu.Unlock()
		m.refuse(w, problem(http.StatusNotFound, client.UnknownChannel, "no channel "+key.String()+" was handed in here"))
		return
	}
	out := client.WorkerChannel{
		Channel: ch.key, Worker: m.worker, Limit: ch.opened.Limit, Spent: ch.spent, Running: ch.reserved, Covered: ch.covered,
		Jobs: ch.count, Expires: ch.opened.Expires, Stuck: ch.stuck,
	}
	reader, last, ticket := ch.session.Key, ch.last, m.journal.queued
	m.journal.mu.Unlock()
	if last != nil && len(r.Header.Values(proofs.ReadHeader)) > 0 {
		if err := m.reads(r, reader); err != nil {
			m.refuse(w, unreadable(err))
			return
		}
		out.Last = last.Append(nil)
	}
	if p := m.durable(ticket); p != nil {
		m.refuse(w, p)
		return
	}
	answerJSON(w, out)
}

func unreadable(err error) *client.MeterProblem {
	p := problem(http.StatusUnauthorized, client.Unauthorized, err.Error())
	p.Field = proofs.ReadHeader
	return p
}

// showJob shows a job statement, with its way into the batch that pays for it.
func (m *Meter) showJob(w http.ResponseWriter, r *http.Request) {
	key, err := ionet.ParseKey(r.PathValue("channel"))
	id, bad := hex.DecodeString(r.PathValue("job"))
	if err != nil || bad != nil || len(id) != 16 {
		m.refuse(w, field("job", "the path is not a channel's key and a job's 32 hexadecimal digits"))
		return
	}
	m.journal.mu.Lock()
	var reader ionet.Key // zero: nobody
	if ch := m.journal.book.channels[key]; ch != nil {
		reader = ch.session.Key
	}
	m.journal.mu.Unlock()
	if err := m.reads(r, reader); err != nil {
		m.refuse(w, unreadable(err))
		return
	}
	m.journal.mu.Lock()
	var found *job
	if ch := m.journal.book.channels[key]; ch != nil {
		found = ch.byID[[16]byte(id)]
	}
	if found == nil {
		m.journal.mu.Unlock()
		m.refuse(w, problem(http.StatusNotFound, client.UnknownReceipt, "the job is not kept here; the service has its receipt"))
		return
	}
	out := client.WorkerJob{Statement: found.e.Append(nil)}
	in, ticket := found.batch, m.journal.queued
	m.journal.mu.Unlock()
	if p := m.durable(ticket); p != nil {
		m.refuse(w, p)
		return
	}
	if in != nil { // neither it nor its jobs ever change
		if err := m.prove(in, found, &out); err != nil {
			m.cfg.Logger.Error("job not proven", "error", err)
			m.refuse(w, problem(http.StatusInternalServerError, client.Internal, "the job's proof can't be made"))
			return
		}
	}
	answerJSON(w, out)
}

func (m *Meter) showOffer(w http.ResponseWriter, _ *http.Request) {
	m.journal.mu.Lock()
	in, _ := m.inForce(m.now())
	m.journal.mu.Unlock()
	if in == nil {
		m.refuse(w, noOffer())
		return
	}
	answerJSON(w, client.WorkerOffer{Statement: in.e.Append(nil)})
}

// listModels lists what the offer in force has, as OpenAI's API does.
func (m *Meter) listModels(w http.ResponseWriter, _ *http.Request) {
	m.journal.mu.Lock()
	in, _ := m.inForce(m.now())
	m.journal.mu.Unlock()
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		Owner   string `json:"owned_by"`
	}
	out := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{}}
	if in != nil {
		for i, sold := range in.offer.Models {
			if i == 0 || in.offer.Models[i-1].Name != sold.Name {
				out.Data = append(out.Data, model{sold.Name, "model", int64(in.offer.Sequence / 1000), m.worker.String()})
			}
		}
	}
	answerJSON(w, out)
}
