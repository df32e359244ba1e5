package worker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ionet-settlement/ionet/proofs"
)

// Refusals counts the devices that a book refused, by rule.
type Refusals map[proofs.Rule]int

// String returns the counts with the rules' names in order of the rules' numbers, as
// "2 late, 1 equivocation"; "" for none.
func (r Refusals) String() string {
	var list []string
	for _, rule := range slices.Sorted(maps.Keys(r)) {
		list = append(list, fmt.Sprintf("%d %s", r[rule], rule.Name()))
	}
	return strings.Join(list, ", ")
}

// acceptedOf is how events and status say what became of a host's devices.
func acceptedOf(accepted, devices int, r Refusals) string {
	text := fmt.Sprintf("%d of %d devices accepted", accepted, devices)
	if len(r) > 0 {
		text += ": " + r.String()
	}
	return text
}
