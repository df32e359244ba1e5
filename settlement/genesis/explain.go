package genesis

import (
	"bytes"
	"fmt"
	"math/bits"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// clusters are the names of Solana's public clusters by their genesis hash.
var clusters = map[string]string{
	"5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d": "mainnet-beta",
	"EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxkPkZBG": "devnet",
	"4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY": "testnet",
}

// String tells the plan to the operator, a line for each thing.
func (p *Plan) String() string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(cells ...any) {
		for _, c := range cells[:len(cells)-1] {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w, cells[len(cells)-1])
	}
	for i, part := range []func(func(...any)){p.tellNetwork, p.tellSchedule, p.tellAllocation, p.tellAuthorities, p.tellFiles, p.tellAccounts, p.tellTransactions, p.tellCost} {
		if i > 0 {
			line("")
		}
		part(line)
		w.Flush() // columns are those of one part
	}
	return b.String()
}

func (p *Plan) tellNetwork(line func(...any)) {
	d := p.draft
	n, clock := d.p.Network, d.p.Network.Clock()
	line("network " + n.Name)
	if d.isIDFinal() {
		line("  id", ionet.Key(n.ID()))
	} else {
		line("  id", "hash of the network file, which is not written yet")
	}
	cluster := n.Cluster.String()
	if name := clusters[cluster]; name != "" {
		cluster += ", " + name
	}
	line("  cluster", cluster)
	switch told := d.Start(); {
	case told != "":
		line("  start", told)
	case d.start.floating:
		line("  start", fmt.Sprintf("%s after the run that writes the network file", d.start.in))
	default:
		line("  start", date(n.Start))
	}
	line("  epoch", fmt.Sprintf("%s, %s of %s", count(uint64(n.EpochSeconds), "second"), count(uint64(n.Samples), "sample"), count(uint64(clock.SampleSeconds()), "second")))
	line("  decimals", n.Decimals)
	line("  policy", fmt.Sprintf("%s, version %d, %s", n.Policy, d.p.Policy.Version, d.policySource()))
}

// policySource tells where the policy's bytes come from.
func (d *Draft) policySource() string {
	switch {
	case bytes.Equal(d.p.PolicyFile, emissions.DefaultPolicy()):
		return "the one that ships with this program"
	case d.missing[PolicyFile]:
		return "the file that --policy names"
	}
	return filepath.Join(d.p.Dir, PolicyFile)
}

func date(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func (p *Plan) tellSchedule(line func(...any)) {
	d := p.draft
	n, s := d.p.Network, d.p.Network.Schedule
	line("schedule " + profileOf(emissions.ParamsOf(s), n.Decimals))
	line("  genesis", s.Genesis.Tokens(n.Decimals), "tokens")
	line("  cap", s.Cap.Tokens(n.Decimals), "tokens")
	epochs := "each a step of its own"
	if s.EpochsPerStep > 1 {
		epochs = fmt.Sprintf("%d steps of %d", s.Epochs/s.EpochsPerStep, s.EpochsPerStep)
	}
	if !d.start.floating {
		epochs += ", the last ends " + date(n.Clock().EpochEnd(s.Epochs))
	}
	line("  epochs", s.Epochs, epochs)
	line("  rate", fmt.Sprintf("%s of the genesis supply in %d steps at the first one's pace; each step emits the fraction %s less than the one before", s.FirstYearRate, s.StepsPerYear, s.Decay))
	line("  hash", s.Hash, "of all emissions")
}

// profileOf names a published schedule.
func profileOf(p emissions.Params, decimals int) string {
	for _, name := range []string{emissions.ProfileHourly, emissions.ProfileMonthly} {
		if published, err := emissions.Profile(name, decimals); err == nil && p == published {
			return name
		}
	}
	return "of its own"
}

func (p *Plan) tellAllocation(line func(...any)) {
	d := p.draft
	n := d.p.Network
	line("allocation of the genesis supply")
	for i, a := range n.Allocation {
		owner := "owner " + a.Owner.String()
		if s, ok := n.Multisig(a.Owner); ok {
			owner = fmt.Sprintf("any %d of %s", s.M, count(uint64(len(s.Members)), "member"))
		} else if file := d.newKey([]string{allocationFile(a.Category)}); file != "" {
			owner = "owner: a new key in " + file
		}
		share := fmt.Sprintf("%s of it, %s of the cap", percent(a.Amount, n.Schedule.Genesis), percent(a.Amount, n.Schedule.Cap))
		line("  "+a.Category, a.Amount.Tokens(n.Decimals)+" tokens", share, owner, inWords(d.design.shares[i].Unlock))
		tellBeneficiaries(line, a)
	}
	line("  \"Locked\" is a promise of the network file, which auditors read; nothing on the chain holds the tokens back.")
	line("  Who has the keys " + filepath.Join(d.p.Dir, allocationFile("*")) + " can move them at any time: keep those apart from the service.")
}

// tellAuthorities says who signs for what, member by member.
func (p *Plan) tellAuthorities(line func(...any)) {
	d := p.draft
	n := d.p.Network
	line("authorities")
	type authority struct {
		name string
		key  ionet.Key
		file string
	}
	list := []authority{{"mint", n.Authorities.Mint, operatorFile}, {"reward vault", n.Authorities.Reward, operatorFile}, {"fee vault", n.Authorities.Fee, feesFile}}
	for _, a := range n.Allocation {
		if _, ok := n.Multisig(a.Owner); ok {
			list = append(list, authority{a.Category, a.Owner, ""})
		}
	}
	for _, a := range list {
		s, ok := n.Multisig(a.key)
		if !ok {
			line("  "+a.name, "one key, "+filepath.Join(d.p.Dir, a.file))
			continue
		}
		line("  "+a.name, fmt.Sprintf("any %d of %s:", s.M, count(uint64(len(s.Members)), "member")))
		for _, k := range s.Members {
			member := k.String()
			if k == n.Keys.Operator {
				member = "the operator, " + filepath.Join(d.p.Dir, operatorFile)
			}
			line("", "  "+member)
		}
	}
}

// count renders n things.
func count(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// percent returns part of whole in percent, cut after two digits.
func percent(part, whole ionet.Amount) string {
	hi, lo := bits.Mul64(part.Base(), 10_000)
	q, _ := bits.Div64(hi, lo, whole.Base()) // part <= whole: at most 10,000
	return fmt.Sprintf("%d.%02d%%", q/100, q%100)
}

// inWords tells when tokens become free. A month is 730 epochs.
func inWords(u emissions.Unlock) string {
	end := func(month uint64) string {
		if month == 0 {
			return "genesis"
		}
		return fmt.Sprintf("the end of month %d (epoch %d)", month, month*emissions.EpochsPerMonth)
	}
	switch u.Kind {
	case emissions.UnlockCliff:
		return "locked, free at once at " + end(u.To)
	case emissions.UnlockTranches:
		return fmt.Sprintf("locked, %d equal tranches monthly from %s to %s", u.To-u.From+1, end(u.From), end(u.To))
	case emissions.UnlockLinear:
		return fmt.Sprintf("locked, free epoch by epoch from %s to %s", end(u.From), end(u.To))
	}
	return "free at genesis"
}

func (p *Plan) tellFiles(line func(...any)) {
	line("files")
	for _, f := range p.Files {
		if f.Anew {
			line("  "+f.Path, "there, to be written anew")
			continue
		}
		line("  "+f.Path, state(f.Exists))
	}
}

func state(exists bool) string {
	if exists {
		return "there"
	}
	return "to be made"
}

func (p *Plan) tellAccounts(line func(...any)) {
	line("accounts")
	for _, a := range p.Accounts {
		address := a.Address.String()
		if a.NewKey != "" {
			address = "address follows from a new key in " + a.NewKey
		}
		if a.Exists {
			line("  "+a.Name, address, state(true))
			continue
		}
		line("  "+a.Name, address, state(false), fmt.Sprintf("rent %d lamports", a.Rent))
	}
}

func (p *Plan) tellTransactions(line func(...any)) {
	line("transactions")
	for i, t := range p.Transactions {
		line(fmt.Sprintf("  %d", i+1), fmt.Sprintf("rent %d", t.Rent), fmt.Sprintf("fee %d = %d x %d", t.Fee, t.Signatures, lamportsPerSignature), t.What)
	}
	if len(p.Transactions) == 0 {
		line("  none")
	}
	line("  memo of the genesis transaction: " + p.Memo)
}

func (p *Plan) tellCost(line func(...any)) {
	switch {
	case p.IsDone() && p.Final:
		line("nothing is left to do: every file and account is there, and the genesis transaction is final")
		return
	case p.IsDone():
		line("nothing is left to do but to wait until the genesis transaction is final")
		return
	case len(p.Transactions) == 0:
		line("cost: nothing; only files are left to be made")
		return
	}
	operator := p.draft.p.Network.Keys.Operator.String()
	if file := p.draft.newKey([]string{operatorFile}); file != "" {
		operator = "a new key in " + file
	}
	line("cost in lamports")
	line("  rent", p.Rent, "stays in the accounts")
	line("  fees", p.Fees, "no priority fees")
	line("  total", p.Cost(), sol(p.Cost())+" SOL")
	line("  reserve", p.Reserve, "to have beside it, for the fees of the first hours")
	line("  operator has", p.Balance, operator)
	line("  operator lacks", p.Lacks(), sol(p.Lacks())+" SOL")
	line("A transaction that must be signed again and lands too, as after a crash or a fork, costs its fee again.")
}

// sol formats lamports.
func sol(lamports uint64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%09d", lamports/1e9, lamports%1e9), "0"), ".")
}
