package meter

import (
	"fmt"
	"os"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// publish makes the file the offer to come: the newest one where it says the same and
// has a while to run, else a new one. It is durable before anybody sees it.
func (m *Meter) publish(f *OfferFile) error {
	now := m.now()
	m.journal.mu.Lock()
	last := m.journal.book.newestOffer()
	if last == nil || last.refused != "" || !f.says(last.offer) || last.offer.Expires-now < int64(f.ExpiresAfter.Seconds())/2 {
		e, err := m.signOffer(f, last, now)
		if err != nil {
			m.journal.mu.Unlock()
			return err
		}
		ticket, err := m.journal.add(tagOffer, e.Append(nil))
		if err != nil {
			m.journal.mu.Unlock()
			return err
		}
		m.journal.mu.Unlock()
		if err := m.journal.wait(ticket); err != nil {
			return err
		}
		m.journal.mu.Lock()
		last = m.journal.book.newestOffer()
		m.cfg.Logger.Info("offer signed", "id", last.id, "models", len(last.offer.Models), "expires", last.offer.Expires)
	}
	id := last.id
	m.journal.mu.Unlock()
	m.filesMu.Lock()
	m.file, m.files[id] = f, f
	m.filesMu.Unlock()
	m.nudge()
	return nil
}

// signOffer signs what the file says. Its sequence is the time in milliseconds, and
// above the last one's whatever the clock says.
func (m *Meter) signOffer(f *OfferFile, last *offer, now int64) (proofs.Envelope, error) {
	sequence := uint64(m.cfg.Now().UnixMilli())
	if last != nil {
		sequence = max(sequence, last.offer.Sequence+1)
	}
	body, err := f.statement(sequence, now+int64(f.ExpiresAfter.Seconds())).Encode()
	if err != nil {
		return proofs.Envelope{}, fmt.Errorf("sign offer: %w", err)
	}
	return proofs.Sign(m.cfg.Network.ID(), proofs.KindOffer, m.cfg.Key, body), nil
}

func (b *book) newestOffer() *offer {
	if len(b.offers) == 0 {
		return nil
	}
	return b.offers[len(b.offers)-1]
}

// inForce returns the offer under which requests are served now, and what serves them:
// the newest that the service took; before it took any, the newest. One that it refused
// would leave its jobs unpaid. The caller holds the journal's lock.
func (m *Meter) inForce(now int64) (*offer, *OfferFile) {
	m.filesMu.Lock()
	defer m.filesMu.Unlock()
	var found *offer
	offers := m.journal.book.offers
	for i := len(offers) - 1; i >= 0; i-- {
		o := offers[i]
		if o.refused != "" || o.offer.Expires <= now || m.files[o.id] == nil {
			continue
		}
		if o.ack != nil {
			found = o
			break
		}
		if found == nil {
			found = o
		}
	}
	if found == nil {
		return nil, nil
	}
	return found, m.files[found.id]
}

// follow looks whether the offer file changed, and renews the offer in time. A file that
// can't be read leaves the offer as it is.
func (m *Meter) follow() {
	if info, err := os.Stat(m.cfg.OfferFile); err == nil && !info.ModTime().Equal(m.send.fileTime) {
		m.send.fileTime = info.ModTime()
		m.reload()
	}
	m.filesMu.Lock()
	f := m.file
	m.filesMu.Unlock()
	m.journal.mu.Lock()
	last := m.journal.book.newestOffer()
	due := last != nil && (last.offer.Expires-m.now() < int64(f.ExpiresAfter.Seconds())/2 || last.refused != "" && m.cfg.Now().After(m.send.offerAgain))
	m.journal.mu.Unlock()
	if due {
		m.send.offerAgain = m.cfg.Now().Add(offerPause)
		if err := m.publish(f); err != nil {
			m.cfg.Logger.Warn("offer not renewed", "error", err)
		}
	}
}

// offerPause is how long a refused offer rests before another one is tried: a
// delegation may come.
const offerPause = time.Minute

func (m *Meter) reload() {
	f, err := ReadOfferFile(m.cfg.OfferFile)
	if err == nil {
		err = m.publish(f)
	}
	if err != nil {
		m.cfg.Logger.Warn("offer file not taken, the offer stays as it is", "error", err)
	}
}

// forgetFiles drops what serves offers that are gone.
func (m *Meter) forgetFiles() {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	b := m.journal.book
	b.dropOffers(m.now() - int64((24 * time.Hour).Seconds()))
	m.filesMu.Lock()
	defer m.filesMu.Unlock()
	for id := range m.files {
		if b.offerByID(id) == nil {
			delete(m.files, id)
		}
	}
}

// worse reports whether the price of what is sold is above that of an older offer which
// the renter names.
func worse(now, then proofs.OfferModel) bool {
	cap := proofs.Session{Caps: []proofs.PriceCap{{Model: then.Name, Price: then.Price, Per: uint64(then.Per)}}}
	return !cap.Allows(now.Name, now.Price, now.Per)
}

// checkNamed refuses a request that names an offer which is not known here, or is
// cheaper than the one in force.
func (b *book) checkNamed(a *ask, in *offer, model proofs.OfferModel) *client.MeterProblem {
	if a.offer.IsZero() || a.offer == in.id {
		return nil
	}
	if named := b.offerByID(a.offer); named != nil {
		for _, then := range named.offer.Models {
			if then.Name == model.Name && then.Unit == model.Unit && !worse(model, then) {
				return nil
			}
		}
	}
	p := problem(402, client.OfferChanged, "the offer in force is another one than "+a.offer.String()+", and not cheaper")
	p.Offer = in.e.Append(nil)
	return p
}
