package settlement

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// item is a submitted statement on its way through Submit.
type item struct {
	envelope proofs.Envelope
	id       ionet.Hash
	body     any            // proofs.Delegation, .Revocation, .Release, .Inventory, .Price or .PolicyChange, or *proofs.Uptime; of fees: see parseFee
	arrival  proofs.Arrival // the stored one where stored or inserted by another
	acked    bool           // arrival is that of an ack of ours
	stored   bool           // it was here before this request
	inserted bool           // this request stored it
	beacon   *proofs.Beacon // a block that the table lacks, read from the chain
	file     []byte         // of a policy change: the policy
	problem  *Problem
	first    *item // the same statement earlier in the request; it is the one that is worked on

	// Of what is worked on together with other requests; batch.go.
	fact  *fact
	block *proofs.Beacon // of its slot, as the table has it
	ack   *proofs.Envelope
	err   error
	done  *countdown

	// Of statements of fees: what they name that never changes, the arrival that they
	// came with, and, while a batch is appended, whether the next one is to take this
	// statement, and which one it is a copy of.
	session *sessionFact
	channel *channelFact
	offer   *offerFact
	came    proofs.Arrival
	later   bool
	same    *item
}

// uptime is the body of an item of that kind.
func (it *item) uptime() *proofs.Uptime { return it.body.(*proofs.Uptime) }

// slot is the sample of its worker that an uptime statement is of.
func (it *item) slot() workerSample {
	u := it.uptime()
	return workerSample{it.envelope.Signer, u.Epoch, u.Sample}
}

func (it *item) isUptime() bool {
	_, ok := it.body.(*proofs.Uptime)
	return ok
}

// epoch is the one that the statement is of, 0 for kinds that have none.
func (it *item) epoch() uint64 {
	switch b := it.body.(type) {
	case *proofs.Uptime:
		return b.Epoch
	case proofs.Price:
		return b.Epoch
	}
	return 0
}

// ofEpoch reports whether the statement is of one epoch: it is taken until that
// is frozen.
func (it *item) ofEpoch() bool {
	switch it.body.(type) {
	case *proofs.Uptime, proofs.Price:
		return true
	}
	return false
}

func (it *item) sample() uint16 {
	if u, ok := it.body.(*proofs.Uptime); ok {
		return u.Sample
	}
	return 0
}

// signedAs tells copies that are the same to the last byte. The id does not: one
// statement may have many signatures, of which some are good.
type signedAs struct {
	id        ionet.Hash
	signature [64]byte
}

// open parses the statements and gives each its arrival, verifies their signatures
// together, those of copies once, and takes the acks that are presented. What it refuses
// has a problem.
func (s *Service) open(submitted []Submitted) []*item {
	items, signed := make([]*item, len(submitted)), make([]*item, 0, len(submitted))
	all, now := make([]item, len(submitted)), s.arrival()
	seen, copies := make(map[signedAs]*item, len(submitted)), map[*item]*item{}
	for i := range submitted {
		it := &all[i]
		it.envelope, it.id, it.arrival = submitted[i].Envelope, submitted[i].Envelope.ID(), now
		items[i] = it
		as := signedAs{it.id, it.envelope.Signature}
		if same := seen[as]; same != nil {
			copies[it] = same
			continue
		}
		seen[as] = it
		if it.body, it.problem = s.parse(&it.envelope); it.problem == nil {
			signed = append(signed, it)
		}
	}
	s.verify(signed)
	for it, same := range copies {
		it.body, it.problem = same.body, same.problem
	}
	for i, sub := range submitted {
		if it := items[i]; it.problem == nil && sub.Ack != nil {
			it.problem = s.takeAck(it, sub.Ack)
		}
	}
	return items
}

// arrival is the epoch and sample of now; what comes before the first epoch
// arrives in its first sample.
func (s *Service) arrival() proofs.Arrival {
	epoch, sample, ok := s.clock.At(s.now())
	if !ok {
		return proofs.Arrival{Epoch: 1}
	}
	return proofs.Arrival{Epoch: epoch, Sample: sample}
}

// takeAck gives the statement the arrival that we acked before: FORMAT.md,
// section 5, ack.
func (s *Service) takeAck(it *item, e *proofs.Envelope) *Problem {
	ack, err := proofs.ParseAck(e.Body)
	switch {
	case e.Kind != proofs.KindAck || err != nil:
		return NewProblem(ProblemWrongAck, "ack", "what follows the statement is not an ack")
	case e.Signer != s.cfg.Network.Keys.Service:
		return NewProblem(ProblemWrongAck, "ack.signer", "the ack is signed by %s, this network's service is %s", e.Signer, s.cfg.Network.Keys.Service)
	case ack.Statement != it.id:
		return NewProblem(ProblemWrongAck, "ack.statement", "the ack is of statement %s, presented with %s", ack.Statement, it.id)
	case e.Verify(s.cfg.Network.ID()) != nil:
		return NewProblem(ProblemWrongAck, "ack.signature", "the ack's signature does not verify")
	}
	it.arrival, it.acked = ack.Arrival, true
	return nil
}

// inKindOrder returns the items by kind, so that what a statement names comes
// before it; among one kind they keep their order.
func inKindOrder(items []*item) []*item {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b *item) int { return int(a.envelope.Kind) - int(b.envelope.Kind) })
	return sorted
}

// answers makes the results; what has no problem is committed.
func (s *Service) answers(items []*item) []Result {
	results := make([]Result, len(items))
	counts := map[string]int{}
	var unacked []*item
	var first, last *item // of what is acked
	for i, it := range items {
		if f := it.first; f != nil { // a second copy
			it.problem, it.arrival, it.ack = f.problem, f.arrival, f.ack
		}
		results[i] = Result{ID: it.id, Status: Refused, Problem: it.problem}
		if it.problem != nil {
			counts[it.problem.Type]++
			continue
		}
		results[i].Status = Duplicate
		if it.inserted {
			results[i].Status = Accepted
		}
		counts[string(results[i].Status)]++
		if it.ack == nil {
			unacked = append(unacked, it)
		}
		if isFee(it.envelope.Kind) {
			continue // the log's head tells whether the database has them
		}
		if last = it; first == nil {
			first = it
		}
	}
	for result, n := range counts {
		s.metrics.statements.WithLabelValues(result).Add(float64(n))
	}
	if first != nil {
		s.recall.remember(s.now(), first.recalled(), last.recalled())
	}
	s.ackAll(unacked)
	for i, it := range items {
		if it.problem == nil {
			results[i].Ack = *it.ack
		}
	}
	return results
}

// ackOf is the ack of one stored statement.
func (s *Service) ackOf(id ionet.Hash, arrival proofs.Arrival) proofs.Envelope {
	return proofs.SignAcks(s.cfg.Network.ID(), s.cfg.Keys.Service, arrival, []ionet.Hash{id})[0]
}

// report tells what a person wants to see of this request.
func (s *Service) report(items []*item) {
	uptimes := map[uint64]int{}
	var epochs []uint64
	for _, it := range items {
		if !it.inserted {
			continue
		}
		switch b := it.body.(type) {
		case proofs.Delegation:
			s.emit(Event{Kind: EventDelegation, Payee: b.Payout, Count: len(b.Workers)})
		case proofs.Inventory:
			s.emit(Event{Kind: EventInventory, Worker: it.envelope.Signer, Count: len(b.Devices)})
		case *proofs.Uptime:
			if uptimes[b.Epoch] == 0 {
				epochs = append(epochs, b.Epoch)
			}
			uptimes[b.Epoch]++
		case proofs.Price:
			s.emit(Event{Kind: EventPrice, Epoch: b.Epoch, Detail: dollars(b.MicroUSD)})
		}
	}
	for _, k := range epochs {
		s.emit(Event{Kind: EventStatements, Epoch: k, Count: uptimes[k]})
	}
}

// parse reads the body by its kind's rules: everything that needs no database.
func (s *Service) parse(e *proofs.Envelope) (body any, p *Problem) {
	var err error
	network := s.cfg.Network.ID()
	switch e.Kind {
	case proofs.KindDelegation:
		body, err = proofs.ParseDelegation(network, e.Signer, e.Body)
	case proofs.KindRevocation:
		body, err = proofs.ParseRevocation(network, e.Signer, e.Body)
	case proofs.KindRelease:
		body, err = proofs.ParseRelease(network, e.Signer, e.Body)
	case proofs.KindInventory:
		body, err = proofs.ParseInventory(e.Body)
	case proofs.KindUptime:
		var u proofs.Uptime
		u, err = proofs.ParseUptime(e.Body)
		body = &u
	case proofs.KindPrice:
		body, err = proofs.ParsePrice(e.Body)
	case proofs.KindPolicy:
		if e.Signer != s.cfg.Network.Keys.Service {
			return nil, NewProblem(ProblemWrongSignature, "signer", "the policy is signed by %s, this network's policies are announced by its service, %s", e.Signer, s.cfg.Network.Keys.Service)
		}
		body, err = proofs.ParsePolicyChange(e.Body)
	case proofs.KindSession, proofs.KindOffer, proofs.KindJob, proofs.KindJobBatch, proofs.KindChannelOpen, proofs.KindChannelClose, proofs.KindSessionClose:
		if body, err = s.parseFee(e); err != nil {
			if p := refusesFee(err); p != nil {
				return nil, p
			}
		}
	default:
		return nil, NewProblem(ProblemUnknownKind, "kind", "a statement of kind %s is not yet accepted by this service", e.Kind)
	}
	switch {
	case errors.Is(err, proofs.ErrNetwork):
		return nil, NewProblem(ProblemWrongNetwork, "body.network", "the %s is for another network than %s: %v", e.Kind, ionet.Key(network), err)
	case errors.Is(err, proofs.ErrSigner):
		return nil, NewProblem(ProblemWrongSignature, "body.provider", "the %s must be signed by the provider that it names: %v", e.Kind, err)
	case err != nil:
		return nil, NewProblem(ProblemMalformedStatement, "body", "%v", err)
	}
	if p := s.checkKeys(e, body); p != nil {
		return body, p
	}
	return body, s.checkFeeBody(e, body)
}

// checkKeys refuses keys whose signatures would prove nothing, where they are
// first named: an uptime statement counts only for a worker with an inventory, what a
// session key signs only for a session, and a job for a worker that was delegated.
func (s *Service) checkKeys(e *proofs.Envelope, body any) *Problem {
	if e.Kind == proofs.KindUptime || isFee(e.Kind) && e.Kind != proofs.KindSession {
		return nil
	}
	if err := proofs.CheckKey(e.Signer); err != nil {
		return NewProblem(ProblemWeakKey, "signer", "%v", err)
	}
	d, ok := body.(proofs.Delegation)
	if !ok {
		return nil
	}
	for i, w := range d.Workers {
		if err := proofs.CheckKey(w); err != nil {
			return NewProblem(ProblemWeakKey, fmt.Sprintf("body.workers[%d]", i), "%v", err)
		}
	}
	return nil
}

// distinct returns the items that have no problem, one for each statement. Of
// copies the first is worked on, with the ack that any of them presents.
func distinct(items []*item) []*item {
	seen := make(map[ionet.Hash]*item, len(items))
	out := make([]*item, 0, len(items))
	for _, it := range items {
		if it.problem != nil {
			continue
		}
		first := seen[it.id]
		if first == nil {
			seen[it.id] = it
			out = append(out, it)
			continue
		}
		it.first = first
		if it.acked && !first.acked {
			first.arrival, first.acked = it.arrival, true
		}
	}
	return out
}
