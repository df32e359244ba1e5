package meter

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// checked verifies the acks: one that is none, or of another statement, is no answer.
func (m *Meter) checked(list []due, results []client.Result) []client.Result {
	acks := make([]proofs.Envelope, len(results))
	bad := make([]error, len(results))
	for i, r := range results {
		if r.Status == client.Refused {
			continue
		}
		if acks[i], bad[i] = oneEnvelope(r.Ack); bad[i] == nil {
			bad[i] = m.checkAck(acks[i], list[i].Statement.ID())
		}
	}
	for i, err := range m.send.verifier.Verify(acks) {
		if results[i].Status == client.Refused {
			continue
		}
		if err = errors.Join(bad[i], err); err != nil {
			m.cfg.Logger.Warn("the service's ack is none", "statement", list[i].Statement.ID(), "error", err)
			results[i].Ack = nil
		}
	}
	return results
}

// answers keeps what the service said. A channel whose job it can't take now holds up no
// other; the trouble is returned, so that the rest is tried again.
func (m *Meter) answers(list []due, results []client.Result) error {
	j := m.journal
	j.mu.Lock()
	var trouble error
	for i, r := range results {
		if err := m.answer1(list[i], r); err != nil {
			trouble = err
		}
	}
	ticket := j.queued
	j.mu.Unlock()
	return errors.Join(j.wait(ticket), trouble)
}

// answer1 keeps the service's answer to one statement. The caller holds the lock.
func (m *Meter) answer1(d due, r client.Result) error {
	if d.parcel == nil {
		return m.presented(d, r)
	}
	if r.Status == client.Refused {
		return m.refusedBy(d.parcel, r.Problem)
	}
	if len(r.Ack) == 0 {
		return fmt.Errorf("the service gave no ack of statement %s", d.parcel.id)
	}
	m.metrics.answered.WithLabelValues(r.Status).Inc()
	d.parcel.sent = true
	if d.parcel.ack != nil {
		return nil
	}
	_, err := m.journal.add(tagAck, r.Ack)
	return err
}

// presented is the answer to a session or an opening that was handed in for its jobs.
func (m *Meter) presented(d due, r client.Result) error {
	if d.Statement.Kind != proofs.KindChannelOpen {
		return nil
	}
	o, err := proofs.ParseChannelOpen(d.Statement.Body)
	if err != nil {
		return err
	}
	if ch := m.journal.book.channels[o.Channel]; ch != nil && (r.Status != client.Refused || !passes(r.Problem)) {
		ch.present = false
	}
	return nil
}

// passes reports whether a refusal goes away by itself.
func passes(p *client.Problem) bool {
	return p == nil || p.Status == http.StatusTooManyRequests || p.Status >= 500 || p.Kind() == client.Busy || p.Kind() == client.BodyTooLarge
}

// undelegated reports whether the service waits for the wallet's delegation, or for the
// worker to present it.
func undelegated(p *client.Problem) bool {
	switch p.Kind() {
	case client.UnknownWorker, client.UnknownDelegation, client.UnknownInventory, client.DelegationExpired, client.DelegationRevoked:
		return true
	}
	return false
}

// refusedBy decides what a refusal means. What passes stays due; a channel or an offer
// that the service does not know is presented again, once; the rest is final and kept as
// evidence.
func (m *Meter) refusedBy(p *parcel, why *client.Problem) error {
	if passes(why) {
		if why == nil {
			return errors.New("the service refused a statement without a reason")
		}
		return why
	}
	if why.Kind() == client.WrongNetwork || p.e.Kind == proofs.KindOffer && undelegated(why) {
		return why
	}
	if p.ch != nil && m.forgotten(p, why.Kind()) {
		return fmt.Errorf("the service forgot what %s %s rests on: %w", p.e.Kind, p.id, why)
	}
	m.metrics.answered.WithLabelValues(client.Refused).Inc()
	m.cfg.Logger.Warn("the service refused a statement", "kind", p.e.Kind, "statement", p.id, "reason", why.Kind(), "detail", why.Detail)
	kind := why.Kind()
	_, err := m.journal.add(tagRefused, p.id[:], []byte(kind[:min(len(kind), maxProblem)]))
	return err
}

// forgotten presents what a job needs again, if that was not done since the last answer.
func (m *Meter) forgotten(p *parcel, kind string) bool {
	switch kind {
	case client.UnknownChannel, client.UnknownSession:
		if p.ch.presentedFor == m.send.instance {
			return false
		}
		p.ch.present, p.ch.presentedFor = true, m.send.instance
		return true
	case client.ModelNotOffered:
		o := m.journal.book.offerByID(p.bill().Offer)
		if o == nil || o.refused != "" || o.presentedFor == m.send.instance {
			return false
		}
		o.sent, o.presentedFor = false, m.send.instance
		return true
	}
	return false
}
