package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet/proofs"
)

type rulesCmd struct{}

// Help shows an example below the flags.
func (c *rulesCmd) Help() string {
	return `Each device of an epoch gets one verdict, by the first rule that applies to it; ionet why shows which. The table
is that of proofs/FORMAT.md, section 7, which has the order too; a service has it at /v1/rules.

Examples:
  ionet rules`
}

// Run prints the table of rules.
func (c *rulesCmd) Run(s *stage) error {
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "rule\tname\ttext")
	for _, r := range proofs.Rules() {
		fmt.Fprintf(t, "%d\t%s\t%s\n", r, r.Name(), r.Text())
	}
	return t.Flush()
}
