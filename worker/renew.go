package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// ErrNoDelegation reports that the service knows no delegation of the provider for this
// worker that is in force.
var ErrNoDelegation = errors.New("the service has no delegation of this host by its provider")

// FindDelegation returns the newest delegation of the worker at the service that the
// provider signed and that is in force, or ErrNoDelegation. The service is not trusted:
// what others signed, and what does not verify, is none.
func FindDelegation(ctx context.Context, api *client.Client, worker, provider ionet.Key, now time.Time) (proofs.Envelope, error) {
	list, err := api.DelegationsBy(ctx, worker, provider)
	if err != nil {
		return proofs.Envelope{}, fmt.Errorf("look for a delegation: %w", err)
	}
	var best proofs.Envelope
	var issued int64
	for _, l := range list {
		e, err := oneEnvelope(l.Envelope)
		if err != nil || l.Revoked != 0 || e.Signer != provider {
			continue
		}
		d, err := readDelegation(api.Network(), worker, e)
		if err == nil && inForce(d, now.Unix()) && d.Issued > issued {
			best, issued = e, d.Issued
		}
	}
	if issued == 0 {
		return proofs.Envelope{}, ErrNoDelegation
	}
	return best, nil
}

// CheckDelegation returns an error unless e is a delegation on that network that
// names the worker.
func CheckDelegation(network ionet.Hash, worker ionet.Key, e proofs.Envelope) error {
	_, err := readDelegation(network, worker, e)
	return err
}

func readDelegation(network ionet.Hash, worker ionet.Key, e proofs.Envelope) (proofs.Delegation, error) {
	if e.Kind != proofs.KindDelegation {
		return proofs.Delegation{}, fmt.Errorf("check delegation: this is a statement of kind %s", e.Kind)
	}
	d, err := proofs.ParseDelegation(network, e.Signer, e.Body)
	if err != nil {
		return proofs.Delegation{}, fmt.Errorf("check delegation: %w", err)
	}
	if !d.Has(worker) {
		return proofs.Delegation{}, fmt.Errorf("check delegation: it does not name this worker, %s", worker)
	}
	if err := e.Verify(network); err != nil {
		return proofs.Delegation{}, fmt.Errorf("check delegation: %w", err)
	}
	return d, nil
}

// inForce reports whether a sample that begins at that Unix second counts under d.
func inForce(d proofs.Delegation, start int64) bool { return d.Issued <= start && start < d.Expires }

// maxRenewal is how long before a delegation's end the worker looks for a new one, where
// half of its time is not less.
const maxRenewal = 7 * 24 * time.Hour

// RenewAt is when the time to renew a delegation begins.
func RenewAt(d proofs.Delegation) time.Time {
	left := min(maxRenewal, time.Duration(d.Expires-d.Issued)*time.Second/2)
	return time.Unix(d.Expires, 0).Add(-left)
}

// renew looks for a delegation that takes the place of one that ends, or was refused: other
// refusals, as that of a device which is bound elsewhere, no delegation mends. It
// is the folder's from then on and the inventory's with the next epoch: one epoch goes by
// one inventory.
func (w *Worker) renew(ctx context.Context) error {
	up := w.host.up()
	w.mu.Lock()
	now, had := w.host.now(), w.delegated
	w.mu.Unlock()
	if up < w.renewAt || !w.wanting && now.Before(RenewAt(had)) {
		return nil
	}
	// Many hosts have one delegation, which ends for all at once.
	pause := time.Duration(w.clock.Length) * time.Second / 4
	w.renewAt = up + pause + rand.N(pause)
	e, err := w.newDelegation(ctx, now)
	if errors.Is(err, ErrNoDelegation) {
		return nil
	}
	if err != nil {
		return &apiError{err}
	}
	d, err := readDelegation(w.cfg.Network.ID(), w.self, e)
	if err != nil || d.Issued <= had.Issued || d.Provider != w.cfg.Provider {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Durable before it is used. If we stop here, the next start begins with it.
	if err := w.cfg.Folder.SetDelegation(e); err != nil {
		return err
	}
	w.cfg.Delegation, w.delegated, w.ended, w.wanting = e, d, false, false
	w.emit(Event{Kind: EventDelegated, ID: e.ID(), Text: "until " + time.Unix(d.Expires, 0).UTC().Format(time.RFC3339)})
	return nil
}

func (w *Worker) newDelegation(ctx context.Context, now time.Time) (proofs.Envelope, error) {
	if w.cfg.Renew != nil {
		return w.cfg.Renew(now)
	}
	return FindDelegation(ctx, w.cfg.API, w.self, w.cfg.Provider, now)
}
