package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A purse opens a channel at its first request, signs for what is needed, and keeps
// receipts that tie to what was asked and answered.
func TestPurseServes(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 3)
	p := s.open(func(c *PurseConfig) { c.KeepBodies = true })
	for i, text := range []string{"hello", "hello again", strings.Repeat("long ", 100)} {
		r := mustChat(t, p, text)
		if r.Fee.Base() != 3*uint64(len(text)) || !r.Answered || r.Worker != w.key() {
			t.Errorf("receipt %d: %+v", i, r)
		}
		request, err := os.ReadFile(filepath.Join(s.dir, "bodies", r.Job.String()+".request"))
		answer, err2 := os.ReadFile(filepath.Join(s.dir, "bodies", r.Job.String()+".answer"))
		if err != nil || err2 != nil || proofs.RequestHash(r.Salt, r.Path, request) != r.Request || proofs.ResponseHash(r.Salt, answer) != r.Response {
			t.Errorf("receipt %d does not tie to its bodies: %v, %v", i, err, err2)
		}
	}
	kept, err := ReadReceipts(s.dir)
	if err != nil || len(kept) != 3 || kept[2].Before != kept[1].After {
		t.Errorf("%d receipts, %v", len(kept), err)
	}
	ch := p.Channels()
	if len(ch) != 1 || ch[0].Spent != w.spent || ch[0].Signed.Cmp(ch[0].Limit) > 0 || ch[0].Unknown != 0 {
		t.Errorf("channels %+v", ch)
	}
	// Nothing but the owner reads it.
	filepath.Walk(s.dir, func(name string, info os.FileInfo, err error) error {
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		return err
	})
}

// A stream goes on as it comes, and is checked at its end.
func TestPurseStream(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	p := s.open()
	a, err := p.Do(t.Context(), chatOf("abc", true))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(a.Body)
	r, ok := a.Receipt()
	if err != nil || !ok || r.Fee.Base() != 3 || !bytes.HasSuffix(body, []byte("[DONE]\n\n")) {
		t.Fatalf("%q, %+v, %v", body, r, err)
	}
	// One that was changed on the way ends with an error, and the worker is left.
	w.answer = func(b []byte) []byte { return bytes.Replace(b, []byte("a"), []byte("b"), 1) }
	if a, err = p.Do(t.Context(), chatOf("abc", true)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(a.Body); err == nil || !strings.Contains(err.Error(), "hash of the answer") {
		t.Errorf("changed stream: %v", err)
	}
	if _, _, err := chat(t, p, "x"); err == nil || !strings.Contains(err.Error(), "is used no more") {
		t.Errorf("worker is not left: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(s.dir, "evidence", "*.json")); len(files) != 1 {
		t.Errorf("%d files of evidence", len(files))
	}
}

// A worker that signs what is not so is left for good, also by the next start, and the
// request goes to another one.
func TestPurseLeavesLiars(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(*proofs.Job)
		answer func([]byte) []byte
		want   string
	}{
		{name: "more units", tamper: func(j *proofs.Job) { j.Units += 5 }, want: "its answer says"},
		{name: "dearer", tamper: func(j *proofs.Job) { j.Price = ionet.MustAmount(2) }, want: "offered was"},
		{name: "other model", tamper: func(j *proofs.Job) { j.Model = "n" }, want: "asked for were"},
		{name: "other request", tamper: func(j *proofs.Job) { j.Request[0] ^= 1 }, want: "hash of the request"},
		{name: "other response", tamper: func(j *proofs.Job) { j.Response[0] ^= 1 }, want: "hash of the answer"},
		{name: "other answer", answer: func(b []byte) []byte { return append(b, ' ') }, want: "hash of the answer"},
		{name: "other job", tamper: func(j *proofs.Job) { j.ID[0] ^= 1 }, want: "of job"},
		{name: "other channel", tamper: func(j *proofs.Job) { j.Channel[0] ^= 1 }, want: "of channel"},
		{name: "forged voucher", tamper: func(j *proofs.Job) { j.Cumulative, _ = j.Cumulative.Add(ionet.MustAmount(1)) }, want: "greatest that was signed"},
		{name: "spoiled voucher", tamper: func(j *proofs.Job) { j.Voucher[0] ^= 1 }, want: "signature"},
		{name: "jobs of nobody", tamper: func(j *proofs.Job) { j.Before, _ = j.Before.Add(ionet.MustAmount(7)) }, want: "all our jobs make"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newPurseStage(t)
			liar, honest := s.worker("liar", 1), s.worker("honest", 2)
			liar.tamper, liar.answer = c.tamper, c.answer
			p := s.open()
			_, body, err := chat(t, p, "hello")
			if err != nil || !strings.Contains(body, "hello") {
				t.Fatalf("%q, %v", body, err)
			}
			if r := mustChat(t, p, "again"); r.Worker != honest.key() {
				t.Error("the liar is used again")
			}
			p.Close()
			p = s.open()
			if r := mustChat(t, p, "after a restart"); r.Worker != honest.key() {
				t.Error("the liar is used again after a restart")
			}
			if reason := p.left[liar.key()]; !strings.Contains(reason, c.want) {
				t.Errorf("left because %q, want %q", reason, c.want)
			}
			if files, _ := filepath.Glob(filepath.Join(s.dir, "evidence", "*.json")); len(files) == 0 {
				t.Error("no evidence is kept")
			}
		})
	}
}

// Whoever fails is passed over: cut connections, failing back ends, no capacity.
func TestPurseFailsOver(t *testing.T) {
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"cut":  func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"html": func(w http.ResponseWriter, r *http.Request) bool { html(502)(w, r); return true },
		"back end": func(w http.ResponseWriter, _ *http.Request) bool {
			(&testWorker{}).refuse(w, 502, BackEndFailed, nil)
			return true
		},
		"busy": func(w http.ResponseWriter, _ *http.Request) bool {
			(&testWorker{}).refuse(w, 429, AtCapacity, nil)
			return true
		},
		"full": func(w http.ResponseWriter, _ *http.Request) bool {
			(&testWorker{}).refuse(w, 503, JournalFull, nil)
			return true
		},
		"greedy": func(w http.ResponseWriter, _ *http.Request) bool {
			(&testWorker{}).refuse(w, 402, VoucherNeeded, func(p *MeterProblem) { all := ionet.MustAmount(testReserve); p.Required = &all })
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPurseStage(t)
			bad, good := s.worker("bad", 1), s.worker("good", 2)
			bad.hook = hook
			p := s.open()
			if r := mustChat(t, p, "hello"); r.Worker != good.key() {
				t.Errorf("served by %s", r.Worker)
			}
		})
	}
}

// An answer that was lost is had by the same job, which is billed once.
func TestPurseLostAnswer(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	w.cut = func(served int) bool { w.mu.Lock(); defer w.mu.Unlock(); return w.asked == 2 }
	p := s.open()
	mustChat(t, p, "one") // the first has its 402 before
	w.mu.Lock()
	w.asked = 1
	w.mu.Unlock()
	r := mustChat(t, p, "hello")
	if len(w.jobs) != 2 || w.spent.Base() != 8 || r.Before.Base() != 3 {
		t.Errorf("%d jobs, %s spent, %+v", len(w.jobs), w.spent, r)
	}
}

// What a killed purse had under way is asked for by the next: no fee is forgotten, no
// voucher goes back, whatever line was the journal's last.
func TestPurseRestart(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	w.cut = func(served int) bool { return served > 3 }
	p := s.open()
	for i := range 5 {
		chat(t, p, fmt.Sprintf("request %d", i)) // from the fourth on all answers are lost
	}
	p.Close()
	journal, err := os.ReadFile(filepath.Join(s.dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.cut = nil
	spent, jobs := w.spent, len(w.jobs)
	w.mu.Unlock()
	// Lines that are not synced may be lost: those after the last request that left.
	last := bytes.LastIndex(journal, []byte(`{"kind":"sent"`))
	last += bytes.IndexByte(journal[last:], '\n') + 1
	for cut := last; cut <= len(journal); cut++ {
		if err := os.WriteFile(filepath.Join(s.dir, "journal"), journal[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s.now.Add(10)
		p := s.open()
		for p.Settle(t.Context()) > 0 {
		}
		if ch := p.Channels()[0]; ch.Spent != spent || ch.Signed.Cmp(w.covered) < 0 || ch.Left != "" {
			t.Fatalf("after %d bytes: %+v; %s is spent", cut, ch, spent)
		}
		p.Close()
	}
	p = s.open()
	kept, err := ReadReceipts(s.dir)
	if err != nil || len(kept) != jobs {
		t.Errorf("%d receipts of %d jobs, %v", len(kept), jobs, err)
	}
	s.now.Add(100) // the worker is not left alone any more
	if r := mustChat(t, p, "go on"); r.Before != spent {
		t.Errorf("it goes on at %s, not at %s", r.Before, spent)
	}
}

// A journal that is damaged before its end is not guessed at.
func TestPurseDamagedJournal(t *testing.T) {
	s := newPurseStage(t)
	s.worker("a", 1)
	p := s.open()
	mustChat(t, p, "hello")
	p.Close()
	name := filepath.Join(s.dir, "journal")
	journal, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	journal[3] ^= 0x80
	if err := os.WriteFile(name, journal, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := p.cfg
	if _, err := OpenPurse(cfg); err == nil || !strings.Contains(err.Error(), "line 1 of") {
		t.Errorf("got %v", err)
	}
}

// A worker that forgot what it signed is not served by: it would bill it again.
func TestPurseForgetfulWorker(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	p := s.open()
	mustChat(t, p, "hello")
	p.Close()
	w.mu.Lock()
	w.spent = ionet.Amount{}
	w.mu.Unlock()
	p = s.open()
	if _, _, err := chat(t, p, "hello"); err == nil || !strings.Contains(err.Error(), "it has forgotten jobs") {
		t.Errorf("got %v", err)
	}
}

// Many requests share one channel, and what its vouchers cover never passes what they may
// cost, nor the limit.
func TestPurseConcurrent(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	p := s.open()
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		wg.Go(func() {
			a, err := p.Do(t.Context(), chatOf(strings.Repeat("x", 1+i), i%2 == 1))
			if err == nil {
				_, err = io.Copy(io.Discard, a.Body)
				a.Body.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	ch := p.Channels()
	if len(ch) != 1 || ch[0].Spent.Base() != 40*41/2 || ch[0].Spent != w.spent || len(w.jobs) != 40 || ch[0].Left != "" {
		t.Errorf("channels %+v, worker has %s of %d jobs", ch, w.spent, len(w.jobs))
	}
	if ch[0].Signed.Cmp(ch[0].Limit) > 0 || len(s.opened) != 1 {
		t.Errorf("%+v, %d channels", ch, len(s.opened))
	}
}

// Limits double within the reserve; beyond it requests are refused, and a refused top-up
// leaves what was.
func TestPurseReserve(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 20)
	p := s.open(func(c *PurseConfig) { c.Most = ionet.MustAmount(testReserve) })
	limits := map[ionet.Amount]bool{}
	var err error
	for range 200 {
		if _, _, err = chat(t, p, strings.Repeat("y", 100)); err != nil {
			break
		}
		limits[p.Channels()[0].Limit] = true
	}
	var refused *PurseError
	if !errors.As(err, &refused) || refused.Code != CodeReserve || refused.Status != http.StatusPaymentRequired {
		t.Fatalf("got %v", err)
	}
	if len(limits) > 8 || p.Channels()[0].Limit.Base() > testReserve || w.covered.Base() > testReserve {
		t.Errorf("%d limits, %+v", len(limits), p.Channels())
	}
	// Another purse of the same session has a part of the reserve.
	s2 := newPurseStage(t)
	s2.worker("b", 20)
	s2.opened[ionet.Key{1}] = ionet.MustAmount(testReserve - 6000)
	p2 := s2.open(func(c *PurseConfig) { c.First, c.Most = ionet.MustAmount(10_000), ionet.MustAmount(testReserve) })
	mustChat(t, p2, "y")
	if limit := p2.Channels()[0].Limit; limit.Base() != 6000 {
		t.Errorf("limit %s", limit)
	}
}

// Requests go on while the service is away: offers are remembered, workers are asked.
func TestPurseWithoutService(t *testing.T) {
	s := newPurseStage(t)
	s.worker("a", 1)
	p := s.open()
	mustChat(t, p, "hello")
	mustChat(t, p, "the worker is no stranger: its channel has room for more")
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.now.Add(600)
	mustChat(t, p, "old list")
	p.Close()
	p = s.open()
	mustChat(t, p, "own worker's offer")
}

// What a request may cost is bounded, and prices are.
func TestPurseBounds(t *testing.T) {
	s := newPurseStage(t)
	s.worker("a", 10)
	p := s.open(func(c *PurseConfig) { c.Most = ionet.MustAmount(100) })
	var refused *PurseError
	if _, _, err := chat(t, p, "hello"); !errors.As(err, &refused) || refused.Code != CodeAboveMost {
		t.Errorf("above most: %v", err)
	}
	for _, c := range []struct {
		name   string
		caps   []PriceCap
		signed []proofs.PriceCap
		ok     bool
	}{
		{name: "own cap", caps: []PriceCap{{"m", ionet.MustAmount(9), 1}}},
		{name: "own cap of another model", caps: []PriceCap{{"n", ionet.MustAmount(9), 1}}, ok: true},
		{name: "session's cap", signed: []proofs.PriceCap{{Model: "m", Price: ionet.MustAmount(19), Per: 2}}},
		{name: "session's cap holds", signed: []proofs.PriceCap{{Model: "m", Price: ionet.MustAmount(20), Per: 2}}, ok: true},
		{name: "session has no cap of it", signed: []proofs.PriceCap{{Model: "n", Price: ionet.MustAmount(20), Per: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newPurseStage(t)
			s.worker("a", 10)
			s.session = s.sign(proofs.Session{Reserve: ionet.MustAmount(testReserve), Caps: c.signed})
			p := s.open(func(cfg *PurseConfig) { cfg.Caps = c.caps })
			_, _, err := chat(t, p, "hello")
			if var1 := (*PurseError)(nil); c.ok != (err == nil) || err != nil && (!errors.As(err, &var1) || var1.Code != CodeNoOffers) {
				t.Errorf("got %v", err)
			}
		})
	}
	s.now.Add(7200)
	if _, _, err := chat(t, p, "hello"); !errors.As(err, &refused) || refused.Code != CodeSession {
		t.Errorf("expired: %v", err)
	}
}

// A folder has one purse, and one session.
func TestPurseFolder(t *testing.T) {
	s := newPurseStage(t)
	s.worker("a", 1)
	p := s.open()
	mustChat(t, p, "hello")
	if _, err := OpenPurse(p.cfg); !errors.Is(err, ErrPurseInUse) {
		t.Errorf("second purse: %v", err)
	}
	p.Close()
	s.session = s.sign(proofs.Session{Reserve: ionet.MustAmount(7)})
	cfg := p.cfg
	cfg.Session = s.session
	if _, err := OpenPurse(cfg); err == nil || !strings.Contains(err.Error(), "use another folder") {
		t.Errorf("another session: %v", err)
	}
}

// A channel that is closed is not used again; its worker gets a new one.
func TestPurseCloseChannel(t *testing.T) {
	s := newPurseStage(t)
	s.worker("a", 1)
	p := s.open()
	first := mustChat(t, p, "hello").Channel
	if err := p.CloseChannel(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p = s.open()
	w := s.workers[0]
	w.mu.Lock()
	w.known, w.spent, w.covered, w.reserved = false, ionet.Amount{}, ionet.Amount{}, ionet.Amount{}
	w.mu.Unlock()
	if again := mustChat(t, p, "hello").Channel; again == first {
		t.Error("the channel that was closed is used")
	}
	if err := p.CloseSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []proofs.Kind{proofs.KindChannelClose, proofs.KindSessionClose}; fmt.Sprint(s.closed) != fmt.Sprint(want) {
		t.Errorf("closed %v", s.closed)
	}
}

// The journal replays to the same purse after it was rewritten.
func TestPurseTidy(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	p := s.open()
	for range 5 {
		mustChat(t, p, "hello")
	}
	want := fmt.Sprintf("%+v", p.Channels())
	p.mu.Lock()
	p.tidied = -1 << 40
	for p.journal.bytes() < tidyBytes { // history enough
		if _, err := p.journal.add(purseNote{Kind: noteSigned, Channel: w.channel.Channel}); err != nil {
			t.Fatal(err)
		}
	}
	err := p.tidy()
	p.mu.Unlock()
	if size := p.journal.bytes(); err != nil || size > 10_000 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	p.Close()
	p = s.open()
	if got := fmt.Sprintf("%+v", p.Channels()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	mustChat(t, p, "hello")
}

// spans account for jobs in any order, and refuse what overlaps.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fees := rapid.SliceOfN(rapid.Uint64Range(0, 5), 1, 20).Draw(t, "fees")
		type part struct{ from, to uint64 }
		var parts []part
		at := uint64(0)
		for _, fee := range fees {
			parts = append(parts, part{at, at + fee})
			at += fee
		}
		taken := map[uint64]bool{}
		var s spans
		for _, i := range rapid.Permutation(append(parts, parts...)).Draw(t, "order") {
			err := s.add(ionet.MustAmount(i.from), ionet.MustAmount(i.to))
			if again := i.from != i.to && taken[i.from]; again != (err != nil) {
				t.Fatalf("add %v: %v", i, err)
			}
			for x := i.from; x < i.to; x++ {
				taken[x] = true
			}
			if s.known().Base() != uint64(len(taken)) || i.from < i.to && !s.has(ionet.MustAmount(i.from), ionet.MustAmount(i.to)) {
				t.Fatalf("%v: %d known", s, s.known().Base())
			}
		}
		if !s.isGapless() || s.top().Base() != at {
			t.Fatalf("at the end %v", s)
		}
	})
}

// No bytes of a journal are a reason to stop with anything but an error.
func FuzzReadJournal(f *testing.F) {
	f.Add([]byte("{\"kind\":\"left\",\"worker\":\"11111111111111111111111111111111\"}\n{\"kind\":\"sent\"}\n"))
	f.Add([]byte("{\"kind\":"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		notes, whole, err := readJournal(name)
		if err == nil && whole > int64(len(b)) {
			t.Errorf("%d lines of %d bytes", len(notes), whole)
		}
	})
}
