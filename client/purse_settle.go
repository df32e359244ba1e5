package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// quiet is how long after it was sent a job that its worker does not know can still come
// to it.
const quiet = 5 * time.Second

// Settle asks workers what became of jobs whose answer was lost, and returns how many
// are still open.
func (p *Purse) Settle(ctx context.Context) (open int) {
	p.mu.Lock()
	list := slices.Collect(maps.Values(p.channels))
	p.mu.Unlock()
	for _, ch := range list {
		open += p.settleChannel(ctx, ch)
	}
	return open
}

// settleChannel is Settle for one channel.
func (p *Purse) settleChannel(ctx context.Context, ch *purseChannel) (open int) {
	p.mu.Lock()
	jobs, endpoint := maps.Clone(ch.unknown), ch.endpoint
	p.mu.Unlock()
	maps.DeleteFunc(jobs, func(_ ID, sent *sentRequest) bool { return sent.Wrong })
	if len(jobs) == 0 {
		return 0
	}
	var has WorkerChannel
	if err := p.workerCall(ctx, http.MethodGet, endpoint, "/ionet/v1/channels/"+ch.key.String(), nil, &has); err != nil {
		p.log.Info("outcome of jobs is not known yet", "jobs", len(jobs), "worker", ch.worker.String(), "error", err)
		return len(jobs)
	}
	for job, sent := range jobs {
		done, err := p.settleJob(ctx, ch, endpoint, job, sent)
		if err == nil && !done && has.Running.IsZero() {
			done, err = p.settleUnserved(ctx, ch, job, sent, has)
		}
		if err != nil {
			p.log.Info("outcome of a job is not known yet", "job", job.String(), "worker", ch.worker.String(), "error", err)
		}
		if !done {
			open++
		}
	}
	return open
}

// settleJob asks the worker for the job's statement, and reports whether there is one.
func (p *Purse) settleJob(ctx context.Context, ch *purseChannel, endpoint string, job ID, sent *sentRequest) (bool, error) {
	var w WorkerJob
	err := p.workerCall(ctx, http.MethodGet, endpoint, fmt.Sprintf("/ionet/v1/jobs/%s/%s", ch.key, job), nil, &w)
	var problem *MeterProblem
	if errors.As(err, &problem) && (problem.Kind() == UnknownReceipt || problem.Kind() == JobRunning) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e, err := oneStatement(w.Statement)
	if err != nil {
		return false, err
	}
	_, err = p.account(ch, job, sent, e, heard{})
	return err == nil, err
}

// settleUnserved deals with a job that its worker, with nothing running on the channel, has
// no statement of: it was never served, or it was settled and is not kept any more; then
// what is spent is more than our statements make, and the service has its receipt.
func (p *Purse) settleUnserved(ctx context.Context, ch *purseChannel, job ID, sent *sentRequest, has WorkerChannel) (bool, error) {
	if p.cfg.Now().Unix() < sent.Time+int64(quiet/time.Second) {
		return false, nil // it may be on its way to the worker
	}
	p.mu.Lock()
	all := ch.spans.isGapless() && has.Spent.Cmp(ch.spans.top()) <= 0
	p.mu.Unlock()
	if !all {
		return p.settleReceipt(ctx, ch, job, sent)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free(ch, job)
	return true, nil
}

// settleReceipt accounts for a job by what the receipt log has of it. A job's id is drawn
// by whoever asks, so the log may have another's under it: then ours is looked for among
// the renter's own.
func (p *Purse) settleReceipt(ctx context.Context, ch *purseChannel, job ID, sent *sentRequest) (bool, error) {
	r, err := p.cfg.Service.Receipt(ctx, job.String())
	if err != nil {
		return false, err
	}
	e, err := ch.receiptOf(job, r.Record)
	if errors.Is(err, errOtherReceipt) {
		e, err = p.findReceipt(ctx, ch, job)
	}
	if err != nil {
		return false, fmt.Errorf("receipt of job %s: %w", job, err)
	}
	_, err = p.account(ch, job, sent, e, heard{})
	return err == nil, err
}

// errOtherReceipt reports a record that is no receipt of the job on this channel.
var errOtherReceipt = errors.New("the log has none of this channel, or has it in a batch")

// receiptOf returns the job's statement if the record is its receipt.
func (ch *purseChannel) receiptOf(job ID, b []byte) (e proofs.Envelope, err error) {
	record, err := proofs.ParseRecord(b)
	if err != nil {
		return e, err
	}
	receipt, ok := record.Entry.(proofs.Receipt)
	if !ok || receipt.Statement.Kind != proofs.KindJob || receipt.Statement.Signer != ch.worker {
		return e, errOtherReceipt
	}
	j, err := proofs.ParseJob(receipt.Statement.Body)
	if err == nil && (j.Channel != ch.key || ID(j.ID) != job) {
		err = errOtherReceipt
	}
	return receipt.Statement, err
}

// findReceipt looks for a job among all receipts of the renter.
func (p *Purse) findReceipt(ctx context.Context, ch *purseChannel, job ID) (e proofs.Envelope, err error) {
	for page, err := range p.cfg.Service.Receipts(ctx, ReceiptsAsk{Renter: p.session.Renter, Reader: p.cfg.Key}) {
		if err != nil {
			return e, err
		}
		for _, r := range page.Receipts {
			e, err := ch.receiptOf(job, r.Record)
			if !errors.Is(err, errOtherReceipt) {
				return e, err
			}
		}
	}
	return e, errOtherReceipt
}

// mend settles what is open until the purse is closed.
func (p *Purse) mend(ctx context.Context) {
	defer close(p.done)
	const shortest, longest = time.Second, time.Minute
	pause := shortest
	for {
		open := p.Settle(ctx)
		var again <-chan time.Time
		if open > 0 {
			again = time.After(pause)
			pause = min(2*pause, longest)
		} else {
			pause = shortest
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-p.settle:
			pause = shortest
		}
	}
}

// CloseChannel asks the service to close a channel: its worker is not used through it any
// more, and what is left of its limit goes back to the session after the network's grace.
func (p *Purse) CloseChannel(ctx context.Context, channel ionet.Key) error {
	p.mu.Lock()
	ch := p.channels[channel]
	if ch == nil {
		p.mu.Unlock()
		return fmt.Errorf("close channel: this purse has no channel %s", channel)
	}
	body, err := proofs.ChannelClose{Channel: channel, Cumulative: ch.spans.top()}.Encode()
	if err != nil {
		p.mu.Unlock()
		return err
	}
	e := proofs.Sign(p.cfg.Network.ID(), proofs.KindChannelClose, p.cfg.Key, body)
	at := uint64(0)
	if !ch.closing {
		ch.closing = true
		at, err = p.note(purseNote{Kind: noteClosing, Channel: channel, Statement: e.Append(nil)})
	}
	p.mu.Unlock()
	if err == nil {
		err = p.journal.sync(at)
	}
	if err == nil {
		_, err = p.submit(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("close channel %s: %w", channel, err)
	}
	return nil
}

// CloseSession asks the service to close the session with all its channels. What is left
// goes back to the renter's balance after the network's grace. The purse serves nothing
// more.
func (p *Purse) CloseSession(ctx context.Context) error {
	body, err := proofs.SessionClose{Session: p.id}.Encode()
	if err != nil {
		return err
	}
	var notes []purseNote
	p.mu.Lock()
	for key, ch := range p.channels {
		if !ch.closing {
			ch.closing = true
			notes = append(notes, purseNote{Kind: noteClosing, Channel: key})
		}
	}
	at, err := p.note(notes...)
	p.mu.Unlock()
	if err == nil {
		err = p.journal.sync(at)
	}
	if err == nil {
		_, err = p.submit(ctx, proofs.Sign(p.cfg.Network.ID(), proofs.KindSessionClose, p.cfg.Key, body))
	}
	if err != nil {
		return fmt.Errorf("close session %s: %w", p.id, err)
	}
	return nil
}

// retire notes that a channel serves no more, as its worker says, and returns the fault:
// the next request opens another one.
func (p *Purse) retire(ch *purseChannel, fault *workerFault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ch.closing {
		ch.closing = true
		if _, err := p.note(purseNote{Kind: noteClosing, Channel: ch.key}); err != nil {
			return err
		}
	}
	return fault
}
