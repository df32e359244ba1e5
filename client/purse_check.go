package client

import (
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
	used     used         // what the answer itself says
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
	if most := x.sent.most(); j.Fee.Cmp(most) > 0 {
		return fmt.Errorf("its fee is %s, the request was allowed %s", j.Fee, most)
	}
	if x.used.known && j.Units > x.used.units {
		return fmt.Errorf("it bills %d %ss, its answer says %d", j.Units, j.Unit, x.used.units)
	}
	return proofs.VerifyVoucher(x.key, j.Channel, j.Cumulative, j.Voucher)
}
