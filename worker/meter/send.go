package meter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// sender is what the loop remembers from one step to the next. Only Run touches it.
type sender struct {
	instance   client.ID // of the service, that answered last
	headAt     time.Time // when it was asked last
	batch      int       // statements of a body; fewer after a 413
	pause      time.Duration
	fileTime   time.Time // of the offer file that was read last
	offerAgain time.Time
	verifier   *proofs.Verifier
	sealedSize uint64    // of the log, when it was last looked through
	lookedAt   time.Time // when the log was asked for last
	askedAt    time.Time // when channels were last asked for
	tidiedAt   time.Time // when what nobody needs was last let go
}

// Times of the loop.
const (
	tick      = time.Second
	company   = 20 * time.Millisecond
	headEvery = 10 * time.Second
	maxPause  = time.Minute
	batchKeep = 24 * time.Hour // how long a sealed batch's jobs are kept for renters who ask
)

// nudge wakes the sender.
func (m *Meter) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// pause waits until there is something to do. After trouble it is longer each time, and
// half of it is drawn: hosts that lost a service together do not come back together.
func (m *Meter) pause(ctx context.Context, trouble error) {
	wake := m.wake
	if wait := tick; trouble == nil {
		m.send.pause = wait
	} else {
		m.send.pause = min(2*m.send.pause, maxPause)
		if p, ok := errors.AsType[*client.Problem](trouble); ok {
			m.send.pause = min(max(m.send.pause, p.RetryAfter), 2*maxPause)
		}
		m.cfg.Logger.Info("the service can't take what is due now", "error", trouble)
		wake = nil
	}
	timer := time.NewTimer(m.send.pause/2 + rand.N(m.send.pause/2))
	defer timer.Stop()
	select {
	case <-wake:
		// A moment later others are done as well: they share a body.
		select {
		case <-time.After(company):
		case <-ctx.Done():
		}
	case <-timer.C:
	case <-ctx.Done():
	}
}

// step does what is due: renew the offer, close batches, present what has no answer, and
// let go of what is sealed.
func (m *Meter) step(ctx context.Context) error {
	m.follow()
	if m.cfg.API == nil {
		return m.makeBatches()
	}
	if err := m.head(ctx); err != nil {
		if silent(err) {
			m.away.Store(m.cfg.Now().UnixNano())
		}
		return err
	}
	// A batch is one statement: where some of it was served too late, all of it is lost.
	if err := m.askBeforeBatches(ctx); err != nil {
		return err
	}
	if err := m.makeBatches(); err != nil {
		return err
	}
	if err := m.present(ctx); err != nil {
		return err
	}
	if err := m.askChannels(ctx); err != nil {
		return err
	}
	if err := m.lookUpSealed(ctx); err != nil {
		return err
	}
	return m.letGo()
}

// head asks which instance answers and what time it is. A new one gets all again that is
// not sealed: it may have lost its memory.
func (m *Meter) head(ctx context.Context) error {
	now := m.cfg.Now()
	if now.Sub(m.send.headAt) < headEvery && m.send.headAt.Before(now) {
		return nil
	}
	head, err := m.cfg.API.Head(ctx)
	if err != nil {
		return fmt.Errorf("ask the service where it is: %w", err)
	}
	if head.Network != ionet.Key(m.cfg.Network.ID()) {
		return fmt.Errorf("the service is of network %s, not of %s", head.Network, ionet.Key(m.cfg.Network.ID()))
	}
	m.send.headAt = now
	m.hear()
	if ahead := head.Time - m.cfg.Now().Unix(); ahead < -1 || ahead > 1 {
		m.ahead.Store(ahead) // jobs carry the service's time: one that is a minute ahead is refused
	} else {
		m.ahead.Store(0)
	}
	if head.Instance == m.send.instance {
		return nil
	}
	m.send.instance, m.send.batch = head.Instance, client.MaxStatements
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	for _, p := range m.journal.book.byID {
		p.sent = false
	}
	return nil
}

func (m *Meter) hear() {
	m.heard.Store(m.cfg.Now().UnixNano())
	m.away.Store(0)
}

// due is a statement that the running instance has to answer. Those that only help
// others along have no parcel.
type due struct {
	client.Presented
	parcel *parcel
}

// due lists what has no answer, in order: offers, then channels that the service forgot,
// then each channel's jobs. All of it is durable once the ticket is.
func (m *Meter) due() (list []due, ticket uint64) {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	b := m.journal.book
	add := func(p *parcel) {
		if !p.sent && p.refused == "" {
			list = append(list, due{client.Presented{Statement: p.e, Ack: p.ack}, p})
		}
	}
	for _, o := range b.offers {
		add(&o.parcel)
	}
	for _, ch := range b.channels {
		if ch.present {
			ack := ch.ack
			list = append(list, due{Presented: client.Presented{Statement: ch.sessionEnvelope}}, due{Presented: client.Presented{Statement: ch.openEnvelope, Ack: &ack}})
		}
		for _, p := range ch.parcels() {
			if p.refused != "" {
				break // what follows it can't be paid either
			}
			if p.after.Cmp(ch.sealed) > 0 {
				add(p)
			}
		}
	}
	return list, m.journal.queued
}

// bill is what the statement asks of its channel.
func (p *parcel) bill() proofs.Bill {
	bill, _ := proofs.ParseBill(p.e.Kind, p.e.Body) // parsed when it came in
	return bill
}

// present hands in what is due, in bodies that the service takes at once.
func (m *Meter) present(ctx context.Context) error {
	list, ticket := m.due()
	if err := m.journal.wait(ticket); err != nil {
		return err
	}
	var trouble error // of some: it holds up no others
	for len(list) > 0 {
		n, size := 0, 0
		var body []client.Presented
		for n < len(list) && n < m.send.batch && (n == 0 || size < client.MaxBody*3/4) {
			body = append(body, list[n].Presented)
			size += len(list[n].Statement.Body) + 2*envelopeHead + proofs.MaxAckBody
			n++
		}
		results, err := m.cfg.API.Submit(ctx, body)
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == http.StatusRequestEntityTooLarge && n > 1 {
			m.send.batch = n / 2 // until the next instance
			continue
		}
		if err != nil && len(results) == 0 {
			return errors.Join(trouble, fmt.Errorf("submit %d statements: %w", n, err))
		}
		m.hear()
		if kept := m.answers(list[:len(results)], m.checked(list, results)); kept != nil {
			trouble = kept
		}
		if err != nil {
			return errors.Join(trouble, err)
		}
		list = list[n:]
	}
	return trouble
}

// lookUpSealed notes which jobs are in a sealed log. A channel's jobs are logged in their
// order: where one is sealed, so are those before it.
func (m *Meter) lookUpSealed(ctx context.Context) error {
	now := m.cfg.Now()
	if now.Sub(m.send.lookedAt) < headEvery && m.send.lookedAt.Before(now) || len(m.ackedOf()) == 0 {
		return nil
	}
	m.send.lookedAt = now
	log, err := m.cfg.API.Log(ctx)
	if err != nil {
		return fmt.Errorf("ask for the log: %w", err)
	}
	m.hear()
	if log.Sealed == nil || log.Sealed.Size == m.send.sealedSize {
		return nil
	}
	for key, list := range m.ackedOf() {
		// The first that is not sealed, by halving.
		var failed error
		n, _ := slices.BinarySearchFunc(list, struct{}{}, func(p *parcel, _ struct{}) int {
			if failed != nil {
				return 1
			}
			sealed, err := m.isSealed(ctx, p)
			if failed = err; sealed {
				return -1
			}
			return 1
		})
		if failed != nil {
			return failed
		}
		if n == 0 {
			continue
		}
		if err := m.noteSealed(key, list[n-1].after); err != nil {
			return err
		}
	}
	m.send.sealedSize = log.Sealed.Size
	return nil
}

// ackedOf returns each channel's acked statements that are not known to be sealed, in
// order.
func (m *Meter) ackedOf() map[ionet.Key][]*parcel {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	out := map[ionet.Key][]*parcel{}
	for key, ch := range m.journal.book.channels {
		for _, p := range ch.parcels() {
			if p.ack == nil || p.refused != "" {
				break
			}
			if p.after.Cmp(ch.sealed) > 0 {
				out[key] = append(out[key], p)
			}
		}
	}
	return out
}

func (m *Meter) isSealed(ctx context.Context, p *parcel) (bool, error) {
	r, err := m.cfg.API.Receipt(ctx, p.id.String())
	if problem, ok := errors.AsType[*client.Problem](err); ok && problem.Status == http.StatusNotFound {
		return false, nil // acked, and waiting for the jobs before it
	}
	if err != nil {
		return false, fmt.Errorf("ask for the receipt of %s: %w", p.id, err)
	}
	return r.State == client.ReceiptSealed, nil
}

func (m *Meter) noteSealed(key ionet.Key, after ionet.Amount) error {
	j := m.journal
	j.mu.Lock()
	ticket, err := j.add(tagSealed, sealRecord(key, after, m.now()))
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.wait(ticket)
}
