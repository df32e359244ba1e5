package proofs

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Job is a worker's statement of one served inference, with the voucher that
// pays for it.
type Job struct {
	Channel    ionet.Key
	ID         [16]byte
	Served     int64
	Offer      ionet.Hash // id of the offer under which it was served
	Model      string
	Unit       Unit
	Units      uint64
	Price      ionet.Amount
	Per        uint32
	Before     ionet.Amount // spent on the channel before this job
	Fee        ionet.Amount // ceil(units * price / per)
	After      ionet.Amount // before + fee, at most cumulative
	Request    ionet.Hash   // RequestHash
	Response   ionet.Hash   // ResponseHash
	Cumulative ionet.Amount // of the voucher
	Voucher    [64]byte     // its signature
}

// Encode returns the body of a job.
func (j Job) Encode() ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	return j.append(nil), nil
}

func (j Job) append(b []byte) []byte {
	w := writer{b: b}
	w.raw(j.Channel[:])
	w.raw(j.ID[:])
	w.i64(j.Served)
	w.raw(j.Offer[:])
	w.str(j.Model)
	w.u8(uint8(j.Unit))
	w.u64(j.Units)
	w.money(j.Price)
	w.u32(j.Per)
	w.money(j.Before)
	w.money(j.Fee)
	w.money(j.After)
	w.raw(j.Request[:])
	w.raw(j.Response[:])
	w.money(j.Cumulative)
	w.raw(j.Voucher[:])
	return w.b
}

// ParseJob parses the body of a job; its sums must hold. One whose fee is not what
// its units cost is ErrFee, one that its voucher does not cover ErrCovered.
func ParseJob(body []byte) (Job, error) {
	r := reader{b: body}
	j := readJob(&r)
	return ended(&r, "job", j, j.check)
}

func readJob(r *reader) Job {
	return Job{
		Channel: r.b32(), ID: r.b16(), Served: r.i64(), Offer: r.b32(), Model: string(r.vec()), Unit: Unit(r.u8()), Units: r.u64(),
		Price: r.money(), Per: r.u32(), Before: r.money(), Fee: r.money(), After: r.money(),
		Request: r.b32(), Response: r.b32(), Cumulative: r.money(), Voucher: r.b64(),
	}
}

// Both are said of statements whose form is right: rules 6 and 7 of FORMAT.md, section 12.
var (
	// ErrFee reports a fee that is not what the units cost, or that before and after
	// do not differ by.
	ErrFee = errors.New("the fee does not add up")
	// ErrCovered reports a fee beyond what the voucher covers.
	ErrCovered = errors.New("the voucher does not cover it")
)

func (j Job) check() error {
	if err := j.checkFee(); err != nil {
		return err
	}
	return checkCovered(j.After, j.Cumulative)
}

// checkFee holds all but the voucher, which a job inside a batch has not.
func (j Job) checkFee() error {
	if err := checkPrice(j.Model, j.Unit, j.Per); err != nil {
		return err
	}
	fee, err := Fee(j.Units, j.Price, j.Per)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFee, err)
	}
	if fee != j.Fee {
		return fmt.Errorf("%w: it is %s, %d units cost %s", ErrFee, j.Fee, j.Units, fee)
	}
	return checkSpent(j.Before, j.Fee, j.After)
}

// checkSpent holds after = before + fee.
func checkSpent(before, fee, after ionet.Amount) error {
	sum, err := before.Add(fee)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFee, err)
	}
	if sum != after {
		return fmt.Errorf("%w: after is %s, before and fee make %s", ErrFee, after, sum)
	}
	return nil
}

// checkCovered holds after <= cumulative.
func checkCovered(after, cumulative ionet.Amount) error {
	if after.Cmp(cumulative) > 0 {
		return fmt.Errorf("%w: after is %s, it covers %s", ErrCovered, after, cumulative)
	}
	return nil
}

// servedAt returns when a job or job-batch statement says that it was served.
func servedAt(e *Envelope) (int64, error) {
	if e.Kind == KindJob {
		j, err := ParseJob(e.Body)
		return j.Served, err
	}
	b, err := ParseJobBatch(e.Body)
	return b.Served, err
}

// JobBatch is many jobs of one channel as one statement.
type JobBatch struct {
	Channel    ionet.Key
	ID         [16]byte
	Served     int64
	Offer      ionet.Hash // id of the offer under which all were served
	Count      uint32     // 1 or more
	Root       ionet.Hash // BatchRoot of the jobs
	Before     ionet.Amount
	Fee        ionet.Amount // of all jobs
	After      ionet.Amount
	Cumulative ionet.Amount
	Voucher    [64]byte
}

// Encode returns the body of a job batch.
func (b JobBatch) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("encode job batch: %w", err)
	}
	var w writer
	w.raw(b.Channel[:])
	w.raw(b.ID[:])
	w.i64(b.Served)
	w.raw(b.Offer[:])
	w.u32(b.Count)
	w.raw(b.Root[:])
	w.money(b.Before)
	w.money(b.Fee)
	w.money(b.After)
	w.money(b.Cumulative)
	w.raw(b.Voucher[:])
	return w.b, nil
}

// ParseJobBatch parses the body of a job batch; its sums must hold, or it is ErrFee
// or ErrCovered, as a job.
func ParseJobBatch(body []byte) (JobBatch, error) {
	r := reader{b: body}
	b := JobBatch{
		Channel: r.b32(), ID: r.b16(), Served: r.i64(), Offer: r.b32(), Count: r.u32(), Root: r.b32(),
		Before: r.money(), Fee: r.money(), After: r.money(), Cumulative: r.money(), Voucher: r.b64(),
	}
	return ended(&r, "job batch", b, b.check)
}

func (b JobBatch) check() error {
	if b.Count == 0 {
		return errors.New("count is 0")
	}
	if err := checkSpent(b.Before, b.Fee, b.After); err != nil {
		return err
	}
	return checkCovered(b.After, b.Cumulative)
}
