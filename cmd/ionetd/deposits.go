package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement"
)

type depositsCmd struct {
	place
	All   bool `help:"Also those that were credited to a renter."`
	Limit int  `default:"100" range:"1..100000" placeholder:"N" help:"How many, the newest first (default: ${default})."`
}

// Help is shown below the flags.
func (c *depositsCmd) Help() string {
	return `Shows what others sent to accounts of this network and nobody was credited for, each with its reason: it is kept in
suspense. With --all also the credits of renters.

Examples:
  ionetd deposits --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd deposits --all                           # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *depositsCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	list, err := service.Deposits(s.ctx, c.All, c.Limit)
	if err != nil {
		return err
	}
	n := service.Network()
	for _, d := range list {
		whose := "suspense: " + d.Reason
		if d.State == settlement.DepositCredited {
			whose = "for " + d.Renter.String()
		}
		s.print("%s  slot %d  %s  %s", d.Signature, d.Slot, amountOf(d, n), whose)
	}
	s.print("%s", count(len(list), "deposit"))
	return nil
}

// amountOf renders what a deposit moved, of whatever mint.
func amountOf(d settlement.Deposit, n *ionet.Network) string {
	amount, err := ionet.NewAmount(d.Amount)
	switch {
	case err == nil && d.Mint == n.Mint:
		return amount.Tokens(n.Decimals) + " IO"
	case d.Mint.IsZero():
		return fmt.Sprintf("%d lamports", d.Amount)
	}
	return fmt.Sprintf("%d base units of mint %s", d.Amount, d.Mint)
}

type resumeCmd struct {
	place
	Reason string        `required:"" placeholder:"TEXT" help:"What you found out; it stays with the books."`
	Yes    bool          `help:"Do not ask before it is booked."`
	Wait   time.Duration `default:"2m" help:"How long to wait for the leader (default: ${default})."`
}

// Help is shown below the flags.
func (c *resumeCmd) Help() string {
	return `Run it once you have found out why. When tokens leave a vault by no transaction of ours, or somebody else may take them,
every instance stops signing until a person resumes; when payees were overpaid, nobody is paid. This shows what differs
and asks; then it books that (what is missing as written off, what nothing explains as suspense), ends the halt, and
lets the service go on. It books exactly what it has shown: where the books have changed meanwhile it refuses. Where no
service runs it does all of it itself.

Examples:
  ionetd resume --reason 'key of the fee vault was misused, replaced' --dir keys --store published \
    --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd resume --yes --reason 'written off, see ticket 81'   # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *resumeCmd) Run(s *stage) error { return c.run(s, os.Stdin) }

func (c *resumeCmd) run(s *stage, in io.Reader) error {
	if err := checkWait(c.Wait); err != nil {
		return err
	}
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	if _, err := service.Reconcile(s.ctx); err != nil {
		s.print("the chain was not looked at: %v", err)
	}
	plan, err := service.PlanResume(s.ctx)
	if errors.Is(err, settlement.ErrNothingToResume) {
		s.print("%v", err)
		return service.Release(s.ctx)
	}
	if err != nil {
		return err
	}
	c.show(s, plan, service.Network().Decimals)
	if plan.Unresolvable != "" {
		return errors.New(plan.Unresolvable)
	}
	if !c.Yes && !confirmed(s, in) {
		return errors.New("nothing was booked")
	}
	id, err := service.AskResume(s.ctx, plan.Seen, c.Reason)
	if err != nil {
		return err
	}
	return errors.Join(c.await(s, service, id), service.Release(s.ctx))
}

func (c *resumeCmd) show(s *stage, plan settlement.Resumption, decimals int) {
	for _, h := range plan.Halts {
		s.print("halted since %s: %s", h.Since.UTC().Format(time.RFC3339), h.Detail)
	}
	for _, d := range plan.Differences {
		s.print("to book: %s of %s IO (%s)", d.What, d.Amount.Tokens(decimals), d.Entry)
		for _, c := range d.Credits {
			s.print("  a credit of just that amount was read at slot %d from %s: if it never happened, nothing was taken", c.Slot, c.Signature)
		}
	}
	for _, d := range plan.Gifts {
		s.print("to book as well: %s IO that somebody sent, or more by then (%s)", d.Amount.Tokens(decimals), d.Entry)
	}
	if len(plan.Differences)+len(plan.Gifts) == 0 {
		s.print("books and chain agree: nothing is to be booked")
	}
}

func confirmed(s *stage, in io.Reader) bool {
	s.print("book this and go on? type yes:")
	line, _ := bufio.NewReader(in).ReadString('\n') // what ends early is no yes
	return strings.TrimSpace(line) == "yes"
}

// await waits until whoever leads has answered; where nobody does this is the leader.
func (c *resumeCmd) await(s *stage, service *settlement.Service, id [16]byte) error {
	deadline := time.Now().Add(c.Wait)
	for {
		done, refused, err := service.Resumed(s.ctx, id)
		switch {
		case err != nil:
			return err
		case refused != "":
			return fmt.Errorf("nothing was booked: %s", refused)
		case done:
			s.print("booked and resumed")
			return nil
		case time.Now().After(deadline):
			return errors.New("nobody answered yet: is an ionetd serve running? It does so with its next pass that reaches the chain")
		}
		if _, err := service.Reconcile(s.ctx); err != nil && s.ctx.Err() == nil {
			s.print("not yet: %v", err)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}
