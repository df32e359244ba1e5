package meter

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// titles are what the kinds of problems are in a few words; others are their status's.
var titles = map[string]string{
	client.VoucherNeeded: "A greater voucher is needed", client.OfferChanged: "The price is above that offer's",
	client.JobDone: "The job was served", client.JobRunning: "The job is being served", client.JobConflict: "Another request has this job's id",
	client.AtCapacity: "All places are taken", client.JournalFull: "Nothing new is taken until jobs are settled",
	client.BackEndFailed: "The back end failed", client.ChannelStuck: "Nothing is served on this channel",
	client.RequestSignature: "The session's key did not sign this request",
	client.ModelNotOffered:  "The model is not offered", client.UnknownChannel: "The channel is not known here",
}

func problem(status int, kind, detail string) *client.MeterProblem {
	title := titles[kind]
	if title == "" {
		title = http.StatusText(status)
	}
	return &client.MeterProblem{Type: client.ProblemPrefix + kind, Title: title, Status: status, Detail: detail}
}

func noOffer() *client.MeterProblem {
	return later(http.StatusServiceUnavailable, client.Busy, "this worker has no offer in force", 10)
}

// field is a problem of one header or member.
func field(name, detail string) *client.MeterProblem {
	p := problem(http.StatusBadRequest, client.InvalidParameter, detail)
	p.Field = name
	return p
}

// later is a problem that may be over after some seconds.
func later(status int, kind, detail string, seconds int64) *client.MeterProblem {
	p := problem(status, kind, detail)
	p.RetryAfter = seconds
	return p
}

// payment is a problem that tells what the channel has to cover.
func (ch *channel) payment(required ionet.Amount, offer *offer, detail string) *client.MeterProblem {
	p := problem(http.StatusPaymentRequired, client.VoucherNeeded, detail)
	key, spent, reserved, covered, limit := ch.key, ch.spent, ch.reserved, ch.covered, ch.opened.Limit
	p.Channel, p.Required, p.Spent, p.Running, p.Covered, p.Limit = &key, &required, &spent, &reserved, &covered, &limit
	p.Offer = offer.e.Append(nil)
	return p
}

// answerProblem answers with a problem.
func answerProblem(w http.ResponseWriter, p *client.MeterProblem) {
	h := w.Header()
	h.Set("Content-Type", client.ProblemMediaType)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// answerJSON answers with 200 and v.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
