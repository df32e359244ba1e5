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
	if err := m.read(); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; ionet-worker init makes what is missing", err)
	} else if err != nil {
		return err
	}
	s.print("worker %s", m.worker())
	s.print("network %s %s", m.network.Name, ionet.Key(m.network.ID()))
	if err := showDelegation(s, m, c.Server); err != nil {
		return err
	}
	sp, err := f.SpoolStatus(m.network.ID(), m.worker())
	if err != nil {
		return err
	}
	showSpooled(s, sp)
	s.print("spool %d statements of unsealed epochs, %d not acked, %d refused, %d readings wait for a beacon, %d bytes", sp.Unsealed, sp.Unacked, sp.Refused, sp.Readings, sp.Bytes)
	if sp.Epoch > 0 {
		s.print("last sample read: epoch %d sample %d", sp.Epoch, sp.Sample)
	}
	if err := m.showSold(s); err != nil {
		return err
	}
	text, at, err := f.Refusal()
	if err != nil {
		return err
	}
	if text != "" {
		s.print("last refusal by the service, %s: %s", at.Format(time.RFC3339), text)
	}
	if c.Server == "" {
		return nil
	}
	return c.ask(s, m)
}

// simulatedWarning is shown wherever devices are made up.
const simulatedWarning = "SIMULATED DEVICES: they are made up, their inventory says so, and most networks pay nothing for them"

// showSpooled prints the devices as the last sample saw them.
func showSpooled(s *stage, sp worker.SpoolStatus) {
	if sp.Simulated {
		s.print("%s", simulatedWarning)
	}
	for i, d := range sp.Devices {
		if sp.States == nil {
			s.print("device %s", worker.DeviceLine(d))
			continue
		}
		s.print("device %s: %s", worker.DeviceLine(d), worker.ReadingLine(sp.States[i]))
	}
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
	if err := m.checkHead(api, head); err != nil {
		return err
	}
	if err := m.showStrangers(s, api); err != nil {
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
	return c.earned(s, m, api, w.Provider, head)
}

// lastEpochs is how many sealed epochs' earnings status shows.
const lastEpochs = 6

// earned prints what this worker's devices earned in the epochs that were sealed last.
func (c *statusCmd) earned(s *stage, m *membership, api *client.Client, provider ionet.Key, head client.Head) error {
	if head.Sealed == 0 {
		s.print("earned: no epoch is sealed yet")
		return nil
	}
	list, err := worker.LastEarned(s.ctx, api, provider, m.worker(), head.Sealed, lastEpochs)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Devices == 0 {
			s.print("earned: epoch %d: no device of this host was registered for it", e.Epoch)
			continue
		}
		s.print("earned: epoch %d: %s IO, %s", e.Epoch, e.Amount.Tokens(m.network.Decimals), e.AcceptedLine())
	}
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
