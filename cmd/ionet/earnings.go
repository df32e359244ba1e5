package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type earningsCmd struct {
	server
	Provider ionet.Key `required:"" placeholder:"KEY" help:"The wallet: that of a provider, or one that is paid."`
	From     uint64    `range:"1.." placeholder:"N" help:"First epoch; the network's first by default."`
	To       uint64    `range:"1.." placeholder:"N" help:"Last epoch; the last one sealed by default."`
	By       string    `placeholder:"WHAT" help:"Sum up by epoch, device, worker, day (UTC) or rule; by epoch and rule by default."`
	CSV      bool      `name:"csv" xor:"form" help:"Print one row for each epoch and device, as CSV."`
	JSON     bool      `name:"json" xor:"form" help:"Print the rows and the sums, as JSON."`
}

// Help shows examples below the flags.
func (c *earningsCmd) Help() string {
	return `What each sealed epoch decided on each device, and the sums by epoch and by rule. Refused devices are among the
rows, with the rule that refused them. Times are when epochs begin, in UTC; a day has those that begin in it. A device that works for the wallet and pays another one is listed too; what
it earned is summed up apart. Epochs that are not sealed are left out: what is printed once never changes.

Examples:
  ionet earnings --server https://ionetd.example --provider 9aB...
  ionet earnings --server https://ionetd.example --provider 9aB... --by day
  ionet earnings --server https://ionetd.example --provider 9aB... --from 700 --to 723 --csv >day.csv
  ionet earnings --server https://ionetd.example --provider 9aB... --json`
}

// Run prints a wallet's earnings.
func (c *earningsCmd) Run(s *stage) error {
	switch {
	case c.To != 0 && c.To < c.From:
		return fmt.Errorf("--to %d comes before --from %d", c.To, c.From)
	case !slices.Contains([]string{"", "epoch", "device", "worker", "day", "rule"}, c.By):
		return fmt.Errorf("--by %s: want epoch, device, worker, day or rule", c.By)
	case c.By != "" && (c.CSV || c.JSON):
		return errors.New("--by is for the table: --csv and --json have a row for each epoch and device")
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	before, err := api.Provider(s.ctx, c.Provider)
	if err != nil {
		return err
	}
	out := c.printer(s, network)
	e := earned{wallet: c.Provider, network: network, by: c.By, epochs: map[uint64]*subtotal{}, rules: map[uint64]*subtotal{}, others: map[string]*subtotal{}}
	for page, err := range api.Earnings(s.ctx, client.EarningsAsk{Wallet: c.Provider, From: c.From, To: c.To, Limit: earningsPage}) {
		if err != nil {
			return err
		}
		e.through, e.decimals = page.Through, page.Decimals
		if err := errors.Join(e.add(page.Rows), out.rows(page)); err != nil {
			return err
		}
	}
	if e.fees, err = feesOf(before); err != nil {
		return err
	}
	if err := out.end(&e, c.From); err != nil {
		return err
	}
	if c.From > 1 || c.To != 0 {
		return nil
	}
	after, err := api.Provider(s.ctx, c.Provider)
	if err != nil {
		return err
	}
	if before.Earned == after.Earned && after.Earned != e.all.own { // else an epoch was sealed meanwhile
		return fmt.Errorf("the rows sum up to %s IO, the service's ledger says %s IO was earned: tell the operator", e.all.own.Tokens(e.decimals), after.Earned.Tokens(e.decimals))
	}
	return nil
}

// earningsPage is how many rows are asked for at once.
const earningsPage = 5000

// subtotal is a sum over rows.
type subtotal struct {
	rows, accepted int
	own, others    ionet.Amount // paid to the wallet; earned by its devices and paid to others
}

// earned is what a wallet's rows sum up to.
type earned struct {
	wallet        ionet.Key
	network       *ionet.Network
	by            string // what the table sums up by; "": by epoch and rule
	through       uint64
	decimals      int
	epochs, rules map[uint64]*subtotal
	others        map[string]*subtotal // by device, worker or day
	all           subtotal
	fees          ionet.Amount // for inferences, in no row: they are of receipts, not of epochs
}

func (e *earned) add(rows []client.EarningsRow) error {
	for _, r := range rows {
		sums := []*subtotal{at(e.epochs, r.Epoch), at(e.rules, uint64(r.Rule)), &e.all}
		switch e.by {
		case "device":
			sums = append(sums, at(e.others, r.Device.String()))
		case "worker":
			sums = append(sums, at(e.others, r.Worker.String()))
		case "day":
			day, _, _ := strings.Cut(epochTime(e.network, r.Epoch), "T")
			sums = append(sums, at(e.others, day))
		}
		for _, t := range sums {
			sum := &t.others
			if r.Payee == e.wallet {
				sum = &t.own
			}
			more, err := sum.Add(r.Amount)
			if err != nil {
				return fmt.Errorf("sum up earnings: %w", err)
			}
			*sum = more
			t.rows++
			if proofs.Rule(r.Rule) == proofs.Accepted {
				t.accepted++
			}
		}
	}
	return nil
}

func at[K comparable](sums map[K]*subtotal, key K) *subtotal {
	if sums[key] == nil {
		sums[key] = &subtotal{}
	}
	return sums[key]
}

// ruleName names a rule, also one that this build does not know.
func ruleName(r uint16) string {
	if rule := proofs.Rule(r); rule.Known() {
		return rule.Name()
	}
	return "rule-" + strconv.Itoa(int(r))
}

// earningsPrinter shows rows as they come, and the sums at the end.
type earningsPrinter struct {
	rows func(client.EarningsPage) error
	end  func(e *earned, from uint64) error
}

func (c *earningsCmd) printer(s *stage, n *ionet.Network) earningsPrinter {
	switch {
	case c.CSV:
		return earningsCSV(s.out, n)
	case c.JSON:
		return earningsJSON(s.out, n)
	}
	return earningsPrinter{
		rows: func(client.EarningsPage) error { return nil },
		end:  func(e *earned, from uint64) error { return e.print(s, max(from, 1)) },
	}
}

// print shows the sums.
func (e *earned) print(s *stage, from uint64) error {
	switch {
	case e.through == 0:
		s.print("no epoch is sealed yet")
		return nil
	case from > e.through:
		s.print("epoch %d is not sealed yet: the last sealed one is %d", from, e.through)
		return nil
	case e.all.rows == 0:
		s.print("no device of wallet %s has a verdict in the sealed epochs from %d to %d", e.wallet, from, e.through)
		return nil
	}
	defer func() {
		if !e.fees.IsZero() {
			s.print("fees of inferences are not among these: %s IO up to now, see ionet balance", e.fees.Tokens(e.decimals))
		}
	}()
	s.print("wallet %s, epochs %d to %d, amounts in IO\n", e.wallet, from, e.through)
	epoch := func(epoch uint64) string { return fmt.Sprintf("%d\t%s", epoch, epochTime(e.network, epoch)) }
	rule := func(rule uint64) string { return fmt.Sprintf("%d %s", rule, ruleName(uint16(rule))) }
	switch e.by {
	case "":
		printSums(e, s.out, "epoch\tbegins", e.epochs, epoch)
		s.print("")
		printSums(e, s.out, "rule", e.rules, rule)
	case "epoch":
		printSums(e, s.out, "epoch\tbegins", e.epochs, epoch)
	case "rule":
		printSums(e, s.out, "rule", e.rules, rule)
	default:
		printSums(e, s.out, e.by, e.others, func(key string) string { return key })
	}
	s.print("\nearned %s IO", e.all.own.Tokens(e.decimals))
	if !e.all.others.IsZero() {
		s.print("its devices earned %s IO more, paid to other wallets", e.all.others.Tokens(e.decimals))
	}
	return nil
}

// printSums prints a table; first and what name returns have the same number of columns.
func printSums[K cmp.Ordered](e *earned, out io.Writer, first string, sums map[K]*subtotal, name func(K) string) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintf(t, "%s\tverdicts\taccepted\tearned", first)
	if !e.all.others.IsZero() {
		fmt.Fprint(t, "\tpaid to others")
	}
	fmt.Fprintln(t)
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		sum := sums[key]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s", name(key), sum.rows, sum.accepted, sum.own.Tokens(e.decimals))
		if !e.all.others.IsZero() {
			fmt.Fprintf(t, "\t%s", sum.others.Tokens(e.decimals))
		}
		fmt.Fprintln(t)
	}
}

// earningsCSV prints a row for each epoch and device. The amount is in tokens and,
// beside it, in base units.
func earningsCSV(out io.Writer, n *ionet.Network) earningsPrinter {
	w := csv.NewWriter(out)
	begun := false
	return earningsPrinter{
		rows: func(p client.EarningsPage) error {
			if !begun {
				begun = true
				_ = w.Write([]string{"epoch", "time", "device", "worker", "provider", "payee", "rule", "rule_name", "samples", "weight", "amount", "base_units"})
			}
			for _, r := range p.Rows {
				_ = w.Write([]string{
					strconv.FormatUint(r.Epoch, 10), epochTime(n, r.Epoch), r.Device.String(), r.Worker.String(), r.Provider.String(), r.Payee.String(),
					strconv.Itoa(int(r.Rule)), ruleName(r.Rule), strconv.Itoa(int(r.Samples)), strconv.FormatUint(r.Weight, 10),
					r.Amount.Tokens(p.Decimals), r.Amount.String(),
				})
			}
			w.Flush()
			return w.Error()
		},
		end: func(*earned, uint64) error { return nil },
	}
}

// earningsJSON prints one object; its rows are written as they come.
func earningsJSON(out io.Writer, n *ionet.Network) earningsPrinter {
	separator := `{"rows":[` + "\n"
	return earningsPrinter{
		rows: func(p client.EarningsPage) error {
			for _, r := range p.Rows {
				b, err := json.Marshal(struct {
					client.EarningsRow
					Time string `json:"time"`
					Name string `json:"rule_name"`
				}{r, epochTime(n, r.Epoch), ruleName(r.Rule)})
				if err != nil {
					return fmt.Errorf("print earnings: %w", err)
				}
				if _, err := fmt.Fprintf(out, "%s%s", separator, b); err != nil {
					return err
				}
				separator = ",\n"
			}
			return nil
		},
		end: func(e *earned, from uint64) error {
			if e.all.rows == 0 {
				fmt.Fprint(out, separator)
			}
			return e.endJSON(out, max(from, 1))
		},
	}
}

type jsonSum struct {
	Epoch    uint64       `json:"epoch,omitempty"`
	Time     string       `json:"time,omitempty"`
	Rule     *uint16      `json:"rule,omitempty"`
	Name     string       `json:"rule_name,omitempty"`
	Verdicts int          `json:"verdicts"`
	Accepted int          `json:"accepted"`
	Earned   ionet.Amount `json:"earned"`
	Others   ionet.Amount `json:"paid_to_others"`
}

func (t *subtotal) json() jsonSum {
	return jsonSum{Verdicts: t.rows, Accepted: t.accepted, Earned: t.own, Others: t.others}
}

func (e *earned) endJSON(out io.Writer, from uint64) error {
	tail := struct {
		Wallet   ionet.Key    `json:"wallet"`
		From     uint64       `json:"from"`
		Through  uint64       `json:"through"`
		Decimals int          `json:"decimals"`
		Epochs   []jsonSum    `json:"epochs"`
		Rules    []jsonSum    `json:"rules"`
		Earned   ionet.Amount `json:"earned"`
		Others   ionet.Amount `json:"paid_to_others"`
	}{Wallet: e.wallet, From: from, Through: e.through, Decimals: e.decimals, Epochs: []jsonSum{}, Rules: []jsonSum{}, Earned: e.all.own, Others: e.all.others}
	for epoch, t := range e.epochs {
		sum := t.json()
		sum.Epoch, sum.Time = epoch, epochTime(e.network, epoch)
		tail.Epochs = append(tail.Epochs, sum)
	}
	for rule, t := range e.rules {
		sum, r := t.json(), uint16(rule)
		sum.Rule, sum.Name = &r, ruleName(r)
		tail.Rules = append(tail.Rules, sum)
	}
	slices.SortFunc(tail.Epochs, func(a, b jsonSum) int { return cmp.Compare(a.Epoch, b.Epoch) })
	slices.SortFunc(tail.Rules, func(a, b jsonSum) int { return cmp.Compare(*a.Rule, *b.Rule) })
	b, err := json.Marshal(tail)
	if err != nil {
		return fmt.Errorf("print earnings: %w", err)
	}
	_, err = fmt.Fprintf(out, "\n],%s\n", b[1:]) // the rows are its first field
	return err
}
