package main

import "github.com/ionet-settlement/ionet/settlement"

// show prints an event as a line. Accepted statements are too many for a line
// each: the line of their epoch's book counts them.
func (s *stage) show(decimals int) func(settlement.Event) {
	return func(e settlement.Event) {
		if e.Kind != settlement.EventStatements {
			s.print("%s", e.Line(decimals))
		}
	}
}
