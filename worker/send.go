package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// send presents what the running instance has not answered yet: delegations, then
// inventories, then uptime statements.
func (w *Worker) send(ctx context.Context) error {
	if w.held != nil && w.heldSince == w.head.Epoch {
		return nil // refused for this epoch; a binding or a delegation may change
	}
	w.held = nil
	for _, kind := range []proofs.Kind{proofs.KindDelegation, proofs.KindInventory, proofs.KindUptime} {
		if err := w.present(ctx, w.unanswered(kind)); err != nil {
			return err
		}
		if w.held != nil {
			return nil
		}
	}
	return nil
}

// unanswered returns the statements of that kind that the running instance has not
// answered.
func (w *Worker) unanswered(kind proofs.Kind) []*item {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*item
	for _, it := range w.spool.items {
		if it.e.Kind == kind && !it.sent && it.refused == "" {
			list = append(list, it)
		}
	}
	return list
}

// batchBytes keeps a body below the service's limit.
const batchBytes = client.MaxBody * 3 / 4

// envelopeHead is what an envelope adds to its body.
const envelopeHead = 1 + 32 + 64 + 2

// present hands items in, in batches, and keeps the answers.
func (w *Worker) present(ctx context.Context, items []*item) error {
	for len(items) > 0 {
		n, size := 0, 0
		var list []client.Presented
		for n < len(items) && n < w.batch && (n == 0 || size < batchBytes) {
			it := items[n]
			list = append(list, client.Presented{Statement: it.e, Ack: it.ack})
			size += len(it.e.Body) + 2*envelopeHead + proofs.MaxAckBody
			n++
		}
		results, err := w.cfg.API.Submit(ctx, list)
		if tooLarge(err) && n > 1 {
			w.batch = n / 2 // until the next instance
			continue
		}
		if err != nil {
			return &apiError{fmt.Errorf("submit %d statements: %w", n, err)}
		}
		if err := w.answers(items[:n], results); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// answers keeps the service's answers. Statements that it could not take now hold up no
// others.
func (w *Worker) answers(items []*item, results []client.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var trouble error
	for i, r := range results {
		err := w.answer(items[i], r)
		if err != nil && !unreachable(err) {
			return err
		}
		if trouble == nil {
			trouble = err
		}
	}
	return trouble
}

// answer keeps the service's answer to one statement.
func (w *Worker) answer(it *item, r client.Result) error {
	if r.Status == client.Refused {
		return w.refused(it, r.Problem)
	}
	ack, err := w.checkAck(it, r.Ack)
	if err != nil {
		w.emit(Event{Kind: EventBadAck, ID: it.id, Text: err.Error()})
		it.sent = true // the next instance is asked again
		return nil
	}
	if it.id == w.inventory.id {
		w.dropRefusal()
	}
	if it.ack != nil {
		it.sent = true
		return w.compareAcks(it, ack)
	}
	// The ack is durable before we rely on it. If we stop before this line, the
	// service gives the same ack again.
	if err := w.spool.AddAck(ack); err != nil {
		return err
	}
	it.sent = true
	switch it.e.Kind {
	case proofs.KindUptime:
		w.emit(Event{Kind: EventAccepted, Epoch: it.at.epoch, Sample: it.at.sample, ID: it.id})
	case proofs.KindInventory:
		w.emit(Event{Kind: EventRegistered, ID: it.id, Count: len(w.devices)})
	}
	return nil
}

func (w *Worker) checkAck(it *item, b []byte) (proofs.Envelope, error) {
	e, err := oneEnvelope(b)
	if err != nil {
		return e, err
	}
	if e.Kind != proofs.KindAck || e.Signer != w.cfg.Network.Keys.Service {
		return e, fmt.Errorf("%s by %s is not an ack by the network's service", e.Kind, e.Signer)
	}
	ack, err := proofs.ParseAck(e.Body)
	if err != nil {
		return e, err
	}
	if ack.Statement != it.id {
		return e, fmt.Errorf("it is of statement %s", ack.Statement)
	}
	return e, e.Verify(w.cfg.Network.ID())
}

// compareAcks keeps both acks as evidence when the service acked one statement
// with two arrivals.
func (w *Worker) compareAcks(it *item, ack proofs.Envelope) error {
	before, err := proofs.ParseAck(it.ack.Body)
	if err != nil {
		return err
	}
	now, err := proofs.ParseAck(ack.Body)
	if err != nil || !now.Contradicts(before) {
		return err
	}
	path, err := w.cfg.Folder.keepEvidence("two-acks-"+it.id.String(), it.e, *it.ack, ack)
	if err != nil {
		return err
	}
	w.emit(Event{Kind: EventBadAck, ID: it.id, Text: "the service acked it before with another arrival: evidence in " + path})
	return nil
}

// refused decides what a refusal means: some go away when the service learns what
// it lacks, some with time; the rest is final.
func (w *Worker) refused(it *item, p *client.Problem) error {
	if p == nil {
		return &apiError{errors.New("the service refused a statement without a reason")}
	}
	if p.Kind() == client.WrongNetwork {
		return fmt.Errorf("submit statements: %w", p)
	}
	switch p.Kind() {
	case client.UnknownWorker, client.UnknownInventory, client.UnknownDelegation:
		if w.forget(it.names) {
			return nil // presented again in the next tick, with what was missing
		}
	case client.EpochClosed:
		if it.e.Kind == proofs.KindUptime {
			// Its rows may have left for the book already: only the book can tell whether
			// it was counted, and it is looked up there once the seal is final.
			it.sent = true
			return nil
		}
	case client.TooManyStatements:
		w.watch.next = 0 // two others are there for its sample: who signed them?
	case client.FutureSample, client.BeaconNotReady, client.BodyTooLarge:
		return &apiError{p}
	}
	if p.Status == http.StatusTooManyRequests || p.Status >= 500 {
		return &apiError{p} // busy, or not leading: later
	}
	if w.aboutDelegation(it, p.Kind()) {
		w.wanting = true
	}
	w.keepRefusal(it, p)
	if it.id == w.inventory.id || it.id == w.delegationOf() {
		// Not for good: a binding ends, a delegation begins.
		w.held, w.heldSince = fmt.Errorf("%s refused: %w", it.e.Kind, p), w.head.Epoch
		return nil
	}
	w.emit(Event{Kind: EventRefused, Epoch: it.at.epoch, Sample: it.at.sample, ID: it.id, Text: p.Error(), Rule: p.Kind()})
	return w.spool.Refuse(it.id, p.Kind())
}

// forget marks the named delegation and inventory as not presented and reports
// whether there was one to present again.
func (w *Worker) forget(names [2]ionet.Hash) bool {
	again := false
	for _, id := range names {
		if it := w.spool.byID[id]; it != nil && it.sent && it.refused == "" {
			it.sent, again = false, true
		}
	}
	return again
}
