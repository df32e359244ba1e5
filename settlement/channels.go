package settlement

import (
	"github.com/ionet-settlement/ionet/proofs"
)

// checkOpening holds what an opening says by itself: that its channel is the address that
// its fields derive is found once the session is known.
func (s *Service) checkOpening(_ *proofs.Envelope, o proofs.ChannelOpen) *Problem {
	if o.Limit.IsZero() {
		return NewProblem(ProblemMalformedStatement, "body.limit", "the limit is 0: a channel pays for something")
	}
	return nil
}

// takeChannel opens a channel, or tops one up.
func (j *journal) takeChannel(it *item, o proofs.ChannelOpen) error {
	if j.wasTaken(it) {
		return nil
	}
	session := j.sessionOf(it, o.Session)
	if it.problem = j.judgeOpening(it, session, o); it.problem != nil {
		return nil
	}
	it.inserted = true
	d := j.workers[o.Worker]
	if it.problem = fitsRecord(d, it); it.problem != nil {
		it.inserted = false
		return nil
	}
	return j.addChannel(session, &it.envelope, it.id, o, d, it.arrival)
}

// fitsRecord refuses an opening whose record would be too large: a delegation may name
// very many workers.
func fitsRecord(d *delegationInForce, it *item) *Problem {
	if n := len(d.envelope.Body) + len(it.envelope.Body); n > proofs.MaxRecord-512 {
		return NewProblem(ProblemMalformedStatement, "body.worker", "the worker's delegation is too long for a record of the receipt log: its provider should name fewer workers in one")
	}
	return nil
}

func (j *journal) judgeOpening(it *item, session *sessionRow, o proofs.ChannelOpen) *Problem {
	if session == nil {
		return NewProblem(ProblemUnknownSession, "body.session", "session %s is not known: send the session statement first", o.Session)
	}
	f := session.fact
	address, err := proofs.ChannelAddress(f.Renter, o.Worker, j.s.cfg.Network.Mint, f.Key, o.Salt, o.OpenSlot)
	switch {
	case f.Key != it.envelope.Signer:
		return NewProblem(ProblemForeignSession, "signer", "session %s is that of key %s, the channel-open is signed by %s", o.Session, f.Key, it.envelope.Signer)
	case err != nil || address != o.Channel:
		return NewProblem(ProblemWrongChannel, "body.channel", "channel %s is not the address that renter, worker, mint, session key, salt and open slot derive: %s", o.Channel, address)
	case session.state != stateOpen:
		return refusal(proofs.Closed, "body.session", "session %s is %s", o.Session, session.state)
	case o.Expires > f.Expires:
		return refusal(proofs.Expired, "body.expires", "the channel expires at %d, after its session: %d", o.Expires, f.Expires)
	case j.head.accepted >= j.openUntil(it, o.Expires):
		return refusal(proofs.Expired, "body.expires", "the channel expired at %d, it is %d now", o.Expires, j.head.accepted)
	case j.workers[o.Worker] == nil:
		return refusal(proofs.UnknownWorker, "body.worker", "worker %s has no delegation in force that its inventory names: its host registers first", o.Worker)
	}
	if p := j.judgeLimit(session, o); p != nil || it.acked {
		return p // what was acked before was within the bounds then
	}
	return j.judgeOften(session, o)
}

// judgeLimit holds an opening against its channel, if there is one, and the reserve.
func (j *journal) judgeLimit(session *sessionRow, o proofs.ChannelOpen) *Problem {
	delta := o.Limit
	if c := j.channels[o.Channel]; c != nil {
		switch {
		case c.session != o.Session:
			return NewProblem(ProblemWrongChannel, "body.session", "channel %s is one of session %s", o.Channel, c.session)
		case c.status() != stateOpen:
			return refusal(proofs.Closed, "body.channel", "channel %s is %s", o.Channel, c.status())
		case o.Limit.Cmp(c.limit) <= 0:
			return NewProblem(ProblemNoTopUp, "body.limit", "channel %s is open with the limit %s: a top-up raises it", o.Channel, c.limit)
		case o.Expires < c.expires:
			return NewProblem(ProblemNoTopUp, "body.expires", "channel %s is open until %d: a top-up does not shorten it", o.Channel, c.expires)
		}
		delta, _ = o.Limit.Sub(c.limit)
	}
	if session.left.Cmp(delta) < 0 {
		return NewProblem(ProblemAboveReserve, "body.limit", "the channel takes %s from the session's reserve, of which %s is left", delta, session.left)
	}
	return nil
}

// takeChannelClose begins the end of a channel.
func (j *journal) takeChannelClose(it *item, v proofs.ChannelClose) error {
	if j.wasTaken(it) {
		return nil
	}
	c := j.channels[v.Channel]
	switch {
	case c == nil:
		it.problem = refusal(proofs.UnknownChannel, "body.channel", "no opening of channel %s was accepted", v.Channel)
	case c.status() != stateOpen:
		it.problem = refusal(proofs.Closed, "body.channel", "channel %s is %s already", v.Channel, c.status())
	}
	if it.problem != nil {
		return nil
	}
	it.inserted = true
	return j.addClose(c, &it.envelope, it.id, it.arrival)
}
