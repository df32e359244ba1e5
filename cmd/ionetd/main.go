// Command ionetd is the service of a network: it takes in proofs, closes
// epochs, pays out. Its state is in PostgreSQL, on the chain and in the
// published files; package settlement tells how they stay one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/ionet-settlement/ionet/internal/commandline"
)

const help = `The service of a network. It takes in statements of GPU hosts, closes each epoch with one
transaction, and pays what is owed exactly once, whatever stops it in between.

The folder --dir holds keys and network file; ionetd genesis makes it. Any number of services
may share one database: one of them leads, the others take in statements. Whatever opens
the database makes its schema, or brings it up to date.

Examples:
  ionetd genesis --dir keys --rpc https://rpc.example --store published --name mynet
  ionetd serve --dir keys --rpc https://rpc.example --store published --database postgres://localhost/ionet
  ionetd payouts run --dir keys --rpc https://rpc.example --store published --database postgres://localhost/ionet

With IONET_DIR, IONET_RPC, IONET_STORE and IONET_DATABASE set:
  ionetd serve --payout-every 24h
  ionetd status
  ionetd payouts
  ionetd policy announce policy-2.toml
  ionetd recover
  ionetd resume --reason 'written off, see ticket 81'`

type commands struct {
	Serve    serveCmd    `cmd:"" default:"withargs" help:"Serve the API and settle (default)."`
	Genesis  genesisCmd  `cmd:"" help:"Make keys, token, vaults and lanes, and mint the genesis supply once."`
	Recover  recoverCmd  `cmd:"" help:"Bring the database to where the chain is and fence the lanes, then end."`
	Payouts  payoutsCmd  `cmd:"" help:"What goes out and what waits; payout runs."`
	Unlocks  unlocksCmd  `cmd:"" help:"What of the genesis supply is unlocked, and its release."`
	Deposits depositsCmd `cmd:"" help:"List what others sent to the vaults and nobody was credited for."`
	Resume   resumeCmd   `cmd:"" help:"Go on after a halt: book what differs, with a reason."`
	Policy   policyCmd   `cmd:"" help:"Policies: announce one, list them."`
	Signer   signerCmd   `cmd:"" help:"Hold the keys, and sign by policy what ionetd serve --signer asks for."`
	Status   statusCmd   `cmd:"" help:"Show who leads, what is owed, lanes, endpoints and open transactions."`
}

// checkName refuses a first word that is no command: serve, which needs no name,
// would take it for an argument.
func (c *commands) checkName(args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil
	}
	var names []string
	for f := range reflect.TypeFor[commands]().Fields() {
		names = append(names, strings.ToLower(f.Name))
	}
	if slices.Contains(names, args[0]) {
		return nil
	}
	return fmt.Errorf("%q is no command: want %s; see ionetd --help", args[0], strings.Join(names, ", "))
}

// stage is what a command runs on. Lines for people go to out, diagnostics to
// the log; both are used from several goroutines.
type stage struct {
	ctx context.Context
	out io.Writer
	log *slog.Logger
	mu  sync.Mutex
}

func (s *stage) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ionetd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c commands
	if err := c.checkName(args); err != nil {
		return err
	}
	program := commandline.Program{Name: "ionetd", Help: help, Stdout: stdout, Stderr: stderr}
	parsed, err := program.Parse(&c, args)
	if parsed == nil || err != nil {
		return err
	}
	err = parsed.Run(&stage{ctx: ctx, out: stdout, log: slog.New(slog.NewTextHandler(stderr, nil))})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
