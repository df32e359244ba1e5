package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement"
)

type policyCmd struct {
	Announce policyAnnounceCmd `cmd:"" help:"Announce a policy for a future epoch, which its file names."`
	List     policyListCmd     `cmd:"" help:"List the policies that were announced, and what became of them."`
	Default  policyDefaultCmd  `cmd:"" help:"Print the policy that ships with this program, to make one of your own from it."`
}

type policyAnnounceCmd struct {
	File string `arg:"" type:"existingfile" help:"Policy file (TOML) with a version above all others and its first epoch."`
	place
	Check bool `help:"Announce nothing: tell whether it would be taken now, and the earliest first epoch."`
}

// Help is shown below the flags.
func (c *policyAnnounceCmd) Help() string {
	return `The file names its version and first_epoch itself. The announcement is sealed in the book of the epoch in which it
arrives, and counts if that is sealed before first_epoch begins: --check tells the earliest that can be named now. The
same file again changes nothing. ionetd policy list tells what became of it.

Examples:
  ionetd policy default > policy-2.toml           # then edit version, first_epoch and what is to change
  ionetd policy announce policy-2.toml --check
  ionetd policy announce policy-2.toml
The last two need IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE, or --dir, --store, --rpc and --database.`
}

func (c *policyAnnounceCmd) Run(s *stage) error {
	file, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	if c.Check {
		return c.check(s, service, file)
	}
	a, err := again(s.ctx, func() (settlement.Announcement, error) { return service.AnnouncePolicy(s.ctx, file) })
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if !a.New {
		s.print("policy version %d (%s) was announced before, in epoch %d: see ionetd policy list", a.Version, a.Policy, a.Arrival.Epoch)
		return nil
	}
	start := time.Unix(service.Network().Clock().EpochStart(a.FirstEpoch), 0).UTC().Format(time.RFC3339)
	s.print("announced policy version %d (%s) in epoch %d", a.Version, a.Policy, a.Arrival.Epoch)
	s.print("it rules from epoch %d on if epoch %d is sealed before %s, when that begins: see ionetd policy list", a.FirstEpoch, a.Arrival.Epoch, start)
	return nil
}

// check prints what announcing would come to.
func (c *policyAnnounceCmd) check(s *stage, service *settlement.Service, file []byte) error {
	k, err := again(s.ctx, func() (settlement.PolicyCheck, error) { return service.CheckPolicy(s.ctx, file) })
	if k.Earliest > 0 {
		start := time.Unix(service.Network().Clock().EpochStart(k.Earliest), 0).UTC().Format(time.RFC3339)
		s.print("announced now, the earliest first_epoch is %d, which begins at %s", k.Earliest, start)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if k.Announced > 0 {
		s.print("policy version %d (%s) was announced before, in epoch %d: see ionetd policy list", k.Version, k.Policy, k.Announced)
		return nil
	}
	s.print("policy version %d (%s) for epoch %d would be taken; nothing was announced", k.Version, k.Policy, k.FirstEpoch)
	return nil
}

// announceTries bounds how often again tries where the service only
// asks for a moment: while an epoch is being closed, or the database catches up.
const announceTries = 20

func again[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for n := 1; ; n++ {
		a, err := do()
		var p *settlement.Problem
		if n == announceTries || !errors.As(err, &p) || p.Retry == 0 {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(p.Retry):
		}
	}
}

type policyListCmd struct {
	place
}

// Help is shown below the flags.
func (c *policyListCmd) Help() string {
	return `The states of a policy:
  announced   no final seal has it yet
  counts      it was sealed in time: it rules from its first epoch on
  in force    it rules the current epoch
  superseded  it was sealed in time, and one with a higher version rules in its place
  missed      it was sealed too late, or after a version as high: it never rules

Examples:
  ionetd policy list --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd policy list                              # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

type policyDefaultCmd struct{}

// Help is shown below the flags.
func (c *policyDefaultCmd) Help() string {
	return `The keys are explained in emissions/FORMAT.md. It is for epochs of 60 samples; others need another samples.minimum.

Examples:
  ionetd policy default > policy.toml
  ionetd genesis --policy policy.toml --rpc http://127.0.0.1:8899 --plan`
}

// Run prints the file, byte by byte.
func (c *policyDefaultCmd) Run(s *stage) error {
	_, err := s.out.Write(emissions.DefaultPolicy())
	return err
}

func (c *policyListCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	list, err := service.Policies(s.ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "version\tfirst epoch\tstate\tannounced\thash")
	for _, p := range list {
		announced := "at genesis"
		if p.Announced > 0 {
			announced = fmt.Sprintf("in epoch %d", p.Announced)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", p.Version, p.FirstEpoch, p.State, announced, p.Policy)
	}
	return w.Flush()
}

// policyLine tells the policy in force and the one that may follow it next.
func policyLine(list []settlement.PolicyStatus) string {
	var now, next settlement.PolicyStatus
	for _, p := range list {
		if p.State == settlement.PolicyInForce {
			now = p
		}
	}
	for _, p := range list {
		awaited := p.Version > now.Version && p.FirstEpoch > now.FirstEpoch && (p.State == settlement.PolicyAnnounced || p.State == settlement.PolicyCounts)
		if awaited && (next.Version == 0 || p.FirstEpoch < next.FirstEpoch) {
			next = p
		}
	}
	line := fmt.Sprintf("version %d from epoch %d on (%s)", now.Version, now.FirstEpoch, now.Policy)
	if next.Version > 0 {
		line += fmt.Sprintf("; next version %d from epoch %d on, %s", next.Version, next.FirstEpoch, next.State)
	}
	return line
}
