package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxImported is how many records one transaction takes from what is published.
const maxImported = 2048

// errUncovered reports a record that takes more from a renter than is known to have been
// paid in: deposits are read from the chain first.
var errUncovered = errors.New("a session reserves more than its renter is known to have paid in: deposits come first")

// errNotFollowing reports a record that does not follow from those before it: the
// database, or the published log, was changed.
var errNotFollowing = errors.New("a published record is not what follows from the database's")

// importRecords appends published records, which begin where the database's log ends or
// before, to a database that lacks them: what they mean for sessions, channels, offers
// and the ledger follows from the records alone, by the code that they were made with.
// Each must come out as it is published, to the last byte. It may be called again after
// any error, and by several instances at once.
//
// Order matters: a renter's deposits must be booked before the records, which reserve of
// them, and withdrawals after, which take what records gave back; and the policies of the
// records' epochs must be known. What was acked but is in no published record is lost with
// the database: workers and renters present it again.
func (s *Service) importRecords(ctx context.Context, records [][]byte) error {
	// What this instance saw of an earlier life of the database does not count here.
	s.logbook.forget()
	s.intake.fees.forgetLogged()
	for len(records) > 0 {
		n := min(len(records), maxImported)
		if err := s.importSome(ctx, records[:n]); err != nil {
			return fmt.Errorf("import records of the receipt log: %w", err)
		}
		records = records[n:]
	}
	return nil
}

func (s *Service) importSome(ctx context.Context, encoded [][]byte) error {
	records := make([]proofs.Record, len(encoded))
	for i, b := range encoded {
		r, err := proofs.ParseRecord(b)
		if err != nil {
			return err
		}
		if i > 0 && r.Index != records[i-1].Index+1 {
			return fmt.Errorf("record %d follows record %d", r.Index, records[i-1].Index)
		}
		records[i] = r
	}
	var j *journal
	err := inTxOn(ctx, s.pool, func(tx pgx.Tx) error {
		j = s.newJournal(tx, false)
		var b pgx.Batch
		j.queueLocks(&b)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		if records[0].Index > j.head.size {
			return fmt.Errorf("the log has %d records, the first to be imported is %d", j.head.size, records[0].Index)
		}
		skip := min(j.head.size-records[0].Index, uint64(len(records)))
		if err := j.importAll(ctx, records[skip:], encoded[skip:]); err != nil {
			return err
		}
		return j.write(ctx)
		// Records, their meaning and the head are one. If we stop before, they are
		// read from where they are published once more.
	})
	if err == nil {
		j.committed()
	}
	return err
}

// importAll is done with the head locked.
func (j *journal) importAll(ctx context.Context, records []proofs.Record, encoded [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	if err := j.loadRecords(ctx, records); err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		if r.Accepted < j.head.accepted {
			return fmt.Errorf("%w: record %d was accepted before the one before it", errNotFollowing, r.Index)
		}
		j.head.accepted = r.Accepted
		if err := j.enter(ctx); err != nil {
			return err
		}
		if err := j.importOne(r); err != nil {
			return fmt.Errorf("record %d: %w", r.Index, err)
		}
		if n := len(j.entries); n == 0 || !bytes.Equal(j.entries[n-1].record, encoded[i]) {
			return fmt.Errorf("%w: record %d", errNotFollowing, r.Index)
		}
	}
	return nil
}

// loadRecords reads the rows that records are about.
func (j *journal) loadRecords(ctx context.Context, records []proofs.Record) error {
	var channels, renters set[ionet.Key]
	var sessions, offers set[ionet.Hash]
	for i := range records {
		switch e := records[i].Entry.(type) {
		case proofs.Receipt:
			b, err := proofs.ParseBill(e.Statement.Kind, e.Statement.Body)
			if err != nil {
				return err
			}
			channels.add(b.Channel)
		case proofs.SessionEntry:
			renters.add(e.Statement.Signer)
		case proofs.ChannelEntry:
			o, err := proofs.ParseChannelOpen(e.Statement.Body)
			if err != nil {
				return err
			}
			channels.add(o.Channel)
			sessions.add(o.Session)
		case proofs.OfferEntry:
			offers.add(e.Statement.ID())
		case proofs.CloseEntry:
			if err := nameClosed(&e.Statement, &channels, &sessions); err != nil {
				return err
			}
		case proofs.ChannelOver:
			channels.add(e.Channel)
		case proofs.SessionOver:
			sessions.add(e.Session)
		}
	}
	return j.loadFor(ctx, journalNames{channels: channels, sessions: sessions, renters: renters, offers: offers})
}

func nameClosed(e *proofs.Envelope, channels *set[ionet.Key], sessions *set[ionet.Hash]) error {
	if e.Kind == proofs.KindSessionClose {
		c, err := proofs.ParseSessionClose(e.Body)
		sessions.add(c.Session)
		return err
	}
	c, err := proofs.ParseChannelClose(e.Body)
	channels.add(c.Channel)
	return err
}

// importOne does what one record says.
func (j *journal) importOne(r *proofs.Record) error {
	arrival := j.arrivedNow()
	switch e := r.Entry.(type) {
	case proofs.Receipt:
		return j.importReceipt(&e, arrival)
	case proofs.SessionEntry:
		v, err := proofs.ParseSession(j.s.cfg.Network.ID(), e.Statement.Signer, e.Statement.Body)
		if err != nil {
			return err
		}
		if j.renters[v.Renter].Cmp(v.Reserve) < 0 {
			return fmt.Errorf("%w: renter %s has %s, the session reserves %s", errUncovered, v.Renter, j.renters[v.Renter], v.Reserve)
		}
		return j.addSession(&e.Statement, e.Statement.ID(), v, arrival)
	case proofs.ChannelEntry:
		return j.importChannel(&e, arrival)
	case proofs.OfferEntry:
		return j.importOffer(&e.Statement, arrival)
	case proofs.CloseEntry:
		return j.importClose(&e.Statement, arrival)
	case proofs.ChannelOver:
		c := j.channels[e.Channel]
		if c == nil || j.sessions[c.session] == nil {
			return fmt.Errorf("%w: channel %s is not known", errNotFollowing, e.Channel)
		}
		return j.addChannelOver(c, j.sessions[c.session])
	case proofs.SessionOver:
		if j.sessions[e.Session] == nil {
			return fmt.Errorf("%w: session %s is not known", errNotFollowing, e.Session)
		}
		return j.addSessionOver(j.sessions[e.Session])
	}
	return fmt.Errorf("a record with tag %s is unknown", r.Entry.Tag())
}

func (j *journal) importReceipt(e *proofs.Receipt, arrival proofs.Arrival) error {
	b, err := proofs.ParseBill(e.Statement.Kind, e.Statement.Body)
	if err != nil {
		return err
	}
	c := j.channels[b.Channel]
	switch {
	case c == nil || c.state == stateOver || b.Before != c.spent:
		return fmt.Errorf("%w: channel %s is not where the receipt begins", errNotFollowing, b.Channel)
	case j.policy == nil:
		return fmt.Errorf("the policy of epoch %d is not known yet", j.epoch)
	}
	j.serve(e.Statement, &candidate{id: e.Statement.ID(), bill: &b, arrival: arrival})
	return j.addReceipt(c, &e.Statement, &b, arrival)
}

func (j *journal) importChannel(e *proofs.ChannelEntry, arrival proofs.Arrival) error {
	o, err := proofs.ParseChannelOpen(e.Statement.Body)
	if err != nil {
		return err
	}
	d, err := proofs.ParseDelegation(j.s.cfg.Network.ID(), e.Delegation.Signer, e.Delegation.Body)
	if err != nil {
		return err
	}
	session := j.sessions[o.Session]
	if session == nil || session.fact == nil {
		return fmt.Errorf("%w: session %s is not known", errNotFollowing, o.Session)
	}
	in := &delegationInForce{provider: d.Provider, payee: d.Payout, envelope: e.Delegation}
	return j.addChannel(session, &e.Statement, e.Statement.ID(), o, in, arrival)
}

func (j *journal) importOffer(e *proofs.Envelope, arrival proofs.Arrival) error {
	o, err := proofs.ParseOffer(e.Body)
	if err != nil {
		return err
	}
	row := j.offers[e.ID()]
	if row == nil {
		row = &offerRow{arrival: arrival, fresh: true}
		j.offers[e.ID()] = row
	}
	row.fact = &offerFact{id: e.ID(), envelope: *e, offer: o}
	return j.addOffer(row)
}

func (j *journal) importClose(e *proofs.Envelope, arrival proofs.Arrival) error {
	var channels set[ionet.Key]
	var sessions set[ionet.Hash]
	if err := nameClosed(e, &channels, &sessions); err != nil {
		return err
	}
	for k := range channels {
		if c := j.channels[k]; c != nil {
			return j.addClose(c, e, e.ID(), arrival)
		}
	}
	for id := range sessions {
		if row := j.sessions[id]; row != nil && row.fact != nil {
			return j.addSessionClose(row, e, e.ID(), arrival)
		}
	}
	return fmt.Errorf("%w: what is closed is not known", errNotFollowing)
}
