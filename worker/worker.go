package worker

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Config is what a worker needs. The first group is required.
type Config struct {
	API        *client.Client // for this network: client.ForNetwork
	Network    *ionet.Network
	Key        ed25519.PrivateKey // the host key
	Delegation proofs.Envelope    // the provider's word for this key
	Sampler    Sampler
	Folder     *Folder

	// Provider is whose delegations the worker looks for at the service when the one
	// that it has ends; the delegation's own provider when zero.
	Provider ionet.Key
	// Renew makes a delegation where the provider's wallet is at hand; nil: it is not.
	Renew func(now time.Time) (proofs.Envelope, error)
	// Chain reads the cluster through endpoints that the host chose: the service's beacons
	// are held against it. Nil: they are taken on the service's word.
	Chain *rpc.Client

	SpoolBytes int64                // bound of the spool; DefaultSpoolBytes when zero
	Now        func() time.Time     // the host's wall clock; time.Now when nil
	Boot       ionet.Key            // names this boot of the host; needed with Up
	Up         func() time.Duration // time since then, suspensions included; the system's when nil
	Events     func(Event)          // nil: nobody
	Logger     *slog.Logger         // nil: discards
}

// Worker runs the statement loop of one host: one goroutine reads the devices, so that
// a service that hangs costs no sample, another one talks to the service.
type Worker struct {
	cfg   Config
	clock ionet.Clock
	self  ionet.Key

	mu        sync.Mutex // guards what follows; never held during a call
	spool     *Spool
	devices   []proofs.InventoryDevice // of the inventory in force
	inventory *item                    // its statement
	host      hostClock
	skew      time.Duration     // the service's clock less the host's wall clock, where that matters
	delegated proofs.Delegation // cfg.Delegation, read
	troubles  map[string]string // devices that are gone, and why
	ended     bool              // the delegation in force ended, and that was said
	filling   bool              // the spool is nearly full, and that was said

	// Of the goroutine that talks to the service. Times are the boot clock's.
	met         map[client.ID]bool // instances that have what is in the spool
	head        client.Head
	asked       time.Duration // when the head was asked for last
	beaconsAt   time.Duration // before then no beacon is asked for
	renewAt     time.Duration // before then no delegation is asked for
	pace        pace
	watch       watch
	batch       int         // how many statements the service takes at once
	falseBeacon falseBeacon // that was reported last
	silent      error       // no endpoint of ours answered in this round
	outage      outage
	held        error  // why the registration was refused
	heldSince   uint64 // epoch of that
	wanting     bool   // something was refused because of the newest delegation
	refusal     string // that the folder keeps for status
	shown       sync.Mutex

	metrics *metrics
}

// New opens the spool, checks the delegation and takes the inventory. It does not
// need the service.
func New(ctx context.Context, cfg Config) (*Worker, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Worker{cfg: cfg, clock: cfg.Network.Clock(), self: ionet.Key(cfg.Key.Public().(ed25519.PublicKey))}
	w.metrics = newMetrics(w)
	w.host = hostClock{boot: cfg.Boot, up: cfg.Up}
	if cfg.Up == nil {
		w.host.boot, w.host.up = bootClock()
	}
	var err error
	if w.delegated, err = readDelegation(cfg.Network.ID(), w.self, cfg.Delegation); err != nil {
		return nil, err
	}
	if cfg.Provider.IsZero() {
		w.cfg.Provider = w.delegated.Provider
	}
	if w.refusal, _, err = cfg.Folder.Refusal(); err != nil {
		return nil, err
	}
	if w.spool, err = cfg.Folder.Spool(cfg.Network.ID(), w.self, cfg.SpoolBytes); err != nil {
		return nil, err
	}
	if w.spool.cut > 0 {
		w.emit(Event{Kind: EventSpool, Text: fmt.Sprintf("removed %d bytes of a record that a crash cut off", w.spool.cut)})
	}
	err = w.startClock()
	var list []proofs.InventoryDevice
	if err == nil {
		list, err = inventoryOf(ctx, cfg.Sampler)
	}
	if err == nil {
		err = w.takeInventory(list)
	}
	if err != nil {
		return nil, errors.Join(err, w.spool.Close())
	}
	return w, nil
}

// Close closes the spool. The folder is the caller's.
func (w *Worker) Close() error { return w.spool.Close() }

func (w *Worker) emit(e Event) {
	w.shown.Lock()
	defer w.shown.Unlock()
	w.metrics.observe(w.clock, e)
	w.cfg.Events(e)
}

// Run works until ctx ends. It returns nil then, and an error only when the worker
// can't go on: the spool fails, or the service is of another network.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	for _, step := range []func(context.Context) error{w.Read, w.Call} {
		go func() {
			err := w.repeat(ctx, step)
			cancel() // the one doesn't go on without the other
			done <- err
		}()
	}
	return errors.Join(<-done, <-done)
}

// repeat does step several times in each sample.
func (w *Worker) repeat(ctx context.Context, step func(context.Context) error) error {
	pause := time.Duration(w.clock.SampleSeconds()) * time.Second / 8
	pause = min(max(pause, 100*time.Millisecond), 2*time.Second)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		timer.Reset(pause)
	}
}

// Call does all that is due with the service, in the order of a statement's life: sign,
// send, seal. An outage of the service is no error: what is due stays due, and a step
// that fails holds up no other.
func (w *Worker) Call(ctx context.Context) error {
	if w.pace.rests(w.host.up()) {
		return nil
	}
	trouble, err := w.call(ctx)
	if err != nil {
		return err
	}
	w.metrics.called(trouble)
	w.pace.took(trouble, w.host.up(), w.sampleTime())
	if trouble == nil {
		trouble = w.held
	}
	w.wait(trouble)
	return nil
}

func (w *Worker) call(ctx context.Context) (trouble, err error) {
	if err := w.lookAtHead(ctx); unreachable(err) {
		return err, nil
	} else if err != nil {
		return nil, err
	}
	steps := []func(context.Context) error{w.lookForTwin, w.renew, w.sign, w.send, w.checkSealed}
	if w.watch.on {
		steps = steps[:1] // nothing is signed or sent before that is known
	}
	for _, step := range steps {
		err := step(ctx)
		if err != nil && !unreachable(err) {
			return nil, err
		}
		if trouble == nil {
			trouble = err
		}
	}
	return trouble, nil
}

// apiError is an error of a call to the service: it may go away by itself.
type apiError struct{ err error }

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func unreachable(err error) bool {
	var api *apiError
	return errors.As(err, &api)
}

// lookAtHead asks the service where it is, a few times in a sample.
func (w *Worker) lookAtHead(ctx context.Context) error {
	before := w.host.up()
	if len(w.met) > 0 && before > w.asked && before < w.asked+w.sampleTime()/4 {
		return nil
	}
	head, err := w.cfg.API.Head(ctx)
	if err != nil {
		return &apiError{err}
	}
	if id := w.cfg.Network.ID(); head.Network != ionet.Key(id) {
		return fmt.Errorf("%s serves network %s, this worker joined %s: give the --server of that network, or another --dir", w.cfg.API.Server(), head.Network, ionet.Key(id))
	}
	w.asked, w.head = before, head
	if err := w.tellTime(head.Time, before, w.host.up()); err != nil {
		return err
	}
	// Several instances on one database may answer by turns.
	if w.met[head.Instance] {
		return nil
	}
	return w.meet(ctx, head)
}

// maxMet bounds how many instances are remembered.
const maxMet = 64

// meet learns what a service that we have not spoken to has of us. What is not
// sealed is presented to it again, with its acks.
func (w *Worker) meet(ctx context.Context, head client.Head) error {
	status, err := w.cfg.API.Worker(ctx, w.self)
	if err != nil && !client.IsProblem(err, client.UnknownWorker) {
		return &apiError{err}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := (moment{status.LastEpoch, status.LastSample}); err == nil && w.spool.foreign(status.LastStatement, at) && !at.before(w.spool.signed) {
		// This key signed in an earlier life, of which this folder knows nothing. No
		// sample up to there may be signed again: that would be equivocation.
		if err := w.spool.NewLife(status.LastEpoch, status.LastSample); err != nil {
			return err
		}
		w.beginWatch(status)
	}
	acked := 0
	for _, it := range w.spool.items {
		it.sent = false
		if it.ack != nil {
			acked++
		}
	}
	if len(w.met) > 0 {
		w.emit(Event{Kind: EventNewInstance, Count: acked})
	}
	if w.met == nil || len(w.met) >= maxMet {
		w.met = map[client.ID]bool{}
	}
	w.met[head.Instance] = true
	w.held, w.batch = nil, client.MaxStatements
	return nil
}
