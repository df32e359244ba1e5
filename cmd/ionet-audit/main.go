// Command ionet-audit repeats everything that a network did, from its RPC and its
// published files alone, and says whether all holds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/commandline"
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
	program := commandline.Program{Name: "ionet-audit", Help: help, Stdout: stdout, Stderr: stderr}
	parsed, err := program.Parse(&f, args)
	if parsed == nil && err == nil {
		return 0 // --help or --version
	}
	var audits []*auditBy
	if err == nil {
		audits, err = f.prepare()
	}
	if err != nil {
		fmt.Fprintln(stderr, "ionet-audit:", err)
		return 2
	}
	if f.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.Timeout)
		defer cancel()
	}
	worst := 0
	for _, a := range audits {
		if len(audits) > 1 && !f.JSON {
			fmt.Fprintf(stdout, "by the RPC %s:\n", a.name)
		}
		if status := a.run(ctx, stdout, stderr); worst != 1 && status != 0 {
			worst = status
		}
	}
	return worst
}

// auditBy is the audit by what one endpoint tells. Each endpoint must tell a history
// in which all holds: one that lies can't hide behind one that does not.
type auditBy struct {
	*flags
	name  string // of the endpoint: a host, never a URL, which may hold keys
	chain *rpc.Client
	store publish.Reader
}

// prepare refuses what is wrong with a flag before anything is asked.
func (f *flags) prepare() (all []*auditBy, err error) {
	if f.Timeout < 0 {
		return nil, fmt.Errorf("--timeout %s: want 0 for never, or more", f.Timeout)
	}
	store, err := publish.Open(f.Store)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	seen := map[string]bool{}
	for i, endpoint := range f.RPC {
		client, err := rpc.New(rpc.Config{Endpoints: []string{endpoint}})
		if err != nil {
			return nil, fmt.Errorf("--rpc, number %d of %d: want an http(s) URL", i+1, len(f.RPC))
		}
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, fmt.Errorf("--rpc, number %d of %d: want an http(s) URL", i+1, len(f.RPC))
		}
		name := u.Host
		if seen[name] {
			name = fmt.Sprintf("%s (number %d)", name, i+1)
		}
		seen[name] = true
		all = append(all, &auditBy{flags: f, name: name, chain: client, store: store})
	}
	return all, nil
}

// run returns the audit's exit status.
func (a *auditBy) run(ctx context.Context, stdout, stderr io.Writer) int {
	cfg := audit.Config{Chain: a.chain, Store: a.store, Mint: a.Mint}
	if a.Progress {
		cfg.Progress = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	}
	report, err := audit.Run(ctx, cfg)
	printed := a.print(stdout, report, err == nil) // what was found stays found, whatever stopped the audit
	switch {
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted before the end")
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		err = fmt.Errorf("--timeout %s: the time was over before the audit was: %w", a.Timeout, err)
	case err != nil:
		err = fmt.Errorf("--rpc %s: %w; is it right, and does it answer?", a.name, err)
	}
	if err = errors.Join(err, printed); err == nil {
		return report.Status()
	}
	fmt.Fprintln(stderr, "ionet-audit:", err)
	if len(report.Findings) > 0 {
		return 1
	}
	return 2
}

// print writes findings, then what was not checked, then notes; the last line
// is the summary, where the audit came to its end.
func (a *auditBy) print(w io.Writer, r *audit.Report, whole bool) error {
	if a.JSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			RPC string `json:"rpc"`
			*audit.Report
		}{a.name, r})
	}
	for _, x := range r.Findings {
		fmt.Fprintln(w, x)
	}
	for _, x := range r.Unchecked {
		fmt.Fprintln(w, "not checked:", x)
	}
	if r.Network.IsZero() && len(r.Unchecked) > 0 && strings.HasPrefix(a.Store, "http") && !strings.HasSuffix(strings.TrimSuffix(a.Store, "/"), "/files") {
		fmt.Fprintf(w, "hint: a service's files are below /files: try --store %s/files\n", strings.TrimSuffix(a.Store, "/"))
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
