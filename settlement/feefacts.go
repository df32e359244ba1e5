package settlement

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// What never changes of sessions, channels and offers is remembered. Sessions and offers
// follow from statements that their ids commit to, so that they are as true of a database
// that was put back; which session a channel is of is not, because its address commits to
// the session's key alone. What changes is read under the lock of the log's head.

// sessionFact is a session's statement.
type sessionFact struct {
	id ionet.Hash
	proofs.Session
}

// channelFact is what a channel's address commits to, and the session that it is of.
type channelFact struct {
	channel ionet.Key
	worker  ionet.Key
	session *sessionFact
}

// offerFact is an offer's statement. logged is the life of the database in which its
// record is known to be in the log.
type offerFact struct {
	id       ionet.Hash
	envelope proofs.Envelope
	offer    proofs.Offer
	logged   atomic.Uint64
}

// How many of each are remembered in each of two generations.
const (
	maxSessionFacts = 1 << 15 // of 300 bytes and their caps
	maxChannelFacts = 1 << 17 // of 100 bytes
	maxOfferFacts   = 1 << 13 // of 500 bytes and their models
)

type feeFacts struct {
	mu       sync.Mutex
	life     uint64 // counts from 1 how often the database turned out to be another
	sessions generations[ionet.Hash, *sessionFact]
	channels generations[ionet.Key, *channelFact]
	offers   generations[ionet.Hash, *offerFact]
}

func newFeeFacts() *feeFacts {
	return &feeFacts{
		life:     1,
		sessions: generations[ionet.Hash, *sessionFact]{most: maxSessionFacts},
		channels: generations[ionet.Key, *channelFact]{most: maxChannelFacts},
		offers:   generations[ionet.Hash, *offerFact]{most: maxOfferFacts},
	}
}

// forgetLogged is for a database that was put back: which offers its log has, and which
// session a channel is of, is asked anew.
func (f *feeFacts) forgetLogged() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life++
	f.channels.young, f.channels.old = nil, nil
}

// forgetChannels is for who finds a channel to be of another session than is remembered.
func (f *feeFacts) forgetChannels() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.channels.young, f.channels.old = nil, nil
}

func (f *feeFacts) nowLife() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.life
}

// wanted is what items name that is not remembered.
type wanted struct {
	sessions, offers set[ionet.Hash]
	channels         set[ionet.Key]
}

func (w *wanted) isEmpty() bool { return len(w.sessions)+len(w.offers)+len(w.channels) == 0 }

// look gives each item the facts that are remembered of what it names.
func (f *feeFacts) look(items []*item) (w wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, it := range items {
		switch b := it.body.(type) {
		case *proofs.Bill:
			it.channel = lookFor(&f.channels, b.Channel, &w.channels)
			it.offer = lookFor(&f.offers, b.Offer, &w.offers)
		case proofs.ChannelOpen:
			it.session = lookFor(&f.sessions, b.Session, &w.sessions)
		case proofs.ChannelClose:
			it.channel = lookFor(&f.channels, b.Channel, &w.channels)
		case proofs.SessionClose:
			it.session = lookFor(&f.sessions, b.Session, &w.sessions)
		}
	}
	return w
}

// lookFor returns what is remembered under k, or adds k to what is missing.
func lookFor[K ~[32]byte, V any](g *generations[K, *V], k K, missing *set[K]) *V {
	v, ok := g.get(k)
	if !ok {
		missing.add(k)
	}
	return v
}

const selectChannelFacts = `
SELECT c.channel, c.worker, s.id, s.envelope FROM channels c JOIN sessions s ON s.id = c.session WHERE c.channel = ANY ($1::bytea[])`

const selectSessionFacts = `SELECT id, envelope FROM sessions WHERE id = ANY ($1::bytea[])`

const selectOfferFacts = `SELECT id, envelope FROM offers WHERE id = ANY ($1::bytea[])`

// learnFees gives items the facts of what they name, reading in one round trip what is
// not remembered. What is not in the database they lack.
func (s *Service) learnFees(ctx context.Context, items []*item) error {
	f := s.intake.fees
	w := f.look(items)
	if w.isEmpty() {
		return nil
	}
	if err := s.readFees(ctx, s.front, w); err != nil {
		return fmt.Errorf("read %d channels, %d sessions and %d offers: %w", len(w.channels), len(w.sessions), len(w.offers), err)
	}
	f.look(items)
	return nil
}

// batcher sends a batch: the pool, or a transaction.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (s *Service) readFees(ctx context.Context, q batcher, w wanted) error {
	var b pgx.Batch
	f := s.intake.fees
	if len(w.sessions) > 0 {
		b.Queue(selectSessionFacts, byteas(w.sessions)).Query(func(rows pgx.Rows) error {
			var id, envelope []byte
			_, err := pgx.ForEachRow(rows, []any{&id, &envelope}, func() error {
				_, err := s.addSession(ionet.Hash(id), envelope)
				return err
			})
			return err
		})
	}
	if len(w.channels) > 0 {
		b.Queue(selectChannelFacts, byteas(w.channels)).Query(func(rows pgx.Rows) error {
			var channel, worker, id, envelope []byte
			_, err := pgx.ForEachRow(rows, []any{&channel, &worker, &id, &envelope}, func() error {
				session, err := s.addSession(ionet.Hash(id), envelope)
				if err == nil {
					f.addChannel(&channelFact{channel: ionet.Key(channel), worker: ionet.Key(worker), session: session})
				}
				return err
			})
			return err
		})
	}
	if len(w.offers) > 0 {
		b.Queue(selectOfferFacts, byteas(w.offers)).Query(func(rows pgx.Rows) error {
			var id, envelope []byte
			_, err := pgx.ForEachRow(rows, []any{&id, &envelope}, func() error { return f.addOffer(ionet.Hash(id), envelope) })
			return err
		})
	}
	return q.SendBatch(ctx, &b).Close()
}

// addSession remembers a stored session; one that is remembered is not parsed again.
func (s *Service) addSession(id ionet.Hash, stored []byte) (*sessionFact, error) {
	f := s.intake.fees
	f.mu.Lock()
	known, ok := f.sessions.get(id)
	f.mu.Unlock()
	if ok {
		return known, nil
	}
	e, err := storedEnvelope(stored)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	v, err := proofs.ParseSession(s.cfg.Network.ID(), e.Signer, e.Body)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	fact := &sessionFact{id: id, Session: v}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions.put(id, fact)
	return fact, nil
}

func (f *feeFacts) addChannel(c *channelFact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.channels.put(c.channel, c)
}

func (f *feeFacts) addOffer(id ionet.Hash, stored []byte) error {
	e, err := storedEnvelope(stored)
	if err != nil {
		return fmt.Errorf("offer %s: %w", id, err)
	}
	o, err := proofs.ParseOffer(e.Body)
	if err != nil {
		return fmt.Errorf("offer %s: %w", id, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.offers.get(id); !ok {
		f.offers.put(id, &offerFact{id: id, envelope: e, offer: o})
	}
	return nil
}

// storedEnvelope parses a column that holds one envelope; it keeps a copy of its own.
func storedEnvelope(stored []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(append([]byte(nil), stored...))
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after an envelope", len(rest))
	}
	return e, err
}

func (f *feeFacts) session(id ionet.Hash) *sessionFact {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, _ := f.sessions.get(id)
	return v
}

func (f *feeFacts) channel(k ionet.Key) *channelFact {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, _ := f.channels.get(k)
	return v
}
