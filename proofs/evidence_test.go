package proofs

import (
	"bytes"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// evidenceCase is a dispute of a job that the worker told otherwise.
type evidenceCase struct {
	job      Job
	batch    *JobBatch // where the receipt is of one
	response Job
	renter   string
	worker   [2]string // who signed the receipt, and the response
	same     bool      // the dispute names the receipt twice
	foreign  bool      // it names other statements
}

func newEvidence() *evidenceCase {
	c := &evidenceCase{job: newFeeCase().job, renter: "renter", worker: [2]string{"worker", "worker"}}
	c.response = c.job
	c.response.Response[0]++
	return c
}

func (c *evidenceCase) evidence(t testing.TB) Evidence {
	t.Helper()
	body, kind := must[[]byte](t)(c.job.Encode()), KindJob
	if c.batch != nil {
		body, kind = must[[]byte](t)(c.batch.Encode()), KindJobBatch
	}
	e := Evidence{Receipt: Sign(testNetwork, kind, key(c.worker[0]), body)}
	e.Response = Sign(testNetwork, KindJob, key(c.worker[1]), must[[]byte](t)(c.response.Encode()))
	d := Dispute{Renter: public(c.renter), Job: e.Receipt.ID(), Response: e.Response.ID(), Issued: feeTime}
	if c.same {
		e.Response, d.Response = e.Receipt, d.Job
	}
	if c.foreign {
		d.Job[0]++
	}
	text := must[string](t)(d.Text(testNetwork))
	e.Dispute = Sign(testNetwork, KindDispute, key(c.renter), []byte(text))
	return e
}

func TestEvidence(t *testing.T) {
	io := ionet.MustAmount
	moved := func(before uint64) func(*evidenceCase) {
		return func(c *evidenceCase) {
			c.response.ID[0]++
			c.response.Before, c.response.After = io(before), io(before+1_851)
			c.response.Cumulative = c.response.After
		}
	}
	// The batch asks for 10..1861, as the job does.
	batched := func(change func(*evidenceCase)) func(*evidenceCase) {
		return func(c *evidenceCase) {
			c.batch = newFeeCase().asBatch()
			change(c)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*evidenceCase)
		want   Claim // NoClaim: it is refused
	}{
		{"another response", func(*evidenceCase) {}, Contradiction},
		{"another id for the same part", moved(10), Contradiction},
		{"another id, one unit of the part", moved(1_860), Contradiction},
		{"another id, the part after", moved(1_861), NoClaim},
		{"one id, the part after", func(c *evidenceCase) { moved(1_861)(c); c.response.ID = c.job.ID }, Contradiction},
		{"another channel", func(c *evidenceCase) { c.response.Channel = public("other") }, NoClaim},
		{"one statement", func(c *evidenceCase) { c.same = true }, NoClaim},
		{"other statements", func(c *evidenceCase) { c.foreign = true }, NoClaim},
		{"two workers", func(c *evidenceCase) { c.worker[1] = "other" }, NoClaim},
		{"in a batch", batched(func(*evidenceCase) {}), InBatch},
		{"begins before the batch", batched(moved(9)), Contradiction},
		{"ends after the batch", batched(moved(11)), Contradiction},
		{"beside the batch", batched(moved(1_861)), NoClaim},
		{"a batch of that id, beside it", batched(func(c *evidenceCase) { moved(1_861)(c); c.response.ID = c.batch.ID }), NoClaim},
		{"costs nothing", batched(func(c *evidenceCase) { c.response.Units, c.response.Fee, c.response.After = 0, io(0), io(10) }), NoClaim},
	} {
		e := newEvidence()
		c.change(e)
		file := e.evidence(t).Encode()
		parsed, err := ParseEvidence(file)
		if err != nil || !bytes.Equal(parsed.Encode(), file) {
			t.Fatalf("%s: parse: %v", c.name, err)
		}
		if got, err := parsed.Check(testNetwork); got != c.want || (err != nil) != (c.want == NoClaim) {
			t.Errorf("%s: claims %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}

// No byte of the file may change.
func TestEvidenceFlips(t *testing.T) {
	file := newEvidence().evidence(t).Encode()
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		e, err := ParseEvidence(changed)
		if err != nil {
			continue
		}
		if claim, err := e.Check(testNetwork); err == nil {
			t.Errorf("with byte %d changed it claims %d", i, claim)
		}
	}
}

func placedJobs(t testing.TB) (JobBatch, []Job) {
	t.Helper()
	jobs := make([]Job, 5)
	before := ionet.MustAmount(10)
	for i := range jobs {
		j := newFeeCase().job
		j.ID[1], j.Before = byte(i), before
		j.After = must[ionet.Amount](t)(before.Add(j.Fee))
		jobs[i], before = j, j.After
	}
	return must[JobBatch](t)(BatchOf([16]byte{9}, feeTime, jobs, before, [64]byte{})), jobs
}

func TestPlaced(t *testing.T) {
	batch, jobs := placedJobs(t)
	at := func(i int) Placed {
		return Placed{Index: uint32(i), Leaf: BatchLeaf(jobs[i]), Path: must[[]ionet.Hash](t)(ProveInBatch(jobs, i))}
	}
	told := jobs[2]
	told.Response[0]++
	renamed := jobs[2]
	renamed.ID[5]++
	for _, c := range []struct {
		name     string
		placed   Placed
		response Job
		want     Claim
		fails    bool
	}{
		{"the renter's job", at(2), jobs[2], NoClaim, false},
		{"another response", at(2), told, Contradiction, false},
		{"another id", at(2), renamed, Contradiction, false},
		{"its neighbour", at(3), jobs[2], NoClaim, true},
		{"a false place", Placed{Index: 1, Leaf: at(2).Leaf, Path: at(2).Path}, jobs[2], NoClaim, true},
		{"the renter's leaf", Placed{Index: 2, Leaf: BatchLeaf(told), Path: at(2).Path}, told, NoClaim, true},
		{"no leaf", Placed{Index: 2, Path: at(2).Path}, jobs[2], NoClaim, true},
	} {
		p, err := ParsePlaced(c.placed.Encode())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got, err := p.Answers(batch, c.response); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d, %v, want %d, fails: %v", c.name, got, err, c.want, c.fails)
		}
	}
}

func FuzzEvidence(f *testing.F) {
	f.Add(newEvidence().evidence(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			return
		}
		if again := e.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x", b, again)
		}
		e.Check(testNetwork)
	})
}

func FuzzPlaced(f *testing.F) {
	batch, jobs := placedJobs(f)
	f.Add(Placed{Index: 2, Leaf: BatchLeaf(jobs[2]), Path: must[[]ionet.Hash](f)(ProveInBatch(jobs, 2))}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlaced(b)
		if err != nil {
			return
		}
		if again := p.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x", b, again)
		}
		// Whatever it shows stands in the batch: at another place it shows nothing.
		if claim, err := p.Answers(batch, jobs[0]); err == nil && (claim != NoClaim || p.Index != 0) {
			t.Errorf("%x answers of job 0: %d", b, claim)
		}
	})
}
