package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
)

// publishedStart is the month from which the published monthly table counts.
const publishedStart = "2024-07-01"

// view is a schedule with all that is needed to show it.
type view struct {
	profile  string // "hourly", "monthly", "custom", or "network" with its name below
	network  string
	symbol   string // of the token
	decimals int
	clock    ionet.Clock // its samples are not used
	schedule *emissions.Schedule
	shares   []emissions.Share
}

// view reads the schedule that the flags name.
func (c *emissionsCmd) view(s *stage) (*view, error) {
	v, err := c.read(s)
	if err != nil {
		return nil, err
	}
	v.symbol = c.Symbol
	return v, nil
}

func (c *emissionsCmd) read(s *stage) (*view, error) {
	switch {
	case c.Network != "":
		file, err := os.ReadFile(c.Network)
		if err != nil {
			return nil, fmt.Errorf("--network: %w", err)
		}
		n, err := ionet.ParseNetwork(file)
		if err != nil {
			return nil, fmt.Errorf("--network %s: %w", c.Network, err)
		}
		return viewNetwork("--network "+c.Network, n)
	case c.Server != "":
		api, err := client.New(client.Config{Server: c.Server})
		if err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
		n, _, err := api.NetworkFile(s.ctx)
		if err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
		return viewNetwork("--server "+api.Server(), n)
	}
	return c.viewFlags()
}

// viewNetwork shows a network. Its file commits to every epoch's emission, and
// what is shown is what the file's numbers give: the two must be the same.
func viewNetwork(from string, n *ionet.Network) (*view, error) {
	schedule, err := emissions.New(emissions.ParamsOf(n.Schedule))
	if err != nil {
		return nil, fmt.Errorf("%s: schedule: %w", from, err)
	}
	v := &view{profile: "network", network: n.Name, decimals: n.Decimals, clock: n.Clock(), schedule: schedule}
	if got := v.hash(); got != n.Schedule.Hash {
		return nil, fmt.Errorf("%s: schedule.hash is %s, but the schedule's numbers give %s", from, n.Schedule.Hash, got)
	}
	for _, a := range n.Allocation {
		u, err := emissions.ParseUnlock(a.Unlock)
		if err != nil {
			return nil, fmt.Errorf("%s: allocation %s: %w", from, a.Category, err)
		}
		v.shares = append(v.shares, emissions.Share{Category: a.Category, Amount: a.Amount, Unlock: u})
	}
	if err := v.checkStart(); err != nil {
		return nil, fmt.Errorf("%s: start: %w", from, err)
	}
	return v, nil
}

// lastSecond is that of the year 9999: later times can't be written.
const lastSecond = 253_402_300_799

func (v *view) checkStart() error {
	latest := lastSecond - int64(v.schedule.Epochs())*int64(v.clock.Length)
	if v.clock.Start <= 0 || v.clock.Start > latest {
		return fmt.Errorf("want a time after 1970-01-01 and, for the last epoch to end before the year 10000, %s at the latest",
			time.Unix(latest, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// viewFlags shows a published schedule or one from a file, with the allocation and
// the start that flags and defaults say.
func (c *emissionsCmd) viewFlags() (*view, error) {
	begins, err := parseTime("--start", cmp.Or(c.Start, publishedStart))
	if err != nil {
		return nil, err
	}
	v := &view{clock: ionet.Clock{Start: begins.Unix(), Length: 3600, Samples: 60}}
	params, err := c.params(v)
	if err != nil {
		return nil, err
	}
	if v.schedule, err = emissions.New(params); err != nil {
		return nil, fmt.Errorf("%s schedule: %w", v.profile, err)
	}
	if err := v.checkStart(); err != nil {
		return nil, fmt.Errorf("--start %s: %w", begins.Format(time.RFC3339), err)
	}
	if v.shares, err = emissions.Allocate(cmp.Or(c.Allocation, emissions.OfCap), params.Genesis, params.Cap); err != nil {
		return nil, fmt.Errorf("--allocation: %w", err)
	}
	return v, c.unlock(v.shares)
}

// params reads the schedule's numbers and sets the view's profile and decimals.
func (c *emissionsCmd) params(v *view) (emissions.Params, error) {
	if c.Schedule == "" {
		decimals, err := wholeNumber("--decimals", c.Decimals, 0, ionet.MaxDecimals, ionet.MaxDecimals)
		if err != nil {
			return emissions.Params{}, err
		}
		v.profile, v.decimals = cmp.Or(c.Profile, emissions.ProfileHourly), int(decimals)
		return emissions.Profile(v.profile, v.decimals)
	}
	file, err := os.ReadFile(c.Schedule)
	if err != nil {
		return emissions.Params{}, fmt.Errorf("--schedule: %w", err)
	}
	v.profile = "custom"
	params, decimals, err := emissions.ParseSchedule(file)
	if err != nil {
		return emissions.Params{}, fmt.Errorf("--schedule %s: %w", c.Schedule, err)
	}
	v.decimals = decimals
	return params, nil
}

// unlock replaces the default unlocks by those of --unlock.
func (c *emissionsCmd) unlock(shares []emissions.Share) error {
	seen := map[string]bool{}
	for _, text := range c.Unlock {
		category, rule, _ := strings.Cut(text, "=")
		var share *emissions.Share
		var known []string
		for i := range shares {
			known = append(known, shares[i].Category)
			if shares[i].Category == category {
				share = &shares[i]
			}
		}
		if share == nil {
			return fmt.Errorf("--unlock %s: want CATEGORY=TEXT with a category of %s", text, strings.Join(known, ", "))
		}
		if seen[category] {
			return fmt.Errorf("--unlock %s: %s was given before", text, category)
		}
		seen[category] = true
		u, err := emissions.ParseUnlock(rule)
		if err != nil {
			return fmt.Errorf("--unlock %s: %w", text, err)
		}
		share.Unlock = u
	}
	return nil
}

// hash is SHA-256 of the emissions of all epochs.
func (v *view) hash() ionet.Hash { return v.schedule.Hash() }

// begins returns the first second of epoch k.
func (v *view) begins(k uint64) time.Time { return time.Unix(v.clock.EpochStart(k), 0).UTC() }

// ended returns how many epochs have ended at t.
func (v *view) ended(t time.Time) (uint64, error) {
	k, _, ok := v.clock.At(t)
	if !ok {
		return 0, fmt.Errorf("--at %s: want a time from %s on, when epoch 1 begins", t.Format(time.RFC3339), v.begins(1).Format(time.RFC3339))
	}
	return min(k-1, v.schedule.Epochs()), nil
}

func (v *view) tokens(a ionet.Amount) string { return a.Tokens(v.decimals) }

// grouped is tokens with a comma between thousands, for people.
func (v *view) grouped(a ionet.Amount) string {
	whole, fraction, _ := strings.Cut(v.tokens(a), ".")
	whole = thousands(whole)
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

// round is grouped without decimals that are all zero.
func (v *view) round(a ionet.Amount) string {
	whole, fraction, _ := strings.Cut(v.grouped(a), ".")
	if strings.Trim(fraction, "0") == "" {
		return whole
	}
	return whole + "." + fraction
}

// count is a number of things: "1 epoch", "2,000 epochs".
func count(n uint64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(decimal(n)) + " " + thing
}

func thousands(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
