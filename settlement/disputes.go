package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// DisputeStanding says where a dispute stands.
type DisputeStanding string

// An open dispute is about a batch: it waits for anybody, the worker above all, who
// shows what the batch holds in the job's place. The others never change.
const (
	DisputeContradiction DisputeStanding = "contradiction" // the worker signed two bills for one thing
	DisputeOpen          DisputeStanding = "open"
	DisputeAnswered      DisputeStanding = "answered" // the batch holds the job as the renter has it
)

// DisputeState is a dispute that was taken. Its evidence is published.
type DisputeState struct {
	ID ionet.Hash
	proofs.Dispute
	Worker    ionet.Key
	Receipt   uint64 // index in the log
	State     DisputeStanding
	CreatedAt time.Time
	File      string // the evidence's name in the published store
	Answer    string // that of the answer; "" without one
	Envelope  []byte // of the dispute
}

// maxDisputes bounds the disputes of one renter within an hour: each is a file.
const maxDisputes = 64

// SubmitDispute takes a renter's word that the receipt of a job is not what its worker
// signed to the renter, with that signed response. The dispute decides nothing about
// money: it makes both statements of the worker public, side by side. The same dispute
// again, or another about the same two statements, is answered with where it stands.
func (s *Service) SubmitDispute(ctx context.Context, dispute, response proofs.Envelope) (DisputeState, error) {
	d, job, problem := s.parseDispute(dispute, response)
	if problem != nil {
		return DisputeState{}, problem
	}
	if known, err := s.Dispute(ctx, dispute.ID()); isKnown(err) {
		return known, err
	}
	channel, err := s.Channel(ctx, job.Channel)
	if err != nil {
		return DisputeState{}, err
	}
	switch {
	case channel.Renter != d.Renter:
		return DisputeState{}, NewProblem(ProblemNotYourReceipt, "dispute.Renter", "channel %s is not of renter %s", job.Channel, d.Renter)
	case channel.Worker != response.Signer:
		return DisputeState{}, NewProblem(ProblemOtherWorker, "response.signer", "channel %s pays worker %s, the response is signed by %s", job.Channel, channel.Worker, response.Signer)
	}
	receipt, statement, err := s.disputed(ctx, d, job)
	if err != nil {
		return DisputeState{}, err
	}
	if same, err := s.sameDispute(ctx, d, receipt); err != nil || same != nil {
		if err != nil {
			return DisputeState{}, err
		}
		return s.Dispute(ctx, ionet.Hash(same))
	}
	evidence, err := s.publishEvidence(ctx, proofs.Evidence{Dispute: dispute, Receipt: statement, Response: response})
	if err != nil {
		return DisputeState{}, err
	}
	// The evidence is durable: if we stop here it is a file that no row names, and the
	// same dispute again finds it.
	claim, err := evidence.Check(s.cfg.Network.ID())
	if err != nil {
		return DisputeState{}, fmt.Errorf("dispute %s: %w", dispute.ID(), err)
	}
	state := DisputeContradiction
	if claim == proofs.InBatch {
		state = DisputeOpen
	}
	id := dispute.ID()
	_, err = s.pool.Exec(ctx, insertDispute, id[:], d.Renter[:], d.Job[:], evidence.Dispute.Append(nil), evidence.Response.Append(nil), int64(receipt), string(state), s.now())
	if err != nil {
		return DisputeState{}, fmt.Errorf("store dispute %s: %w", id, err)
	}
	return s.Dispute(ctx, id)
}

const insertDispute = `
INSERT INTO disputes (id, renter, job, envelope, response, receipt, state, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING`

// sameDispute returns the id of a dispute about the same two statements, nil where there
// is none and the renter may hand one in.
func (s *Service) sameDispute(ctx context.Context, d proofs.Dispute, receipt uint64) (same []byte, err error) {
	var recent int
	err = s.pool.QueryRow(ctx, selectSameDispute, int64(receipt), d.Response[:], d.Renter[:], s.now().Add(-time.Hour)).Scan(&same, &recent)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for disputes of %s: %w", d.Renter, err)
	case same == nil && recent >= maxDisputes:
		return nil, NewProblem(ProblemBusy, "dispute.Renter", "%s handed in %d disputes within an hour: hand in more later", d.Renter, recent).after(10 * time.Minute)
	}
	return same, nil
}

// The id of a statement is H(kind ‖ signer ‖ body): the first 33 bytes of its envelope,
// and those from the 100th on.
const selectSameDispute = `
SELECT (SELECT id FROM disputes WHERE receipt = $1 AND sha256(substring(response FOR 33) || substring(response FROM 100)) = $2 ORDER BY created_at, id LIMIT 1),
    (SELECT count(*) FROM disputes WHERE renter = $3 AND created_at > $4)`

// isKnown reports whether a look at a dispute answers: only one that is not known is
// looked at further.
func isKnown(err error) bool {
	var p *Problem
	return !errors.As(err, &p) || p.Type != ProblemUnknownDispute
}

// parseDispute checks all that both statements say by themselves.
func (s *Service) parseDispute(dispute, response proofs.Envelope) (proofs.Dispute, proofs.Job, *Problem) {
	network := s.cfg.Network.ID()
	fail := func(kind, field, format string, args ...any) (proofs.Dispute, proofs.Job, *Problem) {
		return proofs.Dispute{}, proofs.Job{}, NewProblem(kind, field, format, args...)
	}
	if dispute.Kind != proofs.KindDispute {
		return fail(ProblemUnknownKind, "dispute.kind", "kind %s is no dispute", dispute.Kind)
	}
	if response.Kind != proofs.KindJob {
		return fail(ProblemUnknownKind, "response.kind", "kind %s is no job", response.Kind)
	}
	for i, e := range []*proofs.Envelope{&dispute, &response} {
		if err := proofs.CheckKey(e.Signer); err != nil {
			return fail(ProblemWeakKey, disputeParts[i]+".signer", "signer %s: %v", e.Signer, err)
		}
	}
	d, err := proofs.ParseDispute(network, dispute.Signer, dispute.Body)
	if err != nil {
		return fail(ProblemMalformedStatement, "dispute.body", "%v", err)
	}
	job, err := proofs.ParseJob(response.Body)
	if err != nil {
		return fail(ProblemMalformedStatement, "response.body", "%v", err)
	}
	if d.Response != response.ID() {
		return fail(ProblemMalformedStatement, "dispute.Response", "Response is %s, the statement that came with the dispute is %s", d.Response, response.ID())
	}
	for i, e := range []*proofs.Envelope{&dispute, &response} {
		if err := e.Verify(network); err != nil {
			return fail(ProblemWrongSignature, disputeParts[i]+".signature", "signature of %s does not verify", e.Signer)
		}
	}
	return d, job, nil
}

// disputeParts name the parts of a request in problems.
var disputeParts = [2]string{"dispute", "response"}

// disputed returns the receipt that a dispute names, and the statement in it, if that
// and the renter's job contradict each other.
func (s *Service) disputed(ctx context.Context, d proofs.Dispute, job proofs.Job) (index uint64, statement proofs.Envelope, err error) {
	logged, err := s.Receipt(ctx, d.Job.String())
	if p := (*Problem)(nil); errors.As(err, &p) {
		p.Field = "dispute.Job"
	}
	if err != nil {
		return 0, statement, err
	}
	record, err := proofs.ParseRecord(logged.Record)
	if err != nil {
		return 0, statement, err
	}
	receipt, ok := record.Entry.(proofs.Receipt)
	if !ok {
		return 0, statement, NewProblem(ProblemUnknownReceipt, "dispute.Job", "statement %s is in the log as %s, not as receipt", d.Job, record.Entry.Tag())
	}
	bill, err := proofs.ParseBill(receipt.Statement.Kind, receipt.Statement.Body)
	if err != nil {
		return 0, statement, err
	}
	switch {
	case d.Job == d.Response:
		return 0, statement, NewProblem(ProblemNothingToDispute, "response", "the receipt is of this very statement")
	case proofs.ClaimOf(bill, job) == proofs.NoClaim:
		return 0, statement, NewProblem(ProblemNothingToDispute, "response", "receipt %s pays job %x from %s to %s of its channel, the response is job %x from %s to %s: they have nothing in common",
			d.Job, bill.ID, bill.Before, bill.After, job.ID, job.Before, job.After)
	}
	return logged.Index, receipt.Statement, nil
}

// publishEvidence makes the evidence durable and returns it as it is published: where
// other valid signatures over the same three statements lie there, those count.
func (s *Service) publishEvidence(ctx context.Context, e proofs.Evidence) (proofs.Evidence, error) {
	name := publish.DisputeName(e.Dispute.ID())
	err := s.cfg.Store.Put(ctx, name, e.Encode())
	if err == nil {
		return e, nil
	}
	if !errors.Is(err, publish.ErrConflict) {
		return e, fmt.Errorf("publish dispute %s: %w", e.Dispute.ID(), err)
	}
	file, err := s.cfg.Store.Get(ctx, name)
	if err != nil {
		return e, fmt.Errorf("read %s: %w", name, err)
	}
	there, err := proofs.ParseEvidence(file)
	if err != nil {
		return e, fmt.Errorf("%s: %w", name, err)
	}
	if there.Dispute.ID() != e.Dispute.ID() || there.Receipt.ID() != e.Receipt.ID() || there.Response.ID() != e.Response.ID() {
		return e, fmt.Errorf("%s: %w", name, publish.ErrConflict)
	}
	return there, nil
}

const selectDispute = `SELECT renter, envelope, response, receipt, state, answer, created_at FROM disputes WHERE id = $1`

// Dispute returns where a dispute stands, or the problem unknown-dispute.
func (s *Service) Dispute(ctx context.Context, id ionet.Hash) (DisputeState, error) {
	d, _, _, err := s.readDispute(ctx, id)
	return d, err
}

// readDispute is Dispute, with the response and the answer that was given.
func (s *Service) readDispute(ctx context.Context, id ionet.Hash) (d DisputeState, response proofs.Envelope, answer []byte, err error) {
	d = DisputeState{ID: id, File: publish.DisputeName(id)}
	var renter, responded []byte
	var receipt int64
	var state string
	err = s.front.QueryRow(ctx, selectDispute, id[:]).Scan(&renter, &d.Envelope, &responded, &receipt, &state, &answer, &d.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return DisputeState{}, response, nil, NewProblem(ProblemUnknownDispute, "id", "no dispute has id %s", id)
	}
	if err != nil {
		return DisputeState{}, response, nil, fmt.Errorf("look for dispute %s: %w", id, err)
	}
	d.Receipt, d.State = uint64(receipt), DisputeStanding(state)
	if answer != nil {
		d.Answer = publish.DisputeAnswerName(id)
	}
	e, _, err := proofs.ParseEnvelope(d.Envelope)
	if err == nil {
		d.Dispute, err = proofs.ParseDispute(s.cfg.Network.ID(), ionet.Key(renter), e.Body)
	}
	if err == nil {
		response, _, err = proofs.ParseEnvelope(responded)
	}
	if err != nil {
		return DisputeState{}, response, nil, fmt.Errorf("dispute %s: %w", id, err)
	}
	d.Worker = response.Signer
	return d, response, answer, nil
}

// AnswerDispute ends an open dispute: it shows the job that stands in the batch where
// the renter's should. Anybody may answer, for the proof is all that counts. It is
// answered where that is the renter's job, and a contradiction where it is another one.
// A dispute that is not open is returned as it stands.
func (s *Service) AnswerDispute(ctx context.Context, id ionet.Hash, answer proofs.Placed) (DisputeState, error) {
	d, response, _, err := s.readDispute(ctx, id)
	if err != nil || d.State != DisputeOpen {
		return d, err
	}
	state, err := s.judgeAnswer(ctx, d, response, answer)
	if err != nil {
		return DisputeState{}, err
	}
	file, err := s.publishAnswer(ctx, id, answer.Encode())
	if err != nil {
		return DisputeState{}, err
	}
	// Of two answers at once the first that is published counts, for both.
	if answer, err = proofs.ParsePlaced(file); err == nil {
		state, err = s.judgeAnswer(ctx, d, response, answer)
	}
	if err != nil {
		return DisputeState{}, fmt.Errorf("%s: %w", publish.DisputeAnswerName(id), err)
	}
	if _, err := s.pool.Exec(ctx, updateDispute, id[:], string(state), file); err != nil {
		return DisputeState{}, fmt.Errorf("store the answer of dispute %s: %w", id, err)
	}
	return s.Dispute(ctx, id)
}

const updateDispute = `UPDATE disputes SET state = $2, answer = $3 WHERE id = $1 AND state = 'open'`

// judgeAnswer returns what an answer makes of an open dispute.
func (s *Service) judgeAnswer(ctx context.Context, d DisputeState, response proofs.Envelope, answer proofs.Placed) (DisputeStanding, error) {
	logged, err := s.Receipt(ctx, d.Job.String())
	if err != nil {
		return "", err
	}
	record, err := proofs.ParseRecord(logged.Record)
	if err != nil {
		return "", err
	}
	statement, _ := record.Statement()
	batch, err := proofs.ParseJobBatch(statement.Body)
	if err != nil {
		return "", err
	}
	job, err := proofs.ParseJob(response.Body)
	if err != nil {
		return "", err
	}
	claim, err := answer.Answers(batch, job)
	switch {
	case err != nil:
		return "", NewProblem(ProblemWrongAnswer, "answer", "%v", err)
	case claim == proofs.Contradiction:
		return DisputeContradiction, nil
	}
	return DisputeAnswered, nil
}

// publishAnswer makes an answer durable and returns the one that is published.
func (s *Service) publishAnswer(ctx context.Context, id ionet.Hash, file []byte) ([]byte, error) {
	name := publish.DisputeAnswerName(id)
	err := s.cfg.Store.Put(ctx, name, file)
	if errors.Is(err, publish.ErrConflict) {
		file, err = s.cfg.Store.Get(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("publish the answer of dispute %s: %w", id, err)
	}
	return file, nil
}
