package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// feeLedger is sessions, channels and fees as the log's records make them.
type feeLedger struct {
	a        *auditor
	accepted int64          // of the last record
	told     proofs.Receipt // the last: its totals are where the next one's begin

	sessions map[ionet.Hash]*feeSession
	channels map[ionet.Key]*feeChannel
	offers   map[ionet.Hash]*loggedOffer

	renters flows // reserves and what of them came back
	payees  flows // fees, by whom they are owed to
}

// feeSession is a session's part of its renter's balance.
type feeSession struct {
	proofs.Session
	id       ionet.Hash
	left     ionet.Amount // of the reserve, in no channel
	channels []*feeChannel
	closing  int64 // when it was asked to close; 0: it was not
	over     bool
}

type feeChannel struct {
	terms   proofs.FeeTerms
	session *feeSession
	payee   ionet.Key
	jobs    map[[16]byte]bool // ids that were paid; nil when it is over
}

type loggedOffer struct {
	proofs.Offer
	worker ionet.Key
}

// spent is the voucher that pays for a receipt.
type spent struct {
	voucher proofs.SignedVoucher
	epoch   uint64
	object  string
}

func newFeeLedger(a *auditor) *feeLedger {
	return &feeLedger{
		a: a, sessions: map[ionet.Hash]*feeSession{}, channels: map[ionet.Key]*feeChannel{}, offers: map[ionet.Hash]*loggedOffer{},
		renters: flows{}, payees: flows{},
	}
}

// place names a record in findings.
type place struct {
	l      *feeLedger
	at     int64
	epoch  uint64
	object string
}

func (p place) find(rule string, expected, found any) {
	p.l.a.r.find(p.epoch, p.object, rule, expected, found)
}

// epochAt is the epoch of a record's time; before the first, that.
func (l *feeLedger) epochAt(at int64) uint64 {
	k, _, ok := l.a.network.Clock().At(time.Unix(at, 0))
	if !ok {
		return 1
	}
	return k
}

// record applies a record to the ledger: as far as it can be, whatever does not hold. It
// returns the voucher of a receipt, for many are verified together.
func (l *feeLedger) record(ctx context.Context, p *parsedRecord) (v spent, ok bool) {
	at := place{l: l, at: p.Accepted, object: fmt.Sprintf("record %d of the receipt log", p.index)}
	if p.Entry == nil {
		at.find("log-record", "a record of FORMAT.md section 12", p.err)
		return v, false
	}
	at.epoch, at.object = l.epochAt(p.Accepted), fmt.Sprintf("%s, record %d", p.Entry.Tag(), p.index)
	l.a.r.Records++
	if p.err != nil {
		at.find("fee-signature", "statements that their signers signed", p.err)
	}
	same(l.a.r, at.epoch, at.object, "log-index", p.index, p.Index)
	if p.Accepted < l.accepted {
		at.find("log-time", fmt.Sprintf("at least %d, as the record before it", l.accepted), p.Accepted)
	}
	l.accepted = max(l.accepted, p.Accepted)
	switch e := p.Entry.(type) {
	case proofs.SessionEntry:
		l.open(ctx, at, &e.Statement)
	case proofs.ChannelEntry:
		l.fund(ctx, at, e)
	case proofs.OfferEntry:
		l.offer(at, &e.Statement)
	case proofs.CloseEntry:
		l.close(at, &e.Statement)
	case proofs.ChannelOver:
		l.endChannel(ctx, at, e)
	case proofs.SessionOver:
		l.endSession(ctx, at, e)
	case proofs.Receipt:
		return l.receipt(ctx, at, e)
	}
	return v, false
}

// open takes a session's reserve from its renter's balance.
func (l *feeLedger) open(ctx context.Context, at place, e *proofs.Envelope) {
	s, err := proofs.ParseSession(l.a.network.ID(), e.Signer, e.Body)
	if err == nil {
		err = proofs.CheckKey(s.Key)
	}
	id := e.ID()
	switch {
	case err != nil:
		at.find("fee-session", "a session", err)
		return
	case l.sessions[id] != nil:
		at.find("fee-session", "each session once", id)
		return
	case at.at >= l.until(ctx, at, s.Expires):
		at.find("fee-session", fmt.Sprintf("accepted before its grace after %d ends", s.Expires), at.at)
	}
	l.sessions[id] = &feeSession{Session: s, id: id, left: s.Reserve}
	l.renters.reserve(s.Renter, s.Reserve, at.object)
}

// fund opens a channel, or tops it up, out of its session.
func (l *feeLedger) fund(ctx context.Context, at place, e proofs.ChannelEntry) {
	o, err := proofs.ParseChannelOpen(e.Statement.Body)
	if err != nil {
		at.find("fee-channel", "a channel-open", err)
		return
	}
	s := l.sessions[o.Session]
	if s == nil {
		at.find("fee-channel", "a session that is in the log", o.Session)
		return
	}
	if why := l.whyNotFunded(ctx, at, s, o, e); why != "" {
		at.find("fee-channel", why, fmt.Sprintf("channel %s", o.Channel))
	}
	c, more := l.channels[o.Channel], o.Limit
	if c == nil {
		c = &feeChannel{session: s, terms: proofs.FeeTerms{Session: s.Session, SessionID: s.id}, jobs: map[[16]byte]bool{}}
		l.channels[o.Channel] = c
		s.channels = append(s.channels, c)
	} else if more, err = o.Limit.Sub(c.terms.Channel.Limit); err != nil || more.IsZero() {
		at.find("fee-channel", fmt.Sprintf("a limit above %s", c.terms.Channel.Limit), o.Limit)
		return
	}
	left, err := s.left.Sub(more)
	if err != nil {
		at.find("fee-reserve", fmt.Sprintf("at most %s, which the session has left", s.left), more)
		left = ionet.Amount{}
	}
	s.left, c.terms.Channel, c.payee = left, o, l.payeeOf(at, e, o)
}

// whyNotFunded returns what should hold of a channel-open and does not, or "".
func (l *feeLedger) whyNotFunded(ctx context.Context, at place, s *feeSession, o proofs.ChannelOpen, e proofs.ChannelEntry) string {
	address, err := proofs.ChannelAddress(s.Renter, o.Worker, l.a.Mint, s.Key, o.Salt, o.OpenSlot)
	c := l.channels[o.Channel]
	switch {
	case err != nil || address != o.Channel:
		return "the address that its fields derive, " + address.String()
	case e.Statement.Signer != s.Key:
		return "to be signed by the session's key " + s.Key.String()
	case s.closing != 0 || s.over:
		return "a session that was not asked to close"
	case at.at >= l.until(ctx, at, o.Expires):
		return fmt.Sprintf("accepted before its grace after %d ends", o.Expires)
	case o.Expires > s.Expires:
		return fmt.Sprintf("to expire by %d, as the session", s.Expires)
	case o.Limit.IsZero():
		return "a limit"
	case c == nil:
		return ""
	case c.session != s || c.terms.Channel.Worker != o.Worker:
		return "the session and worker that it was opened with"
	case c.terms.Closing != 0 || c.terms.Over:
		return "a channel that was not asked to close"
	case o.Expires < c.terms.Channel.Expires:
		return fmt.Sprintf("to expire not before %d, as it did", c.terms.Channel.Expires)
	}
	return ""
}

// payeeOf returns the payout wallet of the delegation under which the worker serves.
func (l *feeLedger) payeeOf(at place, e proofs.ChannelEntry, o proofs.ChannelOpen) ionet.Key {
	d, err := proofs.ParseDelegation(l.a.network.ID(), e.Delegation.Signer, e.Delegation.Body)
	switch {
	case err != nil:
		at.find("fee-delegation", "a delegation", err)
	case !slices.Contains(d.Workers, o.Worker):
		at.find("fee-delegation", "a delegation to "+o.Worker.String(), e.Delegation.ID())
	case at.at < d.Issued || at.at >= d.Expires:
		at.find("fee-delegation", fmt.Sprintf("accepted from %d on, before %d", d.Issued, d.Expires), at.at)
	case l.a.isRevoked(e.Delegation.ID(), d.Provider, at.epoch):
		at.find("fee-delegation", "a delegation that is not revoked", e.Delegation.ID())
	}
	return d.Payout
}

func (l *feeLedger) offer(at place, e *proofs.Envelope) {
	o, err := proofs.ParseOffer(e.Body)
	if err != nil {
		at.find("fee-offer", "an offer", err)
		return
	}
	l.offers[e.ID()] = &loggedOffer{o, e.Signer}
}

// close begins the grace of a channel or of a session.
func (l *feeLedger) close(at place, e *proofs.Envelope) {
	if e.Kind == proofs.KindSessionClose {
		c, err := proofs.ParseSessionClose(e.Body)
		s := l.sessions[c.Session]
		if err != nil || s == nil || e.Signer != s.Key || s.over {
			at.find("fee-close", "the close of a session in the log, by its key", fmt.Sprintf("session %s by %s: %v", c.Session, e.Signer, err))
			return
		}
		s.closing = earlier(s.closing, at.at)
		for _, ch := range s.channels {
			ch.terms.Closing = earlier(ch.terms.Closing, at.at)
		}
		return
	}
	c, err := proofs.ParseChannelClose(e.Body)
	ch := l.channels[c.Channel]
	if err != nil || ch == nil || e.Signer != ch.session.Key || ch.terms.Over {
		at.find("fee-close", "the close of a channel in the log, by its session's key", fmt.Sprintf("channel %s by %s: %v", c.Channel, e.Signer, err))
		return
	}
	ch.terms.Closing = earlier(ch.terms.Closing, at.at)
}

// earlier returns the earlier of two times; 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// endChannel gives back to the session what its channel did not spend.
func (l *feeLedger) endChannel(ctx context.Context, at place, e proofs.ChannelOver) {
	c := l.channels[e.Channel]
	if c == nil || c.terms.Over {
		at.find("fee-close", "a channel that is open", e.Channel)
		return
	}
	l.checkGrace(ctx, at, earlier(c.terms.Closing, c.terms.Channel.Expires))
	same(l.a.r, at.epoch, at.object, "fee-returned", c.terms.Spent, e.Spent)
	rest, err := c.terms.Channel.Limit.Sub(c.terms.Spent)
	if err == nil {
		same(l.a.r, at.epoch, at.object, "fee-returned", rest, e.Returned)
		c.session.left, err = c.session.left.Add(rest)
	}
	if err != nil {
		at.find("fee-returned", "a sum that can be", err)
	}
	c.terms.Over, c.jobs = true, nil
}

// endSession gives back to the renter what his session has left.
func (l *feeLedger) endSession(ctx context.Context, at place, e proofs.SessionOver) {
	s := l.sessions[e.Session]
	if s == nil || s.over {
		at.find("fee-close", "a session that is open", e.Session)
		return
	}
	l.checkGrace(ctx, at, earlier(s.closing, s.Expires))
	if slices.ContainsFunc(s.channels, func(c *feeChannel) bool { return !c.terms.Over }) {
		at.find("fee-close", "a session whose channels are over", e.Session)
	}
	same(l.a.r, at.epoch, at.object, "fee-returned", s.left, e.Returned)
	s.over, s.channels = true, nil
	l.renters.add(s.Renter, at.at-skew, e.Returned)
}

// checkGrace holds the end of what was asked to close, or expired, at begin.
func (l *feeLedger) checkGrace(ctx context.Context, at place, begin int64) {
	policy := l.a.policyAt(ctx, at.epoch)
	if policy == nil {
		return // said
	}
	if end := begin + int64(policy.Fees.GraceSeconds); at.at < end {
		at.find("fee-early-close", fmt.Sprintf("not before %d: %d seconds after %d", end, policy.Fees.GraceSeconds, begin), at.at)
	}
}

// until is when what expires then can't come in any more: what was acked before, and
// lost, may come again for a grace.
func (l *feeLedger) until(ctx context.Context, at place, expires int64) int64 {
	if policy := l.a.policyAt(ctx, at.epoch); policy != nil {
		return expires + int64(policy.Fees.GraceSeconds)
	}
	return expires
}

// receipt pays a job out of its channel.
func (l *feeLedger) receipt(ctx context.Context, at place, e proofs.Receipt) (v spent, ok bool) {
	l.a.r.Receipts++
	b, err := proofs.ParseBill(e.Statement.Kind, e.Statement.Body)
	if err != nil {
		at.find("fee-"+proofs.WrongFee.Name(), "a job or a batch of jobs", err)
		l.told = e
		return v, false
	}
	l.total(at, e, b)
	c := l.channels[b.Channel]
	l.split(ctx, at, e, b, c)
	if c == nil {
		at.find("fee-"+proofs.UnknownChannel.Name(), "a channel in the log", b.Channel)
		return v, false
	}
	var offer *proofs.Offer
	if o := l.offers[b.Offer]; o != nil && o.worker == e.Statement.Signer {
		offer = &o.Offer
	}
	if rule := c.terms.Check(e.Statement.Signer, b, offer, at.at); rule != proofs.FeeHolds {
		at.find("fee-"+rule.Name(), "a job that is paid", rule.Text())
	} else if b.Before != c.terms.Spent {
		at.find("fee-order", "before of "+c.terms.Spent.String(), b.Before)
	}
	if c.jobs[b.ID] {
		at.find("fee-"+proofs.Replay.Name(), fmt.Sprintf("job id %x once in its channel", b.ID), "it was paid before")
	}
	if c.jobs != nil {
		c.jobs[b.ID] = true
	}
	same(l.a.r, at.epoch, at.object, "fee-payee", c.payee, e.Payee)
	same(l.a.r, at.epoch, at.object, "fee-renter", c.session.Renter, e.Renter)
	if b.After.Cmp(c.terms.Spent) > 0 { // what overlaps is said; the channel never spends less
		c.terms.Spent = b.After
	}
	return spent{b.SignedVoucher(c.session.Key), at.epoch, at.object}, true
}

// total holds the running totals of a receipt against those of the one before, so that
// a sum that is wrong is told once.
func (l *feeLedger) total(at place, e proofs.Receipt, b proofs.Bill) {
	fees, err := l.told.TotalFees.Add(b.Fee)
	if err != nil {
		at.find("fee-totals", "a sum that can be", err)
	} else {
		same(l.a.r, at.epoch, at.object, "fee-totals", fees, e.TotalFees)
	}
	same(l.a.r, at.epoch, at.object, "fee-totals", l.told.TotalJobs+uint64(b.Count), e.TotalJobs)
	l.told = e
	if sum, err := l.a.r.Fees.Add(b.Fee); err == nil {
		l.a.r.Fees = sum
	}
	l.a.r.Jobs += uint64(b.Count)
}

// split divides a fee as the policy in force says, and owes the parts: to whom the
// channel's delegation names, whatever the receipt says.
func (l *feeLedger) split(ctx context.Context, at place, e proofs.Receipt, b proofs.Bill, c *feeChannel) {
	points, wallet := e.BasisPoints, ionet.Key{}
	if policy := l.a.policyAt(ctx, at.epoch); policy != nil {
		points, wallet = uint16(policy.Fees.NetworkBasisPoints), policy.Fees.NetworkWallet
	}
	provider, network, err := proofs.Split(b.Fee, points)
	if err != nil {
		at.find("fee-split", "parts of the fee", err)
		return
	}
	want := fmt.Sprintf("%d basis points: %s and %s", points, provider, network)
	same(l.a.r, at.epoch, at.object, "fee-split", want, fmt.Sprintf("%d basis points: %s and %s", e.BasisPoints, e.ProviderPart, e.NetworkPart))
	if c != nil {
		l.payees.owe(c.payee, at.at-skew, provider)
	}
	if !wallet.IsZero() {
		l.payees.owe(wallet, at.at-skew, network)
	}
}
