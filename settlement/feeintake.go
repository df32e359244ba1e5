package settlement

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// isFee reports whether the statement is one of sessions, channels, offers or jobs.
func isFee(k proofs.Kind) bool {
	switch k {
	case proofs.KindSession, proofs.KindOffer, proofs.KindJob, proofs.KindJobBatch, proofs.KindChannelOpen, proofs.KindChannelClose, proofs.KindSessionClose:
		return true
	}
	return false
}

// splitFees returns the statements of fees, and the others.
func splitFees(items []*item) (fees, others []*item) {
	for _, it := range items {
		if isFee(it.envelope.Kind) {
			fees = append(fees, it)
		} else {
			others = append(others, it)
		}
	}
	return fees, others
}

// parseFee reads the body of a statement of fees: everything that needs no database.
func (s *Service) parseFee(e *proofs.Envelope) (body any, err error) {
	switch e.Kind {
	case proofs.KindSession:
		body, err = proofs.ParseSession(s.cfg.Network.ID(), e.Signer, e.Body)
	case proofs.KindOffer:
		body, err = proofs.ParseOffer(e.Body)
	case proofs.KindJob, proofs.KindJobBatch:
		var b proofs.Bill
		b, err = proofs.ParseBill(e.Kind, e.Body)
		body = &b
	case proofs.KindChannelOpen:
		body, err = proofs.ParseChannelOpen(e.Body)
	case proofs.KindChannelClose:
		body, err = proofs.ParseChannelClose(e.Body)
	case proofs.KindSessionClose:
		body, err = proofs.ParseSessionClose(e.Body)
	default:
		err = fmt.Errorf("kind %s is not one of fees", e.Kind)
	}
	return body, err
}

// refusesFee returns the rule's problem for a bill that does not add up: rules 6 and 7 of
// FORMAT.md, section 12.
func refusesFee(err error) *Problem {
	switch {
	case errors.Is(err, proofs.ErrFee):
		return NewProblem(proofs.WrongFee.Name(), "body.fee", "%v", err)
	case errors.Is(err, proofs.ErrCovered):
		return NewProblem(proofs.VoucherFails.Name(), "body.cumulative", "%v", err)
	}
	return nil
}

// checkFeeBody holds what a column, or the ledger, asks of a body.
func (s *Service) checkFeeBody(e *proofs.Envelope, body any) *Problem {
	switch b := body.(type) {
	case proofs.Session:
		if err := proofs.CheckKey(b.Key); err != nil {
			return NewProblem(ProblemWeakKey, "body.key", "%v", err)
		}
		if b.Reserve.IsZero() {
			return NewProblem(ProblemMalformedStatement, "body.reserve", "the reserve is 0: a session pays for something")
		}
	case proofs.Offer:
		if b.Sequence > math.MaxInt64 {
			return NewProblem(ProblemMalformedStatement, "body.sequence", "the sequence is %d, more than %d", b.Sequence, int64(math.MaxInt64))
		}
		for i, m := range b.Models {
			if m.Price.IsZero() { // rule 13 pays no job of it, so it costs nothing to be the cheapest
				return NewProblem(ProblemMalformedStatement, fmt.Sprintf("body.models[%d].price", i), "the price of %q is 0: a job that costs nothing has no receipt", m.Name)
			}
		}
	case proofs.ChannelOpen:
		return s.checkOpening(e, b)
	case *proofs.Bill:
		return checkBill(b)
	}
	return nil
}

// checkBill refuses what no terms can let pass: rules 12 and 13.
func checkBill(b *proofs.Bill) *Problem {
	switch {
	case b.Fee.IsZero():
		return refusal(proofs.NoFee, "body.fee", "the fee is 0: a job that costs nothing has no receipt")
	case !b.IsBatch() && (b.Request.IsZero() || b.Response.IsZero()):
		return refusal(proofs.NoResponseHash, "body.response", "the hash of the request or of the response is zeros")
	}
	return nil
}

// refusal is the problem of a rule of fees.
func refusal(rule proofs.FeeRule, field, format string, args ...any) *Problem {
	return NewProblem(rule.Name(), field, format, args...)
}

// submitFees takes statements of fees: those that open and close first, then the jobs. An
// error is the database's; what is decided has a problem, or is committed.
func (s *Service) submitFees(ctx context.Context, items []*item) error {
	var first, jobs []*item
	for _, it := range items {
		if _, ok := it.body.(*proofs.Bill); ok {
			jobs = append(jobs, it)
		} else {
			first = append(first, it)
		}
	}
	if err := s.takeFees(ctx, first); err != nil {
		return err
	}
	return s.takeFees(ctx, jobs)
}

// takeFees verifies vouchers and hands over what is good to those who append.
func (s *Service) takeFees(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	if err := s.learnFees(ctx, items); err != nil {
		return err
	}
	var passed []*item
	for _, it := range items {
		if it.problem = s.judgeFee(it); it.problem == nil {
			passed = append(passed, it)
		}
	}
	passed = s.verifyVouchers(passed)
	if len(passed) == 0 {
		return nil
	}
	done := newCountdown(len(passed))
	for _, it := range passed {
		it.done, it.err, it.came = done, nil, it.arrival
	}
	s.intake.appending.add(passed)
	done.Wait()
	for _, it := range passed {
		if it.err != nil {
			return it.err
		}
	}
	return nil
}

// judgeFee holds what never changes: a channel that is unknown, or is another's, costs no
// look at a voucher.
func (s *Service) judgeFee(it *item) *Problem {
	switch b := it.body.(type) {
	case *proofs.Bill:
		switch {
		case it.channel == nil:
			return refusal(proofs.UnknownChannel, "body.channel", "no opening of channel %s was accepted: send the channel-open statement first", b.Channel)
		case it.channel.worker != it.envelope.Signer:
			return refusal(proofs.OtherWorker, "signer", "channel %s pays worker %s, the %s is signed by %s", b.Channel, it.channel.worker, it.envelope.Kind, it.envelope.Signer)
		case it.offer == nil || it.offer.envelope.Signer != it.envelope.Signer:
			return refusal(proofs.ModelNotOffered, "body.offer", "worker %s signed no offer %s that is known here: send the offer first", it.envelope.Signer, b.Offer)
		}
	case proofs.ChannelClose:
		if it.channel == nil {
			return refusal(proofs.UnknownChannel, "body.channel", "no opening of channel %s was accepted", b.Channel)
		}
		if it.channel.session.Key != it.envelope.Signer {
			return NewProblem(ProblemForeignSession, "signer", "channel %s is one of session key %s, the channel-close is signed by %s", b.Channel, it.channel.session.Key, it.envelope.Signer)
		}
	}
	return nil
}

// verifyVouchers returns the items whose vouchers hold, if they have one; the others have
// a problem.
func (s *Service) verifyVouchers(items []*item) []*item {
	var vouchers []proofs.SignedVoucher
	var of []*item
	for _, it := range items {
		if b, ok := it.body.(*proofs.Bill); ok {
			vouchers, of = append(vouchers, b.SignedVoucher(it.channel.session.Key)), append(of, it)
		}
	}
	for i, err := range s.intake.verifier.VerifyVouchers(vouchers) {
		if err != nil {
			of[i].problem = refusal(proofs.VoucherFails, "body.voucher", "the voucher's signature does not hold for session key %s, channel %s and cumulative %s", vouchers[i].Key, vouchers[i].Channel, vouchers[i].Cumulative)
		}
	}
	return slices.DeleteFunc(items, func(it *item) bool { return it.problem != nil })
}

// appendTimeout bounds what a batch waits for the database.
const appendTimeout = 30 * time.Second

// maxAppended is how many statements one transaction of the log takes.
const maxAppended = 4096

// appendBatch is the work of the stage of that name: one transaction appends what many
// requests brought.
func (s *Service) appendBatch(items []*item) {
	ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
	defer cancel()
	fresh, copies := distinctFees(items)
	if err := s.appendItems(ctx, fresh); err != nil {
		// Perhaps it is appended all the same: whoever sends it again finds it.
		for _, it := range fresh {
			it.err, it.inserted, it.later = err, false, false
		}
	}
	var settled, later []*item
	for _, it := range append(fresh, copies...) {
		if it.later || it.same != nil && it.same.later {
			later = append(later, it)
			continue
		}
		settled = append(settled, it)
	}
	for _, it := range copies {
		if f := it.same; !f.later {
			it.problem, it.arrival, it.err, it.stored = f.problem, f.arrival, f.err, true
		}
		it.same = nil
	}
	for _, it := range later {
		it.later = false
	}
	s.intake.appending.add(later)
	// The rows are committed. If we stop before their senders have an ack, they send
	// them again and get it then. The next batch need not wait for the acks.
	go func() {
		s.ackAll(slices.DeleteFunc(slices.Clone(settled), func(it *item) bool { return it.problem != nil || it.err != nil }))
		for _, it := range settled {
			it.done.Done()
		}
	}()
}

// distinctFees returns one item for each statement, and the copies of others, whose field
// same is that. Of copies that with an ack of ours is worked on.
func distinctFees(items []*item) (fresh, copies []*item) {
	at := make(map[ionet.Hash]int, len(items))
	for _, it := range items {
		i, ok := at[it.id]
		if !ok {
			at[it.id] = len(fresh)
			fresh = append(fresh, it)
			continue
		}
		if f := fresh[i]; it.acked && !f.acked {
			fresh[i], it = it, f
		}
		copies = append(copies, it)
	}
	for _, it := range copies {
		it.same = fresh[at[it.id]]
	}
	return fresh, copies
}
