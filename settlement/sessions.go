package settlement

import (
	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// takeSession reserves for a session what its renter has.
func (j *journal) takeSession(it *item, v proofs.Session) error {
	if row := j.sessions[it.id]; row != nil {
		it.stored, it.arrival = true, row.arrival
		return nil
	}
	if j.head.accepted >= j.openUntil(it, v.Expires) {
		it.problem = refusal(proofs.Expired, "body.expires", "the session expired at %d, it is %d now", v.Expires, j.head.accepted)
		return nil
	}
	if has := j.renters[v.Renter]; has.Cmp(v.Reserve) < 0 {
		it.problem = NewProblem(ProblemInsufficient, "body.reserve", "the reserve is %s, the unspent balance of %s is %s base units: pay in first", v.Reserve, v.Renter, has)
		return nil
	}
	if n := j.begun[v.Renter]; n >= sessionsAnEpoch && !it.acked {
		it.problem = NewProblem(ProblemBusy, "body.renter", "renter %s has begun %d sessions in this epoch, no more are taken", v.Renter, n).after(j.nextEpoch())
		return nil
	}
	it.inserted = true
	j.begun[v.Renter]++
	return j.addSession(&it.envelope, it.id, v, it.arrival)
}

// openUntil is when something that expires is opened no more: what we acked before is
// taken for a grace longer, because it was served under that ack.
func (j *journal) openUntil(it *item, expires int64) int64 {
	if it.acked {
		return expires + j.grace()
	}
	return expires
}

// grace is how long what was served before a close or an expiry may still come in.
func (j *journal) grace() int64 {
	if j.policy == nil {
		return int64(j.s.cfg.Policy.Fees.GraceSeconds)
	}
	return int64(j.policy.Fees.GraceSeconds)
}

// takeSessionClose begins the end of a session and of its channels.
func (j *journal) takeSessionClose(it *item, v proofs.SessionClose) error {
	if j.wasTaken(it) {
		return nil
	}
	row := j.sessionOf(it, v.Session)
	switch {
	case row == nil:
		it.problem = NewProblem(ProblemUnknownSession, "body.session", "session %s is not known", v.Session)
	case row.fact.Key != it.envelope.Signer:
		it.problem = NewProblem(ProblemForeignSession, "signer", "session %s is that of key %s, the session-close is signed by %s", v.Session, row.fact.Key, it.envelope.Signer)
	case row.state != stateOpen:
		it.problem = refusal(proofs.Closed, "body.session", "session %s is %s already", v.Session, row.state)
	}
	if it.problem != nil {
		return nil
	}
	it.inserted = true
	return j.addSessionClose(row, &it.envelope, it.id, it.arrival)
}

// wasTaken reports whether the statement opened or closed something before.
func (j *journal) wasTaken(it *item) bool {
	arrival, ok := j.known[[16]byte(it.id[:16])]
	if ok {
		it.stored, it.arrival = true, arrival
	}
	return ok
}

// sessionOf returns a session that an item names, nil where it is not known.
func (j *journal) sessionOf(it *item, id ionet.Hash) *sessionRow {
	row := j.sessions[id]
	if row != nil && row.fact == nil {
		row.fact = it.session
	}
	if row == nil || row.fact == nil { // stored since the item's facts were read
		return nil
	}
	return row
}
