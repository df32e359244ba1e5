package meter

import (
	"encoding/binary"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// A journal is a header and groups, each written and synced before the next is begun:
//
//	header = "io-meter/1\n" ‖ network id [32] ‖ worker key [32]
//	group  = record of package framed with tag 'W'; its payload is records
//
// So a group that is not whole is the last one, and was never relied on; where another one
// follows it, that is damage. The tags of the records in a group:
//
//	'C' session ‖ open ‖ ack      envelopes: a channel that was opened, or topped up
//	'J' envelope                  a job that goes by itself: its answer leaves only once this is synced
//	'G' envelope                  a job that goes in a batch; the same
//	'B' envelope                  a batch: the jobs of its channel from its before to its after
//	'A' envelope                  the service's ack of a statement
//	'X' id [32] ‖ problem         the service refused the statement for good
//	'O' envelope                  an offer; its sequence is above those before
//	'S' channel [32] ‖ after u64 ‖ time i64
//	                              all jobs and batches up to there are in a sealed log
//	'D' channel [32] ‖ after u64  what is sealed up to there is let go; the ids stay
//	'T' channel [32] ‖ spent u64 ‖ jobs u64 ‖ cumulative u64 ‖ voucher [64] ‖ last envelope, or none
//	                              where a channel's first record that is still here begins
//	'I' channel [32] ‖ n x job [16]
//	                              jobs of the channel that are let go: none is served again
//	'F' channel [32]              the channel is over: nothing can come for it any more
const (
	tagGroup   = 'W'
	tagChannel = 'C'
	tagJob     = 'J'
	tagGrouped = 'G'
	tagBatch   = 'B'
	tagAck     = 'A'
	tagRefused = 'X'
	tagOffer   = 'O'
	tagSealed  = 'S'
	tagDropped = 'D'
	tagTotals  = 'T'
	tagIDs     = 'I'
	tagForget  = 'F'
)

const (
	journalMagic  = "io-meter/1\n"
	journalHeader = len(journalMagic) + 32 + 32
	envelopeHead  = 1 + 32 + 64 + 2
	totalsSize    = 32 + 8 + 8 + 8 + 64
	idsPerRecord  = 4096
)

// What a statement may still write besides itself, counted before it is promised.
const (
	recordHead  = framed.Head + 1
	ackRoom     = recordHead + envelopeHead + proofs.MaxAckBody
	refusalRoom = recordHead + 32 + maxProblem
	maxProblem  = 64
	answersRoom = ackRoom + refusalRoom
	// jobRoom is above what a job takes in the journal, with answers and id.
	jobRoom = 2 << 10
)

// applyGroup applies the records of a group.
func (b *book) applyGroup(group []byte) error {
	if group[0] != tagGroup {
		return fmt.Errorf("group has tag %q", group[0])
	}
	for records := group[1:]; len(records) > 0; {
		payload, rest, err := framed.Take(records)
		if err == nil {
			err = b.apply(payload)
		}
		if err != nil {
			return err
		}
		records = rest
	}
	return nil
}

// apply changes the book as the record says.
func (b *book) apply(payload []byte) error {
	tag, p := payload[0], payload[1:]
	switch {
	case tag == tagChannel:
		return b.applyChannel(p)
	case tag == tagJob:
		return applyOne(p, func(e proofs.Envelope) error { return b.addJob(e, false) })
	case tag == tagGrouped:
		return applyOne(p, func(e proofs.Envelope) error { return b.addJob(e, true) })
	case tag == tagBatch:
		return applyOne(p, b.addBatch)
	case tag == tagAck:
		return applyOne(p, b.addAck)
	case tag == tagOffer:
		return applyOne(p, b.addOffer)
	case tag == tagRefused && len(p) > 32:
		b.refuse(ionet.Hash(p[:32]), string(p[32:]))
		return nil
	case tag == tagSealed && len(p) == 48:
		return b.seal(ionet.Key(p[:32]), amountAt(p[32:]), int64(binary.LittleEndian.Uint64(p[40:])))
	case tag == tagDropped && len(p) == 40:
		return b.drop(ionet.Key(p[:32]), amountAt(p[32:]))
	case tag == tagTotals && len(p) >= totalsSize:
		return b.setTotals(p)
	case tag == tagIDs && len(p) >= 32 && (len(p)-32)%16 == 0:
		return b.addIDs(p)
	case tag == tagForget && len(p) == 32:
		b.forget(ionet.Key(p))
		return nil
	}
	return fmt.Errorf("record %q of %d bytes is unknown", tag, len(p))
}

func applyOne(p []byte, add func(proofs.Envelope) error) error {
	e, err := oneEnvelope(p)
	if err != nil {
		return err
	}
	return add(e)
}

func oneEnvelope(b []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes follow an envelope", len(rest))
	}
	return e, err
}

// amountAt reads an amount that this program wrote; one that can't be is none.
func amountAt(b []byte) ionet.Amount {
	a, _ := ionet.NewAmount(binary.LittleEndian.Uint64(b))
	return a
}

// applyChannel reads three envelopes, which were verified before they were written.
func (b *book) applyChannel(p []byte) error {
	var es [3]proofs.Envelope
	for i := range es {
		e, rest, err := proofs.ParseEnvelope(p)
		if err != nil {
			return err
		}
		es[i], p = e, rest
	}
	if len(p) != 0 {
		return fmt.Errorf("%d bytes follow a channel", len(p))
	}
	return b.open(es[0], es[1], es[2])
}

func (b *book) setTotals(p []byte) error {
	ch := b.channels[ionet.Key(p[:32])]
	if ch == nil || len(ch.jobs) > 0 {
		return fmt.Errorf("totals of channel %s, which is not at its beginning", ionet.Key(p[:32]))
	}
	ch.spent, ch.count = amountAt(p[32:]), binary.LittleEndian.Uint64(p[40:])
	ch.covered, ch.voucher = amountAt(p[48:]), [64]byte(p[56:totalsSize])
	ch.base = ch.spent
	if p = p[totalsSize:]; len(p) == 0 {
		return nil
	}
	last, err := oneEnvelope(p)
	ch.last = &last
	return err
}

func (b *book) addIDs(p []byte) error {
	ch := b.channels[ionet.Key(p[:32])]
	if ch == nil {
		return fmt.Errorf("ids of channel %s, which is not there", ionet.Key(p[:32]))
	}
	for p = p[32:]; len(p) > 0; p = p[16:] {
		ch.byID[[16]byte(p)] = nil
		b.live += idRoom
	}
	return nil
}

// idRoom is what an id that is remembered takes in the journal.
const idRoom = 16

// records are what the book is made of, in an order that gives the same book.
func (b *book) records() []byte {
	var out []byte
	for _, o := range b.offers {
		out = framed.Append(out, tagOffer, o.e.Append(nil))
		out = o.appendAnswers(out)
	}
	for _, ch := range b.sorted() {
		out = ch.append(out)
	}
	return out
}

func (ch *channel) append(out []byte) []byte {
	out = framed.Append(out, tagChannel, ch.sessionEnvelope.Append(nil), ch.openEnvelope.Append(nil), ch.ack.Append(nil))
	out = framed.Append(out, tagTotals, ch.totals())
	ids := append(make([]byte, 0, 32+16*len(ch.byID)), ch.key[:]...)
	for id, j := range ch.byID {
		if j != nil {
			continue
		}
		if ids = append(ids, id[:]...); len(ids) == 32+16*idsPerRecord {
			out = framed.Append(out, tagIDs, ids)
			ids = ids[:32]
		}
	}
	if len(ids) > 32 {
		out = framed.Append(out, tagIDs, ids)
	}
	batches, sealed := ch.batches, ch.base
	for _, j := range ch.jobs {
		out = framed.Append(out, j.tag(), j.e.Append(nil))
		out = j.appendAnswers(out)
		if len(batches) > 0 && batches[0].bill.After == j.job.After {
			out = framed.Append(out, tagBatch, batches[0].e.Append(nil))
			out = batches[0].appendAnswers(out)
			if at := batches[0].sealedAt; at != 0 {
				sealed = batches[0].after
				out = framed.Append(out, tagSealed, sealRecord(ch.key, sealed, at))
			}
			batches = batches[1:]
		}
	}
	if ch.sealed.Cmp(sealed) > 0 { // jobs behind the last of them
		out = framed.Append(out, tagSealed, sealRecord(ch.key, ch.sealed, 0))
	}
	return out
}

func (j *job) tag() byte {
	if j.grouped {
		return tagGrouped
	}
	return tagJob
}

// totals are where the channel's first kept job begins.
func (ch *channel) totals() []byte {
	b := append(make([]byte, 0, totalsSize), ch.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, ch.base.Base())
	b = binary.LittleEndian.AppendUint64(b, ch.count-uint64(len(ch.jobs)))
	b = binary.LittleEndian.AppendUint64(b, ch.covered.Base())
	b = append(b, ch.voucher[:]...)
	if ch.last != nil && len(ch.jobs) == 0 {
		b = ch.last.Append(b)
	}
	return b
}

func sealRecord(channel ionet.Key, after ionet.Amount, at int64) []byte {
	b := binary.LittleEndian.AppendUint64(channel[:], after.Base())
	return binary.LittleEndian.AppendUint64(b, uint64(at))
}

func dropRecord(channel ionet.Key, after ionet.Amount) []byte {
	return binary.LittleEndian.AppendUint64(channel[:], after.Base())
}

// appendAnswers appends what the service said of the statement.
func (p *parcel) appendAnswers(out []byte) []byte {
	if p.ack != nil {
		out = framed.Append(out, tagAck, p.ack.Append(nil))
	}
	if p.refused != "" {
		out = framed.Append(out, tagRefused, p.id[:], []byte(p.refused))
	}
	return out
}
