package proofs

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Claim is what two statements of a worker show of each other.
type Claim uint8

// The claims. Of a batch only its worker can show which jobs are in it.
const (
	NoClaim       Claim = iota
	Contradiction       // the worker signed two bills for one job, or for one part of a channel
	InBatch             // the job is one of those that the batch is for, or the batch is false
)

// ClaimOf says what the statement in a receipt and the job that its renter holds show of
// each other, FORMAT.md section 12. Both are by one worker.
func ClaimOf(receipt Bill, response Job) Claim {
	j := response.Bill()
	switch {
	case receipt.Channel != j.Channel:
		return NoClaim
	case receipt.IsBatch() && j.Fee.IsZero():
		return NoClaim // it asks for nothing, and stands in no batch
	case receipt.IsBatch() && receipt.Before.Cmp(j.Before) <= 0 && j.After.Cmp(receipt.After) <= 0:
		return InBatch
	case !receipt.IsBatch() && receipt.ID == j.ID, receipt.overlaps(j):
		return Contradiction
	}
	return NoClaim
}

// overlaps reports whether both ask for a part of the channel that is the same.
func (b Bill) overlaps(o Bill) bool { return b.Before.Cmp(o.After) < 0 && o.Before.Cmp(b.After) < 0 }

// Evidence is a dispute as it is published: three envelopes, one after the other.
type Evidence struct {
	Dispute  Envelope // by the renter's wallet
	Receipt  Envelope // the job or batch that the dispute names, as the log has it
	Response Envelope // the job that the renter holds
}

// Encode returns the bytes of the file.
func (e Evidence) Encode() []byte {
	return e.Response.Append(e.Receipt.Append(e.Dispute.Append(nil)))
}

// ParseEvidence parses the file of a dispute, and checks nothing but its form.
func ParseEvidence(file []byte) (e Evidence, err error) {
	rest := file
	for _, part := range []*Envelope{&e.Dispute, &e.Receipt, &e.Response} {
		if *part, rest, err = ParseEnvelope(rest); err != nil {
			return Evidence{}, fmt.Errorf("parse evidence: %w", err)
		}
	}
	if len(rest) > 0 {
		return Evidence{}, fmt.Errorf("parse evidence: %d bytes after it", len(rest))
	}
	return e, nil
}

// Check verifies what the file shows by itself: all three signatures hold, the dispute
// names both statements, and one worker signed both. That the receipt is in the log and
// of this renter's channel is for who has the log. It returns what they claim.
func (e Evidence) Check(network ionet.Hash) (Claim, error) {
	d, err := ParseDispute(network, e.Dispute.Signer, e.Dispute.Body)
	if err != nil {
		return NoClaim, err
	}
	if e.Dispute.Kind != KindDispute || e.Response.Kind != KindJob {
		return NoClaim, fmt.Errorf("check evidence: a %s and a %s are no dispute of a job", e.Dispute.Kind, e.Response.Kind)
	}
	bill, err := ParseBill(e.Receipt.Kind, e.Receipt.Body)
	if err != nil {
		return NoClaim, err
	}
	job, err := ParseJob(e.Response.Body)
	if err != nil {
		return NoClaim, err
	}
	switch {
	case e.Receipt.ID() != d.Job || e.Response.ID() != d.Response:
		return NoClaim, errors.New("check evidence: the dispute names other statements")
	case d.Job == d.Response:
		return NoClaim, errors.New("check evidence: the dispute names one statement twice")
	case e.Receipt.Signer != e.Response.Signer:
		return NoClaim, errors.New("check evidence: the statements are by two workers")
	}
	for _, part := range []*Envelope{&e.Dispute, &e.Receipt, &e.Response} {
		if err := part.Verify(network); err != nil {
			return NoClaim, fmt.Errorf("check evidence: %s: %w", part.Kind, err)
		}
	}
	claim := ClaimOf(bill, job)
	if claim == NoClaim {
		return NoClaim, errors.New("check evidence: the statements do not contradict each other")
	}
	return claim, nil
}

// Placed is where a job stands in a batch: what answers a claim of InBatch.
type Placed struct {
	Index uint32
	Leaf  []byte       // BatchLeaf of the job
	Path  []ionet.Hash // inclusion proof
}

// maxBatchPath is the longest inclusion proof of a batch: its count has 32 bits.
const maxBatchPath = 32

// Encode returns the bytes of the file.
func (p Placed) Encode() []byte {
	var w writer
	w.u32(p.Index)
	w.vec(p.Leaf)
	w.u32(uint32(len(p.Path)))
	for _, h := range p.Path {
		w.raw(h[:])
	}
	return w.b
}

// ParsePlaced parses the file of an answer.
func ParsePlaced(b []byte) (Placed, error) {
	r := reader{b: b}
	p := Placed{Index: r.u32(), Leaf: r.vec()}
	for range r.count("path", 0, maxBatchPath, 32) {
		p.Path = append(p.Path, r.b32())
	}
	return ended(&r, "place in a batch", p, func() error { return nil })
}

// Answers checks that the batch holds the job at that place. It is NoClaim where that is
// the job that the renter holds: the batch is right. It is Contradiction where the batch
// has another job of the same id, or for the same part of the channel.
func (p Placed) Answers(batch JobBatch, response Job) (Claim, error) {
	j, err := CheckInBatch(batch, p.Leaf, p.Index, p.Path)
	if err != nil {
		return NoClaim, err
	}
	switch {
	case string(p.Leaf) == string(BatchLeaf(response)):
		return NoClaim, nil
	case j.ID == response.ID, j.Bill().overlaps(response.Bill()):
		return Contradiction, nil
	}
	return NoClaim, fmt.Errorf("check job of a batch: it is job %x, which has nothing to do with job %x", j.ID, response.ID)
}
