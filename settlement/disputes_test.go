package settlement

import (
	"bytes"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// disputeOf signs a dispute of what the log has by what the renter holds.
func (s *spender) disputeOf(receipt, response *proofs.Envelope, change ...func(*proofs.Dispute)) proofs.Envelope {
	s.b.t.Helper()
	d := proofs.Dispute{Renter: s.renter(), Job: receipt.ID(), Response: response.ID(), Issued: s.b.now().Unix()}
	for _, f := range change {
		f(&d)
	}
	text, err := d.Text(s.b.net.Network.ID())
	return s.b.signText(proofs.KindDispute, s.wallet, text, err)
}

// disputing is a renter with a receipt of one job, and one of a batch, at a host.
type disputing struct {
	*books
	s      *spender
	c      *seat
	single proofs.Envelope // receipt of a job
	first  proofs.Job      // that job
	batch  proofs.Envelope // receipt of a batch
	jobs   []proofs.Job    // in the batch
}

func newDisputing(t *testing.T) *disputing {
	b := newBooks(t)
	h := b.newHost("a", "gpu a")
	b.register(h)
	d := &disputing{books: b, s: b.newSpender("r", 10_000, 5_000)}
	d.c = d.s.openSeat(h, h.offer(1), 2_000)
	d.first = d.c.take(d.c.next(20))
	d.single = d.c.signJob(d.first)
	d.batch, d.jobs = d.c.serveBatch(5, 10)
	b.accept(d.single, d.batch)
	return d
}

// told is the first job as the host told it to the renter: at half the units.
func (d *disputing) told() proofs.Envelope {
	return d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.Units /= 2 }))
}

// changed is a job with other contents whose sums hold.
func (d *disputing) changed(j proofs.Job, change func(*proofs.Job)) proofs.Job {
	d.t.Helper()
	change(&j)
	fee, err := proofs.Fee(j.Units, j.Price, j.Per)
	if err != nil {
		d.t.Fatal(err)
	}
	j.Fee, j.After = fee, ionet.MustAmount(j.Before.Base()+fee.Base())
	j.Cumulative = j.After
	j.Voucher = proofs.SignVoucher(d.c.s.key, j.Channel, j.Cumulative)
	return j
}

func (d *disputing) disputes() int { return d.count(`SELECT count(*) FROM disputes`) }

func TestDisputeOfAJob(t *testing.T) {
	d := newDisputing(t)
	for name, response := range map[string]proofs.Envelope{
		"the same job at another price": d.told(),
		"another response under its id": d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.Response = ionet.HashOf([]byte("other")) })),
		"another job for the same part": d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.ID[0]++ })),
		"another job across its end":    d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.ID[0] += 2; j.Before = ionet.MustAmount(29) })),
	} {
		dispute := d.s.disputeOf(&d.single, &response)
		got, err := d.SubmitDispute(t.Context(), dispute, response)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.State != DisputeContradiction || got.ID != dispute.ID() || got.Renter != d.s.renter() || got.Worker != d.c.h.worker() || got.Job != d.single.ID() || got.Response != response.ID() || got.Answer != "" {
			t.Errorf("%s: dispute is %+v", name, got)
		}
		if r, err := d.Receipt(t.Context(), d.single.ID().String()); err != nil || r.Index != got.Receipt {
			t.Errorf("%s: receipt %d, want %d: %v", name, got.Receipt, r.Index, err)
		}
		file, err := d.store.Get(t.Context(), got.File)
		if err != nil {
			t.Fatal(err)
		}
		evidence, err := proofs.ParseEvidence(file)
		if err != nil || !bytes.Equal(evidence.Encode(), file) {
			t.Fatalf("%s: evidence: %v", name, err)
		}
		if claim, err := evidence.Check(d.net.Network.ID()); err != nil || claim != proofs.Contradiction {
			t.Errorf("%s: the evidence claims %d: %v", name, claim, err)
		}
		// The same again, by another signature even, and another about the same two
		// statements are that one.
		before := d.disputes()
		later := d.s.disputeOf(&d.single, &response, func(p *proofs.Dispute) { p.Issued++ })
		for _, again := range []proofs.Envelope{dispute, later} {
			if same, err := d.SubmitDispute(t.Context(), again, response); err != nil || same.ID != got.ID || same.State != got.State {
				t.Errorf("%s again: %+v, %v", name, same, err)
			}
		}
		if d.disputes() != before {
			t.Errorf("%s: it is stored twice", name)
		}
	}
	if _, err := d.AnswerDispute(t.Context(), ionet.Hash{1}, proofs.Placed{}); !isProblem(err, ProblemUnknownDispute) {
		t.Errorf("answer of an unknown dispute: %v", err)
	}
	_, err := d.Dispute(t.Context(), ionet.Hash{1})
	mustBe(t, err, ProblemUnknownDispute)
}

func TestDisputeIsRefused(t *testing.T) {
	d := newDisputing(t)
	told := d.told()
	good := d.s.disputeOf(&d.single, &told)
	network := d.net.Network.ID()
	stranger := d.newSpender("x", 0, 1)
	foreign := told
	foreign.Kind = proofs.KindJobBatch
	broken := func(e proofs.Envelope) proofs.Envelope { e.Signature[3]++; return e }
	malformed := proofs.Sign(network, proofs.KindJob, d.c.h.key, told.Body[:len(told.Body)-1])
	otherKey := keyOf("other worker")
	byOther := proofs.Sign(network, proofs.KindJob, otherKey, told.Body)
	elsewhere := d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.Channel[0]++ }))
	later := d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.ID[0]++; j.Before = ionet.MustAmount(1000) }))
	free := d.c.signJob(d.changed(d.jobs[1], func(j *proofs.Job) { j.Units = 0 }))
	weak := told
	weak.Signer = ionet.Key{1}
	for _, c := range []struct {
		name              string
		dispute, response proofs.Envelope
		kind, field       string
	}{
		{"no dispute", told, told, ProblemUnknownKind, "dispute.kind"},
		{"no job", good, foreign, ProblemUnknownKind, "response.kind"},
		{"a key that signs anything", good, weak, ProblemWeakKey, "response.signer"},
		{"a dispute of another form", proofs.Sign(network, proofs.KindDispute, d.s.wallet, good.Body[1:]), told, ProblemMalformedStatement, "dispute.body"},
		{"a job of another form", d.s.disputeOf(&d.single, &malformed), malformed, ProblemMalformedStatement, "response.body"},
		{"another response than it names", good, d.c.signJob(d.first), ProblemMalformedStatement, "dispute.Response"},
		{"a forged dispute", broken(good), told, ProblemWrongSignature, "dispute.signature"},
		{"a forged response", good, broken(told), ProblemWrongSignature, "response.signature"},
		{"a channel that nobody opened", d.s.disputeOf(&d.single, &elsewhere), elsewhere, ProblemUnknownChannel, "channel"},
		{"another renter", stranger.disputeOf(&d.single, &told), told, ProblemNotYourReceipt, "dispute.Renter"},
		{"another worker", d.s.disputeOf(&d.single, &byOther), byOther, ProblemOtherWorker, "response.signer"},
		{"no receipt", d.s.disputeOf(&told, &told), told, ProblemUnknownReceipt, "dispute.Job"},
		{"no receipt but a channel", d.s.disputeOf(&d.c.opened, &told), told, ProblemUnknownReceipt, "dispute.Job"},
		{"the receipt's own statement", d.s.disputeOf(&d.single, &d.single), d.single, ProblemNothingToDispute, "response"},
		{"another part of the channel", d.s.disputeOf(&d.single, &later), later, ProblemNothingToDispute, "response"},
		{"a job beside the batch", d.s.disputeOf(&d.batch, &told), told, ProblemNothingToDispute, "response"},
		{"a job that costs nothing", d.s.disputeOf(&d.batch, &free), free, ProblemNothingToDispute, "response"},
	} {
		_, err := d.SubmitDispute(t.Context(), c.dispute, c.response)
		if p := asProblem(err); p == nil || p.Type != c.kind || p.Field != c.field {
			t.Errorf("%s: %v in %v, want %s in %s", c.name, err, p, c.kind, c.field)
		}
	}
	if n := d.disputes(); n != 0 {
		t.Errorf("%d refused disputes are stored", n)
	}
	for n := range maxDisputes + 1 {
		response := d.c.signJob(d.changed(d.first, func(j *proofs.Job) { j.Units = uint64(n + 1); j.Response = ionet.HashOf([]byte("told")) }))
		_, err := d.SubmitDispute(t.Context(), d.s.disputeOf(&d.single, &response), response)
		if n < maxDisputes && err != nil {
			t.Fatal(err)
		}
		if n == maxDisputes {
			mustBe(t, err, ProblemBusy)
		}
	}
}

// asProblem returns err as problem, nil where it is none.
func asProblem(err error) *Problem {
	p, _ := err.(*Problem)
	return p
}

// place proves the i-th job of a batch.
func place(t *testing.T, jobs []proofs.Job, i int) proofs.Placed {
	t.Helper()
	path, err := proofs.ProveInBatch(jobs, i)
	if err != nil {
		t.Fatal(err)
	}
	return proofs.Placed{Index: uint32(i), Leaf: proofs.BatchLeaf(jobs[i]), Path: path}
}

func TestDisputeOfABatchIsAnswered(t *testing.T) {
	d := newDisputing(t)
	held := d.c.signJob(d.jobs[2])
	got, err := d.SubmitDispute(t.Context(), d.s.disputeOf(&d.batch, &held), held)
	if err != nil || got.State != DisputeOpen {
		t.Fatalf("dispute is %+v, %v", got, err)
	}
	good := place(t, d.jobs, 2)
	for name, change := range map[string]func(*proofs.Placed){
		"another place":          func(p *proofs.Placed) { p.Index++ },
		"a place beyond its end": func(p *proofs.Placed) { p.Index = 5 },
		"another path":           func(p *proofs.Placed) { p.Path[1][0]++ },
		"a shorter path":         func(p *proofs.Placed) { p.Path = p.Path[:len(p.Path)-1] },
		"another leaf":           func(p *proofs.Placed) { p.Leaf[40]++ },
		"no leaf":                func(p *proofs.Placed) { p.Leaf = nil },
		"a neighbour":            func(p *proofs.Placed) { *p = place(t, d.jobs, 3) },
	} {
		bad, err := proofs.ParsePlaced(good.Encode()) // a copy
		if err != nil {
			t.Fatal(err)
		}
		change(&bad)
		if _, err := d.AnswerDispute(t.Context(), got.ID, bad); !isProblem(err, ProblemWrongAnswer) {
			t.Errorf("%s: %v, want %s", name, err, ProblemWrongAnswer)
		}
	}
	answered, err := d.AnswerDispute(t.Context(), got.ID, good)
	if err != nil || answered.State != DisputeAnswered || answered.Answer == "" {
		t.Fatalf("answered dispute is %+v, %v", answered, err)
	}
	file, err := d.store.Get(t.Context(), answered.Answer)
	if err != nil || !bytes.Equal(file, good.Encode()) {
		t.Errorf("the published answer is %x, %v", file, err)
	}
	// It stays so, whatever comes.
	if again, err := d.AnswerDispute(t.Context(), got.ID, place(t, d.jobs, 3)); err != nil || again.State != DisputeAnswered {
		t.Errorf("answered again: %+v, %v", again, err)
	}
}

// A batch that has another job in the place of the renter's is a contradiction, as soon
// as somebody shows it.
func TestDisputeOfABatchThatIsFalse(t *testing.T) {
	d := newDisputing(t)
	for name, told := range map[string]proofs.Job{
		"fewer units":     d.changed(d.jobs[1], func(j *proofs.Job) { j.Units-- }),
		"another id":      d.changed(d.jobs[1], func(j *proofs.Job) { j.ID[0]++ }),
		"another request": d.changed(d.jobs[1], func(j *proofs.Job) { j.Request[0]++ }),
	} {
		held := d.c.signJob(told)
		got, err := d.SubmitDispute(t.Context(), d.s.disputeOf(&d.batch, &held), held)
		if err != nil || got.State != DisputeOpen {
			t.Fatalf("%s: dispute is %+v, %v", name, got, err)
		}
		if got, err = d.AnswerDispute(t.Context(), got.ID, place(t, d.jobs, 1)); err != nil || got.State != DisputeContradiction {
			t.Errorf("%s: dispute is %+v, %v", name, got, err)
		}
	}
	// One that begins in the batch and ends behind it can't be in it: that needs no answer.
	across := d.c.signJob(d.changed(d.jobs[4], func(j *proofs.Job) { j.Units += 2 }))
	got, err := d.SubmitDispute(t.Context(), d.s.disputeOf(&d.batch, &across), across)
	if err != nil || got.State != DisputeContradiction {
		t.Errorf("a job across the batch's end: %+v, %v", got, err)
	}
}

// After a crash between the file and the row the same dispute is taken, though it comes
// with another valid signature; a file about other statements is never replaced.
func TestDisputeAfterACrash(t *testing.T) {
	d := newDisputing(t)
	told := d.told()
	dispute := d.s.disputeOf(&d.single, &told)
	first, err := d.SubmitDispute(t.Context(), dispute, told)
	if err != nil {
		t.Fatal(err)
	}
	file, err := d.store.Get(t.Context(), first.File)
	if err != nil {
		t.Fatal(err)
	}
	d.exec(`DELETE FROM disputes`)
	again := dispute
	again.Signature = [64]byte(anotherSignature(d.s.wallet, proofs.SignedBytes(d.net.Network.ID(), dispute.Kind, dispute.Body)))
	if again.Signature == dispute.Signature || again.Verify(d.net.Network.ID()) != nil {
		t.Fatal("the test has no second signature")
	}
	second, err := d.SubmitDispute(t.Context(), again, told)
	if err != nil || second.ID != first.ID || !bytes.Equal(second.Envelope, dispute.Append(nil)) {
		t.Errorf("dispute after the crash is %+v, %v", second, err)
	}
	if there, err := d.store.Get(t.Context(), first.File); err != nil || !bytes.Equal(there, file) {
		t.Errorf("the evidence changed: %v", err)
	}
}

// The row of a dispute, and its answer's, are lost or go unheard: handed in again they are
// taken, and stand once.
func TestDisputeAtEachStep(t *testing.T) {
	m := newMachineUnder(t, testPolicy)
	d := &disputing{books: m.books, s: m.newSpender("r", 10_000, 5_000)}
	d.c = d.s.openSeat(m.alice, m.alice.offer(1), 2_000)
	for n, f := range []fault{lost, unheard} {
		for _, dies := range []bool{false, true} {
			batch, jobs := d.c.serveBatch(2+n, 10)
			d.accept(batch)
			held := d.c.signJob(jobs[1])
			dispute := d.s.disputeOf(&batch, &held)
			again := func(what string, do func() (DisputeState, error), want DisputeStanding) {
				t.Helper()
				before := d.disputes()
				m.wires.arm(1, f, dies)
				if got, err := do(); err == nil {
					t.Errorf("%s that is %s is %+v", what, f, got)
				}
				if step := m.wires.disarm(); step == "" {
					t.Fatalf("%s met no fault", what)
				}
				if dies {
					m.reopen()
				}
				got, err := do()
				if err != nil || got.State != want || d.disputes() > before+1 {
					t.Errorf("%s after it was %s is %+v, %v, want %s", what, f, got, err, want)
				}
			}
			again("dispute", func() (DisputeState, error) { return m.SubmitDispute(t.Context(), dispute, held) }, DisputeOpen)
			again("answer", func() (DisputeState, error) { return m.AnswerDispute(t.Context(), dispute.ID(), place(t, jobs, 1)) }, DisputeAnswered)
		}
	}
	if n := d.disputes(); n != 4 {
		t.Errorf("%d disputes are stored, want 4", n)
	}
}
