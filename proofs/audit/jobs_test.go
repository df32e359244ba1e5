package audit

import (
	"crypto/ed25519"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// idlePolicy asks for jobs: a device may be busy in one sample of five without.
func idlePolicy() []byte {
	return policyOf(1, 1, "[samples]", "[idle]\nutilization = 90\nsamples = 1\n[samples]")
}

// batch is a batch of jobs that a worker served in epoch k.
func (o *operator) batch(worker ed25519.PrivateKey, k uint64, seconds int64) proofs.Statement {
	o.t.Helper()
	body, err := proofs.JobBatch{Served: o.n.Clock().EpochStart(k) + seconds, Count: 3}.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	s := o.sign(proofs.KindJobBatch, worker, body)
	s.Arrival = proofs.Arrival{Epoch: k + 1} // within the grace
	return s
}

// Under a policy that asks for jobs: who has one earns, who has none does not, and
// what is no job of the epoch or not signed by the worker is found.
func TestJobs(t *testing.T) {
	o := foundUnder(t, "jobs", idlePolicy())
	worker := o.hosts[1].worker
	bad := o.batch(worker, 3, 5)
	bad.Envelope.Signature[9] ^= 1
	accept := func(v []proofs.Verdict) {
		for i := range v {
			if v[i].Rule == proofs.Idle {
				v[i].Rule = proofs.Accepted
			}
		}
	}
	var want []expected
	for i, c := range []struct {
		crook crook
		rules []string
	}{
		{crook{}, nil}, // nobody has a job
		{crook{inputs: with(o.batch(worker, 2, 0))}, nil},
		{crook{inputs: with(bad)}, []string{"signature"}},
		{crook{inputs: with(o.batch(worker, 4, 1)), verdicts: accept}, []string{"verdict"}},
		{crook{hidden: o.after(o.batch(worker, 4, 5))}, []string{"judge"}},
		{crook{hidden: o.after(o.batch(testKey("stranger"), 6, 5))}, []string{"judge"}},
	} {
		o.epoch(c.crook)
		for _, rule := range c.rules {
			want = append(want, expected{uint64(i + 1), rule})
		}
	}
	r := o.audit()
	checkFound(t, r, want)
	if got, want := r.Minted, o.emitted(2, 3, 4); got != want {
		t.Errorf("minted %s, want %s", got, want)
	}
}

// No policy, no jobs: a book has no room for what nobody asked for.
func TestJobsUnaskedFor(t *testing.T) {
	o := found(t, "jobs-unasked-for")
	o.epoch(crook{})
	o.epoch(crook{hidden: o.after(o.batch(o.hosts[0].worker, 2, 5))})
	checkFound(t, o.audit(), []expected{{2, "judge"}})
}
