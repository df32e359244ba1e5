package signer

import (
	"crypto/sha256"
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

// Nor is an epoch's mint co-signed over and over.
func TestCoSignerMintsAFewTimes(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, journalPath(t), func(c *ServerConfig) { c.Ring = NewRing(nil, w.Keys.Operator) })
	e3, e4 := w.at("epoch", 3), w.at("epoch", 4)
	signed := func(p chain.Plan, at seat) bool { return sign(t, s, ask(t, p, at))[0].Refused == nil }
	for i := range maxMints {
		if !signed(fresh(w.epoch(e3, 100), string(rune('a'+i))), e3) {
			t.Fatalf("message %d of an epoch that expired is not co-signed again", i)
		}
	}
	mustRefuse(t, s, "window", ask(t, fresh(w.epoch(e3, 100), "z"), e3))
	if !signed(w.epoch(e4, 100), e4) {
		t.Error("the next epoch is not co-signed")
	}
}
