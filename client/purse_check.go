package client

import (
	"encoding/json"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// expectedJob is what a worker's statement of a job has to say.
type expectedJob struct {
	network  ionet.Hash
	worker   ionet.Key
	key      ionet.Key // the session's, which signs vouchers
	channel  ionet.Key
	job      ID
	sent     *sentRequest
	signed   ionet.Amount // the greatest voucher that left
	response *ionet.Hash  // nil: the answer is not known
	body     []byte       // of an answer that is known as a whole
}

// check reads the statement and holds it against what was asked, offered and answered.
func (x expectedJob) check(e proofs.Envelope) (proofs.Job, error) {
	var none proofs.Job
	if e.Kind != proofs.KindJob || e.Signer != x.worker {
		return none, fmt.Errorf("it is a %s by %s", e.Kind, e.Signer)
	}
	if err := e.Verify(x.network); err != nil {
		return none, err
	}
	j, err := proofs.ParseJob(e.Body) // fee = units * price / per, after = before + fee <= cumulative
	if err != nil {
		return none, err
	}
	return j, x.checkJob(j)
}

func (x expectedJob) checkJob(j proofs.Job) error {
	switch {
	case j.Channel != x.channel:
		return fmt.Errorf("it is of channel %s", j.Channel)
	case ID(j.ID) != x.job:
		return fmt.Errorf("it is of job %s", ID(j.ID))
	case j.Model != x.sent.Model || j.Unit.String() != x.sent.Unit:
		return fmt.Errorf("it bills %ss of %s, asked for were %ss of %s", j.Unit, j.Model, x.sent.Unit, x.sent.Model)
	case isAbove(proofs.OfferModel{Price: j.Price, Per: j.Per}, x.sent.Price, uint64(x.sent.Per)):
		return fmt.Errorf("its price is %s per %d, offered was %s per %d", j.Price, j.Per, x.sent.Price, x.sent.Per)
	case j.Request != x.sent.Request:
		return fmt.Errorf("its hash of the request is %s, it was %s", j.Request, x.sent.Request)
	case x.response != nil && j.Response != *x.response:
		return fmt.Errorf("its hash of the answer is %s, what came has %s", j.Response, *x.response)
	case j.Cumulative.Cmp(x.signed) > 0:
		return fmt.Errorf("its voucher covers %s, the greatest that was signed covers %s", j.Cumulative, x.signed)
	}
	if units, known := usedUnits(x.sent.Unit, x.body); known && j.Units > units {
		return fmt.Errorf("it bills %d %ss, its answer says %d", j.Units, j.Unit, units)
	}
	return proofs.VerifyVoucher(x.key, j.Channel, j.Cumulative, j.Voucher)
}

// usedUnits is what an answer itself says that it used.
func usedUnits(unit string, body []byte) (uint64, bool) {
	var said struct {
		Usage *struct {
			Prompt     uint64 `json:"prompt_tokens"`
			Completion uint64 `json:"completion_tokens"`
			Total      uint64 `json:"total_tokens"`
		} `json:"usage"`
		Data []json.RawMessage `json:"data"`
	}
	if len(body) == 0 || json.Unmarshal(body, &said) != nil {
		return 0, false
	}
	switch {
	case unit == proofs.UnitToken.String() && said.Usage != nil:
		return max(said.Usage.Total, said.Usage.Prompt+said.Usage.Completion), true
	case unit == proofs.UnitImage.String() && said.Data != nil:
		return uint64(len(said.Data)), true
	}
	return 0, false
}
