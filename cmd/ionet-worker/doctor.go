package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/worker"
)

type doctorCmd struct {
	folder
	Server string `env:"IONET_SERVER" placeholder:"URL" help:"URL of the service."`
	devices
	RPC      []string `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster: is this host's clock the chain's?"`
	SpoolMiB int64    `name:"spool-mib" default:"64" env:"IONET_SPOOL_MIB" range:"1..1048576" placeholder:"N" help:"Bound of the spool in MiB, as given to run."`
	Offer    string   `env:"IONET_OFFER" type:"path" placeholder:"FILE" help:"Offer file, as given to run: do its back ends answer, and does its endpoint lead here?"`
	JSON     bool     `name:"json" help:"Print the findings as JSON."`
	Record   string   `placeholder:"FILE" help:"Write what NVML answers into this new file, a line of JSON for each call; it holds no secrets."`
}

// Help shows examples below the flags.
func (c *doctorCmd) Help() string {
	return `Each line is ok, warn or fail; the exit status is 1 when one fails. It changes nothing, and a worker may be running.

Examples:
  ionet-worker doctor --server https://ionetd.example
  ionet-worker doctor --server https://ionetd.example --rpc https://rpc.example --json
  ionet-worker doctor --server https://ionetd.example --offer offer.toml
  ionet-worker doctor --dir /var/lib/ionet-worker --record nvml.jsonl`
}

// Run prints the findings.
func (c *doctorCmd) Run(s *stage) error {
	list, err := c.examine(s.ctx)
	if err != nil {
		return err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if err := c.show(s, list); err != nil {
		return err
	}
	if n := list.Failed(); n > 0 {
		return fmt.Errorf("%d of %d checks fail", n, len(list))
	}
	return nil
}

func (c *doctorCmd) show(s *stage, list worker.Findings) error {
	if c.JSON {
		out := json.NewEncoder(s.out)
		out.SetIndent("", "  ")
		return out.Encode(struct {
			OK       bool            `json:"ok"`
			Findings worker.Findings `json:"findings"`
		}{list.Failed() == 0, list})
	}
	for _, f := range list {
		s.print("%-4s  %-11s  %s", f.Level, f.Check, f.Text)
		if f.Fix != "" {
			s.print("                   fix: %s", f.Fix)
		}
	}
	return nil
}

func (c *doctorCmd) examine(ctx context.Context) (worker.Findings, error) {
	list, err := c.examineDevices(ctx)
	if err != nil {
		return nil, err
	}
	f, err := worker.ReadFolder(c.Dir)
	if err != nil {
		list = append(list, worker.Finding{Check: "folder", Level: worker.LevelFail, Text: err.Error(), Fix: "run ionet-worker init, or give its --dir"})
		return append(list, c.examineService(ctx, &membership{})...), nil
	}
	m := &membership{folder: f}
	list = append(list, f.CheckFolder()...)
	m.key, err = chain.ReadKeypair(f.KeyPath())
	list = append(list, f.CheckKey(err)...)
	err = m.readNetwork()
	list = append(list, f.CheckNetwork(m.network, err)...)
	if err == nil && m.key != nil {
		list = append(list, f.CheckDelegation(m.network.ID(), m.worker(), c.link(m), time.Now())...)
		list = append(list, f.CheckSpool(m.network.ID(), m.worker(), c.SpoolMiB<<20)...)
	}
	if c.Offer != "" {
		list = append(list, examineSale(ctx, c.Offer, m)...)
	}
	return append(list, c.examineService(ctx, m)...), nil
}

// link is where the wallet that this folder takes delegations of signs one, empty where
// that is not known: there is a finding about that.
func (c *doctorCmd) link(m *membership) string {
	provider, err := m.folder.Provider()
	if err != nil {
		return ""
	}
	link, err := m.awaitedLink(c.Server, provider)
	if err != nil {
		return ""
	}
	return link
}

// examineStrangers warns of wallets that delegated this worker while the folder waits for
// another one.
func (m *membership) examineStrangers(ctx context.Context, api *client.Client) (list worker.Findings) {
	provider, waits, err := m.awaited()
	if err != nil || !waits {
		return nil // there is a finding about that
	}
	found, err := m.strangersAt(ctx, api, provider)
	if err != nil {
		return worker.Findings{{Check: "provider", Level: worker.LevelWarn, Text: err.Error(), Fix: "ask again when the service answers"}}
	}
	for _, stranger := range found {
		list = append(list, worker.Finding{Check: "provider", Level: worker.LevelWarn, Text: strangerLine(stranger, provider), Fix: strangerFix(stranger, provider)})
	}
	return list
}

// examineDevices looks at the devices, and writes down what NVML says where asked to.
func (c *doctorCmd) examineDevices(ctx context.Context) (list worker.Findings, err error) {
	if c.Record == "" {
		sampler, err := c.sampler()
		if err != nil {
			return worker.CheckNoSampler(err), nil
		}
		return worker.CheckDevices(ctx, sampler), nil
	}
	if c.Simulate != 0 {
		return nil, errors.New("--record writes what NVML answers: --simulate asks none")
	}
	file, err := os.OpenFile(c.Record, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--record: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sampler, written, err := worker.RecordNVML(file)
	if err != nil {
		return worker.CheckNoSampler(err), nil
	}
	list = worker.CheckDevices(ctx, sampler)
	for range moreSamples {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return list, ctx.Err()
		}
		if _, err := sampler.Sample(ctx); err != nil {
			return list, err
		}
	}
	return list, errors.Join(written(), file.Sync())
}

// moreSamples is how many samples a recording has beside the first.
const moreSamples = 2

// examineService asks the service and the chain.
func (c *doctorCmd) examineService(ctx context.Context, m *membership) (list worker.Findings) {
	var (
		network ionet.Hash
		self    ionet.Key
		cluster ionet.Key
	)
	if m.network != nil {
		network, cluster = m.network.ID(), m.network.Cluster
	}
	if m.key != nil {
		self = m.worker()
	}
	if c.Server == "" {
		list = append(list, worker.Finding{Check: "service", Level: worker.LevelWarn, Text: "the service was not asked", Fix: "give --server, or set IONET_SERVER"})
	} else if api, err := client.New(client.Config{Server: c.Server, Network: network, Attempts: 2}); err != nil {
		list = append(list, worker.Finding{Check: "service", Level: worker.LevelFail, Text: err.Error(), Fix: "give a --server as https://ionetd.example"})
	} else {
		list = append(list, worker.CheckService(ctx, api, network, self, m.folder != nil && m.folder.Running(), time.Now)...)
		if m.network != nil && m.key != nil && list.Failed() == 0 {
			list = append(list, m.folder.CheckRevoked(ctx, api, self)...)
			list = append(list, m.examineStrangers(ctx, api)...)
		}
	}
	if len(c.RPC) == 0 {
		return list
	}
	chain, err := rpc.New(rpc.Config{Endpoints: c.RPC, Cluster: cluster, Timeout: 10 * time.Second, Rounds: 1})
	if err != nil {
		return append(list, worker.Finding{Check: "chain", Level: worker.LevelFail, Text: err.Error(), Fix: "give an --rpc as https://rpc.example"})
	}
	defer chain.Close()
	return append(list, worker.CheckChain(ctx, chain, time.Now)...)
}

// readNetwork reads the network that the folder joined.
func (m *membership) readNetwork() error {
	file, err := m.folder.Network()
	if err != nil {
		return err
	}
	m.network, err = ionet.ParseNetwork(file)
	return err
}
