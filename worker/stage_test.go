package worker

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/web"
)

// These tests run the loop against the real service, its HTTP side, a real database
// and a real chain, under a clock that only they move.

// handTime is that clock, in Unix seconds. It is one for all tests of the package,
// for the chain's clock can't go back.
var handTime atomic.Int64

func handNow() time.Time { return time.Unix(handTime.Load(), 0) }

var handNode = sync.OnceValues(func() (*localnet.Node, error) {
	handTime.Store(1_800_000_000)
	return localnet.Start(context.Background(), localnet.Config{SlotTime: -1, FinalityDepth: 1, Now: handNow})
})

// An epoch is a minute of six samples; it closes 20 seconds after its end.
const (
	stageSamples = 6
	stageSample  = 10
)

const stagePolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 3
late_after = 1
late_limit = 2
[close]
grace_seconds = 20
[simulated]
earn = true
[binding]
idle_epochs = 3
[stake]
minimum_per_multiplier = "0"
[fees]
network_basis_points = 0
[payout]
minimum = "0"
[[pools]]
name = "all"
basis_points = 10000
[[models]]
name = "h100"
pool = "all"
multiplier_milli = 10000
match = ["NVIDIA H100 80GB HBM3"]
`

// stage is a network with one host.
type stage struct {
	t       *testing.T
	node    *localnet.Node
	chain   *rpc.Client
	net     *genesis.Prepared
	store   *publish.Folder
	url     string // of the database
	pool    *pgxpool.Pool
	svc     *settlement.Service
	server  *httptest.Server
	web     atomic.Pointer[http.Handler]
	between atomic.Pointer[between]
	wire    *wire
	start   int64

	key     ed25519.PrivateKey
	wallet  ed25519.PrivateKey
	dir     string
	sampler Sampler
	rpc     *rpc.Client   // the host's own way to the chain
	skew    time.Duration // of the host's wall clock
	boots   byte          // how often the host was booted
	booted  int64         // Unix time at which its boot clock began
	folder  *Folder
	w       *Worker
	mu      sync.Mutex
	events  []Event
}

// between stands before the service: it may answer in its place.
type between func(rw http.ResponseWriter, r *http.Request, service http.Handler)

// stand puts f before the service, nil takes it away.
func (s *stage) stand(f between) { s.between.Store(&f) }

func (s *stage) serve(rw http.ResponseWriter, r *http.Request) {
	service := *s.web.Load()
	if f := s.between.Load(); f != nil && *f != nil {
		(*f)(rw, r, service)
		return
	}
	service.ServeHTTP(rw, r)
}

// wire is the host's way to the service.
type wire struct {
	down atomic.Bool // nothing goes out
	deaf atomic.Bool // requests arrive, answers are lost
}

var errWire = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("the wire is cut")}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.down.Load() {
		return nil, errWire
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && w.deaf.Load() {
		resp.Body.Close()
		return nil, errWire
	}
	return resp, err
}

// newStage makes a network that starts at the next sample and a host that has not
// spoken to it.
func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOf(t, stageSamples, stagePolicy)
}

// newStageOf is newStage with that many samples in an epoch, and a policy.
func newStageOf(t *testing.T, samples uint16, policy string) *stage {
	t.Helper()
	node, err := handNode()
	must(t, err)
	s := &stage{t: t, node: node, wire: &wire{}, url: pgtest.NewURL(t), key: testKey(1), wallet: testKey(2), dir: t.TempDir(), start: handTime.Load() + stageSample, booted: handTime.Load() - 1000}
	schedule, err := emissions.Hourly(8)
	must(t, err)
	schedule, err = schedule.Shorten(100)
	must(t, err)
	s.chain, err = rpc.New(rpc.Config{Endpoints: []string{node.URL()}, Pause: time.Millisecond})
	must(t, err)
	t.Cleanup(s.chain.Close)
	s.net, err = genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "worker", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(s.start, 0), Schedule: schedule,
		EpochSeconds: uint32(samples) * stageSample, Samples: samples, PayLanes: 1, ClaimLanes: 1, Policy: []byte(policy),
	})
	must(t, err)
	s.store, err = publish.NewFolder(t.TempDir())
	must(t, err)
	s.whileSlotsPass(func() error {
		return genesis.Run(t.Context(), s.net, genesis.Options{Chain: s.chain, Store: s.store, Airdrop: true, Poll: time.Millisecond})
	})
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.server.Close)
	s.pool = pgtest.Open(t, s.url)
	s.restartService()
	t.Cleanup(func() {
		if t.Failed() {
			for _, e := range s.events {
				t.Log(e)
			}
		}
	})
	s.sampler, err = NewSimulation(2, 1, handNow) // seed 1 is an H100 host
	must(t, err)
	return s
}

func (s *stage) whileSlotsPass(f func() error) {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			must(s.t, err)
			return
		case <-time.After(2 * time.Millisecond):
			must(s.t, s.node.Advance(1))
		}
	}
}

// restartService starts the service anew on the database as it is.
func (s *stage) restartService() {
	s.t.Helper()
	svc, err := settlement.New(s.t.Context(), settlement.Config{
		Pool: s.pool, Chain: s.chain, Store: s.store, Network: s.net.Network, NetworkFile: s.net.NetworkFile,
		Policy: s.net.Policy, PolicyFile: s.net.PolicyFile,
		Keys: settlement.Keys{Operator: s.net.Keys.Operator, Fees: s.net.Keys.Fees, Service: s.net.Keys.Service, Lane: s.net.Keys.Secret},
		Now:  handNow,
	})
	must(s.t, err)
	h := web.Handler(web.Config{Service: svc, Files: s.store.Dir(), Now: handNow})
	s.svc = svc
	s.web.Store(&h)
}

// openWorker starts the worker on its folder.
func (s *stage) openWorker() {
	s.t.Helper()
	must(s.t, s.tryOpenWorker())
}

func (s *stage) tryOpenWorker() error {
	w, f, err := s.workerIn(s.dir, s.sampler)
	if err != nil {
		return err
	}
	s.w, s.folder = w, f
	s.t.Cleanup(s.closeWorker)
	return nil
}

// workerIn starts a worker on a folder, which it makes where it is not there.
func (s *stage) workerIn(dir string, sampler Sampler) (*Worker, *Folder, error) {
	f, err := OpenFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := f.Join(s.net.NetworkFile); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	e, err := f.Delegation()
	if errors.Is(err, os.ErrNotExist) {
		e, err = SignDelegation(s.net.Network.ID(), s.wallet, Delegation(public(s.wallet), ionet.Key{}, public(s.key), time.Unix(s.start, 0), 30))
		if err == nil {
			err = f.SetDelegation(e)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	api, err := client.New(client.Config{Server: s.server.URL, Network: s.net.Network.ID(), Transport: s.wire, Attempts: 1})
	must(s.t, err)
	w, err := New(s.t.Context(), Config{
		API: api, Network: s.net.Network, Key: s.key, Delegation: e, Sampler: sampler, Folder: f, Chain: s.rpc,
		Now:  func() time.Time { return handNow().Add(s.skew) },
		Boot: ionet.Key{1, s.boots}, Up: func() time.Duration { return time.Duration(handTime.Load()-s.booted) * time.Second },
		Events: func(e Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return w, f, nil
}

func (s *stage) closeWorker() {
	if s.w != nil {
		must(s.t, errors.Join(s.w.Close(), s.folder.Close()))
		s.w = nil
	}
}

// tick does all that the worker would do now. One round signs what has its beacon
// and sends it; the second gets what the first one's end made possible.
func (s *stage) tick() {
	s.t.Helper()
	for range 2 {
		must(s.t, s.w.Read(s.t.Context()))
		must(s.t, s.w.Call(s.t.Context()))
	}
}

// toSample goes to the sample's first second, leaving final blocks in each sample on
// the way; while says what happens in each of them.
func (s *stage) toSample(epoch uint64, sample uint16, while func()) {
	s.t.Helper()
	goal := s.net.Network.Clock().SampleStart(epoch, sample)
	for {
		must(s.t, s.node.Advance(3))
		now := handTime.Load()
		if now >= goal {
			return
		}
		if now >= s.start && while != nil {
			while()
		}
		handTime.Store(min(goal, now+stageSample-(now-s.start)%stageSample))
	}
}

// live goes to the sample, with the worker ticking in each sample on the way and
// the service settling.
func (s *stage) live(epoch uint64, sample uint16) {
	s.t.Helper()
	s.toSample(epoch, sample, func() { s.tick(); s.settle() })
}

// settle makes a few passes of the service.
func (s *stage) settle() {
	s.t.Helper()
	for range 3 {
		must(s.t, s.svc.Settle(s.t.Context()))
		must(s.t, s.node.Advance(2))
	}
}

// sealed settles until the epoch is sealed, in its grace's last second, and lets
// the worker see it.
func (s *stage) sealed(epoch uint64) *proofs.Book {
	s.t.Helper()
	for range 40 {
		if e, err := s.svc.Epoch(s.t.Context(), epoch); err == nil && string(e.State) == client.EpochSealed {
			file, err := s.store.Get(s.t.Context(), publish.BookName(e.BookRoot))
			must(s.t, err)
			book, err := proofs.ParseBook(file)
			must(s.t, err)
			return book
		}
		s.settle()
	}
	s.t.Fatalf("epoch %d is not sealed", epoch)
	return nil
}

// saw returns the events of that kind.
func (s *stage) saw(kind EventKind) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Event
	for _, e := range s.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// uptimes returns the book's uptime statements by sample; two of one sample fail.
func (s *stage) uptimes(book *proofs.Book) map[uint16]proofs.Uptime {
	s.t.Helper()
	all := map[uint16]proofs.Uptime{}
	for _, st := range book.Inputs.Statements {
		if st.Envelope.Kind != proofs.KindUptime || st.Envelope.Signer != public(s.key) {
			continue
		}
		u, err := proofs.ParseUptime(st.Envelope.Body)
		must(s.t, err)
		if _, twice := all[u.Sample]; twice {
			s.t.Errorf("epoch %d: two statements for sample %d", u.Epoch, u.Sample)
		}
		all[u.Sample] = u
	}
	return all
}

// wantRules compares the rules of this worker's verdicts.
func (s *stage) wantRules(book *proofs.Book, want ...proofs.Rule) {
	s.t.Helper()
	var got []proofs.Rule
	for _, v := range book.Verdicts {
		if v.Worker == public(s.key) {
			got = append(got, v.Rule)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("epoch %d: rules %v, want %v", book.Inputs.Epoch, got, want)
	}
}
