package meter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// chain checks that job statements are one gapless, ordered account of a channel.
func chain(jobs []proofs.Job) error {
	slices.SortFunc(jobs, func(a, b proofs.Job) int { return a.Before.Cmp(b.Before) })
	at, ids := ionet.Amount{}, map[[16]byte]bool{}
	for _, j := range jobs {
		switch {
		case j.Before != at:
			return fmt.Errorf("job %x begins at %s, not at %s", j.ID, j.Before, at)
		case j.After.Cmp(j.Cumulative) > 0:
			return fmt.Errorf("job %x ends at %s, its voucher covers %s", j.ID, j.After, j.Cumulative)
		case ids[j.ID]:
			return fmt.Errorf("job %x is billed twice", j.ID)
		}
		at, ids[j.ID] = j.After, true
	}
	return nil
}

// TestTogether: whatever requests run on a channel at once, with whatever vouchers, the
// channel never spends more than its greatest voucher or its limit, and its jobs are one
// account without a gap.
func TestTogether(t *testing.T) {
	r := newRig(t, nil)
	r.writeOffer(fmt.Sprintf(offerText, 1000, r.back.URL))
	r.restart()
	r.back.answer(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		h := sha256.Sum256(body)
		switch h[0] % 8 {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			panic(http.ErrAbortHandler)
		default: // sometimes more than it may be
			says(200, jsonMedia, fmt.Sprintf(`{"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, int(h[1])*4, h[2]))(w, req)
		}
	})
	bound := uint64(len(chatBody)+promptOverhead+20+9) * 3
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Uint64Range(1, 8*bound).Draw(rt, "limit")
		p := r.newPayer(limit)
		vouchers := rapid.SliceOfN(rapid.Uint64Range(0, 10*bound), 1, 16).Draw(rt, "vouchers")
		var (
			all  sync.WaitGroup
			mu   sync.Mutex
			jobs []proofs.Job
			most uint64
		)
		for i, covers := range vouchers {
			q := try{covers: covers, body: strings.Replace(chatBody, "hello", fmt.Sprintf("%x", p.open.Channel[:4])+fmt.Sprint(i%10), 1)}
			most = max(most, covers)
			all.Go(func() {
				resp, err := http.DefaultClient.Do(p.request(&q))
				if err != nil {
					t.Error(err)
					return
				}
				g := p.read(&q, resp)
				mu.Lock()
				defer mu.Unlock()
				if g.job != nil {
					jobs = append(jobs, *g.job)
				}
			})
		}
		all.Wait()
		if err := chain(jobs); err != nil {
			rt.Error(err)
		}
		s := p.state()
		if s.Spent.Base() > min(limit, most) || !s.Running.IsZero() || s.Jobs != uint64(len(jobs)) {
			rt.Errorf("channel is %+v with %d jobs, limit %d, voucher %d", s, len(jobs), limit, most)
		}
	})
}

// TestMain is the worker that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("METER_TEST_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child serves on the journal of dir until it is killed.
func child(dir string) error {
	file, err := os.ReadFile(filepath.Join(dir, "network.toml"))
	if err != nil {
		return err
	}
	network, err := ionet.ParseNetwork(file)
	if err != nil {
		return err
	}
	api, err := client.New(client.Config{Server: os.Getenv("METER_TEST_SERVICE"), Network: network.ID(), Attempts: 1})
	if err != nil {
		return err
	}
	m, err := New(Config{
		Network: network, Key: workerKey, API: api, OfferFile: filepath.Join(dir, "offer.toml"), Journal: filepath.Join(dir, "meter"),
		BatchJobs: 3, BatchEvery: time.Second, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	})
	if err != nil {
		return err
	}
	server := httptest.NewServer(m.Handler())
	fmt.Println(server.URL)
	for {
		_ = m.step(context.Background())
		time.Sleep(time.Millisecond)
	}
}

// TestKill kills a worker at moments that nobody chose, while renters are served and jobs
// go to the service: what a renter was given is in the worker's account after it, once;
// and the service's account ends as the worker's.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	r := newRig(t, nil)
	s := newLedgerService(t, r.network, r.clock.Load)
	dir := t.TempDir()
	file, err := ionet.EncodeNetwork(*r.network)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "network.toml"), file, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "offer.toml"), fmt.Appendf(nil, offerText, 64, r.back.URL), 0o600))
	p := r.newPayer(90_000_000)
	s.knows(p)
	rnd := rand.New(rand.NewPCG(5, 6))
	var (
		mu   sync.Mutex
		jobs = map[ionet.Hash]proofs.Job{}
		used [][16]byte
	)
	for life := range 12 {
		var errs bytes.Buffer
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "METER_TEST_CHILD="+dir, "METER_TEST_SERVICE="+s.URL)
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		line := make([]byte, 64)
		n, err := out.Read(line)
		if err != nil {
			t.Fatalf("life %d: %v: %s", life, err, errs.String())
		}
		r.server.URL = strings.TrimSpace(string(line[:n]))
		limit := uint64(90_000_000)
		if _, problem := p.handIn(limit); problem != nil {
			t.Fatal(problem)
		}
		mu.Lock()
		least := ionet.Amount{}
		for _, j := range jobs {
			if j.After.Cmp(least) > 0 {
				least = j.After
			}
		}
		mu.Unlock()
		if now := p.state(); now.Spent.Cmp(least) < 0 {
			t.Fatalf("life %d: the channel is at %s, a renter has a job up to %s", life, now.Spent, least)
		}
		var all sync.WaitGroup
		killed, enough := make(chan struct{}), make(chan struct{}, 1)
		left := 1 + rnd.IntN(60)
		for range 6 {
			seed := rnd.Uint64()
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, 1))
				for {
					select {
					case <-killed:
						return
					default:
					}
					q := try{covers: 80_000_000}
					if rnd.IntN(2) == 0 {
						q.body = streamBody
					}
					mu.Lock()
					if len(used) > 0 && rnd.IntN(4) == 0 { // once more
						q.job, q.body = used[rnd.IntN(len(used))], chatBody
					}
					req := p.request(&q)
					if q.body == chatBody {
						used = append(used, q.job)
					}
					mu.Unlock()
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						continue
					}
					g := p.tryRead(&q, resp)
					if g.cut == nil && g.job != nil {
						mu.Lock()
						jobs[g.id] = *g.job
						if left--; left == 0 {
							enough <- struct{}{}
						}
						mu.Unlock()
					}
				}
			})
		}
		<-enough
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		close(killed)
		all.Wait()
	}
	// The journal is whole; what it holds explains all that renters have.
	j, err := openJournal(filepath.Join(dir, "meter"), r.network, public(workerKey), 0)
	must(t, err)
	ch := j.book.channels[p.open.Channel]
	var kept []proofs.Job
	for _, k := range ch.jobs {
		kept = append(kept, k.job)
	}
	must(t, chain(kept))
	for id, got := range jobs {
		mine := ch.byID[got.ID]
		if mine == nil || mine.id != id {
			t.Fatalf("job %x of a renter is not in the journal", got.ID)
		}
	}
	must(t, j.Close())
	r.cfg.Journal, r.cfg.API, r.cfg.BatchJobs = filepath.Join(dir, "meter"), s.client(), 3
	r.restart()
	must(t, r.steps(5))
	if spent, n := s.spent(p); spent != ch.spent.Base() || n != ch.count {
		t.Errorf("the service has %d by %d jobs, the worker %s by %d", spent, n, ch.spent, ch.count)
	}
}

// tryRead reads an answer of a worker that may be killed meanwhile.
func (p *payer) tryRead(q *try, resp *http.Response) got {
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return got{cut: err}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return p.read(q, resp)
}
