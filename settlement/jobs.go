package settlement

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxWaitingJobs is how many jobs of one channel wait for those before them.
const maxWaitingJobs = 4096

// maxFollowing is about how many jobs that waited one transaction lets follow: channels
// beyond that are moved on by the next one.
const maxFollowing = 8192

// candidate is a job on its way through a channel: one that came in, or one that waited.
type candidate struct {
	it       *item // nil: it waited
	id       ionet.Hash
	bill     *proofs.Bill
	envelope *proofs.Envelope
	offer    *offerRow
	arrival  proofs.Arrival
	sure     bool // its job id was looked up among the channel's receipts
	found    *loggedJob
	waited   bool // the same statement waits already
	asked    bool // it was looked up among those that wait

	fate    fate
	problem *Problem
}

// fate is what becomes of a candidate.
type fate int

const (
	undecided fate = iota
	pays           // its receipt follows
	waits          // it is ahead
	there          // it was taken before
	refused
	tooMany // it is ahead, and the channel has as many that wait as it may
)

// loggedJob is a job id of a channel that has a receipt.
type loggedJob struct {
	statement ionet.Hash
	arrival   proofs.Arrival
}

// jobQueue is the candidates of one channel.
type jobQueue struct {
	c        *channelRow
	list     []*candidate // in order of before
	ids      map[ionet.Hash]*candidate
	reached  ionet.Amount // what the channel has spent once they are through
	followed bool         // waiting jobs were read from fetched on
	fetched  ionet.Amount
	later    bool // this transaction has let enough follow
	stuck    bool // what is next waits already
}

// takeJobs decides jobs. What is decided depends on the order of before alone, within a
// channel, and on no order in which jobs came.
func (j *journal) takeJobs(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	if j.policy == nil {
		for _, it := range items {
			it.problem = NewProblem(ProblemBusy, "", "which policy splits the fees of epoch %d is known once a seal is final: send the statement again in a moment", j.epoch).after(beaconRetry)
		}
		return nil
	}
	return j.takeQueues(ctx, j.queueJobs(items))
}

// follow lets jobs that waited follow in channels that nothing new moves on.
func (j *journal) follow(ctx context.Context, channels []ionet.Key) error {
	if j.policy == nil {
		return nil
	}
	var queues []*jobQueue
	for _, k := range channels {
		queues = append(queues, &jobQueue{c: j.channels[k], stuck: true})
	}
	return j.takeQueues(ctx, queues)
}

func (j *journal) takeQueues(ctx context.Context, queues []*jobQueue) error {
	for {
		for _, q := range queues {
			j.walk(q)
		}
		more, err := j.lookAfter(ctx, queues)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	for _, q := range queues {
		if err := j.settleQueue(q); err != nil {
			return err
		}
	}
	return nil
}

// queueJobs sorts items into the queues of their channels, in the order of the channels'
// numbers, so that one batch gives one log.
func (j *journal) queueJobs(items []*item) []*jobQueue {
	of := make(map[ionet.Key]*jobQueue, len(items))
	all := make([]candidate, len(items))
	var queues []*jobQueue
	for i, it := range items {
		b := it.body.(*proofs.Bill)
		c := j.channels[b.Channel]
		if c == nil { // its facts are of another life of the database
			it.problem = refusal(proofs.UnknownChannel, "body.channel", "no opening of channel %s was accepted: send the channel-open statement first", b.Channel)
			continue
		}
		if it.channel.session.id != c.session { // so are these: the channel was opened anew, in another session
			j.s.intake.fees.forgetChannels()
			it.problem = NewProblem(ProblemBusy, "body.channel", "channel %s was opened anew just now: send the statement again in a moment", b.Channel).after(beaconRetry)
			continue
		}
		q := of[b.Channel]
		if q == nil {
			c.fact = it.channel
			q = &jobQueue{c: c}
			of[b.Channel], queues = q, append(queues, q)
		}
		x := &all[i]
		x.it, x.id, x.bill, x.envelope, x.arrival, x.offer = it, it.id, b, &it.envelope, it.arrival, j.offerOf(it.offer)
		q.list = append(q.list, x)
	}
	slices.SortFunc(queues, func(a, b *jobQueue) int { return cmp.Compare(a.c.number, b.c.number) })
	for _, q := range queues {
		q.sort()
	}
	return queues
}

// offerOf returns the row of an offer that a job names; nil where it is not here.
func (j *journal) offerOf(f *offerFact) *offerRow {
	row := j.offers[f.id]
	if row != nil && row.fact == nil {
		row.fact = f
	}
	return row
}

// sort puts candidates into the order in which they apply. Two that begin at one place
// come in the order of their ids: only one of them can apply.
func (q *jobQueue) sort() {
	slices.SortFunc(q.list, func(a, b *candidate) int {
		return cmp.Or(a.bill.Before.Cmp(b.bill.Before), bytes.Compare(a.id[:], b.id[:]))
	})
}

// walk finds out what becomes of a channel's candidates, changing nothing but them.
func (j *journal) walk(q *jobQueue) {
	t := j.terms(q.c)
	seen := map[[16]byte]bool{}
	room := maxWaitingJobs - q.c.waiting
	for _, x := range q.list {
		x.fate, x.problem = undecided, nil
		switch {
		case x.waited && x.it != nil:
			x.fate = there
			continue
		case x.found != nil && x.found.statement == x.id:
			x.fate = there
			continue
		}
		var offer *proofs.Offer
		if x.offer != nil {
			offer = &x.offer.fact.offer
		}
		rule := t.Check(x.envelope.Signer, *x.bill, offer, j.head.accepted)
		if (x.found != nil || seen[x.bill.ID]) && (rule == proofs.FeeHolds || rule == proofs.Overlap) {
			rule = proofs.Replay
		}
		switch {
		case rule != proofs.FeeHolds:
			x.fate, x.problem = refused, j.refuseJob(rule, q.c, x)
		case x.bill.Before == t.Spent:
			x.fate, seen[x.bill.ID] = pays, true
			t.Spent = x.bill.After
		case x.it == nil:
			x.fate = waits
		case room <= 0:
			x.fate = tooMany
		default:
			x.fate = waits
			room--
		}
	}
	q.reached = t.Spent
}

// terms is what the channel's jobs are held against.
func (j *journal) terms(c *channelRow) proofs.FeeTerms {
	return proofs.FeeTerms{
		Session: c.fact.session.Session, SessionID: c.session,
		Channel: proofs.ChannelOpen{Session: c.session, Worker: c.worker, Channel: c.channel, Limit: c.limit, Expires: c.expires},
		Spent:   c.spent, Closing: c.closedAt(), Over: c.state == stateOver,
	}
}

// refuseJob puts a rule into the words of a problem.
func (j *journal) refuseJob(rule proofs.FeeRule, c *channelRow, x *candidate) *Problem {
	b, s := x.bill, c.fact.session
	switch rule {
	case proofs.ModelNotOffered:
		return refusal(rule, "body.offer", "offer %s is not one of worker %s that has %q by the %s at %s per %d and was in force at %d", b.Offer, c.worker, b.Model, b.Unit, b.Price, b.Per, b.Served)
	case proofs.PriceAboveCap:
		return refusal(rule, "body.price", "the session's price caps do not allow %q at %s per %d", b.Model, b.Price, b.Per)
	case proofs.AboveLimit:
		return refusal(rule, "body.after", "after is %s, the channel's limit is %s", b.After, c.limit)
	case proofs.Expired:
		return refusal(rule, "body.served", "served is %d: the session began at %d, the channel ends at %d, and it is %d now", b.Served, s.Issued, min(c.expires, s.Expires), j.head.accepted)
	case proofs.Closed:
		if c.status() == stateOver {
			return refusal(rule, "body.served", "served is %d, channel %s is over: the grace after its close, or its end, has passed", b.Served, c.channel)
		}
		return refusal(rule, "body.served", "served is %d, channel %s is %s since %d", b.Served, c.channel, c.status(), c.closedAt())
	case proofs.Replay:
		return refusal(rule, "body.id", "job id %x was used in channel %s for another statement", b.ID, c.channel)
	case proofs.Overlap:
		return refusal(rule, "body.before", "before is %s, another job has spent that part of channel %s", b.Before, c.channel)
	}
	return refusal(rule, "body", "%s", rule.Text())
}

// lookAfter reads what the walk has shown to matter: receipts of jobs that are behind,
// the same statements among those that wait, and what follows where a channel moves on.
// It reports whether there was something.
func (j *journal) lookAfter(ctx context.Context, queues []*jobQueue) (more bool, err error) {
	var b pgx.Batch
	j.queueFound(&b, queues)
	j.queueWaited(&b, queues)
	j.queueFollowing(&b, queues)
	if b.Len() == 0 {
		return false, nil
	}
	if err := j.tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, err
	}
	return true, j.offersOfWaiting(ctx, queues)
}

const selectFound = `
SELECT t.n, e.record, e.arrival_epoch, e.arrival_sample
FROM unnest($1::integer[], $2::bytea[], $3::integer[]) AS t (n, key, channel)
JOIN log_entries e ON e.tag = 1 AND e.key = t.key AND e.channel = t.channel`

// queueFound looks for receipts of the jobs of those that are behind, or of all.
func (j *journal) queueFound(b *pgx.Batch, queues []*jobQueue) {
	var list []*candidate
	var places, channels []int32
	var keys [][]byte
	for _, q := range queues {
		for _, x := range q.list {
			if x.sure || q.c.fresh || !j.careful && x.bill.Before.Cmp(q.c.spent) >= 0 {
				continue
			}
			x.sure = true
			places, keys, channels = append(places, int32(len(list))), append(keys, x.bill.ID[:]), append(channels, q.c.number)
			list = append(list, x)
		}
	}
	if len(list) == 0 {
		return
	}
	b.Queue(selectFound, places, keys, channels).Query(func(rows pgx.Rows) error {
		var place, epoch int32
		var sample int16
		var record []byte
		_, err := pgx.ForEachRow(rows, []any{&place, &record, &epoch, &sample}, func() error {
			r, err := proofs.ParseRecord(record)
			if err != nil {
				return err
			}
			if e, ok := r.Statement(); ok {
				list[place].found = &loggedJob{statement: e.ID(), arrival: proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}}
			}
			return nil
		})
		return err
	})
}

// settleQueue does what the walk found.
func (j *journal) settleQueue(q *jobQueue) error {
	for _, x := range q.list {
		if err := j.settleJob(q, x); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) settleJob(q *jobQueue, x *candidate) error {
	it := x.it
	if q.later && it != nil && x.fate == pays {
		it.later = true
		return nil
	}
	switch x.fate {
	case pays:
		if q.later {
			return nil
		}
		if !x.offer.logged {
			if err := j.addOffer(x.offer); err != nil {
				return err
			}
		}
		if it != nil {
			it.inserted = true
			j.serve(it.envelope, x)
		} else {
			j.followed++
		}
		return j.addReceipt(q.c, x.envelope, x.bill, x.arrival)
	case waits:
		if it == nil {
			return nil
		}
		it.inserted = true
		j.serve(it.envelope, x)
		q.c.joined, q.c.moved = q.c.joined+1, true
		j.waits = append(j.waits, waitingRow{q.c.channel, x.bill.Before, x.bill.After, x.id, x.envelope.Append(nil), x.arrival})
	case there:
		it.stored = true
		if x.found != nil {
			it.arrival = x.found.arrival
		}
	case tooMany:
		it.problem = NewProblem(ProblemBusy, "body.before", "before is %s, channel %s has spent %s, and %d jobs wait for those between: send those first", x.bill.Before, q.c.channel, q.c.spent, maxWaitingJobs).after(beaconRetry)
	case refused:
		if it == nil {
			j.dropped = append(j.dropped, waitingRow{q.c.channel, x.bill.Before, x.bill.After, x.id, nil, x.arrival})
			j.s.log.Warn("a job that waited can never apply: it is dropped", "channel", q.c.channel.String(), "job", x.id.String(), "rule", x.problem.Type)
			return nil
		}
		it.problem = x.problem
	}
	return nil
}
