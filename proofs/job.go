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
	Model      string
	Unit       Unit
	Units      uint64
	Price      ionet.Amount
	Per        uint32
	Before     ionet.Amount // spent on the channel before this job
	Fee        ionet.Amount // ceil(units * price / per)
	After      ionet.Amount // before + fee, at most cumulative
	Request    ionet.Hash   // H(salt [32] ‖ bytes)
	Response   ionet.Hash
	Cumulative ionet.Amount // of the voucher
	Voucher    [64]byte     // its signature
}

// Encode returns the body of a job.
func (j Job) Encode() ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	var w writer
	w.raw(j.Channel[:])
	w.raw(j.ID[:])
	w.i64(j.Served)
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
	return w.b, nil
}

// ParseJob parses the body of a job; its sums must hold.
func ParseJob(body []byte) (Job, error) {
	r := reader{b: body}
	j := Job{
		Channel: r.b32(), ID: r.b16(), Served: r.i64(), Model: string(r.vec()), Unit: Unit(r.u8()), Units: r.u64(),
		Price: r.money(), Per: r.u32(), Before: r.money(), Fee: r.money(), After: r.money(),
		Request: r.b32(), Response: r.b32(), Cumulative: r.money(), Voucher: r.b64(),
	}
	return ended(&r, "job", j, j.check)
}

func (j Job) check() error {
	if err := checkPrice(j.Model, j.Unit, j.Per); err != nil {
		return err
	}
	fee, err := Fee(j.Units, j.Price, j.Per)
	if err != nil {
		return err
	}
	if fee != j.Fee {
		return fmt.Errorf("fee is %s, %d units cost %s", j.Fee, j.Units, fee)
	}
	return checkSpent(j.Before, j.Fee, j.After, j.Cumulative)
}

// checkSpent holds after = before + fee <= cumulative.
func checkSpent(before, fee, after, cumulative ionet.Amount) error {
	sum, err := before.Add(fee)
	if err != nil {
		return err
	}
	if sum != after {
		return fmt.Errorf("after is %s, before and fee make %s", after, sum)
	}
	if after.Cmp(cumulative) > 0 {
		return fmt.Errorf("after is %s, the voucher covers %s", after, cumulative)
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
	Count      uint32     // 1 or more
	Root       ionet.Hash // Merkle root over the jobs' bodies in order of before, without voucher
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
	w.u32(b.Count)
	w.raw(b.Root[:])
	w.money(b.Before)
	w.money(b.Fee)
	w.money(b.After)
	w.money(b.Cumulative)
	w.raw(b.Voucher[:])
	return w.b, nil
}

// ParseJobBatch parses the body of a job batch; its sums must hold.
func ParseJobBatch(body []byte) (JobBatch, error) {
	r := reader{b: body}
	b := JobBatch{
		Channel: r.b32(), ID: r.b16(), Served: r.i64(), Count: r.u32(), Root: r.b32(),
		Before: r.money(), Fee: r.money(), After: r.money(), Cumulative: r.money(), Voucher: r.b64(),
	}
	return ended(&r, "job batch", b, b.check)
}

func (b JobBatch) check() error {
	if b.Count == 0 {
		return errors.New("count is 0")
	}
	return checkSpent(b.Before, b.Fee, b.After, b.Cumulative)
}
