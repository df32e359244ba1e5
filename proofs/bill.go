package proofs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Bill is what a job and a batch of jobs share: what is asked of a channel, and the
// voucher that pays for it.
type Bill struct {
	Channel ionet.Key
	ID      [16]byte
	Served  int64
	Offer   ionet.Hash // id of the offer
	Count   uint32     // jobs: 1 of a job, 1 or more of a batch

	// Of a job only; a batch has zeros, and no model.
	Model    string
	Unit     Unit
	Units    uint64
	Price    ionet.Amount
	Per      uint32
	Request  ionet.Hash
	Response ionet.Hash

	Root ionet.Hash // of a batch only: over its jobs

	Before     ionet.Amount
	Fee        ionet.Amount
	After      ionet.Amount // before + fee
	Cumulative ionet.Amount // of the voucher, at least After
	Voucher    [64]byte     // its signature by the session key
}

// IsBatch reports whether the bill is that of a batch.
func (b Bill) IsBatch() bool { return b.Model == "" }

// VoucherBytes returns the 50 bytes that the voucher's signature is over. A voucher
// that pays for jobs has no expiry: a worker that takes it must be sure to be paid.
func (b Bill) VoucherBytes() []byte { return appendVoucher(nil, b.Channel, b.Cumulative, 0) }

// Bill returns what the job asks of its channel.
func (j Job) Bill() Bill {
	return Bill{
		Channel: j.Channel, ID: j.ID, Served: j.Served, Offer: j.Offer, Count: 1,
		Model: j.Model, Unit: j.Unit, Units: j.Units, Price: j.Price, Per: j.Per, Request: j.Request, Response: j.Response,
		Before: j.Before, Fee: j.Fee, After: j.After, Cumulative: j.Cumulative, Voucher: j.Voucher,
	}
}

// Bill returns what the batch asks of its channel.
func (b JobBatch) Bill() Bill {
	return Bill{
		Channel: b.Channel, ID: b.ID, Served: b.Served, Offer: b.Offer, Count: b.Count, Root: b.Root,
		Before: b.Before, Fee: b.Fee, After: b.After, Cumulative: b.Cumulative, Voucher: b.Voucher,
	}
}

// ParseBill parses the body of a job or of a batch of jobs.
func ParseBill(kind Kind, body []byte) (Bill, error) {
	switch kind {
	case KindJob:
		j, err := ParseJob(body)
		if err != nil {
			return Bill{}, err
		}
		return j.Bill(), nil
	case KindJobBatch:
		b, err := ParseJobBatch(body)
		if err != nil {
			return Bill{}, err
		}
		return b.Bill(), nil
	}
	return Bill{}, fmt.Errorf("parse bill: a %s asks for no fee", kind)
}

// RequestHash returns what a job says of its request:
//
//	H(salt [32] ‖ path ‖ "\n" ‖ body)                 FORMAT.md, section 5
//
// path is that of the renter's call, such as "/v1/chat/completions".
func RequestHash(salt [32]byte, path string, body []byte) ionet.Hash {
	return ionet.HashOf(salt[:], []byte(path), []byte{'\n'}, body)
}

// ResponseHash returns what a job says of its response: H(salt [32] ‖ the body's bytes
// as the renter got them).
func ResponseHash(salt [32]byte, body []byte) ionet.Hash { return ionet.HashOf(salt[:], body) }

// RequestPrefix returns what goes into SHA-256 before the body of a request, for those
// who see that as a stream. Of a response it is the salt.
func RequestPrefix(salt [32]byte, path string) []byte {
	b := make([]byte, 0, len(salt)+len(path)+1)
	b = append(append(b, salt[:]...), path...)
	return append(b, '\n')
}

// BatchLeaf returns a job's record in the tree of its batch: its body with cumulative
// and voucher zero, for the batch has one voucher for all.
func BatchLeaf(j Job) []byte { return appendBatchLeaf(nil, j) }

func appendBatchLeaf(b []byte, j Job) []byte {
	j.Cumulative, j.Voucher = ionet.Amount{}, [64]byte{}
	return j.append(b)
}

// ParseBatchLeaf parses a job's record in the tree of its batch.
func ParseBatchLeaf(b []byte) (Job, error) {
	r := reader{b: b}
	j := readJob(&r)
	return ended(&r, "job of a batch", j, func() error {
		if !j.Cumulative.IsZero() || j.Voucher != [64]byte{} {
			return errors.New("it has a voucher of its own")
		}
		return j.checkFee()
	})
}

// BatchOf makes the statement of jobs of one channel and offer, in order of before: each
// continues the one before it. The voucher must cover the last.
func BatchOf(id [16]byte, served int64, jobs []Job, cumulative ionet.Amount, voucher [64]byte) (JobBatch, error) {
	if len(jobs) == 0 {
		return JobBatch{}, errors.New("batch jobs: there are none")
	}
	first, last := jobs[0], jobs[len(jobs)-1]
	for i, j := range jobs {
		if j.Channel != first.Channel || j.Offer != first.Offer {
			return JobBatch{}, fmt.Errorf("batch jobs: job %d is of another channel or offer", i)
		}
		if i > 0 && j.Before != jobs[i-1].After {
			return JobBatch{}, fmt.Errorf("batch jobs: job %d begins at %s, the one before it ends at %s", i, j.Before, jobs[i-1].After)
		}
		if err := j.checkFee(); err != nil {
			return JobBatch{}, fmt.Errorf("batch jobs: job %d: %w", i, err)
		}
	}
	fee, err := last.After.Sub(first.Before)
	if err != nil {
		return JobBatch{}, fmt.Errorf("batch jobs: %w", err)
	}
	b := JobBatch{
		Channel: first.Channel, ID: id, Served: served, Offer: first.Offer, Count: uint32(len(jobs)), Root: BatchRoot(jobs),
		Before: first.Before, Fee: fee, After: last.After, Cumulative: cumulative, Voucher: voucher,
	}
	if err := b.check(); err != nil {
		return JobBatch{}, fmt.Errorf("batch jobs: %w", err)
	}
	return b, nil
}

// BatchRoot returns the Merkle root over the leaves of jobs, which stand in order of
// before.
func BatchRoot(jobs []Job) ionet.Hash {
	var f Frontier
	t := newTreeHasher()
	var leaf []byte
	for _, j := range jobs {
		leaf = appendBatchLeaf(leaf[:0], j)
		f.push(t, t.leafOf(leaf))
	}
	return f.Root()
}

// ProveInBatch returns the inclusion proof of the i-th of a batch's jobs.
func ProveInBatch(jobs []Job, i int) ([]ionet.Hash, error) { return NewBatchTree(jobs).Prove(i) }

// BatchTree is the Merkle tree of a batch, for the proofs of many of its jobs.
type BatchTree struct {
	size int
	tree memory
}

// NewBatchTree hashes the jobs of a batch.
func NewBatchTree(jobs []Job) *BatchTree {
	leaves := make([][]byte, len(jobs))
	for i, j := range jobs {
		leaves[i] = BatchLeaf(j)
	}
	return &BatchTree{len(jobs), treeOf(leaves)}
}

// Prove returns the inclusion proof of job i.
func (t *BatchTree) Prove(i int) ([]ionet.Hash, error) { return t.tree.prove(t.size, i) }

// CheckInBatch verifies that leaf is the i-th job of a batch, and that the batch pays
// for it: it is of the batch's channel and offer and lies between its before and after.
func CheckInBatch(b JobBatch, leaf []byte, i uint32, proof []ionet.Hash) (Job, error) {
	j, err := ParseBatchLeaf(leaf)
	if err != nil {
		return Job{}, err
	}
	switch {
	case i >= b.Count:
		return Job{}, fmt.Errorf("check job of a batch: %d of %d", i, b.Count)
	case j.Channel != b.Channel || j.Offer != b.Offer:
		return Job{}, errors.New("check job of a batch: it is of another channel or offer")
	case j.Before.Cmp(b.Before) < 0 || j.After.Cmp(b.After) > 0:
		return Job{}, errors.New("check job of a batch: it is not within what the batch spent")
	}
	if err := CheckInclusion(proof, b.Root, uint64(b.Count), uint64(i), LeafHash(leaf)); err != nil {
		return Job{}, fmt.Errorf("check job of a batch: %w", err)
	}
	return j, nil
}

func appendVoucher(b []byte, channel ionet.Key, cumulative ionet.Amount, expiry int64) []byte {
	b = append(b, voucherMagic, voucherVersion)
	b = append(b, channel[:]...)
	b = binary.LittleEndian.AppendUint64(b, cumulative.Base())
	return binary.LittleEndian.AppendUint64(b, uint64(expiry))
}
