package meter

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Config says what a meter works with. Network, Key, OfferFile and Journal are required.
type Config struct {
	Network   *ionet.Network
	Key       ed25519.PrivateKey // the worker's: it signs offers and jobs
	API       *client.Client     // of the service, with the network's id; nil: statements are kept, and nobody gets them
	OfferFile string             // path; read again when it changes
	Journal   string             // path; one process at a time works on it

	JournalBytes int64         // bound of the journal; DefaultJournalBytes when zero
	BatchJobs    int           // jobs of a channel that make a batch; 0 or 1: each goes by itself
	BatchEvery   time.Duration // no job waits longer for its batch; a minute when zero
	Silence      time.Duration // how long the service may be silent before nothing is served; 12 hours when zero
	Margin       time.Duration // while it is silent nothing is served that close to a channel's end; 10 minutes when zero

	Timeout   time.Duration     // of a back end's answer as a whole; 15 minutes when zero
	Stall     time.Duration     // between two pieces of a stream, and for a renter to take one; 2 minutes when zero
	Linger    time.Duration     // how long a back end may still tell usage after a renter left its stream; 5 seconds when zero
	MaxBody   int64             // bytes of a request; 16 MiB when zero
	Transport http.RoundTripper // to back ends; nil: one of our own

	Now    func() time.Time // the host's clock; time.Now when nil
	Logger *slog.Logger     // nil: nothing is logged
}

func (c *Config) fill() {
	c.BatchEvery = cmp.Or(c.BatchEvery, time.Minute)
	c.Silence = cmp.Or(c.Silence, 12*time.Hour)
	c.Margin = cmp.Or(c.Margin, 10*time.Minute)
	c.Timeout = cmp.Or(c.Timeout, 15*time.Minute)
	c.Stall = cmp.Or(c.Stall, 2*time.Minute)
	c.Linger = cmp.Or(c.Linger, 5*time.Second)
	c.MaxBody = cmp.Or(c.MaxBody, 16<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true}
	}
}

// Meter serves renters and hands their jobs to the service. It is safe for concurrent
// use.
type Meter struct {
	cfg     Config
	worker  ionet.Key
	journal *journal
	metrics *metrics
	kept    *keptAnswers
	wake    chan struct{} // there is something to send

	inFlight atomic.Int64
	ending   atomic.Bool  // Run ended: whose connection breaks now did not hang up
	heard    atomic.Int64 // when the service answered last, Unix nanoseconds of the host's clock
	away     atomic.Int64 // when the service did not answer last, the same; 0: it answered since
	ahead    atomic.Int64 // the service's clock less the host's, seconds

	filesMu sync.Mutex
	file    *OfferFile                // as it is in force or about to be
	files   map[ionet.Hash]*OfferFile // by offer: what serves its models

	proving sync.Mutex // one tree of a batch at a time
	proven  *batchTree // the last one

	send sender
}

// New opens the journal and the offer file, and signs an offer where the last one says
// something else.
func New(cfg Config) (*Meter, error) {
	if cfg.Network == nil || len(cfg.Key) != ed25519.PrivateKeySize || cfg.OfferFile == "" || cfg.Journal == "" {
		return nil, errors.New("open meter: network, key, offer file and journal are required")
	}
	cfg.fill()
	m := &Meter{
		cfg: cfg, worker: ionet.Key(cfg.Key.Public().(ed25519.PublicKey)), kept: newKeptAnswers(maxKept), wake: make(chan struct{}, 1),
		files: map[ionet.Hash]*OfferFile{},
	}
	m.send.verifier, m.send.batch, m.send.pause = proofs.NewVerifier(cfg.Network.ID(), 16), client.MaxStatements, tick
	m.heard.Store(cfg.Now().UnixNano())
	file, err := ReadOfferFile(cfg.OfferFile)
	if err != nil {
		return nil, err
	}
	if m.journal, err = openJournal(cfg.Journal, cfg.Network, m.worker, cfg.JournalBytes); err != nil {
		return nil, err
	}
	if m.journal.cut > 0 {
		cfg.Logger.Info("interrupted write removed from the journal", "bytes", m.journal.cut)
	}
	m.metrics = newMetrics(m)
	if err := m.publish(file); err != nil {
		return nil, errors.Join(err, m.journal.Close())
	}
	return m, nil
}

// Close closes the journal. What was answered is in it.
func (m *Meter) Close() error { return m.journal.Close() }

// Run sends, batches and renews until the context ends, or until the journal can't be
// written any more.
func (m *Meter) Run(ctx context.Context) error {
	defer m.ending.Store(true)
	for {
		err := m.step(ctx)
		if broken := m.brokenJournal(); broken != nil {
			return broken
		}
		if ctx.Err() != nil {
			return nil
		}
		m.pause(ctx, err)
	}
}

func (m *Meter) brokenJournal() error {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	return m.journal.broken
}

// now is the service's time, as far as it was told; Unix seconds.
func (m *Meter) now() int64 { return m.cfg.Now().Unix() + m.ahead.Load() }

// silence is for how long the service has not answered.
func (m *Meter) silence() time.Duration {
	return m.cfg.Now().Sub(time.Unix(0, m.heard.Load()))
}

// Handler serves renters.
func (m *Meter) Handler() http.Handler {
	mux := http.NewServeMux()
	for i := range endpoints {
		at := &endpoints[i]
		mux.HandleFunc("POST "+at.path, func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, at) })
	}
	mux.HandleFunc("GET /v1/models", m.listModels)
	mux.HandleFunc("POST /ionet/v1/channels", m.openChannel)
	mux.HandleFunc("GET /ionet/v1/channels/{key}", m.showChannel)
	mux.HandleFunc("GET /ionet/v1/jobs/{channel}/{job}", m.showJob)
	mux.HandleFunc("GET /ionet/v1/offer", m.showOffer)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerProblem(w, problem(http.StatusNotFound, client.NotFound, "this worker serves /v1/ and /ionet/v1/"))
	})
	return mux
}
