// Command demo is the whole network on one machine: a PostgreSQL and a Solana
// chain of its own, the service, three GPU hosts, wallets, and at the end an
// auditor who trusts none of them. It starts the real binaries as any operator
// would and adds nothing to them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := demo(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo runs the network through its main job and audits it.
func demo(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	epochs := flags.Uint64("epochs", 3, "epochs to run before the audit")
	keep := flags.Bool("keep", false, "leave the network running until Ctrl-C")
	faults := flags.Duration("faults", 0, "how long things go wrong before the audit: processes, database, chain and its endpoints")
	seed := flags.Uint64("seed", uint64(time.Now().Unix()), "what the faults are drawn from")
	multisig := flags.Bool("multisig", false, "have mint and vaults belong to 2 of 3 members, each a process of its own; one is lost on the way")
	root := flags.String("dir", ".demo", "folder that holds the state of each run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *epochs < 1 {
		return errors.New("-epochs is 0: the audit needs at least one")
	}
	dir, unlock, err := newRun(*root)
	if err != nil {
		return err
	}
	defer unlock()
	began := time.Now()
	fmt.Fprintf(out, "state  %s\n", dir)
	s, err := newStage(ctx, demoPace, dir, out)
	if err != nil {
		return err
	}
	s.hostile, s.multisig = *faults > 0, *multisig
	defer func() {
		if stopErr := s.close(); err == nil {
			err = stopErr
		}
		fmt.Fprintf(out, "stopped after %s; state remains in %s until the next run\n", time.Since(began).Round(time.Second), dir)
	}()
	if err := s.mainJob(ctx, *epochs); err != nil {
		return err
	}
	if s.hostile {
		if err := s.underFaults(ctx, *faults, *seed); err != nil {
			return err
		}
	}
	code, _, err := s.audit(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("the audit does not hold: exit status %d", code)
	}
	if *keep {
		return s.stay(ctx, out)
	}
	return nil
}

// mainJob is the story that the demo tells: GPUs prove, epochs close, one provider claims,
// a renter pays a host for inferences, all are paid in batches.
func (s *stage) mainJob(ctx context.Context, epochs uint64) error {
	for _, step := range []func(context.Context) error{s.startChain, s.genesis, s.startSigners, s.serve, s.addWorkers, s.openAccounts} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := s.sealed(ctx, 1); err != nil {
		return err
	}
	if err := s.loseMember(ctx); err != nil {
		return err
	}
	if err := s.claim(ctx, 1); err != nil {
		return err
	}
	if err := s.rent(ctx); err != nil {
		return err
	}
	if err := s.sealed(ctx, epochs-1); err != nil {
		return err
	}
	if err := s.payoutsRun(ctx); err != nil {
		return err
	}
	return s.sealed(ctx, max(epochs, s.served)) // jobs are looked at when their epoch closes
}
