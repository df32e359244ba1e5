// Command ionet-audit repeats everything that a network did, from its RPC and its
// published files alone, and says whether all holds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/publish"
)

const help = `Audit a network from its mint: every epoch's emission, policy, inputs, signatures,
beacons, price, verdicts and mint; every payout and claim; every movement of every vault.

It does not trust the published files: each is checked against what the chain
commits to, each judgement is made again. The chain it sees through the RPC:
give endpoints of several operators, or your own node.

Exit status: 0 all holds, 1 findings, 2 something could not be checked or the
audit could not run.

Examples:
  ionet-audit --rpc http://127.0.0.1:8899 --mint 9xQe... --store ./published
  ionet-audit --rpc https://api.devnet.solana.com --mint 9xQe... --store https://ionetd.example/files --json`

type flags struct {
	RPC      []string      `name:"rpc" required:"" env:"IONET_RPC" placeholder:"URL" help:"RPC with history of the whole network; repeat it, and all holds only if it does by each of them."`
	Mint     ionet.Key     `required:"" env:"IONET_MINT" placeholder:"KEY" help:"The network's token: the one thing to know beforehand."`
	Store    string        `required:"" env:"IONET_STORE" placeholder:"DIR|URL" help:"Published files: a folder or the base URL of a mirror."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
	Progress bool          `help:"Tell on standard error what is being looked at."`
	Timeout  time.Duration `default:"0" help:"Give up after this long; 0 never."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	done := -1
	parser, err := kong.New(&f, kong.Name("ionet-audit"), kong.Description(help), kong.Writers(stdout, stderr), kong.Exit(func(code int) { done = code }))
	if err != nil {
		fmt.Fprintln(stderr, "ionet-audit:", err)
		return 2
	}
	_, err = parser.Parse(args)
	if done >= 0 {
		return done // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "ionet-audit: %v; see ionet-audit --help\n", err)
		return 2
	}
	if f.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.Timeout)
		defer cancel()
	}
	worst := 0
	for _, endpoint := range f.RPC {
		status := f.auditBy(ctx, endpoint, stdout, stderr)
		if worst != 1 && status != 0 {
			worst = status
		}
	}
	return worst
}

// auditBy audits by what one endpoint tells. Each endpoint must tell a history in
// which all holds: one that lies can't hide behind one that does not.
func (f *flags) auditBy(ctx context.Context, endpoint string, stdout, stderr io.Writer) int {
	report, err := f.audit(ctx, endpoint, stderr)
	if report != nil { // what was found stays found, whatever stopped the audit
		if perr := f.print(stdout, report, err == nil); perr != nil {
			err = errors.Join(err, perr)
		}
	}
	if err == nil {
		return report.Status()
	}
	fmt.Fprintf(stderr, "ionet-audit: %v; is --rpc %s right, and does it answer?\n", err, endpoint)
	if report != nil && len(report.Findings) > 0 {
		return 1
	}
	return 2
}

func (f *flags) audit(ctx context.Context, endpoint string, stderr io.Writer) (*audit.Report, error) {
	store, err := publish.Open(f.Store)
	if err != nil {
		return nil, err
	}
	client, err := rpc.New(rpc.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return nil, err
	}
	cfg := audit.Config{Chain: client, Store: store, Mint: f.Mint}
	if f.Progress {
		cfg.Progress = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	}
	report, err := audit.Run(ctx, cfg)
	if errors.Is(err, context.Canceled) {
		return report, errors.New("interrupted before the end")
	}
	return report, err
}

// print writes findings, then what was not checked, then notes; the last line
// is the summary, where the audit came to its end.
func (f *flags) print(w io.Writer, r *audit.Report, whole bool) error {
	if f.JSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, x := range r.Findings {
		fmt.Fprintln(w, x)
	}
	for _, x := range r.Unchecked {
		fmt.Fprintln(w, "not checked:", x)
	}
	if r.Network.IsZero() && len(r.Unchecked) > 0 && strings.HasPrefix(f.Store, "http") && !strings.HasSuffix(strings.TrimSuffix(f.Store, "/"), "/files") {
		fmt.Fprintf(w, "hint: a service's files are below /files: try --store %s/files\n", strings.TrimSuffix(f.Store, "/"))
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	if !whole {
		_, err := fmt.Fprintln(w, "the audit did not come to its end")
		return err
	}
	fmt.Fprintln(w, r.Money())
	_, err := fmt.Fprintln(w, r.Summary())
	return err
}
