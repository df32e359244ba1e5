package meter

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestOfferFiles: mistakes in an offer file are named.
func TestOfferFiles(t *testing.T) {
	good := fmt.Sprintf(offerText, 16, "http://127.0.0.1:8000")
	if _, err := ParseOfferFile([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`endpoint = "http://worker.example"`, ``, "endpoint is not an http(s) URL"},
		{`endpoint = "http://worker.example"`, `endpoint = "ftp://x"`, "endpoint is not an http(s) URL"},
		{`capacity = 16`, `capacity = 0`, "capacity is 0"},
		{`capacity = 16`, `capacity = -1`, "toml"},
		{`capacity = 16`, `capactiy = 16`, `unknown key "capactiy"`},
		{`expires_after = "1h"`, `expires_after = "1s"`, "expires_after is 1s"},
		{`expires_after = "1h"`, `expires_after = "soon"`, "soon"},
		{`unit = "token"`, `unit = "word"`, `unit "word" is none of`},
		{`unit = "token"`, ``, "unit is missing"},
		{`price = "3"`, `price = "0"`, "price is 0"},
		{`price = "3"`, `price = "-3"`, "amount"},
		{`price = "3"`, ``, "price is 0 or missing"},
		{`per = 1`, `per = 0`, "per is 0"},
		{`max_units = 100`, ``, "max_units is 0"},
		{`max_units = 100`, `max_units = 99999999999999`, "max_units or context is above"},
		{`backend = "http://127.0.0.1:8000"`, `backend = "127.0.0.1:8000"`, "backend is not an http(s) URL"},
		{`name = "chat"`, `name = "a model"`, "models"},
		{`name = "pictures"` + "\n" + `unit = "image"`, `name = "chat"` + "\n" + `unit = "token"`, "does not ascend"},
		{`authorization = "Bearer back-end-secret"`, "authorization = \"a\\nb\"", "line break"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%q is not in the file", c.old)
		}
		if _, err := ParseOfferFile([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in place of %q: %v, want %q", c.new, c.old, err, c.want)
		}
	}
	if _, err := ParseOfferFile([]byte(`endpoint = "http://x"`)); err == nil {
		t.Error("an offer of nothing is taken")
	}
}

// offerNow is the offer in force as renters see it.
func (r *rig) offerNow() proofs.Offer {
	r.t.Helper()
	var out client.WorkerOffer
	r.get("/ionet/v1/offer", &out)
	e, err := oneEnvelope(out.Statement)
	must(r.t, err)
	must(r.t, e.Verify(r.network.ID()))
	o, err := proofs.ParseOffer(e.Body)
	must(r.t, err)
	return o
}

// touch gives the offer file another time, whatever the file system's clock counts in.
func (r *rig) touch(text string) {
	r.t.Helper()
	r.writeOffer(text)
	r.clock.Add(1)
	must(r.t, os.Chtimes(r.cfg.OfferFile, time.Unix(r.clock.Load(), 0), time.Unix(r.clock.Load(), 0)))
}

// TestOffers: an offer follows its file and is renewed in time; its sequence grows
// whatever happens, and the new one counts from when the service has it.
func TestOffers(t *testing.T) {
	r, s := withService(t, nil)
	p := r.newPayer(1_000_000)
	s.knows(p)
	must(t, r.steps(1))
	first := r.offerNow()
	r.restart()
	must(t, r.steps(1))
	if again := r.offerNow(); again.Sequence != first.Sequence {
		t.Error("a restart made a new offer of the same file")
	}
	dear := strings.Replace(fmt.Sprintf(offerText, 16, r.back.URL), `price = "3"`, `price = "4"`, 1)
	s.set(func() { s.down = true })
	r.touch(dear)
	if err := r.steps(1); err == nil {
		t.Fatal("a step works without the service")
	}
	if g := p.send(try{covers: 100_000}); g.job == nil || g.job.Fee.Base() != 30 {
		t.Errorf("before the service has the new price: %+v %v", g.job, g.problem)
	}
	s.set(func() { s.down = false })
	must(t, r.steps(1))
	second := r.offerNow()
	if second.Sequence <= first.Sequence || second.Models[2].Price.Base() != 4 {
		t.Errorf("the file's new price is not offered: %+v", second)
	}
	if g := p.send(try{covers: 100_000}); g.job == nil || g.job.Fee.Base() != 40 {
		t.Errorf("at the new price: %+v %v", g.job, g.problem)
	}
	// A renter who goes by the old offer is told, not charged.
	old := r.meter.journal.book.offers[0].id
	named := func(id string) try {
		return try{covers: 100_000, change: func(req *http.Request) { req.Header.Set(client.OfferHeader, id) }}
	}
	if g := p.send(named(old.String())); g.problem == nil || g.problem.Kind() != client.OfferChanged || len(g.problem.Offer) == 0 {
		t.Errorf("by the old offer: %+v", g)
	}
	if g := p.send(named(r.meter.journal.book.newestOffer().id.String())); g.job == nil {
		t.Errorf("by the offer in force: %+v", g.problem)
	}
	// A broken file changes nothing.
	r.touch("endpoint = 5")
	must(t, r.steps(1))
	if now := r.offerNow(); now.Sequence != second.Sequence {
		t.Error("a broken file made an offer")
	}
	r.touch(fmt.Sprintf(offerText, 16, r.back.URL))
	must(t, r.steps(1))
	if g := p.send(named(r.meter.journal.book.offers[1].id.String())); g.job == nil || g.job.Fee.Base() != 30 {
		t.Errorf("cheaper than the offer that the renter names: %+v", g)
	}
	// Renewed at half its time, with a clock that stands behind the last one's as well.
	third := r.offerNow()
	r.clock.Add(1900)
	must(t, r.steps(1))
	if renewed := r.offerNow(); renewed.Sequence <= third.Sequence || renewed.Expires <= third.Expires {
		t.Errorf("not renewed: %+v", renewed)
	}
	r.clock.Add(-100_000)
	r.touch(dear)
	must(t, r.meter.publish(mustOffer(t, dear)))
	offers := r.meter.journal.book.offers
	for i := 1; i < len(offers); i++ {
		if offers[i].offer.Sequence <= offers[i-1].offer.Sequence {
			t.Errorf("sequence %d after %d", offers[i].offer.Sequence, offers[i-1].offer.Sequence)
		}
	}
}

func mustOffer(t testing.TB, text string) *OfferFile {
	t.Helper()
	f, err := ParseOfferFile([]byte(text))
	must(t, err)
	return f
}

// TestOfferRefused: a worker that no wallet delegated to yet tries again; an offer that is
// refused for good is signed anew after a while.
func TestOfferRefused(t *testing.T) {
	r, s := withService(t, nil)
	s.set(func() { s.refuse["offer"] = client.UnknownWorker })
	if err := r.steps(2); err == nil {
		t.Error("an offer of an undelegated worker is no trouble")
	}
	s.set(func() { s.refuse["offer"] = client.RateLimited })
	must(t, r.steps(1))
	first := r.meter.journal.book.newestOffer()
	if first.refused == "" {
		t.Error("the refusal is not kept")
	}
	s.set(func() { delete(s.refuse, "offer") })
	r.clock.Add(int64(offerPause.Seconds()) + 1)
	must(t, r.steps(2))
	if now := r.meter.journal.book.newestOffer(); now.id == first.id || now.ack == nil {
		t.Error("no other offer was signed")
	}
}

// TestDoctor looks at back ends of all kinds.
func TestDoctor(t *testing.T) {
	good, bad := newBackEnd(t), newBackEnd(t)
	good.answer(says(200, jsonMedia, `{"data":[{"id":"up"}]}`))
	bad.answer(says(401, jsonMedia, `{}`))
	text := func(name, url string) string {
		return fmt.Sprintf("[[models]]\nname=%q\nunit=\"token\"\nprice=\"1\"\nper=1\nmax_units=1\nbackend=%q\nupstream=\"up\"\n", name, url)
	}
	other := newBackEnd(t)
	file := mustOffer(t, "endpoint=\"http://127.0.0.1:1\"\n"+text("a", good.URL+"/v1/")+text("b", bad.URL)+text("c", "http://127.0.0.1:1")+text("d", other.URL))
	for _, status := range []int{404, 405, 501} {
		other.answer(says(status, jsonMedia, `{}`))
		got := CheckBackEnds(t.Context(), file, nil)[3]
		if got.Err != nil || got.Listed || !got.NoList || got.Asked != other.URL+"/v1/models" {
			t.Errorf("of one that answers %d: %+v", status, got)
		}
	}
	other.answer(says(200, jsonMedia, `{"data":[{"id":"another"}]}`))
	got := CheckBackEnds(t.Context(), file, nil)
	if len(got) != 4 || got[3].NoList || !strings.Contains(got[1].Err.Error(), bad.URL+"/v1/models") || got[0].Err != nil || !got[0].Listed || got[1].Err == nil || got[2].Err == nil || got[3].Err != nil || got[3].Listed {
		t.Errorf("found %+v", got)
	}
	if err := CheckEndpoint(t.Context(), file, public(workerKey), nil); err == nil {
		t.Error("nobody is at the endpoint, and that is right")
	}
	r := newRig(t, nil)
	file.Endpoint = r.server.URL
	must(t, CheckEndpoint(t.Context(), file, public(workerKey), nil))
	if err := CheckEndpoint(t.Context(), file, public(renterKey), nil); err == nil {
		t.Error("another worker is at the endpoint, and that is right")
	}
	if s, err := ReadStatus(filepath.Join(t.TempDir(), "none"), r.network, public(workerKey)); s != nil || err != nil {
		t.Errorf("status without a journal: %+v, %v", s, err)
	}
}
