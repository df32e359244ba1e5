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

	SpoolBytes int64            // bound of the spool; DefaultSpoolBytes when zero
	Now        func() time.Time // time.Now when nil
	Events     func(Event)      // nil: nobody
	Logger     *slog.Logger     // nil: discards
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
	skew      time.Duration            // the service's clock less ours, where that matters

	// Of the goroutine that talks to the service.
	instance  client.ID // that answered last
	known     bool      // instance is set
	head      client.Head
	asked     time.Time // when the head was asked for last
	beaconsAt time.Time // before then no beacon is asked for
	waiting   string    // the trouble that was reported last
	held      error     // why the registration was refused
	heldSince uint64    // epoch of that
	shown     sync.Mutex
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
	if err := CheckDelegation(cfg.Network.ID(), w.self, cfg.Delegation); err != nil {
		return nil, err
	}
	var err error
	if w.spool, err = cfg.Folder.Spool(cfg.Network.ID(), w.self, cfg.SpoolBytes); err != nil {
		return nil, err
	}
	if w.spool.cut > 0 {
		w.emit(Event{Kind: EventSpool, Text: fmt.Sprintf("removed %d bytes of a record that a crash cut off", w.spool.cut)})
	}
	list, err := inventoryOf(ctx, cfg.Sampler)
	if err == nil {
		err = w.takeInventory(list)
	}
	if err != nil {
		return nil, errors.Join(err, w.spool.Close())
	}
	return w, nil
}

// CheckDelegation returns an error unless e is a delegation on that network that
// names the worker.
func CheckDelegation(network ionet.Hash, worker ionet.Key, e proofs.Envelope) error {
	if e.Kind != proofs.KindDelegation {
		return fmt.Errorf("check delegation: this is a statement of kind %s", e.Kind)
	}
	d, err := proofs.ParseDelegation(network, e.Signer, e.Body)
	if err != nil {
		return fmt.Errorf("check delegation: %w", err)
	}
	if !d.Has(worker) {
		return fmt.Errorf("check delegation: it does not name this worker, %s", worker)
	}
	if err := e.Verify(network); err != nil {
		return fmt.Errorf("check delegation: %w", err)
	}
	return nil
}

// Close closes the spool. The folder is the caller's.
func (w *Worker) Close() error { return w.spool.Close() }

func (w *Worker) emit(e Event) {
	w.shown.Lock()
	defer w.shown.Unlock()
	w.cfg.Events(e)
}

// now is our clock, put right by the service's where the two differ by more than a
// request can explain. Which sample a statement is of is proven by its beacon alone.
func (w *Worker) now() time.Time { return w.cfg.Now().Add(w.skew) }

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
	err := w.lookAtHead(ctx)
	if unreachable(err) {
		w.wait(err)
		return nil
	}
	if err != nil {
		return err
	}
	var trouble error
	for _, step := range []func(context.Context) error{w.sign, w.send, w.checkSealed} {
		err := step(ctx)
		if err != nil && !unreachable(err) {
			return err
		}
		if trouble == nil {
			trouble = err
		}
	}
	if trouble == nil {
		trouble = w.held
	}
	w.wait(trouble)
	return nil
}

// apiError is an error of a call to the service: it may go away by itself.
type apiError struct{ err error }

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func unreachable(err error) bool {
	var api *apiError
	return errors.As(err, &api)
}

// wait reports a trouble once, not at every call, and that it is over.
func (w *Worker) wait(trouble error) {
	if trouble != nil {
		w.cfg.Logger.Debug("service call", "error", trouble)
	}
	switch {
	case trouble != nil && w.waiting == "":
		w.waiting = trouble.Error()
		w.emit(Event{Kind: EventWaiting, Text: w.waiting})
	case trouble == nil && w.waiting != "":
		w.waiting = ""
		w.emit(Event{Kind: EventRecovered})
	}
}

// skewThatMatters is the difference between two clocks that a slow request does
// not explain.
const skewThatMatters = 2 * time.Second

// lookAtHead asks the service where it is, a few times in a sample.
func (w *Worker) lookAtHead(ctx context.Context) error {
	before := w.cfg.Now()
	if every := time.Duration(w.clock.SampleSeconds()) * time.Second / 4; w.known && before.Sub(w.asked) < every && before.After(w.asked) {
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
	if err := w.setSkew(head.Time, before, w.cfg.Now()); err != nil {
		return err
	}
	if w.known && head.Instance == w.instance {
		return nil
	}
	return w.meet(ctx, head)
}

// setSkew compares the service's clock with ours between asking and answer. What was
// read at times that are yet to come is read again then.
func (w *Worker) setSkew(service int64, asked, answered time.Time) error {
	ours := asked.Add(answered.Sub(asked) / 2)
	skew := time.Unix(service, 0).Add(500 * time.Millisecond).Sub(ours) // the service tells whole seconds
	if skew.Abs() < skewThatMatters+answered.Sub(asked) {
		skew = 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if (skew - w.skew).Abs() >= skewThatMatters {
		w.emit(Event{Kind: EventClock, Text: fmt.Sprintf("this host is %s off the service's clock; using the service's", (-skew).Round(time.Second))})
	}
	w.skew = skew
	epoch, sample, ok := w.clock.At(w.now())
	if !ok {
		return nil
	}
	return w.spool.Back(epoch, sample)
}

// meet learns what a service that we have not spoken to has of us. What is not
// sealed is presented to it again, with its acks.
func (w *Worker) meet(ctx context.Context, head client.Head) error {
	status, err := w.cfg.API.Worker(ctx, w.self)
	if err != nil && !client.IsProblem(err, client.UnknownWorker) {
		return &apiError{err}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !status.LastStatement.IsZero() && !w.spool.knows(status.LastStatement) {
		// This key signed in an earlier life, of which this folder knows nothing. No
		// sample up to there may be signed again: that would be equivocation.
		if err := w.spool.NewLife(status.LastEpoch, status.LastSample); err != nil {
			return err
		}
	}
	acked := 0
	for _, it := range w.spool.items {
		it.sent = false
		if it.ack != nil {
			acked++
		}
	}
	if w.known {
		w.emit(Event{Kind: EventNewInstance, Count: acked})
	}
	w.instance, w.known, w.held = head.Instance, true, nil
	return nil
}
