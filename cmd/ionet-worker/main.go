// Command ionet-worker runs on a GPU host: it proves to the network, sample by
// sample, that the host's GPUs are up, and serves renters for vouchers. It holds no funds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/internal/commandline"
	"github.com/ionet-settlement/ionet/worker"
)

const help = `For GPU hosts: prove that the GPUs are up, sell inference, and earn for the provider's wallet.

The host key in the worker's folder signs statements and holds no funds. The provider's
wallet signs once that this key proves GPU time for it: with --keypair where the wallet
is a file, or any wallet signs the text that init prints.

Examples:
  ionet-worker init --server https://ionetd.example --provider 9aB... --payout 4cD...
  ionet-worker init --server https://ionetd.example --signature 3fG...
  ionet-worker run  --server https://ionetd.example
  ionet-worker run  --server https://ionetd.example --keypair wallet.json
  ionet-worker run  --server http://127.0.0.1:8080 --keypair wallet.json --simulate 2 --seed 1
  ionet-worker run  --server https://ionetd.example --serve 127.0.0.1:8770 --offer offer.toml
  ionet-worker status
  ionet-worker doctor --server https://ionetd.example`

type commands struct {
	Init   initCmd   `cmd:"" help:"Make the host key, show the devices, get the provider's delegation."`
	Run    runCmd    `cmd:"" help:"Prove the devices until stopped; does init's part where a wallet file is given."`
	Status statusCmd `cmd:"" help:"Show key, delegation, devices, spool, and what the service has of this worker and paid for it."`
	Doctor doctorCmd `cmd:"" help:"Look at all that a worker needs, and say how to mend what is wrong."`
}

// folder is the flag of all commands.
type folder struct {
	Dir string `default:"ionet-worker" env:"IONET_WORKER_DIR" placeholder:"DIR" help:"Folder of the host key, the delegation and the spool."`
}

// stage is what a command runs on.
type stage struct {
	ctx context.Context
	out io.Writer
	log *slog.Logger
}

func (s *stage) print(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// patience is how long a stop may take: a driver that hangs must not hold the host.
const patience = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.AfterFunc(patience, func() { os.Exit(1) })
	})
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ionet-worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c commands
	program := commandline.Program{Name: "ionet-worker", Help: help, Stdout: stdout, Stderr: stderr}
	parsed, err := program.Parse(&c, args)
	if parsed == nil || err != nil {
		return err
	}
	err = parsed.Run(&stage{ctx: ctx, out: stdout, log: slog.New(slog.NewTextHandler(stderr, nil))})
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// devices are the flags that choose the sampler.
type devices struct {
	Simulate int    `placeholder:"N" range:"1..64" help:"Make up N devices instead of reading GPUs. The inventory says so; most networks pay nothing for them."`
	Seed     uint64 `default:"1" placeholder:"N" help:"Which made-up host: the same seed gives the same devices."`
}

// String is the flags that give the same devices again, each after a space.
func (d devices) String() string {
	switch {
	case d.Simulate == 0:
		return ""
	case d.Seed == 1:
		return fmt.Sprintf(" --simulate %d", d.Simulate)
	}
	return fmt.Sprintf(" --simulate %d --seed %d", d.Simulate, d.Seed)
}

func (d devices) sampler() (worker.Sampler, error) {
	if d.Simulate != 0 {
		return worker.NewSimulation(d.Simulate, d.Seed, nil)
	}
	return worker.NewNVML()
}
