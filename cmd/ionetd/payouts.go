package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/web"
)

type payoutsCmd struct {
	List payoutsListCmd `cmd:"" default:"withargs" help:"Show what goes out and what waits (default)."`
	Run  payoutsRunCmd  `cmd:"" help:"Have the running service pay everybody who waits, now, and wait for it."`
}

// Help is shown below the flags.
func (c *payoutsCmd) Help() string {
	return `Examples:
  ionetd payouts                                  # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set
  ionetd payouts run --wait 30m`
}

type payoutsListCmd struct {
	place
	Limit int  `default:"24" range:"1..1000" placeholder:"N" help:"How many transactions that ended to list; open ones are listed always."`
	JSON  bool `name:"json" help:"Print JSON, as /v1/payouts has it, with the held payees."`
}

// Help is shown below the flags.
func (c *payoutsListCmd) Help() string {
	return `Lists each lane's open transactions and those that ended lately, with state, age, how often it was signed and why a
node refused it; the payees that runs leave out for now with the reason and the next try; the withdrawals that wait; and the runs.

States: signed (on its way), offered (a claim that its wallet has yet to sign), dead (it can't land; signed again, or
passed), paid, superseded (another transaction has its position; what it owed is owed as before).

Examples:
  ionetd payouts --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd payouts --limit 100                      # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set
  ionetd payouts --json | jq '.outgoing[] | select(.state == "dead")'`
}

func (c *payoutsListCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	p, err := service.Payouts(s.ctx, c.Limit)
	if err != nil {
		return err
	}
	if !c.JSON {
		if _, err := s.printHalt(service); err != nil {
			return err
		}
	}
	if c.JSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(web.WirePayouts(p, true))
	}
	return printPayouts(s, p, service.Network().Decimals, time.Now())
}

// printPayouts renders p for people.
func printPayouts(s *stage, p settlement.Payouts, decimals int, now time.Time) error {
	s.print("minimum  %s IO, by the policy in force", p.Minimum.Tokens(decimals))
	s.print("waiting  %s for %s IO, of whom %d held", count(p.Waiting, "payee"), p.Due.Tokens(decimals), len(p.Held))
	if p.WaitingFees > 0 {
		s.print("fees     %s for %s IO", count(p.WaitingFees, "payee"), p.DueFees.Tokens(decimals))
	}
	for _, r := range p.Runs {
		ended := "open"
		if !r.Ended.IsZero() {
			ended = "over at " + stamp(r.Ended)
		}
		s.print("run      %x asked at %s, %s", r.ID, stamp(r.Asked), ended)
	}
	for _, h := range p.Held {
		fees := ""
		if !h.Fees.IsZero() {
			fees = " and " + h.Fees.Tokens(decimals) + " IO of fees"
		}
		s.print("held     %s, owed %s IO%s, next try at %s: %s", h.Payee, h.Owed.Tokens(decimals), fees, stamp(h.RetryAt), h.Reason)
	}
	for _, w := range p.Withdrawals {
		reason := ""
		if w.Reason != "" {
			reason = ", next try at " + stamp(w.RetryAt) + ": " + w.Reason
		}
		s.print("withdraw %x of %s, %s IO to %s, asked at %s, expires at %s%s",
			w.Payment, w.Renter, w.Amount.Tokens(decimals), w.To, stamp(w.Since), stamp(w.Expires), reason)
	}
	if len(p.Outgoing) == 0 {
		s.print("nothing has gone out yet")
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "lane\tposition\tkind\tstate\tage\tattempts\tpayees\tIO\ttransaction\treason")
	for _, o := range p.Outgoing {
		transaction := "-"
		if !o.Signature.IsZero() {
			transaction = o.Signature.String()
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n",
			o.Lane, o.Position, o.Kind, o.State, age(o.Since, now), o.Attempts, o.Payees, o.Amount.Tokens(decimals), transaction, o.Reason)
	}
	return w.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// age renders how long ago t was, in its two largest units.
func age(t, now time.Time) string {
	d := max(now.Sub(t), 0)
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

type payoutsRunCmd struct {
	place
	Wait time.Duration `default:"5m" help:"How long to wait for the run's end (default: ${default})."`
}

// Help is shown below the flags.
func (c *payoutsRunCmd) Help() string {
	return `Asks the running ionetd serve for a payout run, which pays all who are owed at least the policy's minimum, of
emissions or of fees; fees once the receipts that they are of are in a published checkpoint. When
--wait is over the run goes on without being watched.

Examples:
  ionetd payouts run --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd payouts run --wait 30m                   # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *payoutsRunCmd) Run(s *stage) error {
	if err := checkWait(c.Wait); err != nil {
		return err
	}
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	id, err := service.RequestPayout(s.ctx)
	if err != nil {
		return err
	}
	s.print("payout run %x", id)
	if _, err := s.printHalt(service); err != nil {
		return err
	}
	deadline := time.Now().Add(c.Wait)
	for {
		r, err := service.PayoutRun(s.ctx, id)
		if err != nil {
			return err
		}
		if r.Done {
			return c.report(s, service, r)
		}
		if time.Now().After(deadline) {
			return s.notOver(service, "the run", "ionetd payouts")
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (c *payoutsRunCmd) report(s *stage, service *settlement.Service, r settlement.PayoutRun) error {
	s.print("paid %s IO to %s", r.Paid.Tokens(service.Network().Decimals), count(r.Payees, "payee"))
	o, err := service.Overview(s.ctx)
	if err != nil {
		return err
	}
	for _, h := range o.Held {
		s.print("held %s until %s: %s", h.Payee, stamp(h.RetryAt), h.Reason)
	}
	return nil
}
