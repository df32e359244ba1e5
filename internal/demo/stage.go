package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/devdb"
)

const (
	hosts   = 3 // GPU hosts, each under a provider's wallet of its own
	devices = 2 // simulated GPUs of a host
)

// A pace is a network's clock: an hour of 60 samples made short. Slots shrink
// with it, so that a block is final within a sample or two.
type pace struct {
	epochSeconds, samples    int
	minimum, late, lateLimit int    // policy: samples needed, slack and limit of late ones
	grace                    int    // policy: seconds from an epoch's end to its close
	feeGrace                 int    // policy: seconds from the wish to close a session to its end
	record                   string // policy: what of receipts stands on the chain
	slot, startIn            time.Duration
	payoutEvery              time.Duration
	checkpointEvery          time.Duration
	sealEvery                time.Duration
	between                  time.Duration // disturbances, at most, where things go wrong
}

// demoPace is ten seconds for an hour and two for a minute. Each receipt stands on the
// chain in a memo.
var demoPace = pace{
	epochSeconds: 10, samples: 5, minimum: 3, late: 5, lateLimit: 3, grace: 4, feeGrace: 2, record: emissions.RecordInline,
	slot: 50 * time.Millisecond, startIn: 9 * time.Second, payoutEvery: time.Hour,
	checkpointEvery: 500 * time.Millisecond, sealEvery: 3 * time.Second,
	between: 5 * time.Second,
}

// A stage is a whole network on this machine: a database, a chain, the service
// and its workers. Everything that it writes lies under dir.
type stage struct {
	pace pace
	dir  string // state: keys, database, published files, binaries, logs
	bin  string
	show *lineWriter // the lines of all children
	log  *os.File    // their diagnostics

	db      *devdb.DB
	chain   *child
	service *child
	workers []*child
	backend *child   // what stands behind the first worker's proxy
	proxy   *child   // the renter's
	signers []*child // of the money keys, where the service does not have them
	sockets string   // folder of the signers' sockets

	rpc      string
	otherRPC []string // of the chain's other front ends, where it is hostile
	hostile  bool
	multisig bool   // mint and vaults belong to 2 of 3 members
	server   string // the service's URL
	network  *ionet.Network
	api      *client.Client

	sold   ionet.Amount // to the renter, by a provider
	jobs   []string     // the renter's, by id
	served uint64       // the epoch that the last of them was served in
}

func (s *stage) keys() string      { return filepath.Join(s.dir, "keys") }
func (s *stage) published() string { return filepath.Join(s.dir, "published") }
func (s *stage) wallet(i int) string {
	return filepath.Join(s.dir, "wallets", fmt.Sprintf("provider-%d.json", i))
}

// newStage makes dir and builds the binaries into it.
func newStage(ctx context.Context, p pace, dir string, show io.Writer) (*stage, error) {
	for _, d := range []string{"keys", "published", "wallets", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("make state folder: %w", err)
		}
	}
	log, err := os.OpenFile(filepath.Join(dir, "log.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	s := &stage{pace: p, dir: dir, bin: filepath.Join(dir, "bin"), show: &lineWriter{w: show}, log: log}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.bin+string(filepath.Separator), "github.com/ionet-settlement/ionet/cmd/...", "github.com/ionet-settlement/ionet/internal/demo/backend")
	build.Stdout, build.Stderr = show, show
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build the binaries: %w", err)
	}
	return s, nil
}

func (s *stage) start(name, binary string, args ...string) (*child, error) {
	return start(s.show, s.log, name, filepath.Join(s.bin, binary), args...)
}

// do runs a command to its end; any status but 0 is an error.
func (s *stage) do(ctx context.Context, name, binary string, args ...string) error {
	code, _, err := run(ctx, s.show, s.log, name, filepath.Join(s.bin, binary), args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s %s: exit status %d; see %s", binary, args[0], code, s.log.Name())
	}
	return nil
}

// startChain starts the database and the local chain.
func (s *stage) startChain(ctx context.Context) error {
	var err error
	if s.db, err = devdb.Start(ctx, devdb.Config{Dir: filepath.Join(s.dir, "postgres")}); err != nil {
		return err
	}
	args := []string{"--listen", "127.0.0.1:0", "--slot-time", s.pace.slot.String()}
	if s.hostile {
		args = append(args, "--admin", "--fronts", strconv.Itoa(fronts))
	}
	if s.chain, err = s.start("chain", "ionet-localnet", args...); err != nil {
		return err
	}
	if s.rpc, err = s.chain.line(ctx, "rpc "); err != nil || !s.hostile {
		return err
	}
	return s.readFronts(ctx, fronts)
}

// genesis makes the token, the vaults and the lanes.
func (s *stage) genesis(ctx context.Context) error {
	policy := filepath.Join(s.dir, "policy.toml")
	rules, err := s.pace.policy()
	if err != nil {
		return err
	}
	if err := os.WriteFile(policy, rules, 0o644); err != nil {
		return fmt.Errorf("write policy: %w", err)
	}
	args := []string{"genesis", "--dir", s.keys(), "--rpc", s.rpc, "--store", s.published(), "--airdrop",
		"--name", "demo", "--policy", policy, "--start-in", s.pace.startIn.String(),
		"--epoch-seconds", strconv.Itoa(s.pace.epochSeconds), "--samples", strconv.Itoa(s.pace.samples), "--pay-lanes", "2", "--claim-lanes", "2"}
	if s.multisig {
		board, err := s.board(ctx)
		if err != nil {
			return err
		}
		args = append(args, board...)
	}
	if s.hostile {
		benefits, err := s.benefits(ctx)
		if err != nil {
			return err
		}
		args = append(args, benefits...)
	}
	if err := s.do(ctx, "genesis", "ionetd", args...); err != nil {
		return err
	}
	file, err := os.ReadFile(filepath.Join(s.keys(), "network.toml"))
	if err != nil {
		return fmt.Errorf("read network file: %w", err)
	}
	s.network, err = ionet.ParseNetwork(file)
	return err
}

// serve starts ionetd: on a free port the first time, on the same one after.
func (s *stage) serve(ctx context.Context) error {
	listen := strings.TrimPrefix(s.server, "http://")
	var err error
	if s.server == "" {
		if listen, err = freeAddress(); err != nil {
			return err
		}
	}
	if s.service, err = s.start("ionetd", "ionetd", s.serveArgs(listen)...); err != nil {
		return err
	}
	at, err := s.service.line(ctx, "listening ")
	if err != nil {
		return err // the workers' address stays what it was
	}
	s.server = at
	s.api, err = client.New(client.Config{Server: s.server, Network: s.network.ID()})
	return err
}

func (s *stage) serveArgs(listen string) []string {
	args := append([]string{"serve", "--store", s.published(), "--database", s.db.URL(),
		"--listen", listen, "--payout-every", s.pace.payoutEvery.String(),
		"--checkpoint-every", s.pace.checkpointEvery.String(), "--seal-every", s.pace.sealEvery.String()}, s.placeFlags()...)
	return append(args, s.rpcFlags()...)
}

// freeAddress finds a free port, so that the service's command line names it and
// can be run again by hand.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// nvidiaControl is the device file of NVIDIA's driver.
const nvidiaControl = "/dev/nvidiactl"

// addWorkers starts the GPU hosts, each under a provider wallet of its own, of which the
// first sells inference too; on a
// machine with NVIDIA's driver one more, which reads the real GPUs.
func (s *stage) addWorkers(ctx context.Context) error {
	serving, err := s.startServing(ctx)
	if err != nil {
		return err
	}
	for i := 1; i <= hosts; i++ {
		flags := []string{"--simulate", strconv.Itoa(devices), "--seed", strconv.Itoa(i)}
		if i == seller {
			flags = append(flags, serving...)
		}
		if err := s.addWorker(ctx, fmt.Sprintf("host-%d", i), i, flags...); err != nil {
			return err
		}
	}
	if _, err := os.Stat(nvidiaControl); err != nil {
		return nil
	}
	return s.addWorker(ctx, "host-nvml", hosts+1)
}

func (s *stage) addWorker(ctx context.Context, name string, wallet int, flags ...string) error {
	if err := s.do(ctx, "wallet", "ionet", "keygen", "--out", s.wallet(wallet)); err != nil {
		return err
	}
	args := append([]string{"run", "--server", s.server, "--dir", filepath.Join(s.dir, name), "--keypair", s.wallet(wallet)}, flags...)
	w, err := s.start(name, "ionet-worker", args...)
	if err != nil {
		return err
	}
	s.workers = append(s.workers, w)
	return nil
}

// openAccounts has the providers from the second on open a token account, so
// that a batch can pay them; the first one's opens with his claim.
func (s *stage) openAccounts(ctx context.Context) error {
	for i := 2; i <= hosts; i++ {
		if err := s.openAccount(ctx, s.wallet(i)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) openAccount(ctx context.Context, wallet string) error {
	return s.do(ctx, "wallet", "ionet", "account", "open", "--keypair", wallet, "--rpc", s.rpc,
		"--mint", s.network.Mint.String(), "--airdrop")
}

// claim has the first provider claim with his wallet.
func (s *stage) claim(ctx context.Context, provider int) error {
	return s.do(ctx, "wallet", "ionet", "claim", "--server", s.server, "--keypair", s.wallet(provider), "--rpc", s.rpc, "--airdrop")
}

// payoutsRun has the service pay all who wait, now instead of by its schedule.
func (s *stage) payoutsRun(ctx context.Context) error {
	return s.do(ctx, "payouts", "ionetd", append([]string{"payouts", "run", "--rpc", s.rpc, "--store", s.published(), "--database", s.db.URL()}, s.placeFlags()...)...)
}

// audit runs ionet-audit over the whole history and returns its exit status and output.
func (s *stage) audit(ctx context.Context) (int, string, error) {
	return run(ctx, s.show, s.log, "audit", filepath.Join(s.bin, "ionet-audit"),
		"--rpc", s.rpc, "--mint", s.network.Mint.String(), "--store", s.published())
}

// sealed waits until the epoch is sealed.
func (s *stage) sealed(ctx context.Context, epoch uint64) error {
	for {
		head, err := s.api.Head(ctx)
		if err == nil && head.Sealed >= epoch {
			return nil
		}
		if !s.service.running() {
			return fmt.Errorf("ionetd ended: %v; see %s", s.service.err, s.log.Name())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for epoch %d to be sealed: %w", epoch, context.Cause(ctx))
		}
	}
}

// close stops everything in the order in which it depends on each other.
func (s *stage) close() error {
	var errs []error
	if s.proxy != nil {
		errs = append(errs, s.proxy.stop())
	}
	for _, w := range s.workers {
		errs = append(errs, w.stop())
	}
	for _, c := range []*child{s.backend, s.service, s.chain} {
		if c != nil {
			errs = append(errs, c.stop())
		}
	}
	errs = append(errs, s.stopSigners())
	if s.db != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		errs = append(errs, s.db.Stop(ctx))
	}
	errs = append(errs, s.log.Close())
	return errors.Join(errs...)
}
