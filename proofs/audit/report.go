package audit

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/ionet-settlement/ionet"
)

// Genesis is the Epoch of findings that belong to no epoch.
const Genesis = 0

// Finding is one thing that does not hold, or that could not be checked.
type Finding struct {
	Epoch    uint64 `json:"epoch"`  // 0: genesis, or the network as a whole
	Object   string `json:"object"` // what was looked at: a device, a file, a transaction
	Rule     string `json:"rule"`   // stable kebab-case name; DESIGN.md lists them
	Expected string `json:"expected"`
	Found    string `json:"found"`
}

// String is one line: where, rule, object, expected and found.
func (f Finding) String() string {
	where := "network"
	if f.Epoch != Genesis {
		where = fmt.Sprintf("epoch %d", f.Epoch)
	}
	return fmt.Sprintf("%s: rule %s: %s: expected %s, found %s", where, f.Rule, f.Object, f.Expected, f.Found)
}

// Report is what an audit saw.
type Report struct {
	Network     ionet.Hash   `json:"network"`
	Decimals    int          `json:"decimals"`
	Epochs      int          `json:"epochs"`   // sealed epochs
	Verdicts    int          `json:"verdicts"` // replayed verdicts
	Payouts     int          `json:"payouts"`  // transfers to payees, by batch or claim
	Claims      int          `json:"claims"`   // of these, by claim
	Minted      ionet.Amount `json:"minted"`   // by epochs, without genesis
	Unissued    ionet.Amount `json:"unissued"` // allowed by the schedule, never minted
	Paid        ionet.Amount `json:"paid"`
	Released    ionet.Amount `json:"released"` // of the genesis supply, to beneficiaries
	Burned      ionet.Amount `json:"burned"`   // by anyone, told by the supply
	Deposits    int          `json:"deposits"` // credits of renters
	Deposited   ionet.Amount `json:"deposited"`
	Withdrawals int          `json:"withdrawals"`
	Withdrawn   ionet.Amount `json:"withdrawn"`
	Suspense    ionet.Amount `json:"suspense"` // sent to a vault by others, nobody knows for whom
	Records     int          `json:"records"`  // of the receipt log
	Receipts    int          `json:"receipts"` // of these, of jobs and batches
	Jobs        uint64       `json:"jobs"`     // inferences that they are for
	Fees        ionet.Amount `json:"fees"`
	Seals       int          `json:"seals"`       // of the receipt log
	Inline      int          `json:"inline"`      // records whose compact form is on chain
	FeePayments int          `json:"feePayments"` // transfers of fees to payees
	FeesPaid    ionet.Amount `json:"feesPaid"`
	Foreign     int          `json:"foreign"` // others' transactions that touch our accounts and change nothing of ours
	Notes       []string     `json:"notes"`
	Findings    []Finding    `json:"findings"`
	Unchecked   []Finding    `json:"unchecked"`

	noted map[string]bool
}

// Status is the exit status of an auditor's command: 0 when all holds, 1 with
// findings, 2 when something could not be checked.
func (r *Report) Status() int {
	switch {
	case len(r.Findings) > 0:
		return 1
	case len(r.Unchecked) > 0:
		return 2
	}
	return 0
}

// Summary is the report in one line.
func (r *Report) Summary() string {
	counted := fmt.Sprintf("%s, %s, %s", plural(r.Epochs, "epoch"), plural(r.Verdicts, "verdict"), plural(r.Payouts, "payout"))
	if r.Records > 0 {
		counted += ", " + plural(r.Receipts, "receipt")
	}
	switch r.Status() {
	case 1:
		return fmt.Sprintf("%s: %s", counted, plural(len(r.Findings), "finding"))
	case 2:
		return fmt.Sprintf("%s: %d not checked", counted, len(r.Unchecked))
	}
	return counted + ": all hold"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Money is what moved, for a person.
func (r *Report) Money() string {
	t := func(a ionet.Amount) string { return a.Tokens(r.Decimals) }
	more := ""
	if r.Deposits+r.Withdrawals > 0 || !r.Suspense.IsZero() {
		more = fmt.Sprintf("; %s of %s, %s of %s, %s in suspense", plural(r.Deposits, "deposit"), t(r.Deposited), plural(r.Withdrawals, "withdrawal"), t(r.Withdrawn), t(r.Suspense))
	}
	if r.Records > 0 {
		more += fmt.Sprintf("; fees of %s in %s for %s, %s in %s, %s paid to payees in %s", t(r.Fees), plural(r.Receipts, "receipt"), plural(int(r.Jobs), "job"),
			plural(r.Records, "record"), plural(r.Seals, "seal"), t(r.FeesPaid), plural(r.FeePayments, "transfer"))
	}
	if !r.Released.IsZero() {
		more += fmt.Sprintf("; %s of the genesis supply released", t(r.Released))
	}
	return fmt.Sprintf("minted %s, paid %s (%s by batch, %s), unissued %s, burned %s; %s by others or for set-up that move nothing of ours%s",
		t(r.Minted), t(r.Paid), plural(r.Payouts-r.Claims, "payout"), plural(r.Claims, "claim"), t(r.Unissued), t(r.Burned), plural(r.Foreign, "transaction"), more)
}

func (r *Report) find(epoch uint64, object, rule string, expected, found any) {
	r.Findings = append(r.Findings, finding(epoch, object, rule, expected, found))
}

func (r *Report) skip(epoch uint64, object, rule string, expected, found any) {
	r.Unchecked = append(r.Unchecked, finding(epoch, object, rule, expected, found))
}

func (r *Report) note(format string, args ...any) {
	n := text(fmt.Sprintf(format, args...))
	if r.noted == nil {
		r.noted = map[string]bool{}
	}
	if !r.noted[n] {
		r.noted[n], r.Notes = true, append(r.Notes, n)
	}
}

func finding(epoch uint64, object, rule string, expected, found any) Finding {
	return Finding{Epoch: epoch, Object: text(object), Rule: rule, Expected: text(expected), Found: text(found)}
}

// text keeps a finding on one line, and a terminal as it is, whatever an RPC or a
// file said.
func text(v any) string {
	printable := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) && !unicode.IsSpace(c) {
			return unicode.ReplacementChar
		}
		return c
	}, fmt.Sprint(v))
	return strings.Join(strings.Fields(printable), " ")
}

// same adds a finding unless got is what is expected, and reports whether it is.
func same[T comparable](r *Report, epoch uint64, object, rule string, expected, found T) bool {
	if expected == found {
		return true
	}
	r.find(epoch, object, rule, expected, found)
	return false
}
