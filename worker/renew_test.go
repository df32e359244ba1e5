package worker

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// delegate has a wallet sign for the host from 600 seconds before the network's start
// until so many seconds after it.
func (s *stage) delegate(wallet ed25519.PrivateKey, issued, expires int64) proofs.Envelope {
	s.t.Helper()
	d := proofs.Delegation{Provider: public(wallet), Payout: public(wallet), Workers: []ionet.Key{public(s.key)}, Issued: s.start + issued, Expires: s.start + expires}
	e, err := SignDelegation(s.net.Network.ID(), wallet, d)
	must(s.t, err)
	return e
}

// handIn gives a statement to the service, as the provider does.
func (s *stage) handIn(e proofs.Envelope) {
	s.t.Helper()
	api, err := client.New(client.Config{Server: s.server.URL, Network: s.net.Network.ID()})
	must(s.t, err)
	results, err := api.Submit(s.t.Context(), []client.Presented{{Statement: e}})
	must(s.t, err)
	if p := results[0].Problem; p != nil {
		s.t.Fatal(p)
	}
}

// openWith starts the worker under that delegation.
func (s *stage) openWith(e proofs.Envelope) {
	s.t.Helper()
	f, err := OpenFolder(s.dir)
	must(s.t, err)
	must(s.t, errors.Join(f.SetDelegation(e), f.Close()))
	s.openWorker()
}

// inventories returns the inventories that a book's uptime statements name.
func (s *stage) inventories(book *proofs.Book) map[ionet.Hash]bool {
	all := map[ionet.Hash]bool{}
	for _, u := range s.uptimes(book) {
		all[u.Inventory] = true
	}
	return all
}

const stageEpoch = stageSamples * stageSample

// TestRenewal: a new delegation at the service takes the place of the old one before that
// ends, at the beginning of an epoch; a stranger's does not.
func TestRenewal(t *testing.T) {
	s := newStage(t)
	s.openWith(s.delegate(s.wallet, -200, 2*stageEpoch+stageEpoch/2)) // half of its time is over soon
	s.live(1, 2)
	s.handIn(s.delegate(testKey(9), -100, 100*stageEpoch))
	fresh := s.delegate(s.wallet, -150, 100*stageEpoch)
	s.handIn(fresh)
	s.handIn(s.delegate(s.wallet, -300, 200*stageEpoch)) // issued earlier: it was replaced
	s.live(4, 4)
	if got := s.saw(EventDelegated); len(got) != 1 || got[0].ID != fresh.ID() {
		t.Fatalf("delegations: %v, want %s", got, fresh.ID())
	}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		book := s.sealed(epoch)
		s.wantRules(book, proofs.Accepted, proofs.Accepted)
		if n := len(s.inventories(book)); n != 1 || len(s.uptimes(book)) != stageSamples {
			t.Errorf("epoch %d goes by %d inventories, %d statements", epoch, n, len(s.uptimes(book)))
		}
	}
	if e, err := s.folder.Delegation(); err != nil || e.ID() != fresh.ID() {
		t.Errorf("the folder has %v, %v", e.ID(), err)
	}
	if got := s.saw(EventRegistered); len(got) != 2 {
		t.Errorf("registered %d times, want 2", len(got))
	}
	s.closeWorker()
	s.openWorker() // begins with the new one
	s.live(5, 3)
	if got := s.saw(EventRegistered); len(got) != 2 {
		t.Errorf("after a restart: registered %d times", len(got))
	}
}

// TestRenewByWallet: where the provider's wallet is at hand, nobody has to ask.
func TestRenewByWallet(t *testing.T) {
	s := newStage(t)
	s.openWith(s.delegate(s.wallet, -2000, stageEpoch+stageEpoch/2))
	s.w.cfg.Renew = func(now time.Time) (proofs.Envelope, error) {
		return SignDelegation(s.net.Network.ID(), s.wallet, Delegation(public(s.wallet), ionet.Key{}, public(s.key), now, 30))
	}
	s.live(3, 4)
	for epoch := uint64(1); epoch <= 2; epoch++ {
		if all := s.uptimes(s.sealed(epoch)); len(all) != stageSamples {
			t.Errorf("epoch %d has %d statements", epoch, len(all))
		}
	}
	if got := s.saw(EventDelegated); len(got) != 1 {
		t.Errorf("delegations: %v", got)
	}
}

// TestDelegationEnds: nothing is signed that can't count, and the host goes on with the
// next epoch once the provider has signed anew.
func TestDelegationEnds(t *testing.T) {
	s := newStage(t)
	s.openWith(s.delegate(s.wallet, -200, 3*stageSample))
	s.live(2, 1)
	if got := s.saw(EventSkipped); len(got) != 1 || got[0].Sample != 3 || !strings.Contains(got[0].Text, public(s.wallet).String()) {
		t.Errorf("skipped: %v, want a word about sample 3", got)
	}
	if list := s.w.spool.uptimes(1); len(list) != 3 {
		t.Errorf("%d statements are signed, want those of samples 0..2", len(list))
	}
	s.handIn(s.delegate(s.wallet, -150, 100*stageEpoch))
	s.live(5, 3)
	if got := s.saw(EventDelegated); len(got) != 1 {
		t.Fatalf("delegations: %v", got)
	}
	if all := s.uptimes(s.sealed(4)); len(all) != stageSamples {
		t.Errorf("epoch 4 has %d statements", len(all))
	}
	if got := s.saw(EventRefused); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestRevoked: the provider takes its word back and gives another one.
func TestRevoked(t *testing.T) {
	s := newStage(t)
	first := s.delegate(s.wallet, -200, 100*stageEpoch)
	s.openWith(first)
	s.live(1, 3)
	text, err := proofs.Revocation{Provider: public(s.wallet), Delegation: first.ID(), Issued: s.start}.Text(s.net.Network.ID())
	must(t, err)
	s.handIn(proofs.Sign(s.net.Network.ID(), proofs.KindRevocation, s.wallet, []byte(text)))
	s.handIn(s.delegate(s.wallet, -150, 100*stageEpoch))
	s.live(5, 3)
	if got := s.saw(EventDelegated); len(got) != 1 {
		t.Fatalf("delegations: %v", got)
	}
	s.wantRules(s.sealed(4), proofs.Accepted, proofs.Accepted)
}

// TestFindDelegation has a service that lists what it likes: only what the provider signed
// for this host, and what is in force, is taken.
func TestFindDelegation(t *testing.T) {
	wallet, worker, now := testKey(2), testKey(1), int64(1_800_000_000)
	sign := func(wallet, worker ed25519.PrivateKey, network ionet.Hash, issued, expires int64) proofs.Envelope {
		d := proofs.Delegation{Provider: public(wallet), Payout: public(wallet), Workers: []ionet.Key{public(worker)}, Issued: now + issued, Expires: now + expires}
		e, err := SignDelegation(network, wallet, d)
		must(t, err)
		return e
	}
	good := sign(wallet, worker, testNetwork, -100, 1000)
	forged := sign(wallet, worker, testNetwork, -50, 1000)
	forged.Signature[7] ^= 1
	posing := sign(testKey(9), worker, testNetwork, -50, 1000)
	posing.Signer = public(wallet)
	raw := func(e proofs.Envelope) []byte { return e.Append(nil) }
	bad := map[string]client.Delegation{
		"a stranger's":         {Envelope: raw(sign(testKey(9), worker, testNetwork, -50, 1000))},
		"another worker's":     {Envelope: raw(sign(wallet, testKey(8), testNetwork, -50, 1000))},
		"of another network":   {Envelope: raw(sign(wallet, worker, ionet.Hash{1}, -50, 1000))},
		"ended":                {Envelope: raw(sign(wallet, worker, testNetwork, -200, -10))},
		"not begun":            {Envelope: raw(sign(wallet, worker, testNetwork, 10, 1000))},
		"revoked":              {Envelope: raw(sign(wallet, worker, testNetwork, -40, 1000)), Revoked: 3},
		"forged":               {Envelope: raw(forged)},
		"in the wallet's name": {Envelope: raw(posing)},
		"older":                {Envelope: raw(sign(wallet, worker, testNetwork, -500, 1000))},
		"garbage":              {Envelope: []byte("hello")},
		"two":                  {Envelope: append(raw(good), raw(good)...)},
	}
	all := []client.Delegation{{Envelope: raw(good)}}
	for _, d := range bad {
		all = append(all, d)
	}
	list := func(l ...client.Delegation) *client.Client {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(client.Delegations{Delegations: l})
		}))
		t.Cleanup(server.Close)
		api, err := client.New(client.Config{Server: server.URL, Network: testNetwork, Attempts: 1})
		must(t, err)
		return api
	}
	e, err := FindDelegation(t.Context(), list(all...), public(worker), public(wallet), time.Unix(now, 0))
	if err != nil || e.ID() != good.ID() {
		t.Errorf("got %s, %v, want %s", e.ID(), err, good.ID())
	}
	for name, d := range bad {
		if name == "older" {
			continue // alone it is good enough
		}
		if e, err := FindDelegation(t.Context(), list(d), public(worker), public(wallet), time.Unix(now, 0)); !errors.Is(err, ErrNoDelegation) {
			t.Errorf("%s: got %s, %v", name, e.ID(), err)
		}
	}
}

// TestOlderDelegation has the service hand out what the provider signed before: it names
// another payout wallet, perhaps one that was stolen.
func TestOlderDelegation(t *testing.T) {
	s := newStage(t)
	s.openWith(s.delegate(s.wallet, -200, 2*stageEpoch+stageEpoch/2))
	s.live(1, 2)
	s.handIn(s.delegate(s.wallet, -300, 200*stageEpoch))
	s.live(3, 1)
	if got := s.saw(EventDelegated); len(got) > 0 {
		t.Errorf("took %v", got)
	}
}
