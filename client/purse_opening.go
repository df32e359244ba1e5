package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// channelTo returns the open channel to the offer's worker, whose limit covers at least
// need more than it is committed to; it opens one, or tops it up. need 0 is any.
func (p *Purse) channelTo(ctx context.Context, o workerOffer, need ionet.Amount) (*purseChannel, error) {
	if ch := p.ready(o, need); ch != nil {
		return ch, nil
	}
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if ch := p.ready(o, need); ch != nil { // another request did it
		return ch, nil
	}
	// The worker may need it again; the service is not asked for what it acked.
	if ch := p.acked(o, need); ch != nil {
		return ch, p.hand(ctx, ch, o.offer.Endpoint)
	}
	ch, err := p.openWithin(ctx, o, need, nil)
	if isReserve(err) { // what others of the session have, or gave back, the service knows
		has, asked := p.cfg.Service.Session(ctx, p.id)
		if asked != nil {
			return nil, err
		}
		ch, err = p.openWithin(ctx, o, need, &has.Free)
	}
	if err != nil {
		return nil, err
	}
	return ch, p.hand(ctx, ch, o.offer.Endpoint)
}

// openWithin opens or tops up the channel, out of what is free of the session's reserve; nil
// is what no channel of this purse has.
func (p *Purse) openWithin(ctx context.Context, o workerOffer, need ionet.Amount, free *ionet.Amount) (*purseChannel, error) {
	ch, err := p.extend(o, need, free)
	if err != nil {
		return nil, err
	}
	return ch, p.submitOpening(ctx, ch)
}

func isReserve(err error) bool {
	var mine *PurseError
	return errors.As(err, &mine) && mine.Code == CodeReserve || IsProblem(err, AboveReserve) || IsProblem(err, NoTopUp) || IsProblem(err, Insufficient)
}

// channelOf returns the channel of a worker that new requests use. The caller holds p.mu.
func (p *Purse) channelOf(worker ionet.Key) *purseChannel {
	now := p.cfg.Now().Unix()
	for _, ch := range p.channels {
		if ch.worker == worker && !ch.closing && now < ch.open.Expires {
			return ch
		}
	}
	return nil
}

// ready returns the worker's channel if nobody has to be asked first.
func (p *Purse) ready(o workerOffer, need ionet.Amount) *purseChannel {
	ch := p.acked(o, need)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch == nil {
		return nil
	}
	if _, opening, _ := ch.inForce(); ch.handed != opening {
		return nil
	}
	return ch
}

// acked returns the worker's channel if its limit, as the service has acked it, has room.
func (p *Purse) acked(o workerOffer, need ionet.Amount) *purseChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.channelOf(o.worker)
	if ch == nil {
		return nil
	}
	limit, _, ok := ch.inForce()
	if sum, err := ch.committed().Add(need); !ok || err != nil || sum.Cmp(limit) > 0 {
		return nil
	}
	return ch
}

// extend signs an opening, the first or one with a greater limit, where one is needed. It
// is durable when extend returns: if we stop behind it, the next start hands the same
// bytes in.
func (p *Purse) extend(o workerOffer, need ionet.Amount, free *ionet.Amount) (*purseChannel, error) {
	p.mu.Lock()
	ch := p.channelOf(o.worker)
	if ch != nil && ch.ack == nil {
		p.mu.Unlock()
		return ch, nil // first what is under way
	}
	open := proofs.ChannelOpen{Session: p.id, Worker: o.worker, Expires: p.session.Expires}
	committed := ionet.Amount{}
	if ch != nil {
		open, committed = ch.open, ch.committed()
	}
	want, err := committed.Add(need)
	if err == nil && ch != nil && want.Cmp(open.Limit) <= 0 {
		p.mu.Unlock()
		return ch, nil
	}
	if err == nil {
		err = p.raise(&open, want, free)
	}
	if err == nil && ch == nil {
		err = p.address(&open)
	}
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	body, err := open.Encode()
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	e := proofs.Sign(p.cfg.Network.ID(), proofs.KindChannelOpen, p.cfg.Key, body)
	at, err := p.note(purseNote{Kind: noteOpen, Channel: open.Channel, Worker: o.worker, Endpoint: o.offer.Endpoint, Statement: e.Append(nil)})
	if err == nil {
		if ch == nil {
			ch = newPurseChannel(open)
			p.channels[open.Channel] = ch
		}
		ch.take(open, e, o.offer.Endpoint)
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return ch, p.journal.sync(at)
}

// strangerPart is what part of PurseConfig.First a stranger's first channel has: a part of
// the reserve is all that offers which serve nobody can hold.
const strangerPart = 16

// raise sets a limit that covers want: doubled, as far as the reserve has it.
func (p *Purse) raise(open *proofs.ChannelOpen, want ionet.Amount, free *ionet.Amount) error {
	if free == nil {
		rest := p.session.Reserve
		for _, ch := range p.channels {
			rest, _ = rest.Sub(smaller(ch.open.Limit, rest))
		}
		free = &rest
	}
	most, err := open.Limit.Add(*free)
	if err != nil || most.Cmp(want) < 0 || most.IsZero() {
		return &PurseError{Status: http.StatusPaymentRequired, Code: CodeReserve, most: most, Message: fmt.Sprintf(
			"the session's reserve of %s does not cover it: %s is free, and the worker's channel needs %s: open a session with a larger reserve", p.tokens(p.session.Reserve), p.tokens(*free), p.tokens(want))}
	}
	limit, err := open.Limit.Add(open.Limit)
	if err != nil {
		limit = open.Limit
	}
	first := p.cfg.First
	if !p.isKnown(open.Worker) {
		first = ionet.MustAmount(first.Base() / strangerPart)
	}
	open.Limit = smaller(larger(larger(limit, first), want), most)
	return nil
}

// address draws the channel's address. The nonce is random, so that a purse whose folder
// was lost never meets a channel for which it signed vouchers that it forgot. The open
// slot is of a channel's account on chain, which ours has not.
func (p *Purse) address(open *proofs.ChannelOpen) (err error) {
	var nonce [8]byte
	rand.Read(nonce[:]) // never fails: crypto/rand ends the program instead
	open.Salt = proofs.ChannelSalt(p.cfg.Network.ID(), p.id, binary.LittleEndian.Uint64(nonce[:]))
	open.Channel, err = proofs.ChannelAddress(p.session.Renter, open.Worker, p.cfg.Network.Mint, p.public, open.Salt, open.OpenSlot)
	return err
}

// submitOpening hands the latest opening to the service and keeps its ack.
func (p *Purse) submitOpening(ctx context.Context, ch *purseChannel) error {
	p.mu.Lock()
	e, acked := ch.opening, ch.ack != nil
	p.mu.Unlock()
	if acked {
		return nil
	}
	ack, err := p.submit(ctx, e)
	if err != nil {
		return errors.Join(fmt.Errorf("open channel %s: %w", ch.key, err), p.takeBack(ch, err))
	}
	p.mu.Lock()
	ch.ack, ch.former = &ack, nil
	_, err = p.note(purseNote{Kind: noteAcked, Channel: ch.key, Statement: ack.Append(nil)})
	p.mu.Unlock()
	return err // not synced: a lost ack is given again
}

// takeBack puts the former opening in force where the service refused the latest one. It
// is not presented again, so it never counts.
func (p *Purse) takeBack(ch *purseChannel, refusal error) error {
	var problem *Problem
	if !errors.As(refusal, &problem) || !problem.ours() || problem.Status >= 500 || problem.Status == http.StatusTooManyRequests {
		return nil // it may have taken it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := ch.former
	if f == nil {
		delete(p.channels, ch.key)
		_, err := p.note(purseNote{Kind: noteVoid, Channel: ch.key})
		return err
	}
	ch.open, ch.opening, ch.ack, ch.former = f.open, f.opening, &f.ack, nil
	_, err := p.note(purseNote{Kind: noteOpen, Channel: ch.key, Worker: ch.worker, Endpoint: ch.endpoint, Statement: f.opening.Append(nil)},
		purseNote{Kind: noteAcked, Channel: ch.key, Statement: f.ack.Append(nil)})
	return err
}

// submit hands a statement in and returns its ack, which it checks.
func (p *Purse) submit(ctx context.Context, e proofs.Envelope) (ack proofs.Envelope, err error) {
	results, err := p.cfg.Service.Submit(ctx, []Presented{{Statement: e}})
	if err != nil {
		return ack, err
	}
	if results[0].Problem != nil {
		return ack, results[0].Problem
	}
	if ack, err = oneStatement(results[0].Ack); err == nil {
		err = checkAck(ack, p.cfg.Network, e.ID())
	}
	if err != nil {
		return ack, fmt.Errorf("the service's ack can't be believed: %w", err)
	}
	return ack, nil
}

// checkAck checks that ack is the network's service's answer to a statement.
func checkAck(ack proofs.Envelope, n *ionet.Network, statement ionet.Hash) error {
	if ack.Kind != proofs.KindAck || ack.Signer != n.Keys.Service {
		return fmt.Errorf("it is a %s by %s", ack.Kind, ack.Signer)
	}
	if err := ack.Verify(n.ID()); err != nil {
		return err
	}
	a, err := proofs.ParseAck(ack.Body)
	if err == nil && a.Statement != statement {
		err = fmt.Errorf("it is of statement %s", a.Statement)
	}
	return err
}
