package proofs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// jobsInARow makes n jobs of one channel, each continuing the one before it.
func jobsInARow(n int) []Job {
	jobs := make([]Job, n)
	before := uint64(100)
	for i := range jobs {
		c := newFeeCase()
		c.spend(before, uint64(i%7)*500+1)
		c.job.ID = [16]byte{byte(i), byte(i >> 8)}
		c.job.Cumulative, c.job.Voucher = ionet.MustAmount(math.MaxInt64), [64]byte{byte(i)}
		jobs[i] = c.job
		before = c.job.After.Base()
	}
	return jobs
}

// Each job of a batch is proven by the batch's statement alone, and by no other place
// or batch.
func TestBatchProofs(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 100} {
		jobs := jobsInARow(n)
		batch, err := BatchOf([16]byte{9}, feeTime+100, jobs, jobs[n-1].After, [64]byte{7})
		if err != nil {
			t.Fatal(err)
		}
		if got := must[JobBatch](t)(ParseJobBatch(body(t, batch))); got != batch {
			t.Errorf("%d jobs: parses as %+v", n, got)
		}
		leaves := make([][]byte, n)
		for i, j := range jobs {
			leaves[i] = BatchLeaf(j)
		}
		if batch.Root != Root(leaves) || batch.Count != uint32(n) || batch.Before != jobs[0].Before || batch.After != jobs[n-1].After {
			t.Errorf("%d jobs: batch is %+v", n, batch)
		}
		for i, j := range jobs {
			proof := must[[]ionet.Hash](t)(ProveInBatch(jobs, i))
			got, err := CheckInBatch(batch, leaves[i], uint32(i), proof)
			if err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			j.Cumulative, j.Voucher = ionet.Amount{}, [64]byte{}
			if got != j {
				t.Errorf("%d of %d: got %+v, want %+v", i, n, got, j)
			}
			if _, err := CheckInBatch(batch, leaves[i], uint32(i+1), proof); err == nil {
				t.Errorf("%d of %d: proven as the next", i, n)
			}
			other := batch
			other.Root[5] ^= 1
			if _, err := CheckInBatch(other, leaves[i], uint32(i), proof); err == nil {
				t.Errorf("%d of %d: proven by another root", i, n)
			}
		}
	}
	if _, err := ProveInBatch(jobsInARow(2), 2); err == nil {
		t.Error("a job beyond the batch is proven")
	}
}

// A batch pays for a job only as its own statement says.
func TestCheckInBatchRefuses(t *testing.T) {
	for name, change := range map[string]func(b *JobBatch, leaf []byte) []byte{
		"another channel":      func(b *JobBatch, leaf []byte) []byte { b.Channel[0] ^= 1; return leaf },
		"another offer":        func(b *JobBatch, leaf []byte) []byte { b.Offer[0] ^= 1; return leaf },
		"before the batch":     func(b *JobBatch, leaf []byte) []byte { b.Before = ionet.MustAmount(1 << 40); return leaf },
		"behind the batch":     func(b *JobBatch, leaf []byte) []byte { b.After = ionet.MustAmount(1); return leaf },
		"a smaller batch":      func(b *JobBatch, leaf []byte) []byte { b.Count = 1; return leaf },
		"cut":                  func(_ *JobBatch, leaf []byte) []byte { return leaf[:len(leaf)-1] },
		"with its own voucher": func(_ *JobBatch, leaf []byte) []byte { leaf[len(leaf)-1] = 1; return leaf },
		"with its own ceiling": func(_ *JobBatch, leaf []byte) []byte { leaf[len(leaf)-65] = 1; return leaf },
	} {
		jobs := jobsInARow(5)
		batch := must[JobBatch](t)(BatchOf([16]byte{9}, feeTime, jobs, ionet.MustAmount(math.MaxInt64), [64]byte{}))
		proof := must[[]ionet.Hash](t)(ProveInBatch(jobs, 2))
		leaf := change(&batch, BatchLeaf(jobs[2]))
		if j, err := CheckInBatch(batch, leaf, 2, proof); err == nil {
			t.Errorf("%s: holds %+v", name, j)
		}
	}
}

func TestBatchOfRefuses(t *testing.T) {
	for name, change := range map[string]func(jobs []Job) []Job{
		"no jobs":         func([]Job) []Job { return nil },
		"a gap":           func(jobs []Job) []Job { return append(jobs[:1], jobs[2:]...) },
		"another channel": func(jobs []Job) []Job { jobs[1].Channel[0] ^= 1; return jobs },
		"another offer":   func(jobs []Job) []Job { jobs[1].Offer[0] ^= 1; return jobs },
		"a wrong fee": func(jobs []Job) []Job {
			jobs[1].Units++
			jobs[1].Fee, jobs[1].After = ionet.MustAmount(jobs[1].Fee.Base()+5), ionet.MustAmount(jobs[1].After.Base()+5)
			return jobs[:2]
		},
	} {
		if b, err := BatchOf([16]byte{9}, feeTime, change(jobsInARow(4)), ionet.MustAmount(math.MaxInt64), [64]byte{}); err == nil {
			t.Errorf("%s: makes %+v", name, b)
		}
	}
	jobs := jobsInARow(4)
	if _, err := BatchOf([16]byte{9}, feeTime, jobs, jobs[2].After, [64]byte{}); !errors.Is(err, ErrCovered) {
		t.Errorf("a voucher that does not cover: got %v", err)
	}
}

// The errors of a bill name the rules, for jobs as for batches.
func TestBillErrors(t *testing.T) {
	jobs := jobsInARow(3)
	job, batch := jobs[1], must[JobBatch](t)(BatchOf([16]byte{9}, feeTime, jobs, jobs[2].After, [64]byte{}))
	job.Cumulative = job.After
	for kind, good := range map[Kind][]byte{KindJob: body(t, job), KindJobBatch: body(t, batch)} {
		b := must[Bill](t)(ParseBill(kind, good))
		if b.IsBatch() != (kind == KindJobBatch) || b.After != b.Cumulative || b.Count != map[Kind]uint32{KindJob: 1, KindJobBatch: 3}[kind] {
			t.Errorf("%s: bill is %+v", kind, b)
		}
		uncovered := bytes.Clone(good)
		uncovered[len(good)-72]-- // the lowest byte of cumulative
		if _, err := ParseBill(kind, uncovered); !errors.Is(err, ErrCovered) || errors.Is(err, ErrFee) {
			t.Errorf("%s beyond its voucher: got %v", kind, err)
		}
		after := len(good) - 80
		if kind == KindJob {
			after -= 64
		}
		wrong := bytes.Clone(good)
		wrong[after]--
		if _, err := ParseBill(kind, wrong); !errors.Is(err, ErrFee) || errors.Is(err, ErrCovered) {
			t.Errorf("%s whose sum is wrong: got %v", kind, err)
		}
		if _, err := ParseBill(kind, good[1:]); err == nil || errors.Is(err, ErrFee) || errors.Is(err, ErrCovered) {
			t.Errorf("a %s that is cut: got %v", kind, err)
		}
	}
}

func TestJobHashes(t *testing.T) {
	salt, body := [32]byte{1, 2, 3}, []byte(`{"model":"llama"}`)
	got := RequestHash(salt, "/v1/chat/completions", body)
	if want := ionet.Hash(sha256.Sum256([]byte(string(salt[:]) + "/v1/chat/completions\n" + string(body)))); got != want {
		t.Errorf("request: got %s, want %s", got, want)
	}
	if streamed := ionet.HashOf(RequestPrefix(salt, "/v1/chat/completions"), body); streamed != got {
		t.Errorf("request as a stream: got %s, want %s", streamed, got)
	}
	if got, want := ResponseHash(salt, body), ionet.Hash(sha256.Sum256([]byte(string(salt[:])+string(body)))); got != want {
		t.Errorf("response: got %s, want %s", got, want)
	}
}

func FuzzBatchLeaf(f *testing.F) {
	f.Add(BatchLeaf(jobsInARow(2)[1]))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseBatchLeaf(b)
		if err != nil {
			return
		}
		if again := BatchLeaf(j); !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x", b, again)
		}
	})
}
