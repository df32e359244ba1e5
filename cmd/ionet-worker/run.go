package main

import (
	"errors"
	"io/fs"

	"github.com/ionet-settlement/ionet"
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
