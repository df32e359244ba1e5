package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/emissions"
)

type emissionsCmd struct {
	Profile    string   `placeholder:"NAME" help:"A published schedule: hourly (the default) or monthly."`
	Schedule   string   `placeholder:"FILE" help:"A schedule of your own: a TOML file, emissions/FORMAT.md section 1.3."`
	Network    string   `placeholder:"FILE" help:"The schedule, allocation and clock of a network file."`
	Server     string   `placeholder:"URL" help:"The same, from a service."`
	Decimals   string   `placeholder:"N" help:"Decimals of the token, 0..8 (default: 8)."`
	Start      string   `placeholder:"TIME" help:"First second of epoch 1 (default: 2024-07-01, the month from which the published monthly table counts)."`
	Allocation string   `placeholder:"READING" help:"What the published percentages of the genesis allocation are of: of_cap (the default) or of_genesis."`
	Unlock     []string `sep:"none" placeholder:"CATEGORY=TEXT" help:"When a category of the genesis supply unlocks: immediate, cliff:M, tranches:A..B or linear:A..B, in months of 730 epochs; repeat it for more."`

	Symbol string `default:"IO" placeholder:"NAME" help:"What the token is called in tables and pictures: 1..10 letters and digits."`

	By     string `placeholder:"UNIT" help:"What a row is: epoch, month (730 epochs) or year (8760 epochs, the default)."`
	From   string `placeholder:"N" help:"First row, from 1."`
	To     string `placeholder:"N" help:"Last row."`
	Format string `placeholder:"NAME" help:"table (the default), csv or json."`

	At     []string `placeholder:"TIME" help:"Instead of rows, the supply at a date or RFC 3339 time; repeat it for more."`
	Plot   string   `placeholder:"FILE" help:"Instead of rows, draw supply, emission and unlocks: a name that ends in .svg or .png."`
	Vector string   `placeholder:"FILE" help:"Instead of rows, write all emissions, 8 bytes each, little-endian."`
	Hash   bool     `help:"Instead of rows, print SHA-256 of that vector in hex."`
}

// Help is shown below the flags.
func (c *emissionsCmd) Help() string {
	return `What each epoch may mint, to the base unit, and what of the genesis supply is unlocked. It is the
ceiling: a network may mint less. Amounts are tokens with all decimals; JSON has base units.

--profile, --schedule, --network and --server exclude each other. A network decides decimals, start, allocation and
unlocks itself.

Examples:
  ionet emissions
  ionet emissions --by month --to 12 --format csv
  ionet emissions --profile monthly --decimals 0 --by month
  ionet emissions --at 2031-05-01
  ionet emissions --at 2026-01-01 --at 2027-01-01 --at 2028-01-01 --format csv
  ionet emissions --plot supply.svg --unlock research=linear:0..48
  ionet emissions --plot mine.png --schedule mine.toml --symbol MINE
  ionet emissions --vector emissions.bin --hash`
}

// Formats of rows and of --at.
const (
	formatTable = "table"
	formatCSV   = "csv"
	formatJSON  = "json"
)

// Run prints rows, or does all of what is asked for instead of them.
func (c *emissionsCmd) Run(s *stage) error {
	if err := c.check(); err != nil {
		return err
	}
	v, err := c.view(s)
	if err != nil {
		return err
	}
	err = c.do(s.out, v)
	if errors.Is(err, syscall.EPIPE) {
		return nil // whoever reads has read enough
	}
	return err
}

func (c *emissionsCmd) do(out io.Writer, v *view) error {
	if !c.replacesRows() {
		return c.rows(out, v)
	}
	if len(c.At) > 0 {
		moments, err := c.moments(v)
		if err != nil {
			return err
		}
		if err := v.printMoments(out, moments, c.Format); err != nil {
			return err
		}
	}
	if c.Vector != "" {
		if err := replaceFile(c.Vector, v.writeVector); err != nil {
			return fmt.Errorf("--vector: %w", err)
		}
	}
	if c.Plot != "" {
		if err := v.plot(c.Plot); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	if c.Hash {
		_, err := fmt.Fprintln(out, v.hash())
		return err
	}
	return nil
}

func (c *emissionsCmd) replacesRows() bool {
	return len(c.At) > 0 || c.Plot != "" || c.Vector != "" || c.Hash
}

// rows prints the rows from --from to --to.
func (c *emissionsCmd) rows(out io.Writer, v *view) error {
	u, err := unitOf(c.By)
	if err != nil {
		return err
	}
	last := u.rows(v.schedule.Epochs())
	to, err := wholeNumber("--to", c.To, 1, last, last)
	if err != nil {
		return err
	}
	from, err := wholeNumber("--from", c.From, 1, to, 1)
	if err != nil {
		return err
	}
	return v.print(out, span{unit: u, from: from, to: to}, c.Format)
}

// check refuses flags that are wrong by themselves or beside one another, before
// anything is read or written.
func (c *emissionsCmd) check() error {
	if c.Profile != "" && c.Profile != emissions.ProfileHourly && c.Profile != emissions.ProfileMonthly {
		return fmt.Errorf("--profile %s: want %s or %s", c.Profile, emissions.ProfileHourly, emissions.ProfileMonthly)
	}
	if !symbol.MatchString(c.Symbol) {
		return fmt.Errorf("--symbol %s: want 1..10 letters and digits", c.Symbol)
	}
	if c.Allocation != "" && c.Allocation != emissions.OfCap && c.Allocation != emissions.OfGenesis {
		return fmt.Errorf("--allocation %s: want %s or %s", c.Allocation, emissions.OfCap, emissions.OfGenesis)
	}
	if err := c.checkSources(); err != nil {
		return err
	}
	switch c.Format {
	case "", formatTable, formatCSV, formatJSON:
	default:
		return fmt.Errorf("--format %s: want %s, %s or %s", c.Format, formatTable, formatCSV, formatJSON)
	}
	if _, err := unitOf(c.By); err != nil {
		return err
	}
	if c.Plot != "" && !strings.HasSuffix(c.Plot, ".svg") && !strings.HasSuffix(c.Plot, ".png") {
		return fmt.Errorf("--plot %s: want a name that ends in .svg or .png", c.Plot)
	}
	if !c.replacesRows() {
		return nil
	}
	for _, f := range []flag{{"--by", c.By}, {"--from", c.From}, {"--to", c.To}} {
		if f.value != "" {
			return fmt.Errorf("%s %s: it selects rows, which --at, --plot, --vector and --hash replace", f.name, f.value)
		}
	}
	if len(c.At) == 0 && c.Format != "" {
		return fmt.Errorf("--format %s: it is for rows and --at", c.Format)
	}
	if c.Hash && c.Format != "" && c.Format != formatTable {
		return fmt.Errorf("--hash: it prints a line of its own, which is no part of --format %s", c.Format)
	}
	return c.checkVector()
}

// checkVector refuses what says nothing of the vector, where that is all that is
// asked for: it is of the schedule alone.
func (c *emissionsCmd) checkVector() error {
	if len(c.At) > 0 || c.Plot != "" {
		return nil
	}
	for _, f := range []flag{{"--start", c.Start}, {"--allocation", c.Allocation}, {"--unlock", strings.Join(c.Unlock, " ")}} {
		if f.value != "" {
			return fmt.Errorf("%s %s: --vector and --hash are of the schedule alone, leave the flag out", f.name, f.value)
		}
	}
	return nil
}

var symbol = regexp.MustCompile(`^[A-Za-z0-9]{1,10}$`)

// flag is a flag with its value as it was given, "" where it was not.
type flag struct{ name, value string }

// checkSources refuses two sources of a schedule, and flags that a file decides.
func (c *emissionsCmd) checkSources() error {
	sources := []flag{{"--profile", c.Profile}, {"--schedule", c.Schedule}, {"--network", c.Network}, {"--server", c.Server}}
	var source flag
	for _, f := range sources {
		if f.value != "" && source.value != "" {
			return fmt.Errorf("%s and %s are two schedules: give one of --profile, --schedule, --network and --server", source.name, f.name)
		}
		if f.value != "" {
			source = f
		}
	}
	decided := []flag{{"--decimals", c.Decimals}, {"--start", c.Start}, {"--allocation", c.Allocation}, {"--unlock", strings.Join(c.Unlock, " ")}}
	switch source.name {
	case "--schedule":
		decided = decided[:1]
	case "--network", "--server":
	default:
		return nil
	}
	for _, f := range decided {
		if f.value != "" {
			return fmt.Errorf("%s %s: %s decides that, leave the flag out", f.name, f.value, source.name)
		}
	}
	return nil
}

// wholeNumber reads a flag's number, or the default where the flag is missing.
func wholeNumber(name, text string, low, high, missing uint64) (uint64, error) {
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s %s: want a whole number, %d..%d", name, text, low, high)
	}
	return n, nil
}

// parseTime reads a date, whose first second in UTC it returns, or a time.
func parseTime(name, text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %s: want a date such as 2031-05-01 or a time such as 2031-05-01T12:00:00Z", name, text)
	}
	if t.Nanosecond() != 0 {
		return time.Time{}, fmt.Errorf("%s %s: want a whole second", name, text)
	}
	return t.UTC(), nil
}
