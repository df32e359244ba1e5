package settlement

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A record stays for ever, and where the policy says so costs us a part of a transaction;
// whoever has one base unit can sign as many as it likes. So what a renter may have of those
// that cost it nothing is counted: its sessions in an epoch, a session's openings and
// top-ups in an epoch, and its channels. Each wallet takes a deposit, a transaction on
// chain. What is imported, or was acked before, was counted when it came.
const (
	sessionsAnEpoch = 64   // of a renter
	openingsAnEpoch = 256  // of a session, top-ups too
	maxChannels     = 4096 // of a session, ever
	leastTopUp      = 16   // a top-up raises the limit by one part of so many, or by all that is left
)

// judgeOften holds an opening against how much the session has had.
func (j *journal) judgeOften(session *sessionRow, o proofs.ChannelOpen) *Problem {
	if session.opening == j.epoch && session.openings >= openingsAnEpoch {
		return NewProblem(ProblemBusy, "body.session", "session %s has had %d openings and top-ups in this epoch, no more are taken", o.Session, session.openings).after(j.nextEpoch())
	}
	c := j.channels[o.Channel]
	if c == nil {
		if session.channels >= maxChannels {
			return NewProblem(ProblemTooManyStatements, "body.session", "session %s has had %d channels, no more are opened: begin another session", o.Session, session.channels)
		}
		return nil
	}
	delta, err := o.Limit.Sub(c.limit)
	if least := c.limit.Base() / leastTopUp; err != nil || delta.Base() < least && delta != session.left {
		return NewProblem(ProblemNoTopUp, "body.limit", "the top-up adds %s to a limit of %s: add %d or more, or all that the session has left, %s", delta, c.limit, least, session.left)
	}
	return nil
}

// countOpening counts an opening, or a top-up, of a session.
func (j *journal) countOpening(session *sessionRow, fresh bool) {
	if session.opening != j.epoch {
		session.opening, session.openings = j.epoch, 0
	}
	session.openings++
	if fresh {
		session.channels++
	}
	session.changed = true
}

// nextEpoch is how long it takes until what is counted by epochs counts anew.
func (j *journal) nextEpoch() time.Duration { return max(beaconRetry, j.s.until(j.epoch+1, 0)) }

// A renter's sessions come in the order of their records, so that those of this epoch are
// the last.
const selectBegun = `
SELECT w.renter, count(*) FILTER (WHERE n.arrival_epoch = $2)
FROM unnest($1::bytea[]) AS w (renter)
CROSS JOIN LATERAL (SELECT arrival_epoch FROM sessions WHERE renter = w.renter ORDER BY index DESC LIMIT $3) n
GROUP BY w.renter`

func (j *journal) scanBegun(rows pgx.Rows) error {
	var renter []byte
	var begun int64
	_, err := pgx.ForEachRow(rows, []any{&renter, &begun}, func() error {
		j.begun[ionet.Key(renter)] = int(begun)
		return nil
	})
	return err
}
