// Command sim plays a network under faults drawn from a seed: hundreds of
// providers, epochs, claims and payouts, while processes die, endpoints fail,
// the chain forks, payees close accounts, strangers meddle and databases are put
// back to older copies. After every step it holds books and chain against each
// other; at the end of a seed all faults end, and everything must come to rest.
//
// The same seed makes the same steps and the same bytes, so a seed that fails
// fails again. Only the service under test is real code of the product: its passes
// are called one after the other, with a seeded source of randomness and a clock
// that the simulation moves, on a real database and a real virtual machine.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/internal/devdb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := simulate(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	seed      uint64
	seeds     int
	steps     int
	providers int
	shrinks   bool
	verbose   bool
}

func simulate(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 0, "first seed; 0 draws one")
	flags.IntVar(&o.seeds, "seeds", 1, "how many seeds, one after the other")
	flags.IntVar(&o.steps, "steps", defaultSteps, "steps of each seed")
	flags.IntVar(&o.providers, "providers", defaultProviders, "providers of the network")
	flags.BoolVar(&o.shrinks, "shrink", false, "where the seed fails, look for the fewest steps after which it does")
	flags.BoolVar(&o.verbose, "v", false, "print each step")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = drawSeed()
	}
	dir, err := workFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := devdb.Start(ctx, devdb.Config{Dir: filepath.Join(dir, "db"), NoFsync: true, Settings: fastDatabase()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Stop(context.WithoutCancel(ctx))) }()
	return o.run(ctx, db.URLOf("postgres"), dir, out, progress)
}

// Defaults of a run.
const (
	defaultSteps     = 80
	defaultProviders = 200
)

// fastDatabase is for a database that nobody needs tomorrow.
func fastDatabase() map[string]string {
	return map[string]string{"synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "4GB", "wal_level": "minimal", "max_wal_senders": "0"}
}

// workFolder makes a folder of our own, in memory where there is some.
func workFolder() (string, error) {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "ionet-sim-"); err == nil {
			return dir, os.Chmod(dir, 0o711) // the database may run as another user
		}
	}
	return os.MkdirTemp("", "ionet-sim-")
}

// drawSeed draws a seed that is easy to type.
func drawSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return 1 + binary.LittleEndian.Uint64(b[:])%1_000_000_000
}

// run plays the seeds and says how they ended.
func (o options) run(ctx context.Context, admin, dir string, out, progress io.Writer) error {
	began := time.Now()
	var verbose func(string)
	if o.verbose {
		verbose = func(line string) { fmt.Fprintln(out, line) }
	}
	p := player{total: tally{}, name: drawSeed(), options: o, admin: admin, dir: dir, verbose: verbose}
	defer p.close(context.WithoutCancel(ctx))
	for n := range o.seeds {
		seed := o.seed + uint64(n)
		trace, err := p.play(ctx, seed, o.steps)
		if broken := (*Broken)(nil); errors.As(err, &broken) {
			p.explain(ctx, broken, out)
			return err
		}
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		fmt.Fprintf(progress, "seed %d holds, trace %s (%d of %d, %s)\n", seed, trace.String()[:12], n+1, o.seeds, time.Since(began).Round(time.Second))
	}
	fmt.Fprint(out, p.total)
	fmt.Fprintf(out, "seeds %d to %d hold, %d steps each\n", o.seed, o.seed+uint64(o.seeds)-1, o.steps)
	return nil
}
