package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet/settlement"
)

type policyCmd struct {
	Announce policyAnnounceCmd `cmd:"" help:"Announce a policy for a future epoch, which its file names."`
	List     policyListCmd     `cmd:"" help:"List the policies that were announced, and what became of them."`
}

type policyAnnounceCmd struct {
	File string `arg:"" type:"existingfile" help:"Policy file (TOML) with a version above all others and its first epoch."`
	place
}

func (c *policyAnnounceCmd) Run(s *stage) error {
	file, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	service, err := settlement.New(s.ctx, o.cfg)
	if err != nil {
		return err
	}
	a, err := announce(s.ctx, service, file)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if !a.New {
		s.print("policy version %d (%s) was announced before, in epoch %d: see ionetd policy list", a.Version, a.Policy, a.Arrival.Epoch)
		return nil
	}
	start := time.Unix(o.cfg.Network.Clock().EpochStart(a.FirstEpoch), 0).UTC().Format(time.RFC3339)
	s.print("announced policy version %d (%s) in epoch %d", a.Version, a.Policy, a.Arrival.Epoch)
	s.print("it rules from epoch %d on if epoch %d is sealed before %s, when that begins: see ionetd policy list", a.FirstEpoch, a.Arrival.Epoch, start)
	return nil
}

// announceTries bounds how often a policy is announced again where the service only
// asks for a moment: while an epoch is being closed, or the database catches up.
const announceTries = 20

func announce(ctx context.Context, service *settlement.Service, file []byte) (settlement.Announcement, error) {
	for n := 1; ; n++ {
		a, err := service.AnnouncePolicy(ctx, file)
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

func (c *policyListCmd) Run(s *stage) error {
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	service, err := settlement.New(s.ctx, o.cfg)
	if err != nil {
		return err
	}
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
