package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/worker"
)

type runCmd struct {
	folder
	Server string `required:"" env:"IONET_SERVER" placeholder:"URL" help:"URL of the service."`
	consent
	devices
	SpoolMiB int64 `name:"spool-mib" default:"64" range:"1..1048576" placeholder:"N" help:"Bound of the spool in MiB; when it is full no new statement is made."`
}

// Help shows examples below the flags.
func (c *runCmd) Help() string {
	return `Examples:
  ionet-worker run --server https://ionetd.example
  ionet-worker run --server https://ionetd.example --dir /var/lib/ionet-worker --keypair wallet.json
  ionet-worker run --server http://127.0.0.1:8080 --keypair wallet.json --simulate 2 --seed 1`
}

// Run proves the devices until the context ends.
func (c *runCmd) Run(s *stage) (err error) {
	sampler, err := c.sampler()
	if err != nil {
		return err
	}
	m, err := join(s.ctx, c.Dir, c.Server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.folder.Close()) }()
	if err := c.take(m); err != nil {
		return err
	}
	delegation, err := m.folder.Delegation()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("start worker: no wallet has delegated to this host: run ionet-worker init, or give --keypair <wallet file>")
	}
	if err != nil {
		return err
	}
	s.print("worker %s", m.worker())
	s.print("network %s %s", m.network.Name, ionet.Key(m.network.ID()))
	w, err := worker.New(s.ctx, worker.Config{
		API: m.api, Network: m.network, Key: m.key, Delegation: delegation, Sampler: sampler, Folder: m.folder,
		SpoolBytes: c.SpoolMiB << 20, Logger: s.log,
		Events: func(e worker.Event) { s.print("%s", e) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Run(s.ctx); err != nil {
		return err
	}
	s.print("stopped")
	return nil
}

type statusCmd struct {
	folder
	Server string `env:"IONET_SERVER" placeholder:"URL" help:"Ask this service as well."`
}

// Help shows examples below the flags.
func (c *statusCmd) Help() string {
	return `Examples:
  ionet-worker status
  ionet-worker status --dir /var/lib/ionet-worker --server https://ionetd.example`
}

// Run shows the folder, and what the service has.
func (c *statusCmd) Run(s *stage) error {
	f, err := worker.ReadFolder(c.Dir)
	if err != nil {
		return fmt.Errorf("--dir: %w; ionet-worker init makes it", err)
	}
	m := &membership{folder: f}
	if err := m.read(); err != nil {
		return fmt.Errorf("%w; ionet-worker init makes what is missing", err)
	}
	s.print("worker %s", m.worker())
	s.print("network %s %s", m.network.Name, ionet.Key(m.network.ID()))
	if err := showDelegation(s, m); err != nil {
		return err
	}
	sp, err := f.SpoolStatus(m.network.ID(), m.worker())
	if err != nil {
		return err
	}
	s.print("spool %d statements of unsealed epochs, %d not acked, %d refused, %d readings wait for a beacon, %d bytes", sp.Unsealed, sp.Unacked, sp.Refused, sp.Readings, sp.Bytes)
	if sp.Epoch > 0 {
		s.print("last sample read: epoch %d sample %d", sp.Epoch, sp.Sample)
	}
	if c.Server == "" {
		return nil
	}
	return c.ask(s, m)
}

// ask prints the service's view.
func (c *statusCmd) ask(s *stage, m *membership) error {
	api, err := client.New(client.Config{Server: c.Server, Network: m.network.ID()})
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	head, err := api.Head(s.ctx)
	if err != nil {
		return err
	}
	s.print("service: epoch %d sample %d, sealed through %d, its clock is %s off this host's", head.Epoch, head.Sample, head.Sealed,
		time.Until(time.Unix(head.Time, 0)).Round(time.Second))
	w, err := api.Worker(s.ctx, m.worker())
	if client.IsProblem(err, client.UnknownWorker) {
		s.print("service: does not know this worker yet")
		return nil
	}
	if err != nil {
		return err
	}
	s.print("service: last statement of epoch %d sample %d, inventory %.12s", w.LastEpoch, w.LastSample, w.Inventory)
	return nil
}

// read is open for looking only: it makes nothing.
func (m *membership) read() error {
	var err error
	if m.key, err = chain.ReadKeypair(m.folder.KeyPath()); err != nil {
		return err
	}
	file, err := m.folder.Network()
	if err != nil {
		return err
	}
	m.network, err = ionet.ParseNetwork(file)
	return err
}
