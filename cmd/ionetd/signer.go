package main

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// signerCmd is the process that holds the keys.
type signerCmd struct {
	Dir     string `default:"keys" env:"IONET_DIR" placeholder:"DIR" help:"Folder of the keys that this signer holds, and of the network file (default: ${default})."`
	Network string `placeholder:"FILE" help:"Network file (default: network.toml in --dir)."`
	Journal string `default:"signer.journal" env:"IONET_SIGNER_JOURNAL" placeholder:"FILE" help:"What was signed; begun where it is missing. Each signer has its own (default: ${default})."`
	Listen  string `default:"unix:signer.sock" env:"IONET_SIGNER_LISTEN" placeholder:"ADDR" help:"Where ionetd serve asks: unix:PATH, or https://HOST:PORT (default: ${default})."`

	Peer []uint32 `placeholder:"UID" help:"User number that may ask over the socket beside our own and root, so that the service can run as another user (Linux); repeat it for more."`

	TLSCert  string `name:"tls-cert" placeholder:"FILE" help:"Certificate of this signer, PEM, with the extended key usage serverAuth alone; for https."`
	TLSKey   string `name:"tls-key" placeholder:"FILE" help:"Key of --tls-cert, PEM, readable by its owner only."`
	ClientCA string `name:"client-ca" placeholder:"FILE" help:"Authority whose certificates may ask, PEM."`

	Window          time.Duration `default:"1h" help:"Length of the window that the limits are for, 5m or more (default: ${default})."`
	LimitPayout     string        `placeholder:"IO" help:"IO that payouts may move in a window; left out: no payout is signed."`
	LimitClaim      string        `placeholder:"IO" help:"IO that claims may move in a window; left out: no claim is signed."`
	LimitWithdrawal string        `placeholder:"IO" help:"IO that withdrawals may move in a window; left out: no withdrawal is signed."`
	LimitFees       string        `placeholder:"IO" help:"IO that payouts of fees may move in a window; left out: none is signed."`
	LimitUnlock     string        `placeholder:"IO" help:"IO that unlocks may release in a window; left out: no unlock is signed."`
	MaxPriorityFee  uint64        `default:"100000" range:"0..10000000000" placeholder:"LAMPORTS" help:"Priority fee of a transaction, at most."`
	MaxUnits        uint32        `default:"600000" range:"1..1400000" placeholder:"UNITS" help:"Compute unit limit of a transaction, at most."`
	LimitLamports   uint64        `default:"1000000000" range:"0..1000000000000" placeholder:"LAMPORTS" help:"Fees and rent that may be spent in a window."`

	Reopen []string `sep:"none" placeholder:"LANE[=N]" help:"Begin this lane's journal anew at the next position asked for, if that is not past: after the journal was restored from a copy, or another signer signed. With =N from position N on, which the chain shows to be open, though the journal has it as past; repeat it for more."`
	Check  bool     `help:"Check what a start checks, print keys, policy and journal, and end; nothing is signed, written or listened on."`
}

// Help is shown below the flags.
func (c *signerCmd) Help() string {
	return `Holds the keys, so that the service's host does not. It signs only what it understands: the transactions of this
network, on their lanes, in order; an epoch once it is over by this host's clock and never above its emission, which is
computed here; of everything else no more than the limits in any window. What it signs it first writes into --journal.

--dir holds the keys for this signer alone: operator.json, fees.json, allocation-*.json and lane-secret.json for the one
that leads the lanes, a member's key alone for a co-signer of a multisig. service.json, which signs acks and moves no
money, belongs to ionetd serve. Two signers never share a journal; a second host with the same keys has limits of its own.

Examples:
  ionetd signer --dir keys --limit-payout 250000 --limit-claim 50000
  ionetd signer --dir keys --listen unix:/run/ionet/signer.sock --journal /var/lib/ionet/signer.journal \
    --window 1h --limit-payout 250000 --limit-claim 50000 --limit-fees 50000 --limit-withdrawal 10000 --limit-unlock 1000000
  ionetd signer --dir member1 --network keys/network.toml --journal member1.journal --listen https://0.0.0.0:7443 \
    --tls-cert signer.pem --tls-key signer.key --client-ca ca.pem --limit-payout 250000
  ionetd signer --peer 1001 --limit-payout 250000                  # ionetd serve runs as user 1001
  ionetd signer --check --limit-payout 250000

The service then runs without these keys:
  ionetd serve --signer unix:/run/ionet/signer.sock`
}

func (c *signerCmd) Run(s *stage) error {
	policy, err := c.policy()
	if err != nil {
		return err
	}
	ring, held, err := c.ring(policy.Network)
	if err != nil {
		return err
	}
	config, err := c.tls()
	if err != nil {
		return err
	}
	reopen, err := c.lanes(policy.Network)
	if err != nil {
		return err
	}
	if c.Check {
		return c.check(s, policy, ring, held, reopen)
	}
	server, err := signer.NewServer(signer.ServerConfig{Ring: ring, Policy: *policy, Journal: c.Journal, Reopen: reopen, Logger: s.log})
	if err != nil {
		return err
	}
	defer server.Close()
	listener, err := signer.Listen(c.Listen, config, c.Peer...)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	c.printKeys(s, policy, held)
	if server.IsNew() {
		s.print("journal   %s is new: whatever was signed before is not known here", c.Journal)
	}
	c.print(s, policy, server.Report())
	at := c.Listen
	if config != nil {
		at = "https://" + listener.Addr().String()
	}
	s.print("listening %s", at)
	return signer.Serve(s.ctx, server, listener)
}

// check is a start without its end: nothing is written, locked or listened on.
func (c *signerCmd) check(s *stage, policy *signer.Policy, ring *signer.Ring, held []string, reopen []signer.Reopening) error {
	if err := signer.CheckKeys(policy.Network, ring); err != nil {
		return fmt.Errorf("--dir %s: %w", c.Dir, err)
	}
	report, err := signer.ReadJournal(c.Journal, policy, time.Now())
	if err != nil {
		return err
	}
	for i, r := range reopen {
		name, _ := policy.Network.LaneName(r.Lane)
		known := slices.ContainsFunc(report.Lanes, func(l signer.LaneReport) bool { return l.Name == name })
		if !known {
			return fmt.Errorf("--reopen %s: the journal knows nothing of it, so that it begins there by itself", c.Reopen[i])
		}
	}
	c.printKeys(s, policy, held)
	c.print(s, policy, report)
	return nil
}

func (c *signerCmd) printKeys(s *stage, policy *signer.Policy, held []string) {
	s.print("network   %s (%s)", policy.Network.Name, ionet.Key(policy.Network.ID()))
	for _, line := range held {
		s.print("key       %s", line)
	}
}

// policy reads the network file and the flags.
func (c *signerCmd) policy() (*signer.Policy, error) {
	path := c.Network
	if path == "" {
		path = filepath.Join(c.Dir, genesis.NetworkFile)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read network file: %w: copy it here from the service's --dir, or name it with --network", err)
	}
	network, err := ionet.ParseNetwork(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	schedule, err := emissions.New(emissions.ParamsOf(network.Schedule))
	if err != nil {
		return nil, fmt.Errorf("%s: schedule: %w", path, err)
	}
	if c.Window <= 0 {
		return nil, fmt.Errorf("--window %s: want more than 0, such as 1h", c.Window)
	}
	p := &signer.Policy{
		Network: network, Schedule: schedule, Window: c.Window, Limits: map[chain.Kind]ionet.Amount{},
		MaxPriority: c.MaxPriorityFee, MaxUnits: c.MaxUnits, MaxLamports: c.LimitLamports,
	}
	for _, l := range []struct {
		flag, text string
		kind       chain.Kind
	}{
		{"--limit-payout", c.LimitPayout, chain.KindPayout}, {"--limit-claim", c.LimitClaim, chain.KindClaim},
		{"--limit-withdrawal", c.LimitWithdrawal, chain.KindWithdrawal}, {"--limit-unlock", c.LimitUnlock, chain.KindUnlock},
		{"--limit-fees", c.LimitFees, chain.KindFees},
	} {
		if l.text == "" {
			continue
		}
		if p.Limits[l.kind], err = ionet.ParseTokens(l.text, network.Decimals); err != nil {
			return nil, fmt.Errorf("%s: %w", l.flag, err)
		}
	}
	return p, nil
}

// ring reads every key in the folder that the network file names, and tells which.
func (c *signerCmd) ring(n *ionet.Network) (ring *signer.Ring, held []string, err error) {
	files, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("--dir: %w", err)
	}
	var keys []ed25519.PrivateKey
	var secret *chain.Secret
	for _, path := range files {
		if filepath.Base(path) == genesis.SecretFile {
			read, err := chain.ReadSecret(path)
			if err != nil {
				return nil, nil, err
			}
			secret, held = &read, append(held, "the lane secret: it steps the lanes")
			continue
		}
		key, err := chain.ReadKeypair(path)
		if err != nil {
			return nil, nil, err
		}
		if public := chain.PublicOf(key); public != n.Keys.Service {
			keys, held = append(keys, key), append(held, fmt.Sprintf("%s from %s", public, filepath.Base(path)))
		}
	}
	if len(keys) == 0 && secret == nil {
		return nil, nil, fmt.Errorf("--dir %s holds no key to sign with", c.Dir)
	}
	return signer.NewRing(secret, keys...), held, nil
}

// tls reads the certificates; nil for a socket.
func (c *signerCmd) tls() (*tls.Config, error) {
	if len(c.Peer) > 0 && !strings.HasPrefix(c.Listen, "unix:") {
		return nil, errors.New("--peer is for --listen unix:PATH: over https certificates say who may ask")
	}
	https := strings.HasPrefix(c.Listen, "https://")
	if !https && !strings.HasPrefix(c.Listen, "unix:") {
		return nil, fmt.Errorf("--listen %q: want unix:PATH or https://HOST:PORT", c.Listen)
	}
	given := c.TLSCert != "" || c.TLSKey != "" || c.ClientCA != ""
	switch {
	case !https && given:
		return nil, errors.New("--tls-cert, --tls-key and --client-ca are for --listen https://HOST:PORT")
	case !https:
		return nil, nil
	}
	return readTLS("--tls-cert", c.TLSCert, "--tls-key", c.TLSKey, "--client-ca", c.ClientCA)
}

// readTLS reads one end's files, all of which are needed.
func readTLS(flagsAndFiles ...string) (*tls.Config, error) {
	for i := 0; i < len(flagsAndFiles); i += 2 {
		if flagsAndFiles[i+1] == "" {
			return nil, fmt.Errorf("%s is missing: both ends of an https signer show a certificate", flagsAndFiles[i])
		}
	}
	config, err := signer.TLSFiles(flagsAndFiles[1], flagsAndFiles[3], flagsAndFiles[5])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s, %s or %s: %w", flagsAndFiles[0], flagsAndFiles[2], flagsAndFiles[4], err)
	}
	return config, err
}

// lanes reads --reopen.
func (c *signerCmd) lanes(n *ionet.Network) (lanes []signer.Reopening, err error) {
	for _, text := range c.Reopen {
		name, position, at := strings.Cut(text, "=")
		address, ok := n.Lane(name)
		if !ok {
			var names []string
			for _, l := range n.Lanes {
				names = append(names, l.Name)
			}
			return nil, fmt.Errorf("--reopen %q is no lane of network %s: want one of %s", name, n.Name, strings.Join(names, ", "))
		}
		r := signer.Reopening{Lane: address}
		if at {
			from, err := strconv.ParseUint(position, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("--reopen %s: %q is no position, such as %s=41", text, position, name)
			}
			r.From = &from
		}
		lanes = append(lanes, r)
	}
	return lanes, nil
}

// print shows the policy and where the journal is.
func (c *signerCmd) print(s *stage, p *signer.Policy, r signer.Report) {
	d := p.Network.Decimals
	for _, w := range r.Windows {
		if w.Signed {
			s.print("limit     %-10s %s IO in %s, of which %s are used", w.Kind, w.Limit.Tokens(d), p.Window, w.Spent.Tokens(d))
		} else {
			s.print("limit     %-10s none is signed", w.Kind)
		}
	}
	s.print("fees      %d lamports in %s, of which %d are used; a priority fee up to %d; up to %d compute units", p.MaxLamports, p.Window, r.Lamports, p.MaxPriority, p.MaxUnits)
	for _, l := range r.Lanes {
		again := ""
		if l.Reopened {
			again = ", reopened"
		}
		s.print("lane      %-9s position %d, %s signed%s", l.Name, l.Position, count(l.Contents, "content"), again)
	}
}
