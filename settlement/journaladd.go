package settlement

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// What a record means for sessions, channels and the ledger stands here alone: for what
// comes in and for what is rebuilt from the log.

// append makes the next record of the log.
func (j *journal) append(entry proofs.Entry, key []byte, channel int32, arrival proofs.Arrival) (index uint64, err error) {
	index = j.head.size
	record, err := proofs.Record{Index: index, Accepted: j.head.accepted, Entry: entry}.Encode()
	if err != nil {
		return 0, err
	}
	j.entries = append(j.entries, logEntry{tag: entry.Tag(), key: [16]byte(key), channel: channel, arrival: arrival, record: record})
	j.head.frontier.Append(record)
	j.head.size++
	return index, nil
}

// move is a transfer; one of nothing is none.
func (j *journal) move(debit, credit ledger.Account, amount ionet.Amount) {
	if !amount.IsZero() {
		j.transfers = append(j.transfers, ledger.Transfer{Debit: debit, Credit: credit, Amount: amount})
	}
}

// addSession takes the reserve from the renter's balance.
func (j *journal) addSession(e *proofs.Envelope, id ionet.Hash, v proofs.Session, arrival proofs.Arrival) error {
	balance, err := j.renters[v.Renter].Sub(v.Reserve)
	if err != nil {
		return fmt.Errorf("reserve for session %s: %w", id, err)
	}
	index, err := j.append(proofs.SessionEntry{Statement: *e}, id[:16], 0, arrival)
	if err != nil {
		return err
	}
	j.renters[v.Renter] = balance
	row := &sessionRow{
		fact: &sessionFact{id: id, Session: v}, state: stateOpen, index: index, left: v.Reserve, arrival: arrival, envelope: e.Append(nil),
	}
	j.sessions[id] = row
	j.opened = append(j.opened, row)
	j.move(ledger.Renter(v.Renter), ledger.Session(id), v.Reserve)
	return nil
}

// addChannel takes the channel's limit, or what a greater one adds, from its session.
func (j *journal) addChannel(session *sessionRow, e *proofs.Envelope, id ionet.Hash, o proofs.ChannelOpen, d *delegationInForce, arrival proofs.Arrival) error {
	c := j.channels[o.Channel]
	var former ionet.Amount
	if c != nil {
		former = c.limit
	}
	delta, err := o.Limit.Sub(former)
	if err != nil {
		return fmt.Errorf("top up channel %s: %w", o.Channel, err)
	}
	left, err := session.left.Sub(delta)
	if err != nil {
		return fmt.Errorf("take the limit of channel %s from session %s: %w", o.Channel, o.Session, err)
	}
	index, err := j.append(proofs.ChannelEntry{Delegation: d.envelope, Statement: *e}, id[:16], 0, arrival)
	if err != nil {
		return err
	}
	session.left = left
	j.countOpening(session, c == nil)
	if c == nil {
		j.head.channels++
		c = &channelRow{number: j.head.channels, channel: o.Channel, session: o.Session, worker: o.Worker, renter: session.fact.Renter, state: stateOpen, index: index, fresh: true}
		c.fact = &channelFact{channel: o.Channel, worker: o.Worker, session: session.fact}
		j.channels[o.Channel] = c
	}
	j.pay(c) // by its former payee
	c.limit, c.expires, c.payee = o.Limit, o.Expires, d.payee
	c.key, c.provider, c.open, c.envelope, c.changed = session.fact.Key, d.provider, id, e.Append(nil), true
	j.move(ledger.Session(o.Session), ledger.Channel(o.Channel), delta)
	return nil
}

// addOffer logs an offer before the first receipt that names it.
func (j *journal) addOffer(o *offerRow) error {
	index, err := j.append(proofs.OfferEntry{Statement: o.fact.envelope}, o.fact.id[:16], 0, o.arrival)
	if err != nil {
		return err
	}
	o.index, o.logged, o.named = index, true, true
	return nil
}

// addReceipt pays a job, or a batch of them, out of its channel, which must be there.
func (j *journal) addReceipt(c *channelRow, e *proofs.Envelope, b *proofs.Bill, arrival proofs.Arrival) error {
	fees, err := ionet.NewAmount(j.head.fees)
	if err != nil {
		return err
	}
	r, err := proofs.NewReceipt(*e, *b, c.renter, c.payee, uint16(j.policy.Fees.NetworkBasisPoints), fees, j.head.jobs)
	if err != nil {
		return err
	}
	toProvider, err := c.toProvider.Add(r.ProviderPart)
	if err != nil {
		return err
	}
	toNetwork, err := c.toNetwork.Add(r.NetworkPart)
	if err != nil {
		return err
	}
	if _, err := j.append(r, b.ID[:], c.number, arrival); err != nil {
		return err
	}
	if !c.paying {
		c.paying, j.paying = true, append(j.paying, c)
	}
	c.toProvider, c.toNetwork = toProvider, toNetwork
	c.spent, c.jobs, c.moved = b.After, c.jobs+uint64(b.Count), true
	j.head.fees, j.head.jobs = r.TotalFees.Base(), r.TotalJobs
	j.receipts, j.jobs = j.receipts+1, j.jobs+int(b.Count)
	return nil
}

// pay posts what the channel's receipts owe, in one transfer to each: the log has each of them.
func (j *journal) pay(c *channelRow) {
	if !c.paying {
		return
	}
	from := ledger.Channel(c.channel)
	j.move(from, ledger.OwedFees(c.payee), c.toProvider)
	j.move(from, j.network, c.toNetwork)
	c.toProvider, c.toNetwork = ionet.Amount{}, ionet.Amount{}
}

// payAll posts what is owed by all channels.
func (j *journal) payAll() {
	for _, c := range j.paying {
		j.pay(c)
		c.paying = false
	}
	j.paying = nil
}

// networkAccount is whom the network's part of fees is owed to.
func networkAccount(p *emissions.Policy) ledger.Account {
	if p.Fees.NetworkWallet.IsZero() {
		return ledger.NetworkFees()
	}
	return ledger.OwedFees(p.Fees.NetworkWallet)
}

// addClose begins the grace of a channel.
func (j *journal) addClose(c *channelRow, e *proofs.Envelope, id ionet.Hash, arrival proofs.Arrival) error {
	if _, err := j.append(proofs.CloseEntry{Statement: *e}, id[:16], 0, arrival); err != nil {
		return err
	}
	c.state, c.closing, c.shut = stateClosing, j.head.accepted, true
	return nil
}

// addSessionClose begins the grace of a session and all its channels. The session's row
// alone changes, however many they are: theirs say what was asked of each of them.
func (j *journal) addSessionClose(row *sessionRow, e *proofs.Envelope, id ionet.Hash, arrival proofs.Arrival) error {
	if _, err := j.append(proofs.CloseEntry{Statement: *e}, id[:16], 0, arrival); err != nil {
		return err
	}
	row.state, row.closing, row.changed = stateClosing, j.head.accepted, true
	for _, c := range j.channels {
		if c.session == row.fact.id {
			c.ending = row.closing
		}
	}
	return nil
}

// addChannelOver gives what the channel did not spend back to its session.
func (j *journal) addChannelOver(c *channelRow, session *sessionRow) error {
	returned, err := c.limit.Sub(c.spent)
	if err != nil {
		return err
	}
	left, err := session.left.Add(returned)
	if err != nil {
		return err
	}
	entry := proofs.ChannelOver{Channel: c.channel, Spent: c.spent, Returned: returned}
	if _, err := j.append(entry, j.keyOf(entry), 0, j.arrivedNow()); err != nil {
		return err
	}
	session.left = left
	c.state, c.shut = stateOver, true
	j.move(ledger.Channel(c.channel), ledger.Session(c.session), returned)
	return nil
}

// addSessionOver gives what the session has left back to the renter.
func (j *journal) addSessionOver(row *sessionRow) error {
	entry := proofs.SessionOver{Session: row.fact.id, Returned: row.left}
	if _, err := j.append(entry, j.keyOf(entry), 0, j.arrivedNow()); err != nil {
		return err
	}
	balance, err := j.renters[row.fact.Renter].Add(row.left)
	if err != nil {
		return err
	}
	j.renters[row.fact.Renter] = balance
	j.move(ledger.Session(row.fact.id), ledger.Renter(row.fact.Renter), row.left)
	row.left, row.state, row.changed = ionet.Amount{}, stateOver, true
	return nil
}

// keyOf is the key of a record without a statement: the first half of its hash.
func (j *journal) keyOf(entry proofs.Entry) []byte {
	record, err := proofs.Record{Index: j.head.size, Accepted: j.head.accepted, Entry: entry}.Encode()
	if err != nil {
		return make([]byte, 16) // append will say so
	}
	h := ionet.HashOf(record)
	return h[:16]
}

// arrivedNow is the arrival of what came from nobody: that of the records' time.
func (j *journal) arrivedNow() proofs.Arrival {
	epoch, sample, ok := j.s.clock.At(time.Unix(j.head.accepted, 0))
	if !ok {
		return proofs.Arrival{Epoch: 1}
	}
	return proofs.Arrival{Epoch: epoch, Sample: sample}
}

// bundleID is the id of the ledger entry of a transaction whose first record is first.
func bundleID(first uint64) ionet.Hash {
	return ionet.HashOf([]byte("io/entry/log/"), binary.LittleEndian.AppendUint64(nil, first))
}
