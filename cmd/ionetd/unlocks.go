package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement"
)

type unlocksCmd struct {
	List    unlocksListCmd    `cmd:"" default:"withargs" help:"Show what of each category is unlocked, released and due (default)."`
	Release unlocksReleaseCmd `cmd:"" help:"Have the running service release what is due to the beneficiaries, and wait for it."`
}

// Help is shown below the flags.
func (c *unlocksCmd) Help() string {
	return `Examples:
  ionetd unlocks                                  # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set
  ionetd unlocks release --category seed --wait 30m`
}

type unlocksListCmd struct {
	place
}

// Help is shown below the flags.
func (c *unlocksListCmd) Help() string {
	return `Shows each category of the genesis supply: how much of it is unlocked by the chain's time, how much was released to
its beneficiaries, what is due now, and when more is unlocked. A month is 730 epochs. Tokens of a category without
beneficiaries are moved by the key of its owner alone; ionetd genesis --beneficiary names them.

Examples:
  ionetd unlocks --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd unlocks                                  # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *unlocksListCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	list, err := service.Unlocks(s.ctx)
	if err != nil {
		return err
	}
	for _, u := range list {
		s.printUnlock(u, service.Network().Decimals)
	}
	return nil
}

// printUnlock tells where a category stands.
func (s *stage) printUnlock(u settlement.Unlock, decimals int) {
	t := func(a ionet.Amount) string { return a.Tokens(decimals) }
	next := ""
	if u.Next > 0 {
		next = ", more on " + time.Unix(u.Next, 0).UTC().Format(time.RFC3339)
	}
	s.print("%-10s %s IO, %s: %s unlocked by the end of month %d%s", u.Category, t(u.Total), u.Rule, t(u.Unlocked), u.Month, next)
	if !u.IsManaged() {
		s.print("%-10s no beneficiaries: its owner moves it", "")
		return
	}
	s.print("%-10s %s released, %s on the way, %s due", "", t(u.Released), t(u.InFlight), t(u.Due))
	for _, b := range u.Beneficiaries {
		s.print("%-10s to %s, %s of %d", "", b.Wallet, count(int(b.Parts), "part"), partsOf(u))
	}
	switch {
	case u.Reason != "":
		s.print("%-10s asked for, and waits: %s", "", u.Reason)
	case u.Asked:
		s.print("%-10s asked for", "")
	}
}

func partsOf(u settlement.Unlock) (sum uint64) {
	for _, b := range u.Beneficiaries {
		sum += b.Parts
	}
	return sum
}

type unlocksReleaseCmd struct {
	place
	Category string        `placeholder:"CATEGORY" help:"Release this one only (default: all that have beneficiaries)."`
	Wait     time.Duration `default:"5m" help:"How long to wait for its end (default: ${default})."`
}

// Help is shown below the flags.
func (c *unlocksReleaseCmd) Help() string {
	return `Asks the running ionetd serve to pay each beneficiary his part of what is unlocked by the end of the last month and
was not released before: one transaction a category, which makes his token account where it is missing. Asking
again changes nothing. When --wait is over the release goes on without being watched.

Examples:
  ionetd unlocks release --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd unlocks release --category seed          # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *unlocksReleaseCmd) Run(s *stage) error {
	if err := checkWait(c.Wait); err != nil {
		return err
	}
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	before, err := service.Unlocks(s.ctx)
	if err != nil {
		return err
	}
	names, err := service.RequestRelease(s.ctx, c.Category)
	if err != nil && c.Category != "" {
		return fmt.Errorf("--category: %w", err)
	}
	if err != nil {
		return err
	}
	if _, err := s.printHalt(service); err != nil {
		return err
	}
	told := map[string]string{}
	for deadline := time.Now().Add(c.Wait); ; {
		list, err := service.Unlocks(s.ctx)
		if err != nil {
			return err
		}
		open := 0
		for _, u := range list {
			if !slices.Contains(names, u.Category) || !u.Asked {
				continue
			}
			open++
			if u.Reason != told[u.Category] {
				told[u.Category] = u.Reason
				if u.Reason != "" {
					s.print("%s waits: %s", u.Category, u.Reason)
				}
			}
		}
		if open == 0 {
			return s.printReleased(names, before, list, service.Network().Decimals)
		}
		if time.Now().After(deadline) {
			return s.notOver(service, "the release", "ionetd unlocks")
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// printReleased tells what was released of each category between the two lists.
func (s *stage) printReleased(names []string, before, after []settlement.Unlock, decimals int) error {
	for i, u := range after {
		if !slices.Contains(names, u.Category) {
			continue
		}
		released, err := u.Released.Sub(before[i].Released)
		if err != nil {
			return fmt.Errorf("released of %s: %w", u.Category, err)
		}
		if released.IsZero() {
			s.print("%s: nothing was due", u.Category)
			continue
		}
		s.print("%s: released %s IO to %s", u.Category, released.Tokens(decimals), counted(len(u.Beneficiaries)))
	}
	return nil
}

// counted renders a number of beneficiaries.
func counted(n int) string {
	if n == 1 {
		return "1 beneficiary"
	}
	return fmt.Sprintf("%d beneficiaries", n)
}
