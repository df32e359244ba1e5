package proofs

import (
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// FeeRule is why a job or a channel was refused; FORMAT.md, section 12.
type FeeRule uint16

// The rules of fees. FeeHolds is none of them: the job is paid.
const (
	FeeHolds        FeeRule = 0
	UnknownChannel  FeeRule = 1
	OtherWorker     FeeRule = 2
	UnknownWorker   FeeRule = 3
	ModelNotOffered FeeRule = 4
	PriceAboveCap   FeeRule = 5
	WrongFee        FeeRule = 6
	VoucherFails    FeeRule = 7
	AboveLimit      FeeRule = 8
	Expired         FeeRule = 9
	Closed          FeeRule = 10
	Replay          FeeRule = 11
	NoResponseHash  FeeRule = 12
	NoFee           FeeRule = 13
	Overlap         FeeRule = 14
)

// feeRules is FORMAT.md's table: when each rule applies, what shows it, and the sentence
// for a person.
var feeRules = [...]struct{ name, applies, evidence, text string }{
	FeeHolds: {"holds", "otherwise", "the job", "The job is paid."},
	UnknownChannel: {
		"unknown-channel", "no channel-open that was accepted names the channel", "the job", "No accepted opening names this channel.",
	},
	OtherWorker: {
		"other-worker", "the signer is not the channel's worker", "the job and the channel-open", "The channel pays another worker.",
	},
	UnknownWorker: {
		"unknown-worker", "of a channel-open: no delegation in force names its worker", "the channel-open", "No delegation in force names this worker.",
	},
	ModelNotOffered: {
		"model-not-offered",
		"no offer of the worker has the id, or it expires at or before served, or, of a job, has not this model, unit, price and per",
		"the job and the offer", "The worker's offer does not have this model at this price.",
	},
	PriceAboveCap: {
		"price-above-cap",
		"of a job: the session has price caps, and none for the model or one with price * cap.per > cap.price * per",
		"the job and the session", "The price is above what the session allows for this model.",
	},
	WrongFee: {
		"wrong-fee", "fee is not ceil(units * price / per), or after is not before + fee", "the job", "The fee is not what the units cost.",
	},
	VoucherFails: {
		"voucher", "the voucher's signature does not hold, or after > cumulative", "the job and the channel-open", "The voucher does not pay for this job.",
	},
	AboveLimit: {
		"above-limit", "after > the greatest limit of the channel", "the job and the channel-open", "The channel's limit is spent.",
	},
	Expired: {
		"expired", "served < the session's issued, or >= expires of the channel or the session, or > accepted + 60",
		"the job, the channel-open and the session", "The job was not served while the channel was open.",
	},
	Closed: {
		"closed", "the channel or its session is over, or was asked to close before served - 60", "the job and the close", "The channel was closed before the job was served.",
	},
	Replay: {
		"replay", "another statement of the channel that was accepted has the same job id", "both statements", "This job was paid already.",
	},
	NoResponseHash: {
		"no-response-hash", "of a job: request or response is zeros", "the job", "The job does not name its request and response.",
	},
	NoFee: {"no-fee", "fee is 0", "the job", "A job without a fee has no receipt."},
	Overlap: {
		"overlap", "before < what the channel spent", "the job and the receipt that spent it", "Another job spent this part of the channel.",
	},
}

// Known reports whether FORMAT.md has this rule.
func (r FeeRule) Known() bool { return int(r) < len(feeRules) }

// Name returns the rule's stable name: the type of the problem that a refusal is.
func (r FeeRule) Name() string {
	if !r.Known() {
		return "unknown"
	}
	return feeRules[r].name
}

// Text returns a sentence for a person.
func (r FeeRule) Text() string {
	if !r.Known() {
		return "This rule is unknown."
	}
	return feeRules[r].text
}

// Applies says when the rule applies, in the words of FORMAT.md, section 12.
func (r FeeRule) Applies() string {
	if !r.Known() {
		return "unknown"
	}
	return feeRules[r].applies
}

// Evidence names the statements that show the refusal to be right.
func (r FeeRule) Evidence() string {
	if !r.Known() {
		return "unknown"
	}
	return feeRules[r].evidence
}

// FeeRules returns all rules in order of their numbers.
func FeeRules() []FeeRule {
	all := make([]FeeRule, len(feeRules))
	for i := range all {
		all[i] = FeeRule(i)
	}
	return all
}

// maxAhead is how far a worker's clock may be ahead of the service's, in seconds.
const maxAhead = 60

// closeSlack is for how many seconds after a channel was asked to close its worker is
// still paid for what he serves: he can't know sooner, and the renter could have inference
// for nothing by closing just before he asks.
const closeSlack = 60

// FeeTerms is what a channel's jobs are held against. Those of a channel that nobody
// opened are zero.
type FeeTerms struct {
	Session   Session
	SessionID ionet.Hash
	Channel   ChannelOpen  // the one with the greatest limit
	Spent     ionet.Amount // after of the channel's last receipt
	Closing   int64        // when it or its session was asked to close; 0: it was not
	Over      bool         // what was left of it went back
}

// Check returns the first rule that refuses a bill signed by worker, or FeeHolds. offer
// is the worker's offer with the id that the bill names, nil where he signed none.
// accepted is the record's time, or now.
//
// It does not see the voucher's signature (rule 7), which is verified with others, nor
// the channel's other job ids (rule 11). Rule 6 and the rest of 7 are said by ParseJob and
// ParseJobBatch, and rule 3 of channels. A bill whose before is above Spent holds: it
// waits for the jobs between.
func (t FeeTerms) Check(worker ionet.Key, b Bill, offer *Offer, accepted int64) FeeRule {
	switch {
	case t.Channel.Channel.IsZero() || b.Channel != t.Channel.Channel:
		return UnknownChannel
	case worker != t.Channel.Worker:
		return OtherWorker
	case !offer.has(b):
		return ModelNotOffered
	case !b.IsBatch() && !t.Session.allows(b):
		return PriceAboveCap
	case b.After.Cmp(b.Cumulative) > 0:
		return VoucherFails
	case b.After.Cmp(t.Channel.Limit) > 0:
		return AboveLimit
	case b.Served < t.Session.Issued || b.Served >= t.Session.Expires || b.Served >= t.Channel.Expires || b.Served > accepted+maxAhead:
		return Expired
	case t.Over || t.ClosedAt(b.Served):
		return Closed
	case !b.IsBatch() && (b.Request.IsZero() || b.Response.IsZero()):
		return NoResponseHash
	case b.Fee.IsZero():
		return NoFee
	case b.Before.Cmp(t.Spent) < 0:
		return Overlap
	}
	return FeeHolds
}

// ClosedAt reports whether what was served then was served too late: the channel had been
// asked to close for a while.
func (t FeeTerms) ClosedAt(served int64) bool {
	return t.Closing != 0 && served > t.Closing+closeSlack
}

// CheckInBatch returns the first rule that a renter finds broken by a job inside a batch,
// which the service does not see: 4, 5, 12 or 13.
func (t FeeTerms) CheckInBatch(j Job, offer *Offer) FeeRule {
	b := j.Bill()
	switch {
	case !offer.has(b):
		return ModelNotOffered
	case !t.Session.allows(b):
		return PriceAboveCap
	case b.Request.IsZero() || b.Response.IsZero():
		return NoResponseHash
	case b.Fee.IsZero():
		return NoFee
	}
	return FeeHolds
}

// has reports whether the bill's jobs were served under the offer while it was in force.
func (o *Offer) has(b Bill) bool {
	if o == nil || b.Served >= o.Expires {
		return false
	}
	if b.IsBatch() {
		return true
	}
	for _, m := range o.Models {
		if m.Name == b.Model && m.Unit == b.Unit {
			return m.Price == b.Price && m.Per == b.Per
		}
	}
	return false
}

// allows reports whether the session's caps, if it has any, let the job cost that much:
// price / per <= cap.price / cap.per.
func (s Session) allows(b Bill) bool {
	for _, c := range s.Caps {
		if c.Model == b.Model {
			return !c.below(b.Price, b.Per)
		}
	}
	return len(s.Caps) == 0
}

// Allows reports whether the session's price caps let a model cost price for per units.
func (s Session) Allows(model string, price ionet.Amount, per uint32) bool {
	return s.allows(Bill{Model: model, Price: price, Per: per})
}

// below reports whether the cap is below that price: price * cap.per > cap.price * per.
func (c PriceCap) below(price ionet.Amount, per uint32) bool {
	hi, lo := bits.Mul64(price.Base(), c.Per)
	capHi, capLo := bits.Mul64(c.Price.Base(), uint64(per))
	return hi > capHi || hi == capHi && lo > capLo
}
