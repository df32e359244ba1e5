package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

func TestWorkerEarns(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(3, 3)
	previous := ionet.Hash{}
	for epoch := uint64(1); epoch <= 2; epoch++ {
		book := s.sealed(epoch)
		s.wantRules(book, proofs.Accepted, proofs.Accepted)
		all := s.uptimes(book)
		if len(all) != stageSamples {
			t.Errorf("epoch %d has %d statements, want %d", epoch, len(all), stageSamples)
		}
		for sample := range uint16(stageSamples) {
			u := all[sample]
			if u.Previous != previous {
				t.Errorf("epoch %d sample %d: previous is %s, want %s", epoch, sample, u.Previous, previous)
			}
			body, err := u.Encode()
			must(t, err)
			e := proofs.Sign(s.net.Network.ID(), proofs.KindUptime, s.key, body)
			previous = e.ID()
		}
	}
	s.tick()
	if sealed := s.saw(EventSealed); len(sealed) != 2 || sealed[0].Count != 2 || sealed[0].Amount.IsZero() {
		t.Errorf("sealed: %v", sealed)
	}
	if got := s.saw(EventRegistered); len(got) != 1 {
		t.Errorf("registered %d times", len(got))
	}
	if oldest := s.w.spool.oldest(); oldest != 3 {
		t.Errorf("the spool still holds epoch %d", oldest)
	}
	for _, kind := range []EventKind{EventRefused, EventSkipped, EventOmission, EventBadAck, EventTrouble} {
		if list := s.saw(kind); len(list) > 0 {
			t.Errorf("%v", list)
		}
	}
}

// TestOutages lets anything happen in each sample: no network, lost answers, a
// restart, a kill in the middle of a write, a new service. No sample is lost that the
// host was up for, and none is signed twice.
func TestOutages(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { outages(t, rand.New(rand.NewPCG(4, seed))) })
	}
}

func outages(t *testing.T, r *rand.Rand) {
	s := newStage(t)
	s.openWorker()
	happen := func() {
		s.wire.down.Store(false)
		s.wire.deaf.Store(false)
		switch r.IntN(6) {
		case 0:
			s.wire.down.Store(true)
		case 1:
			s.wire.deaf.Store(true)
		case 2:
			s.closeWorker()
			s.openWorker()
		case 3:
			s.tick()
			s.killMidWrite(r)
		case 4:
			s.restartService()
		}
		s.tick()
		s.settle()
	}
	const epochs = 4
	s.toSample(epochs+1, 1, happen)
	s.wire.down.Store(false)
	s.wire.deaf.Store(false)
	s.live(epochs+1, 4)
	for epoch := uint64(1); epoch <= epochs; epoch++ {
		book := s.sealed(epoch)
		if all := s.uptimes(book); len(all) != stageSamples {
			t.Errorf("epoch %d has %d statements, want %d", epoch, len(all), stageSamples)
		}
	}
	s.tick()
	if list := append(s.saw(EventRefused), append(s.saw(EventOmission), s.saw(EventBadAck)...)...); len(list) > 0 {
		t.Errorf("%v", list)
	}
	for _, kind := range []EventKind{EventWaiting, EventRecovered, EventSpool, EventNewInstance} {
		if len(s.saw(kind)) == 0 {
			t.Errorf("the script brought no event %s", kind)
		}
	}
}

// killMidWrite ends the worker as kill -9 in the middle of a write does: without
// closing anything, with half a record at the spool's end.
func (s *stage) killMidWrite(r *rand.Rand) {
	s.t.Helper()
	path := s.w.spool.path
	s.closeWorker() // the kernel frees the lock of a killed process
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(s.t, err)
	record := framed.Append(nil, tagSealed, make([]byte, 8))
	_, err = f.Write(record[:1+r.IntN(len(record)-1)])
	must(s.t, err)
	must(s.t, f.Close())
	s.openWorker()
}

// TestServiceRestored puts the service's database back by half an epoch: the worker
// presents everything again with its acks, and it counts as when it came first.
func TestServiceRestored(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	s.pool.Reset()
	old := pgtest.Copy(t, s.url)
	s.pool.Reset()
	s.live(1, 5)
	s.url, s.pool = old, pgtest.Open(t, old)
	s.restartService()
	s.live(2, 4)
	book := s.sealed(1)
	s.wantRules(book, proofs.Accepted, proofs.Accepted)
	late := 0
	for _, st := range book.Inputs.Statements {
		if u, err := proofs.ParseUptime(st.Envelope.Body); st.Envelope.Kind == proofs.KindUptime && err == nil && u.Sample < 5 && st.Arrival.Epoch > 1 {
			late++
		}
	}
	if all := s.uptimes(book); len(all) < 5 || late > 0 {
		t.Errorf("%d statements, %d of them late; want those of samples 0..4 with the arrival that was acked", len(all), late)
	}
	if got := s.saw(EventNewInstance); len(got) != 1 || got[0].Count == 0 {
		t.Errorf("new instance: %v", got)
	}
	if list := s.saw(EventBadAck); len(list) > 0 {
		t.Errorf("%v", list)
	}
}

// TestOmission has the service lose a statement that it acked: the worker keeps
// statement and ack as proof.
func TestOmission(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 4)
	if n := len(s.w.spool.uptimes(1)); n < 3 {
		t.Fatalf("only %d statements so far", n)
	}
	lost := s.w.spool.uptimes(1)[2]
	// Deleted now, it would be noticed and asked for again: so it goes in the moment in
	// which its epoch is frozen.
	for _, sql := range []string{
		`CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM uptimes WHERE epoch = 1 AND sample = ` + strconv.Itoa(int(lost.at.sample)) + `; RETURN NEW; END $$`,
		`CREATE TRIGGER lose BEFORE UPDATE ON intake FOR EACH ROW EXECUTE FUNCTION lose()`,
	} {
		_, err := s.pool.Exec(t.Context(), sql)
		must(t, err)
	}
	s.live(2, 4)
	s.sealed(1)
	s.tick()
	got := s.saw(EventOmission)
	if len(got) != 1 || got[0].ID != lost.id || got[0].Epoch != 1 {
		t.Fatalf("omissions: %v, want that of %s", got, lost.id)
	}
	b, err := os.ReadFile(got[0].Text)
	must(t, err)
	statement, rest, err := proofs.ParseEnvelope(b)
	must(t, err)
	ack, err := oneEnvelope(rest)
	must(t, err)
	promise, err := proofs.ParseAck(ack.Body)
	must(t, err)
	id := s.net.Network.ID()
	if statement.ID() != lost.id || promise.Statement != lost.id || ack.Signer != s.net.Network.Keys.Service || statement.Verify(id) != nil || ack.Verify(id) != nil {
		t.Error("the evidence does not prove the omission")
	}
}

// TestNewLife loses the worker's spool in the middle of an epoch: no sample is signed
// a second time.
func TestNewLife(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 3)
	s.tick() // sample 3 is read
	s.closeWorker()
	must(t, os.Remove(filepath.Join(s.dir, "spool")))
	s.openWorker()
	s.live(2, 4)
	book := s.sealed(1)
	s.wantRules(book, proofs.Accepted, proofs.Accepted)
	s.uptimes(book) // fails on two for one sample
}

// TestOldSpool puts an older copy of the spool back: what was signed after it must
// neither be signed again nor be continued, for both would be equivocation.
func TestOldSpool(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	old, err := os.ReadFile(s.w.spool.path)
	must(t, err)
	s.live(1, 5)
	s.closeWorker()
	must(t, os.WriteFile(filepath.Join(s.dir, "spool"), old, 0o600))
	s.openWorker()
	s.live(2, 4)
	book := s.sealed(1)
	s.wantRules(book, proofs.Accepted, proofs.Accepted)
	s.uptimes(book)
}

// TestDevicesChange takes a GPU away in the middle of an epoch: it is reported as gone
// until the next epoch's inventory is without it.
func TestDevicesChange(t *testing.T) {
	s := newStage(t)
	made, err := NewSimulation(2, 1, handNow)
	must(t, err)
	devices, err := made.Inventory(t.Context())
	must(t, err)
	readings, err := made.Sample(t.Context())
	must(t, err)
	h := &host{devices: devices, readings: readings}
	s.sampler = h
	s.openWorker()
	s.live(1, 4)
	h.devices, h.readings = devices[:1], readings[:1]
	s.live(3, 4)
	first, second := s.sealed(1), s.sealed(2)
	s.wantRules(first, proofs.Accepted, proofs.Accepted) // four samples suffice
	gone := 0
	for _, u := range s.uptimes(first) {
		for _, d := range u.Devices {
			if d.Status == proofs.DeviceGone {
				gone++
			}
		}
	}
	if gone != 2 {
		t.Errorf("a device is gone in %d entries, want those of samples 4 and 5", gone)
	}
	s.wantRules(second, proofs.Accepted)
	if got := s.saw(EventRegistered); len(got) != 2 {
		t.Errorf("registered %d times, want 2", len(got))
	}
	h.err = os.ErrDeadlineExceeded // the driver hangs up
	s.live(3, 5)
	if got := s.saw(EventTrouble); len(got) == 0 || !strings.Contains(got[0].Text, "gone") {
		t.Errorf("trouble: %v", got)
	}
}

// TestHeld refuses the registration until the device is free: nothing is lost that
// can still count.
func TestHeld(t *testing.T) {
	s := newStage(t)
	s.settle() // the database knows the genesis
	s.openWorker()
	other := testKey(7)
	uuid, owner := s.w.devices[0].UUID, public(other)
	_, err := s.pool.Exec(t.Context(), `INSERT INTO bindings (uuid, worker, since, last) VALUES ($1, $2, 1, 1)`, uuid[:], owner[:])
	must(t, err)
	renewed := 0
	s.w.cfg.Renew = func(now time.Time) (proofs.Envelope, error) {
		renewed++
		return SignDelegation(s.net.Network.ID(), s.wallet, Delegation(public(s.wallet), ionet.Key{}, public(s.key), now, 30))
	}
	s.toSample(1, 3, s.tick)
	text, at, err := s.folder.Refusal()
	must(t, err)
	if !strings.Contains(text, "is bound to worker "+owner.String()+" until its provider releases it") || at.Unix() < s.start-stageSample {
		t.Errorf("refusal: %q at %s", text, at)
	}
	if got := s.saw(EventWaiting); len(got) != 1 || !strings.Contains(got[0].Text, client.DeviceBound) {
		t.Errorf("waiting: %v, want one %s", got, client.DeviceBound)
	}
	if got := s.saw(EventAccepted); len(got) > 0 {
		t.Errorf("accepted: %v", got)
	}
	_, err = s.pool.Exec(t.Context(), `DELETE FROM bindings`)
	must(t, err)
	s.toSample(2, 1, s.tick)
	if len(s.saw(EventRegistered)) != 1 || len(s.saw(EventAccepted)) < stageSamples {
		t.Errorf("after the release: %d statements accepted", len(s.saw(EventAccepted)))
	}
	if renewed > 0 {
		t.Errorf("%d delegations were signed, which mend no binding", renewed)
	}
	if text, _, err := s.folder.Refusal(); err != nil || text != "" {
		t.Errorf("after the release: refusal %q, %v", text, err)
	}
}

func TestClockSkew(t *testing.T) {
	s := newStage(t)
	s.skew = 65 * time.Second
	s.openWorker()
	s.live(1, 5)
	if got := s.saw(EventClock); len(got) != 1 || !strings.Contains(got[0].Text, "1m") {
		t.Errorf("clock: %v", got)
	}
	if got := s.saw(EventAccepted); len(got) < 3 {
		t.Errorf("%d statements accepted", len(got))
	}
	if got := s.saw(EventRefused); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func TestOneProcess(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	if _, err := OpenFolder(s.dir); err == nil || !strings.Contains(err.Error(), ErrLocked.Error()) {
		t.Errorf("second process: got %v, want ErrLocked", err)
	}
	s.closeWorker()
	s.openWorker()
}

func TestForeignNetwork(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	other := newStage(t)
	h := other.web.Load()
	s.web.Store(h)
	if err := s.w.Call(t.Context()); err == nil || !strings.Contains(err.Error(), "serves network") {
		t.Errorf("got %v, want a word about the other network", err)
	}
	if err := s.folder.Join(other.net.NetworkFile); err == nil || !strings.Contains(err.Error(), "another --dir") {
		t.Errorf("a folder joined two networks: %v", err)
	}
}

func TestDelegationIsChecked(t *testing.T) {
	worker, wallet := testKey(1), testKey(2)
	good := delegationFor(t, testNetwork, wallet, worker, 1000)
	forged := good
	forged.Signature[3] ^= 1
	inventory, err := (proofs.Inventory{Devices: []proofs.InventoryDevice{{Name: "a", PCI: "b", Driver: "c", VBIOS: "d"}}}).Encode()
	must(t, err)
	for name, c := range map[string]struct {
		e    proofs.Envelope
		want string
	}{
		"good":            {good, ""},
		"forged":          {forged, "signature"},
		"another worker":  {delegationFor(t, testNetwork, wallet, testKey(5), 1000), "does not name this worker"},
		"another network": {delegationFor(t, ionet.Hash{1}, wallet, worker, 1000), "another network"},
		"another kind":    {proofs.Sign(testNetwork, proofs.KindInventory, worker, inventory), "kind inventory"},
	} {
		err := CheckDelegation(testNetwork, public(worker), c.e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestJoinSignature(t *testing.T) {
	worker, wallet := testKey(1), testKey(2)
	text, err := Delegation(public(wallet), ionet.Key{}, public(worker), time.Unix(1_800_000_000, 0), 30).Text(testNetwork)
	must(t, err)
	e := proofs.Sign(testNetwork, proofs.KindDelegation, wallet, []byte(text))
	if got, err := JoinSignature(testNetwork, text, e.Signature); err != nil || got.ID() != e.ID() {
		t.Errorf("got %v, %v", got.ID(), err)
	}
	for name, text := range map[string]string{
		"changed":  strings.Replace(text, "Expires", "Expired", 1),
		"newline":  text + "\n",
		"nobody's": "hello",
		"bad key":  strings.Replace(text, "Provider: ", "Provider: 0", 1),
	} {
		if _, err := JoinSignature(testNetwork, text, e.Signature); err == nil {
			t.Errorf("%s text is accepted", name)
		}
	}
	if _, err := JoinSignature(testNetwork, text, [64]byte{}); err == nil {
		t.Error("an empty signature is accepted")
	}
}

// TestRun runs both goroutines until they are told to stop.
func TestRun(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.toSample(1, 0, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.w.Run(ctx) }()
	for range 6000 { // up to half a minute
		if len(s.saw(EventRegistered)) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(s.saw(EventRegistered)) == 0 {
		t.Error("it did not register")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
