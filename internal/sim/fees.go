package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// session is what a renter's session key may spend.
type session struct {
	renter  *provider
	key     ed25519.PrivateKey
	text    proofs.Session
	signed  proofs.Envelope
	opened  uint64 // channels so far
	limited uint64 // their limits
}

// seat is a channel of a session, as its two ends know it.
type seat struct {
	session *session
	host    *provider
	offer   ionet.Hash
	text    proofs.ChannelOpen
	spent   uint64
	jobs    uint64
	closed  bool
}

// served is the one model of all hosts: 3 base units for 2 tokens.
var served = proofs.OfferModel{Name: "llama", Unit: proofs.UnitToken, Price: ionet.MustAmount(3), Per: 2}

// spends is how long sessions and offers live, far beyond a seed's end or not.
const spends = 100_000

// openSession lets a renter set aside a part of what he has, or more.
func (r *run) openSession(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	p, err := r.holder(ctx, "renter:")
	if err != nil {
		return "", err
	}
	renter, err := i.service.Renter(ctx, p.payee())
	if err != nil {
		r.said(err)
		return class(err), nil
	}
	balance := renter.Balance.Base()
	reserve, err := ionet.NewAmount(1 + r.rng.Uint64N(balance/2+balance/8+1))
	if err != nil {
		return "", err
	}
	now := r.world.unix.Load()
	life := []int64{spends, spends, spends, 20 + int64(r.rng.IntN(200))}[r.rng.IntN(4)]
	s := &session{renter: p, key: keyOf(fmt.Sprint("session ", r.seed, " ", len(r.sessions)))}
	s.text = proofs.Session{Renter: p.payee(), Key: chain.PublicOf(s.key), Reserve: reserve, Issued: now, Expires: now + life}
	text, err := s.text.Text(r.world.net.Network.ID())
	if err != nil {
		return "", err
	}
	s.signed = proofs.Sign(r.world.net.Network.ID(), proofs.KindSession, p.wallet, []byte(text))
	outcome := r.spend(ctx, i, s.signed)
	r.sessions = append(r.sessions, s)
	return fmt.Sprintf("%d: %s of %d: %s", p.number, reserve, balance, outcome), nil
}

// openChannel opens a channel of some session to some host, who offers first; or raises
// the limit of one that is open.
func (r *run) openChannel(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.sessions) == 0 {
		return "nobody", nil
	}
	if len(r.seats) > 0 && r.rng.IntN(4) == 0 {
		return r.topUp(ctx, i, r.seats[r.rng.IntN(len(r.seats))])
	}
	s := r.sessions[r.rng.IntN(len(r.sessions))]
	left := s.text.Reserve.Base() - min(s.text.Reserve.Base(), s.limited)
	limit := 1 + r.rng.Uint64N(left/2+1)
	c := &seat{session: s, host: r.anybody()}
	body, err := proofs.Offer{
		Sequence: 1, Expires: beginning + spends, Endpoint: fmt.Sprintf("https://%d.example", c.host.number), Capacity: 8, Models: []proofs.OfferModel{served},
	}.Encode()
	if err != nil {
		return "", err
	}
	offer := proofs.Sign(r.world.net.Network.ID(), proofs.KindOffer, c.host.worker, body)
	c.offer = offer.ID()
	n := r.world.net.Network
	salt := proofs.ChannelSalt(n.ID(), s.signed.ID(), s.opened)
	address, err := proofs.ChannelAddress(s.text.Renter, chain.PublicOf(c.host.worker), n.Mint, s.text.Key, salt, 7)
	if err != nil {
		return "", err
	}
	c.text = proofs.ChannelOpen{
		Session: s.signed.ID(), Worker: chain.PublicOf(c.host.worker), Channel: address, Limit: ionet.MustAmount(limit), Salt: salt, OpenSlot: 7, Expires: s.text.Expires,
	}
	opening, err := r.signChannel(c)
	if err != nil {
		return "", err
	}
	outcome := r.spend(ctx, i, offer, opening)
	s.opened, s.limited = s.opened+1, s.limited+limit
	r.seats = append(r.seats, c)
	return fmt.Sprintf("to %d, %d: %s", c.host.number, limit, outcome), nil
}

func (r *run) topUp(ctx context.Context, i *instance, c *seat) (string, error) {
	s := c.session
	more := 1 + c.text.Limit.Base()/16 + r.rng.Uint64N(s.text.Reserve.Base()/4+1) // less than a part of 16 is refused
	if s.limited+more > s.text.Reserve.Base() {
		return "no more", nil
	}
	c.text.Limit = ionet.MustAmount(c.text.Limit.Base() + more)
	s.limited += more
	opening, err := r.signChannel(c)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d more: %s", more, r.spend(ctx, i, opening)), nil
}

func (r *run) signChannel(c *seat) (proofs.Envelope, error) {
	body, err := c.text.Encode()
	return proofs.Sign(r.world.net.Network.ID(), proofs.KindChannelOpen, c.session.key, body), err
}

// serveJobs lets a host serve some jobs of a channel, and hand them in: in their order or
// not, at once, later, or twice; one by one, or as one batch.
func (r *run) serveJobs(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.seats) == 0 {
		return "nobody", nil
	}
	c := r.seats[r.rng.IntN(len(r.seats))]
	var jobs []proofs.Job
	for range 1 + r.rng.IntN(5) {
		j, ok := r.nextJob(c)
		if !ok {
			break
		}
		jobs = append(jobs, j)
	}
	if len(jobs) == 0 {
		return "the channel is spent", nil
	}
	list, err := r.signJobs(c, jobs)
	if err != nil {
		return "", err
	}
	r.rng.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
	late := 0
	if r.rng.IntN(3) == 0 {
		late = r.rng.IntN(len(list) + 1)
	}
	r.keepFees(list[:late]...)
	outcome := r.spend(ctx, i, list[late:]...)
	return fmt.Sprintf("%d by %d, %d later: %s", len(jobs), c.host.number, late, outcome), nil
}

// nextJob is the job that continues a channel, where its limit has room.
func (r *run) nextJob(c *seat) (j proofs.Job, ok bool) {
	now := r.world.unix.Load()
	left := c.text.Limit.Base() - min(c.text.Limit.Base(), c.spent)
	if c.closed || now >= c.text.Expires || left < 3 {
		return j, false
	}
	units := 1 + r.rng.Uint64N(min(left/3+1, 1<<40))
	fee, err := proofs.Fee(units, served.Price, served.Per)
	if err != nil || fee.Base() > left {
		return j, false
	}
	id := ionet.HashOf(c.text.Channel[:], binary.LittleEndian.AppendUint64(nil, c.jobs))
	after := ionet.MustAmount(c.spent + fee.Base())
	j = proofs.Job{
		Channel: c.text.Channel, ID: [16]byte(id[:16]), Served: now, Offer: c.offer, Model: served.Name, Unit: served.Unit, Units: units,
		Price: served.Price, Per: served.Per, Before: ionet.MustAmount(c.spent), Fee: fee, After: after,
		Request: ionet.HashOf(id[:], []byte("request")), Response: ionet.HashOf(id[:], []byte("response")), Cumulative: after,
	}
	j.Voucher = proofs.SignVoucher(c.session.key, j.Channel, j.Cumulative)
	c.spent, c.jobs = after.Base(), c.jobs+1
	return j, true
}

// signJobs makes the statements of jobs that follow each other.
func (r *run) signJobs(c *seat, jobs []proofs.Job) ([]proofs.Envelope, error) {
	network := r.world.net.Network.ID()
	if len(jobs) > 1 && r.rng.IntN(3) == 0 {
		last := jobs[len(jobs)-1]
		id := last.ID
		id[0] ^= 0xff
		batch, err := proofs.BatchOf(id, last.Served, jobs, last.Cumulative, last.Voucher)
		if err != nil {
			return nil, err
		}
		body, err := batch.Encode()
		return []proofs.Envelope{proofs.Sign(network, proofs.KindJobBatch, c.host.worker, body)}, err
	}
	var list []proofs.Envelope
	for _, j := range jobs {
		body, err := j.Encode()
		if err != nil {
			return nil, err
		}
		list = append(list, proofs.Sign(network, proofs.KindJob, c.host.worker, body))
	}
	return list, nil
}

// endSpending closes a channel, or a session with all of its.
func (r *run) endSpending(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.seats) == 0 {
		return "nobody", nil
	}
	c := r.seats[r.rng.IntN(len(r.seats))]
	kind, body, err := proofs.KindChannelClose, []byte(nil), error(nil)
	if r.rng.IntN(3) > 0 {
		c.closed = true
		body, err = proofs.ChannelClose{Channel: c.text.Channel, Cumulative: ionet.MustAmount(c.spent)}.Encode()
	} else {
		kind = proofs.KindSessionClose
		for _, other := range r.seats {
			other.closed = other.closed || other.session == c.session
		}
		body, err = proofs.SessionClose{Session: c.text.Session}.Encode()
	}
	if err != nil {
		return "", err
	}
	e := proofs.Sign(r.world.net.Network.ID(), kind, c.session.key, body)
	return fmt.Sprintf("%s: %s", kind, r.spend(ctx, i, e)), nil
}

// keepFees remembers statements: their makers hand them in until they are sure of them.
func (r *run) keepFees(list ...proofs.Envelope) {
	for _, e := range list {
		r.fees = append(r.fees, settlement.Submitted{Envelope: e})
	}
}

// spend hands statements in, keeps them, and says what became of them.
func (r *run) spend(ctx context.Context, i *instance, list ...proofs.Envelope) string {
	if len(list) == 0 {
		return "none"
	}
	from := len(r.fees)
	r.keepFees(list...)
	return r.handFees(ctx, i, r.fees[from:])
}

// handFees hands kept statements in. Who has an ack keeps it, and shows it from then on.
func (r *run) handFees(ctx context.Context, i *instance, list []settlement.Submitted) string {
	results, err := i.service.Submit(ctx, list)
	if err != nil {
		r.said(err)
		return class(err)
	}
	said := map[string]int{}
	for n, res := range results {
		what := string(res.Status)
		r.taken[list[n].Envelope.ID()] = res.Status != settlement.Refused
		if res.Status == settlement.Refused {
			what = res.Problem.Type
			r.said(res.Problem)
		} else if list[n].Ack == nil {
			ack := res.Ack
			list[n].Ack = &ack
		}
		said[what]++
	}
	text := ""
	for _, what := range slices.Sorted(maps.Keys(said)) {
		r.tally.add("statement "+what, said[what])
		text += fmt.Sprintf("%d %s ", said[what], what)
	}
	return text
}

// spoolFees hands in again what makers of statements keep, all of it, in the order in
// which it was made.
func (r *run) spoolFees(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.fees) == 0 {
		return "nobody", nil
	}
	return r.handAllFees(ctx, i), nil
}

func (r *run) handAllFees(ctx context.Context, i *instance) (outcome string) {
	for part := range slices.Chunk(r.fees, settlement.MaxSubmitted) {
		outcome += r.handFees(ctx, i, part)
	}
	return outcome
}

// publish brings the receipt log into the published store.
func (r *run) publish(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody lives", nil
	}
	err := i.service.PublishLog(ctx)
	r.said(err)
	return i.name + ": " + class(err), nil
}
