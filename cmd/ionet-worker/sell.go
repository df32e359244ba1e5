package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/worker/meter"
)

// sale are the flags by which a host serves renters.
type sale struct {
	Serve      string        `env:"IONET_SERVE" placeholder:"ADDR" help:"Serve renters at this address, as 127.0.0.1:8770: OpenAI's API, paid by voucher. Needs --offer. TLS is for a reverse proxy in front, which the offer's endpoint names."`
	Offer      string        `env:"IONET_OFFER" type:"path" placeholder:"FILE" help:"What is sold, at what price, and which back end serves it (TOML); read again when it changes."`
	JournalMiB int64         `name:"journal-mib" default:"256" env:"IONET_JOURNAL_MIB" range:"1..1048576" placeholder:"N" help:"Bound of the journal of jobs in MiB; when it is full nothing new is served."`
	BatchJobs  int           `default:"1" env:"IONET_BATCH_JOBS" range:"1..65536" placeholder:"N" help:"Hand so many jobs of a channel in as one statement; 1: each by itself."`
	BatchEvery time.Duration `default:"1m" env:"IONET_BATCH_EVERY" placeholder:"D" help:"Close a batch when its first job is this old."`
}

// check finds mistakes before a wallet is waited for.
func (c sale) check() error {
	if (c.Serve == "") != (c.Offer == "") {
		return errors.New("--serve and --offer go together: the address, and what is sold there")
	}
	if c.Offer == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Serve); err != nil {
		return fmt.Errorf("--serve: %w; want an address as 127.0.0.1:8770", err)
	}
	_, err := meter.ReadOfferFile(c.Offer)
	return err
}

// meter opens the meter, or returns nil where nothing is sold.
func (c sale) meter(s *stage, m *membership, api *client.Client) (*meter.Meter, error) {
	if c.Serve == "" {
		return nil, nil
	}
	return meter.New(meter.Config{
		Network: m.network, Key: m.key, API: api, OfferFile: c.Offer, Journal: m.folder.MeterPath(), JournalBytes: c.JournalMiB << 20,
		BatchJobs: c.BatchJobs, BatchEvery: c.BatchEvery, Logger: s.log,
	})
}

// headerTime and idleTime bound what a renter's connection may cost that sends nothing.
// Requests and answers have deadlines of their own: a stream may go on for long.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
)

// sell serves renters and hands jobs in until the context ends.
func (c sale) sell(ctx context.Context, s *stage, m *meter.Meter) error {
	listener, err := net.Listen("tcp", c.Serve)
	if err != nil {
		return fmt.Errorf("--serve: %w", err)
	}
	s.print("serving renters at http://%s", listener.Addr())
	server := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 1 << 15}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	sent := make(chan error, 1)
	go func() { sent <- m.Run(ctx) }()
	select {
	case err = <-served: // before its time
		cancel()
		return errors.Join(err, <-sent)
	case err = <-sent:
	case <-ctx.Done():
		err = <-sent
	}
	// Who is being served gets a moment; what does not end in it costs nothing.
	last, done := context.WithTimeout(context.Background(), patience/2)
	defer done()
	if server.Shutdown(last) != nil {
		err = errors.Join(err, server.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	c.handIn(s, m)
	return err
}

// handIn hands in what was served until now, and says what could not be.
func (c sale) handIn(s *stage, m *meter.Meter) {
	ctx, done := context.WithTimeout(context.Background(), patience/2)
	defer done()
	left, before, err := m.HandIn(ctx)
	if err != nil {
		s.log.Info("the service can't take what was served last", "error", err)
	}
	if left > 0 {
		s.print("%d jobs are not handed in: start again before %s, when the first of their channels ends", left, before.Format(time.RFC3339))
	}
}
