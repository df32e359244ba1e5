package meter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// book is all that the journal's records say. Who reads or changes it holds the
// journal's lock. What only this process knows, such as what runs, is in it as well and
// is never written.
type book struct {
	network *ionet.Network
	worker  ionet.Key

	channels map[ionet.Key]*channel
	offers   []*offer // ascending by sequence
	byID     map[ionet.Hash]*parcel
	live     int // bytes of records, with the room of answers to come
}

func newBook(network *ionet.Network, worker ionet.Key) *book {
	return &book{network: network, worker: worker, channels: map[ionet.Key]*channel{}, byID: map[ionet.Hash]*parcel{}}
}

// parcel is a statement that the service gets.
type parcel struct {
	e       proofs.Envelope
	id      ionet.Hash
	ch      *channel // nil of an offer
	ack     *proofs.Envelope
	refused string       // the problem's kind
	after   ionet.Amount // of a job or a batch

	sent         bool      // the running instance of the service has answered it
	presentedFor client.ID // of an offer: the instance that got it again
}

func newParcel(e proofs.Envelope, ch *channel) parcel { return parcel{e: e, id: e.ID(), ch: ch} }

func (p *parcel) room() int { return recordHead + envelopeHead + len(p.e.Body) }

// offer is an offer of this worker.
type offer struct {
	parcel
	offer proofs.Offer
}

// channel is a renter's channel to this worker. spent = base + fees of jobs, which stand
// in order of before without a gap; spent + reserved <= min(covered, limit).
type channel struct {
	key                                ionet.Key
	session                            proofs.Session
	opened                             proofs.ChannelOpen
	sessionEnvelope, openEnvelope, ack proofs.Envelope

	base    ionet.Amount // before of the first kept job
	spent   ionet.Amount // after of the last job
	count   uint64       // jobs, those that were let go too
	covered ionet.Amount // of the greatest voucher
	voucher [64]byte     // its signature by the session key
	last    *proofs.Envelope

	jobs    []*job // kept
	batches []*batch
	loose   int // jobs that wait for a batch
	byID    map[[16]byte]*job
	sealed  ionet.Amount // all up to there is in a sealed log
	stuck   string       // why nothing is served on it any more

	running      map[[16]byte]*run
	reserved     ionet.Amount  // the most that running requests cost
	present      bool          // the service did not know it: session and opening go first
	presentedFor client.ID     // the instance that got them
	known        bool          // the service said how it is since it came here
	asking       chan struct{} // closed when the service was asked for it
	askedAt      int64         // when
	active       bool          // it served since the service was asked for it
	closed       string        // what the service says of it, if it is not open
	closing      int64         // when the service was asked to close it; 0: it was not
	reading      int64         // bytes of its requests' bodies that are on their way
}

// job is a job that is kept.
type job struct {
	parcel
	job     proofs.Job
	grouped bool   // it goes in a batch, whatever is configured since: it was never sent by itself
	batch   *batch // that goes to the service in its place
}

// batch is a batch that is kept, with its jobs.
type batch struct {
	parcel
	bill proofs.JobBatch
	jobs []*job

	sealedAt int64 // when it was seen in a sealed log; 0: not yet
}

// sorted returns the channels in order of their keys.
func (b *book) sorted() []*channel {
	list := make([]*channel, 0, len(b.channels))
	for _, ch := range b.channels {
		list = append(list, ch)
	}
	slices.SortFunc(list, func(x, y *channel) int { return bytes.Compare(x.key[:], y.key[:]) })
	return list
}

// open adds a channel, or raises its limit. The envelopes were verified.
func (b *book) open(session, open, ack proofs.Envelope) error {
	s, err := proofs.ParseSession(b.network.ID(), session.Signer, session.Body)
	if err != nil {
		return err
	}
	o, err := proofs.ParseChannelOpen(open.Body)
	if err != nil {
		return err
	}
	ch := b.channels[o.Channel]
	if ch == nil {
		ch = &channel{key: o.Channel, byID: map[[16]byte]*job{}, running: map[[16]byte]*run{}}
		b.channels[o.Channel] = ch
	} else {
		b.live -= ch.room()
	}
	ch.session, ch.opened = s, o
	ch.sessionEnvelope, ch.openEnvelope, ch.ack = session, open, ack
	b.live += ch.room()
	return nil
}

// room is what the channel's own records take.
func (ch *channel) room() int {
	n := recordHead + 3*envelopeHead + len(ch.sessionEnvelope.Body) + len(ch.openEnvelope.Body) + len(ch.ack.Body)
	return n + recordHead + totalsSize + jobRoom + 2*(recordHead+32+16)
}

var errOrder = errors.New("it does not follow the job before it")

// addJob adds a signed job: it continues its channel.
func (b *book) addJob(e proofs.Envelope, grouped bool) error {
	j, err := proofs.ParseJob(e.Body)
	if err != nil {
		return err
	}
	ch := b.channels[j.Channel]
	if ch == nil || j.Before != ch.spent {
		return fmt.Errorf("add job %x of channel %s: %w", j.ID, j.Channel, errOrder)
	}
	if _, ok := ch.byID[j.ID]; ok {
		return fmt.Errorf("add job %x of channel %s: it is there", j.ID, j.Channel)
	}
	kept := &job{parcel: newParcel(e, ch), job: j, grouped: grouped}
	kept.after = j.After
	ch.jobs = append(ch.jobs, kept)
	ch.byID[j.ID] = kept
	ch.spent, ch.last, ch.active = j.After, &kept.e, true
	ch.count++
	ch.cover(j.Cumulative, j.Voucher)
	b.live += kept.room() + idRoom
	if grouped {
		ch.loose++
		return nil
	}
	b.byID[kept.id] = &kept.parcel
	b.live += answersRoom
	return nil
}

// cover takes a voucher that was verified, if it is the greatest.
func (ch *channel) cover(cumulative ionet.Amount, signature [64]byte) {
	if cumulative.Cmp(ch.covered) > 0 {
		ch.covered, ch.voucher = cumulative, signature
	}
}

// addBatch adds a batch of jobs that wait for one.
func (b *book) addBatch(e proofs.Envelope) error {
	bill, err := proofs.ParseJobBatch(e.Body)
	if err != nil {
		return err
	}
	ch := b.channels[bill.Channel]
	if ch == nil {
		return fmt.Errorf("add batch of channel %s, which is not there", bill.Channel)
	}
	waiting := ch.waiting()
	n := int(bill.Count)
	if n > len(waiting) || waiting[0].job.Before != bill.Before || waiting[n-1].job.After != bill.After {
		return fmt.Errorf("add batch %x of channel %s: its jobs are not there", bill.ID, bill.Channel)
	}
	added := &batch{parcel: newParcel(e, ch), bill: bill, jobs: slices.Clone(waiting[:n])}
	added.after = bill.After
	for _, j := range added.jobs {
		j.batch = added
	}
	ch.batches, ch.loose = append(ch.batches, added), ch.loose-n
	b.byID[added.id] = &added.parcel
	b.live += added.room() + answersRoom
	return nil
}

// waiting returns the first jobs without a gap that wait for a batch.
func (ch *channel) waiting() []*job {
	if ch.loose == 0 {
		return nil
	}
	from, left := len(ch.jobs), ch.loose
	for left > 0 {
		if from--; ch.jobs[from].loose() {
			left--
		}
	}
	to := from
	for to < len(ch.jobs) && ch.jobs[to].loose() {
		to++
	}
	return ch.jobs[from:to]
}

// loose reports whether a job waits for its batch.
func (j *job) loose() bool { return j.grouped && j.batch == nil }

func (b *book) addOffer(e proofs.Envelope) error {
	o, err := proofs.ParseOffer(e.Body)
	if err != nil {
		return err
	}
	if n := len(b.offers); n > 0 && b.offers[n-1].offer.Sequence >= o.Sequence {
		return fmt.Errorf("add offer %d: it does not follow the last", o.Sequence)
	}
	added := &offer{parcel: newParcel(e, nil), offer: o}
	b.offers = append(b.offers, added)
	b.byID[added.id] = &added.parcel
	b.live += added.room() + answersRoom
	return nil
}

func (b *book) addAck(e proofs.Envelope) error {
	ack, err := proofs.ParseAck(e.Body)
	if err != nil {
		return err
	}
	if p := b.byID[ack.Statement]; p != nil {
		p.ack = &e
	}
	return nil
}

// refuse notes that the service refused a statement for good. What follows it on its
// channel can't be paid any more either.
func (b *book) refuse(id ionet.Hash, problem string) {
	p := b.byID[id]
	if p == nil {
		return
	}
	if p.refused = problem; p.ch != nil && p.ch.stuck == "" {
		p.ch.stuck = fmt.Sprintf("the service refused %s %s: %s", p.e.Kind, id, problem)
	}
}

// seal notes that all jobs and batches up to after are in a sealed log. Jobs that went
// by themselves may go; those of a batch stay for renters who ask for their path.
func (b *book) seal(key ionet.Key, after ionet.Amount, at int64) error {
	ch := b.channels[key]
	if ch == nil || after.Cmp(ch.spent) > 0 {
		return fmt.Errorf("seal channel %s up to %s, which is not there", key, after)
	}
	ch.sealed = after
	for _, sealed := range ch.batches {
		if sealed.sealedAt == 0 && sealed.after.Cmp(after) <= 0 {
			sealed.sealedAt = at
		}
	}
	n := 0
	for n < len(ch.jobs) && ch.jobs[n].ripe(after) {
		n++
	}
	b.letGo(ch, n)
	return nil
}

// drop lets go of what is sealed up to after.
func (b *book) drop(key ionet.Key, after ionet.Amount) error {
	ch := b.channels[key]
	if ch == nil || after.Cmp(ch.sealed) > 0 {
		return fmt.Errorf("drop jobs of channel %s up to %s, which are not sealed", key, after)
	}
	n := 0
	for n < len(ch.jobs) && (ch.jobs[n].after.Cmp(after) <= 0 || ch.jobs[n].ripe(ch.sealed)) {
		n++
	}
	b.letGo(ch, n)
	return nil
}

// ripe reports whether a job is sealed and was in no batch: nobody asks for it here.
func (j *job) ripe(sealed ionet.Amount) bool { return !j.grouped && j.after.Cmp(sealed) <= 0 }

// letGo drops the first n jobs, and batches that are of them. Their ids stay.
func (b *book) letGo(ch *channel, n int) {
	if n == 0 {
		return
	}
	end := ch.jobs[n-1].job.After
	for len(ch.batches) > 0 && ch.batches[0].bill.After.Cmp(end) <= 0 {
		gone := ch.batches[0]
		b.live -= gone.room() + answersRoom
		delete(b.byID, gone.id)
		ch.batches = ch.batches[1:]
	}
	for _, j := range ch.jobs[:n] {
		b.live -= j.room()
		if !j.grouped {
			b.live -= answersRoom
			delete(b.byID, j.id)
		}
		ch.byID[j.job.ID] = nil
	}
	ch.jobs = slices.Clone(ch.jobs[n:])
	ch.base = end
}

func (b *book) forget(key ionet.Key) {
	ch := b.channels[key]
	if ch == nil {
		return
	}
	for _, p := range ch.parcels() {
		b.live -= answersRoom
		if p.e.Kind == proofs.KindJobBatch {
			b.live -= p.room()
		}
		delete(b.byID, p.id)
	}
	for _, j := range ch.jobs {
		b.live -= j.room()
	}
	b.live -= ch.room() + idRoom*len(ch.byID)
	delete(b.channels, key)
}

// parcels are the channel's statements for the service, in order of before.
func (ch *channel) parcels() []*parcel {
	list := make([]*parcel, 0, len(ch.batches))
	batches := ch.batches
	for _, j := range ch.jobs {
		switch {
		case !j.grouped:
			list = append(list, &j.parcel)
		case len(batches) > 0 && batches[0] == j.batch:
			list = append(list, &batches[0].parcel)
			batches = batches[1:]
		}
	}
	return list
}

// dropOffers forgets offers that no job needs any more: those that were expired before
// the time, but for the newest.
func (b *book) dropOffers(expired int64) {
	needed := map[ionet.Hash]bool{}
	for _, ch := range b.channels {
		for _, j := range ch.jobs {
			needed[j.job.Offer] = true
		}
	}
	newest := len(b.offers) - 1
	kept := b.offers[:0]
	for i, o := range b.offers {
		if i == newest || o.offer.Expires > expired || needed[o.id] {
			kept = append(kept, o)
			continue
		}
		b.live -= o.room() + answersRoom
		delete(b.byID, o.id)
	}
	clear(b.offers[len(kept):])
	b.offers = kept
}

// offerByID returns an offer that is kept, or nil.
func (b *book) offerByID(id ionet.Hash) *offer {
	for _, o := range b.offers {
		if o.id == id {
			return o
		}
	}
	return nil
}

// terms are what the service will hold the channel's next job against.
func (ch *channel) terms() proofs.FeeTerms {
	return proofs.FeeTerms{Session: ch.session, SessionID: ch.opened.Session, Channel: ch.opened, Spent: ch.spent}
}
