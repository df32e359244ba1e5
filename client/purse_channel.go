package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// purseChannel is one channel. The purse's lock guards it.
type purseChannel struct {
	key, worker ionet.Key // never change

	open     proofs.ChannelOpen // the latest
	opening  proofs.Envelope    // its statement
	ack      *proofs.Envelope   // of the latest opening; nil while the service has not taken it
	former   *formerOpening     // what stood before the latest one, while that is not acked
	endpoint string
	handed   ionet.Hash   // the opening that the worker has, as far as this process knows
	signed   ionet.Amount // what vouchers cover that may have left
	spans    spans        // what its worker's statements account for
	running  map[ID]*sentRequest
	unknown  map[ID]*sentRequest // sent, outcome not known
	closing  bool
}

// formerOpening is what a refused top-up leaves in force.
type formerOpening struct {
	open    proofs.ChannelOpen
	opening proofs.Envelope
	ack     proofs.Envelope
}

// inForce is the opening that worker and service both go by: the latest, or, while that is
// not acked, the one before. false before the first is acked.
func (ch *purseChannel) inForce() (limit ionet.Amount, opening ionet.Hash, ok bool) {
	switch {
	case ch.ack != nil:
		return ch.open.Limit, ch.opening.ID(), true
	case ch.former != nil:
		return ch.former.open.Limit, ch.former.opening.ID(), true
	}
	return limit, opening, false
}

// take puts a new opening in force, which is not acked yet.
func (ch *purseChannel) take(open proofs.ChannelOpen, e proofs.Envelope, endpoint string) {
	if ch.ack != nil {
		ch.former = &formerOpening{ch.open, ch.opening, *ch.ack}
	}
	ch.open, ch.opening, ch.endpoint, ch.ack = open, e, endpoint, nil
}

func newPurseChannel(open proofs.ChannelOpen) *purseChannel {
	return &purseChannel{key: open.Channel, worker: open.Worker, open: open, running: map[ID]*sentRequest{}, unknown: map[ID]*sentRequest{}}
}

// replay applies a line of the journal.
func (ch *purseChannel) replay(n purseNote) error {
	switch n.Kind {
	case noteAcked:
		e, err := oneStatement(n.Statement)
		ch.ack, ch.former = &e, nil
		return err
	case noteSigned:
		ch.signed = larger(ch.signed, n.Cumulative)
	case noteSent:
		if n.Sent == nil {
			return errors.New("it tells nothing of the request")
		}
		ch.signed = larger(ch.signed, n.Cumulative)
		ch.unknown[n.Job] = n.Sent
	case notePaid:
		if n.Before == nil || n.After == nil {
			return errors.New("it has no amounts")
		}
		delete(ch.unknown, n.Job)
		// The same job may have been accounted for twice where we stopped in between.
		if err := ch.spans.add(*n.Before, *n.After); err != nil && !ch.spans.has(*n.Before, *n.After) {
			return err
		}
	case noteFree:
		delete(ch.unknown, n.Job)
	case noteClosing:
		ch.closing = true
	default:
		return fmt.Errorf("its kind %q is unknown: is this program older than the folder?", n.Kind)
	}
	return nil
}

// notes returns lines that replay to the channel as it is.
func (ch *purseChannel) notes() []purseNote {
	key := ch.key
	var list []purseNote
	if f := ch.former; f != nil {
		list = append(list, purseNote{Kind: noteOpen, Channel: key, Worker: ch.worker, Endpoint: ch.endpoint, Statement: f.opening.Append(nil)},
			purseNote{Kind: noteAcked, Channel: key, Statement: f.ack.Append(nil)})
	}
	list = append(list, purseNote{Kind: noteOpen, Channel: key, Worker: ch.worker, Endpoint: ch.endpoint, Statement: ch.opening.Append(nil)})
	if ch.ack != nil {
		list = append(list, purseNote{Kind: noteAcked, Channel: key, Statement: ch.ack.Append(nil)})
	}
	list = append(list, purseNote{Kind: noteSigned, Channel: key, Cumulative: ch.signed})
	for _, x := range ch.spans {
		list = append(list, purseNote{Kind: notePaid, Channel: key, Before: &x.from, After: &x.to})
	}
	for _, open := range []map[ID]*sentRequest{ch.unknown, ch.running} {
		for job, sent := range open {
			list = append(list, purseNote{Kind: noteSent, Channel: key, Job: job, Sent: sent, Cumulative: ch.signed})
		}
	}
	if ch.closing {
		list = append(list, purseNote{Kind: noteClosing, Channel: key})
	}
	return list
}

// committed is what the worker may have earned at most when all that runs has ended: what
// is known, and the bounds of what is not.
func (ch *purseChannel) committed() ionet.Amount {
	sum := ch.spans.known()
	for _, open := range []map[ID]*sentRequest{ch.unknown, ch.running} {
		for _, sent := range open {
			sum, _ = sum.Add(sent.Bound) // beyond the range of amounts no limit is
		}
	}
	return larger(sum, ch.spans.top())
}

// allowed is the most that its worker can have signed for: what is known, and what each
// request that is open was signed for. A worker that keeps its word has signed for no
// more, whatever is still on its way:
//
//	spent <= known + sum of most
func (ch *purseChannel) allowed() ionet.Amount {
	sum := ch.spans.known()
	for _, open := range []map[ID]*sentRequest{ch.unknown, ch.running} {
		for _, sent := range open {
			if more, err := sum.Add(sent.most()); err == nil { // beyond the range of amounts no limit is
				sum = more
			}
		}
	}
	return sum
}

func larger(a, b ionet.Amount) ionet.Amount {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

func smaller(a, b ionet.Amount) ionet.Amount {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

// hand gives the channel to its worker and compares what that has of it.
func (p *Purse) hand(ctx context.Context, ch *purseChannel, endpoint string) error {
	p.mu.Lock()
	e, ack := ch.opening, ch.ack
	if ack == nil && ch.former != nil {
		e, ack = ch.former.opening, &ch.former.ack
	}
	if ack == nil || ch.handed == e.ID() {
		p.mu.Unlock()
		return nil
	}
	ask := ChannelOpening{Session: p.cfg.Session.Append(nil), Open: e.Append(nil), Ack: ack.Append(nil)}
	ch.endpoint = endpoint
	known := ch.spans.top() // before it is asked: what is spent only grows
	p.mu.Unlock()
	has, err := p.workerOpens(ctx, endpoint, ask)
	if err != nil {
		return fmt.Errorf("hand channel %s to its worker: %w", ch.key, err)
	}
	if err := p.compare(ctx, ch, has, known); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ch.handed = e.ID()
	return nil
}

// compare holds what the worker has of a channel against what the purse knows, and knew
// when it asked.
func (p *Purse) compare(ctx context.Context, ch *purseChannel, has WorkerChannel, known ionet.Amount) error {
	if has.Channel != ch.key || has.Worker != ch.worker {
		return fmt.Errorf("worker %s answers for channel %s of worker %s", ch.worker, has.Channel, has.Worker)
	}
	if has.Stuck != "" {
		return p.forsake(ch, "its channel is stuck: "+has.Stuck)
	}
	p.settleChannel(ctx, ch)
	if len(has.Last) > 0 {
		if err := p.learn(ch, has.Last); err != nil {
			return p.forsake(ch, fmt.Sprintf("the last statement that it shows of its channel is none: %v", err))
		}
	}
	p.mu.Lock()
	allowed := ch.allowed()
	p.mu.Unlock()
	switch {
	case has.Spent.Cmp(known) < 0:
		return p.forsake(ch, fmt.Sprintf("it has forgotten jobs: it says that %s is spent, and has signed for %s", has.Spent, known))
	case has.Spent.Cmp(allowed) > 0:
		return p.forsake(ch, fmt.Sprintf("it says that %s is spent, all our jobs make %s", has.Spent, allowed))
	}
	return nil
}

// learn raises what is signed to what a statement of the worker shows that we signed: this
// folder may be an older copy.
func (p *Purse) learn(ch *purseChannel, last []byte) error {
	e, err := oneStatement(last)
	if err != nil {
		return err
	}
	if e.Kind != proofs.KindJob || e.Signer != ch.worker {
		return fmt.Errorf("it is a %s by %s", e.Kind, e.Signer)
	}
	if err := e.Verify(p.cfg.Network.ID()); err != nil {
		return err
	}
	j, err := proofs.ParseJob(e.Body)
	if err != nil {
		return err
	}
	if j.Channel != ch.key {
		return fmt.Errorf("it is of channel %s", j.Channel)
	}
	if err := proofs.VerifyVoucher(p.public, j.Channel, j.Cumulative, j.Voucher); err != nil {
		return err
	}
	p.mu.Lock()
	if j.Cumulative.Cmp(ch.signed) <= 0 {
		p.mu.Unlock()
		return nil
	}
	ch.signed = j.Cumulative
	at, err := p.note(purseNote{Kind: noteSigned, Channel: j.Channel, Cumulative: j.Cumulative})
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.journal.sync(at)
}

// forsake leaves a channel's worker and returns why.
func (p *Purse) forsake(ch *purseChannel, reason string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(ch.worker, reason)
	return &workerFault{worker: ch.worker, reason: reason}
}
