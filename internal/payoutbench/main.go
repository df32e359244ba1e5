// Command payoutbench pays very many payees on the local chain with the settle machine,
// and some of them with the sender that everybody writes first, in the same run.
//
// The books begin with the debts, and the vault with the tokens: how they come there is
// the business of epochs. Everything after that is real: a PostgreSQL that syncs its
// log, the virtual machine, every check that a service makes. Slots are made between two
// passes and their time is not counted, because on a cluster nobody computes meanwhile.
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
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "payoutbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("payoutbench", flag.ContinueOnError)
	payees := flags.Int("payees", 20_000, "payees to pay with the settle machine")
	naive := flags.Int("naive", 2_000, "payees to pay one by one")
	lanes := flags.Int("lanes", 64, "pay lanes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *payees < 1 || *naive < 1 || *naive > *payees || *lanes < 1 || *lanes > 64 {
		return errors.New("want 1 <= naive <= payees and 1..64 lanes")
	}
	b, err := setUp(ctx, *payees, *lanes, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	ours, err := b.settle(ctx)
	if err != nil {
		return err
	}
	theirs, err := b.payOneByOne(ctx, *naive)
	if err != nil {
		return err
	}
	report(out, ours, theirs)
	return nil
}

// result is what paying took.
type result struct {
	payees, transactions           int
	lamports                       uint64
	passes                         int
	took, database, chain, ownCode time.Duration
	databaseCalls, chainCalls      int
}

func report(out io.Writer, ours, theirs result) {
	share := func(d time.Duration, of result) string {
		return fmt.Sprintf("%s (%.0f %%)", d.Round(10*time.Millisecond), 100*d.Seconds()/of.took.Seconds())
	}
	for _, r := range []struct {
		name string
		result
	}{{"settle machine", ours}, {"one transfer, one transaction", theirs}} {
		fmt.Fprintf(out, "%s: %d payees in %s, %.0f a second\n", r.name, r.payees, r.took.Round(10*time.Millisecond), float64(r.payees)/r.took.Seconds())
		fmt.Fprintf(out, "  %d transactions, %d lamports, %.1f a payee\n", r.transactions, r.lamports, float64(r.lamports)/float64(r.payees))
		fmt.Fprintf(out, "  our code %s, database %s in %d calls, chain %s in %d calls\n", share(r.ownCode, r.result),
			share(r.database, r.result), r.databaseCalls, share(r.chain, r.result), r.chainCalls)
	}
	a, b := ours.took.Seconds()/float64(ours.payees), theirs.took.Seconds()/float64(theirs.payees)
	fmt.Fprintf(out, "a payee: %.0f us against %.0f us, %.1f times faster; %.1f lamports against %.1f\n", 1e6*a, 1e6*b, b/a,
		float64(ours.lamports)/float64(ours.payees), float64(theirs.lamports)/float64(theirs.payees))
	fmt.Fprintf(out, "a million this way: %s and %d transactions, against %s; %d passes each wait for finality\n",
		time.Duration(a*1e15).Round(time.Second), (1_000_000*ours.transactions+ours.payees-1)/ours.payees, time.Duration(b*1e15).Round(time.Second), ours.passes)
}
