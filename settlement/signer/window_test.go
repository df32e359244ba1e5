package signer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// fresh is the same content over another blockhash: another message.
func fresh(p chain.Plan, hash string) chain.Plan {
	p.Blockhash = ionet.Key(sha256.Sum256([]byte(hash)))
	return p
}

// A thief at the service has payouts signed that he does not send, window after
// window, each on another lane; then he has all of them signed again at once. What is
// signed again counts again where its window is over.
func TestHoardedPositionsCountAgain(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	p0, p1 := w.first("pay-0"), w.first("pay-1")
	mustSign(t, s, ask(t, w.payout(p0, 10_000), p0))
	w.now = w.now.Add(time.Hour + time.Second)
	mustSign(t, s, ask(t, w.payout(p1, 9_000), p1))
	mustRefuse(t, s, "window", ask(t, fresh(w.payout(p0, 10_000), "again"), p0))
	mustRefuse(t, s, "window", ask(t, w.payout(p0, 5_000, 5_000), p0))
	mustSign(t, s, ask(t, fresh(w.payout(p1, 9_000), "again"), p1)) // counted in this window already

	w.now = w.now.Add(30 * time.Minute)
	mustSign(t, s, ask(t, fresh(w.payout(p1, 9_000), "later"), p1)) // and from now on for an hour
	s.Close()
	s = w.server(t, path)
	w.now = w.now.Add(45 * time.Minute)
	mustRefuse(t, s, "window", ask(t, fresh(w.payout(p0, 10_000), "again"), p0))
	w.now = w.now.Add(16 * time.Minute)
	mustSign(t, s, ask(t, fresh(w.payout(p0, 10_000), "again"), p0))
}

// A thief who has the lane secret tells a co-signer one position and steps another, as
// often as he likes: for it each message counts.
func TestCoSignerCountsMessages(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	cosigner := func(c *ServerConfig) { c.Ring = NewRing(nil, w.Keys.Fees) }
	s := w.server(t, path, cosigner)
	at := w.at("pay-0", 5)
	others := []ionet.Key{w.Network.Keys.Operator, w.Keys.Secret.Public(at.C)}
	p := w.withdrawal(at, 1_000)
	mustSign(t, s, ask(t, p, at), others...)
	mustSign(t, s, ask(t, p, at), others...) // the same bytes
	mustSign(t, s, ask(t, fresh(p, "2"), at), others...)

	elsewhere := fresh(p, "3")
	elsewhere.Steps = []chain.Step{{Lane: at.Lane, From: payee(80), To: payee(81)}}
	mustRefuse(t, s, "lane-key", ask(t, elsewhere, at))
	s.Close()
	s = w.server(t, path, cosigner)
	mustRefuse(t, s, "lane-key", ask(t, elsewhere, at))
	mustSign(t, s, ask(t, fresh(p, "4"), at), others...)
	mustRefuse(t, s, "window", ask(t, fresh(p, "5"), at)) // 3,000 of 3,000
	if r, err := ReadJournal(path, &w.policy, w.now); err != nil || r.Windows[2].Spent != ionet.MustAmount(3_000) {
		t.Errorf("the journal reports %+v, %v", r, err)
	}
	w.now = w.now.Add(time.Hour + time.Second)
	mustSign(t, s, ask(t, fresh(p, "5"), at), others...)
}

// Nor is an epoch's mint co-signed over and over: a few times in an epoch's length,
// however short the window is, and one content only.
func TestCoSignerMintsAFewTimes(t *testing.T) {
	w := newWorld(t)
	w.policy.Window = shortest
	path := journalPath(t)
	cosigner := func(c *ServerConfig) { c.Ring = NewRing(nil, w.Keys.Operator) }
	s := w.server(t, path, cosigner)
	e3 := w.at("epoch", 3)
	p := w.epoch(e3, 100)
	others := []ionet.Key{w.Keys.Secret.Public(e3.C)}
	start := w.now
	for i := range maxMints {
		mustSign(t, s, ask(t, fresh(p, fmt.Sprint(i)), e3), others...)
		w.now = w.now.Add(6 * time.Minute)
	}
	mustRefuse(t, s, "window", ask(t, fresh(p, "more"), e3))
	w.now = start.Add(59 * time.Minute)
	s.Close()
	s = w.server(t, path, cosigner)
	mustRefuse(t, s, "window", ask(t, fresh(p, "more"), e3))
	w.now = start.Add(61 * time.Minute)
	mustSign(t, s, ask(t, fresh(p, "more"), e3), others...)
	mustRefuse(t, s, "window", ask(t, fresh(p, "still more"), e3))

	elsewhere := fresh(p, "elsewhere")
	elsewhere.Steps = []chain.Step{{Lane: e3.Lane, From: payee(80), To: payee(81)}}
	mustRefuse(t, s, "lane-key", ask(t, elsewhere, e3))
	w.now = start.Add(3 * time.Hour)
	mustRefuse(t, s, "epoch", ask(t, w.epoch(e3, 99), e3))
	mustRefuse(t, s, "epoch", ask(t, w.epochAfter(e3, 100, "another book"), e3))
	e4 := e3.next(t, p)
	mustSign(t, s, ask(t, w.epochAfter(e4, 100, p.Memo), e4), w.Keys.Secret.Public(e4.C))
	s.Close()

	from := e3.N
	s = w.server(t, path, cosigner, func(c *ServerConfig) { c.Reopen = []Reopening{{e3.Lane, &from}} })
	mustSign(t, s, ask(t, w.epoch(e3, 99), e3), others...) // a person saw that another book was published
}

// A person who saw that an epoch is open still gives its mint back its messages: the
// journal says so too, and no other limit is freed by it.
func TestReopenedEpochIsMintedAgain(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	cosigner := func(c *ServerConfig) { c.Ring = NewRing(nil, w.Keys.Operator) }
	s := w.server(t, path, cosigner)
	pay, e3 := w.at("pay-0", 5), w.at("epoch", 3)
	third := w.epoch(e3, 100)
	e4 := e3.next(t, third)
	fourth := w.epochAfter(e4, 100, third.Memo)
	key := func(at seat) ionet.Key { return w.Keys.Secret.Public(at.C) }
	payout := w.payout(pay, 9_000)
	mustSign(t, s, ask(t, payout, pay), key(pay))
	for i := range maxMints {
		mustSign(t, s, ask(t, fresh(third, fmt.Sprint(i)), e3), key(e3))
	}
	for i := range maxMints {
		mustSign(t, s, ask(t, fresh(fourth, fmt.Sprint(i)), e4), key(e4))
	}
	s.Close()

	from := e4.N // the third landed: its messages go on counting
	s = w.server(t, path, cosigner, func(c *ServerConfig) { c.Reopen = []Reopening{{e4.Lane, &from}} })
	mustSign(t, s, ask(t, fresh(fourth, "reopened"), e4), key(e4))
	if got, want := s.journal.heads.mints(entry{lane: e3.Lane, n: e3.N}, w.now), maxMints; got != want {
		t.Errorf("%d messages of epoch 3 count, want %d", got, want)
	}
	s.Close()
	from = e3.N
	s = w.server(t, path, cosigner, func(c *ServerConfig) { c.Reopen = []Reopening{{e3.Lane, &from}} })
	live := s.journal.heads
	s.Close()
	s = w.server(t, path, cosigner) // it is in the journal, not in the process
	if got, want := fmt.Sprint(s.journal.heads.moves, s.journal.heads.at), fmt.Sprint(live.moves, live.at); got != want {
		t.Errorf("read back, what counts is %s, want %s", got, want)
	}
	for i := range maxMints {
		mustSign(t, s, ask(t, fresh(third, fmt.Sprint("again", i)), e3), key(e3))
	}
	mustRefuse(t, s, "window", ask(t, fresh(third, "one more"), e3))
	mustRefuse(t, s, "window", ask(t, fresh(payout, "again"), pay))
	for i := range maxMints {
		mustSign(t, s, ask(t, fresh(fourth, fmt.Sprint("again", i)), e4), key(e4))
	}
	mustRefuse(t, s, "window", ask(t, fresh(fourth, "one more"), e4))
}

// An epoch's memo names the one before it, as far as this signer knows.
func TestEpochsFollowEachOther(t *testing.T) {
	for name, ring := range map[string]func(*world) *Ring{
		"full":      (*world).ring,
		"co-signer": func(w *world) *Ring { return NewRing(nil, w.Keys.Operator) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := journalPath(t)
			holds := func(c *ServerConfig) { c.Ring = ring(w) }
			s := w.server(t, path, holds)
			var others []ionet.Key
			at := w.at("epoch", 3)
			third := w.epoch(at, 100)
			sign(t, s, ask(t, third, at))
			s.Close()
			s = w.server(t, path, holds) // the memo is in the journal
			at = at.next(t, third)
			mustRefuse(t, s, "epoch", ask(t, w.epochAfter(at, 100, "made up"), at))
			if name == "co-signer" {
				others = []ionet.Key{w.Keys.Secret.Public(at.C)}
				jumped := w.at("epoch", 4) // a C that it never heard of
				mustRefuse(t, s, "epoch", ask(t, w.epochAfter(jumped, 100, "made up"), jumped))
			}
			fourth := w.epochAfter(at, 100, third.Memo)
			mustSign(t, s, ask(t, fourth, at), others...)
			mustSign(t, s, ask(t, fresh(fourth, "it expired"), at), others...)
			mustRefuse(t, s, "epoch", ask(t, w.epochAfter(at, 100, "made up"), at))
		})
	}
}

// A clock that is set far ahead and back frees nothing: what was forgotten meanwhile is
// in the journal.
func TestClockThatJumpsAheadAndBack(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, journalPath(t))
	p0, p1 := w.first("pay-0"), w.first("pay-1")
	first := w.payout(p0, 9_000)
	mustSign(t, s, ask(t, first, p0))
	now := w.now
	w.now = now.Add(48 * time.Hour)
	mustSign(t, s, ask(t, w.payout(p1, 500), p1))
	w.now = now.Add(10 * time.Minute)
	mustRefuse(t, s, "window", ask(t, fresh(w.payout(p1, 1_001), "more"), p1)) // the future counts too
	mustSign(t, s, ask(t, fresh(w.payout(p1, 1_000), "the rest"), p1))
	mustSign(t, s, ask(t, w.skip(p0.next(t, first)), p0.next(t, first))) // it goes on where it was
	if r, err := ReadJournal(s.journal.path, &w.policy, w.now); err != nil || r.Windows[0].Spent != ionet.MustAmount(10_000) {
		t.Errorf("the journal reports %+v, %v", r, err)
	}
}

// Anybody can have claims offered in anybody's name: a full signer's journal has one line
// a minute for a content, and after a restart nothing counts shorter for it.
func TestRepeatedClaimsFillNoJournal(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	at := w.first("claim-0")
	p := w.claim(at, payee(1), 3_000)
	wallet := []ionet.Key{payee(1)}
	start := w.now
	lines := func() int {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("\n"))
	}
	for i := range 119 {
		mustSign(t, s, ask(t, fresh(p, fmt.Sprint(i)), at), wallet...)
		w.now = w.now.Add(time.Second)
	}
	if got := lines(); got != 1+2 {
		t.Errorf("the journal has %d lines after 119 offers of one claim in two minutes, want 3", got)
	}
	mustSign(t, s, ask(t, w.claim(at, payee(2), 1), at), payee(2))
	if got := lines(); got != 1+3 {
		t.Errorf("the journal has %d lines, want one for another wallet's claim", got)
	}
	s.Close()
	s = w.server(t, path)
	last := start.Add(118 * time.Second)
	p1 := w.first("claim-1")
	w.now = last.Add(time.Hour - time.Second)
	mustRefuse(t, s, "window", ask(t, w.claim(p1, payee(1), 2_001), p1))
	w.now = last.Add(time.Hour + repeatTime + time.Second)
	mustSign(t, s, ask(t, w.claim(p1, payee(1), 2_001), p1), wallet...)
}
