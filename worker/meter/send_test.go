package meter

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// withService gives a rig a service.
func withService(t testing.TB, change func(*Config)) (*rig, *ledgerService) {
	var s *ledgerService
	r := newRig(t, func(c *Config) {
		s = newLedgerService(t, c.Network, func() int64 { return c.Now().Unix() })
		c.API = s.client()
		if change != nil {
			change(c)
		}
	})
	return r, s
}

// steps has the meter do what is due, some times over, with a while between.
func (r *rig) steps(n int) (err error) {
	for range n {
		r.clock.Add(30)
		err = r.meter.step(r.t.Context())
	}
	return err
}

// TestSend hands jobs in: the service's ledger is the worker's.
func TestSend(t *testing.T) {
	for _, batch := range []int{1, 4} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
			r, s := withService(t, func(c *Config) { c.BatchJobs = batch })
			p := r.newPayer(100_000)
			s.knows(p)
			for range 10 {
				if g := p.send(try{covers: 50_000}); g.job == nil {
					t.Fatal(g.problem)
				}
			}
			must(t, r.steps(1))
			if batch > 1 {
				if _, jobs := s.spent(p); jobs != 8 {
					t.Errorf("the service has %d jobs, want two full batches", jobs)
				}
			}
			must(t, r.steps(3))
			if spent, jobs := s.spent(p); spent != 300 || jobs != 10 {
				t.Errorf("the service has %d spent by %d jobs", spent, jobs)
			}
			s.set(func() { s.sealed = len(s.logged) })
			must(t, r.steps(2))
			status, err := ReadStatus(r.cfg.Journal, r.network, r.meter.worker)
			must(t, err)
			if status.Unsealed != 0 || status.Unacked != 0 || status.Jobs != 10 || status.Fees.Base() != 300 || !status.Taken {
				t.Errorf("status is %+v", status)
			}
			if got := p.state(); got.Spent.Base() != 300 || got.Jobs != 10 || len(got.Last) == 0 {
				t.Errorf("channel is %+v", got)
			}
		})
	}
}

// TestBatchOffers: jobs of two offers are never in one batch, and one that waits for a
// batch when no more are made goes in a last one.
func TestBatchOffers(t *testing.T) {
	r, s := withService(t, func(c *Config) { c.BatchJobs = 10 })
	p := r.newPayer(100_000)
	s.knows(p)
	must(t, r.steps(1))
	for range 3 {
		p.send(try{covers: 50_000})
	}
	r.touch(strings.Replace(fmt.Sprintf(offerText, 16, r.back.URL), `price = "3"`, `price = "4"`, 1))
	must(t, r.meter.step(t.Context()))
	for range 2 {
		p.send(try{covers: 50_000})
	}
	must(t, r.meter.step(t.Context()))
	if spent, jobs := s.spent(p); spent != 90 || jobs != 3 {
		t.Errorf("the service has %d spent by %d jobs", spent, jobs)
	}
	r.cfg.BatchJobs = 1
	r.restart()
	p.send(try{covers: 50_000})
	must(t, r.meter.step(t.Context()))
	if spent, jobs := s.spent(p); spent != 210 || jobs != 6 || len(s.logged) != 3 {
		t.Errorf("the service has %d spent by %d jobs in %d statements", spent, jobs, len(s.logged))
	}
}

// TestBrokenDisk: what can't be made durable leaves neither to the renter nor to the
// service, and the meter ends.
func TestBrokenDisk(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(100_000)
	s.knows(p)
	must(t, r.steps(1))
	must(t, r.meter.journal.f.Close()) // every write fails from now on
	for _, body := range []string{chatBody, streamBody} {
		if g := p.send(try{body: body, covers: 50_000}); g.job != nil || g.status == http.StatusOK && g.cut == nil {
			t.Errorf("answered without a journal: %+v", g)
		}
	}
	if err := r.steps(1); err == nil {
		t.Error("a step works without a journal")
	}
	if _, jobs := s.spent(p); jobs != 0 {
		t.Errorf("the service got %d jobs that are not durable", jobs)
	}
	if err := r.meter.Run(t.Context()); err == nil {
		t.Error("the meter goes on without a journal")
	}
}

// TestServiceAway: requests are served while it is, lost answers change nothing, and a
// new instance gets all again that is not sealed.
func TestServiceAway(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(1_000_000)
	s.knows(p)
	must(t, r.steps(1))
	s.set(func() { s.down = true })
	for range 20 {
		if g := p.send(try{covers: 500_000}); g.job == nil {
			t.Fatalf("not served while the service is away: %v", g.problem)
		}
		if err := r.steps(1); err == nil {
			t.Fatal("a step works without the service")
		}
	}
	s.set(func() { s.down, s.deaf = false, true })
	if err := r.steps(2); err == nil {
		t.Fatal("a step works without an answer")
	}
	s.set(func() { s.deaf = false })
	must(t, r.steps(2))
	if spent, jobs := s.spent(p); spent != 600 || jobs != 20 {
		t.Errorf("the service has %d spent by %d jobs", spent, jobs)
	}
	// The database is put back by all its jobs: the new instance gets them again.
	s.set(func() {
		s.instance = client.ID{2}
		delete(s.channels, p.open.Channel)
		s.logged = nil
	})
	s.knows(p)
	must(t, r.steps(2))
	if spent, jobs := s.spent(p); spent != 600 || jobs != 20 {
		t.Errorf("the new instance has %d spent by %d jobs", spent, jobs)
	}
	// Silent for too long, nothing is served.
	s.set(func() { s.down = true })
	r.clock.Add(int64(r.meter.cfg.Silence/time.Second) + 1)
	if g := p.send(try{covers: 500_000}); g.problem == nil || g.problem.Kind() != client.Busy {
		t.Errorf("served after a silence of half a day: %+v", g)
	}
}

// TestRefused: a refusal is kept, and nothing more is served on the channel.
func TestRefused(t *testing.T) {
	r, s := withService(t, nil)
	p, other := r.newPayer(100_000), r.newPayer(100_000)
	s.knows(p)
	s.knows(other)
	g := p.send(try{covers: 10_000})
	s.set(func() { s.refuse["job"] = client.Closed })
	must(t, r.steps(1))
	s.set(func() { delete(s.refuse, "job") })
	if again := p.send(try{covers: 10_000}); again.problem == nil || again.problem.Kind() != client.ChannelStuck {
		t.Errorf("served after a refusal: %+v", again)
	}
	if again := other.send(try{covers: 10_000}); again.job == nil {
		t.Errorf("another channel is not served: %v", again.problem)
	}
	r.restart()
	status, err := ReadStatus(r.cfg.Journal, r.network, r.meter.worker)
	must(t, err)
	if len(status.Refusals) != 1 || status.Refusals[0].ID != g.id || status.Refusals[0].Problem != client.Closed {
		t.Errorf("refusals are %+v", status.Refusals)
	}
	if again := p.send(try{covers: 10_000}); again.problem == nil || again.problem.Kind() != client.ChannelStuck {
		t.Errorf("served after a refusal and a restart: %+v", again)
	}
}

// TestForgotten: a service that lost a channel or an offer gets it again before that is
// taken for a refusal; what is busy is tried again.
func TestForgotten(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(100_000)
	p.send(try{covers: 10_000})
	if err := r.steps(1); err == nil {
		t.Error("an unknown channel is no trouble")
	}
	s.knows(p)
	s.set(func() { clear(s.offers) })
	if err := r.steps(1); err == nil {
		t.Error("an unknown offer is no trouble")
	}
	s.set(func() { s.refuse["job"] = client.Busy })
	if err := r.steps(2); err == nil {
		t.Error("busy is no trouble")
	}
	s.set(func() { delete(s.refuse, "job") })
	must(t, r.steps(2))
	if spent, jobs := s.spent(p); spent != 30 || jobs != 1 {
		t.Errorf("the service has %d spent by %d jobs", spent, jobs)
	}
}

// TestClosed: a channel that the service closes is served no more.
func TestClosed(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(100_000)
	s.knows(p)
	p.send(try{covers: 10_000})
	s.set(func() { s.channels[p.open.Channel].state = client.StateClosing })
	must(t, r.steps(2))
	if g := p.send(try{covers: 10_000}); g.problem == nil || g.problem.Kind() != client.Closed {
		t.Errorf("served on a channel that closes: %+v", g)
	}
}

// TestLostJournal: the service's total of a channel counts where the journal is gone.
func TestLostJournal(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(100_000)
	s.knows(p)
	p.send(try{covers: 10_000})
	must(t, r.steps(1))
	r.cfg.Journal += "-new"
	r.restart()
	if _, problem := p.handIn(100_000); problem != nil {
		t.Fatal(problem)
	}
	must(t, r.steps(1))
	g := p.send(try{covers: 10_000})
	if g.job == nil || g.job.Before.Base() != 30 {
		t.Fatalf("the job is %+v, %v", g.job, g.problem)
	}
	must(t, r.steps(1))
	if spent, jobs := s.spent(p); spent != 60 || jobs != 2 {
		t.Errorf("the service has %d spent by %d jobs", spent, jobs)
	}
}

// TestDays plays a worker's life: renters, outages, lost answers, restarts, seals and
// switches between single jobs and batches. In the end both ledgers are one.
func TestDays(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 9))
			r, s := withService(t, nil)
			payers := []*payer{r.newPayer(1_000_000), r.newPayer(1_000_000), r.newPayer(1_000_000)}
			for _, p := range payers {
				s.knows(p)
			}
			for range 150 {
				switch p := payers[rnd.IntN(len(payers))]; rnd.IntN(10) {
				case 0:
					s.set(func() { s.down = rnd.IntN(2) == 0 })
				case 1:
					s.set(func() { s.deaf = rnd.IntN(2) == 0 })
				case 2:
					s.set(func() { s.sealed = len(s.logged) })
				case 3:
					s.set(func() { s.instance = client.ID{byte(rnd.Uint32())} })
				case 4:
					r.cfg.BatchJobs = rnd.IntN(5)
					r.restart()
				case 5, 6:
					_ = r.steps(1)
				default:
					if g := p.send(try{covers: 500_000}); g.job == nil {
						t.Fatalf("not served: %+v", g.problem)
					}
				}
			}
			s.set(func() { s.down, s.deaf = false, false })
			must(t, r.steps(5))
			s.set(func() { s.sealed = len(s.logged) })
			must(t, r.steps(3))
			for _, p := range payers {
				spent, jobs := s.spent(p)
				if mine := p.state(); mine.Spent.Base() != spent || mine.Jobs != jobs || mine.Stuck != "" {
					t.Errorf("the worker has %+v, the service %d by %d jobs", mine, spent, jobs)
				}
			}
			if status, err := ReadStatus(r.cfg.Journal, r.network, r.meter.worker); err != nil || status.Unsealed != 0 || len(status.Refusals) != 0 {
				t.Errorf("status is %+v, %v", status, err)
			}
			r.checkLive()
		})
	}
}

// checkLive compares the count of what the journal holds with the records that it makes.
func (r *rig) checkLive() {
	r.t.Helper()
	j := r.meter.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.book.records()); n > j.book.live {
		r.t.Errorf("records have %d bytes, %d are counted", n, j.book.live)
	}
	sum := 0
	for _, o := range j.book.offers {
		sum += o.room() + answersRoom
	}
	for _, ch := range j.book.channels {
		sum += ch.room() + idRoom*len(ch.byID)
		for _, kept := range ch.jobs {
			sum += kept.room()
		}
		for _, p := range ch.parcels() {
			sum += answersRoom
			if _, single := ch.byID[p.bill().ID]; !single {
				sum += p.room()
			}
		}
	}
	if sum != j.book.live {
		r.t.Errorf("%d bytes are counted, %d are there", j.book.live, sum)
	}
}
