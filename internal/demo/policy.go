package main

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/ionet-settlement/ionet/emissions"
)

// networkPart is the network's part of a fee in basis points.
const networkPart = 500

// policy is the shipped policy for a short hour, in which simulated devices earn, the
// network has a part of fees, and what a session has left comes back soon.
func (p pace) policy() ([]byte, error) {
	file := emissions.DefaultPolicy()
	for _, set := range []struct {
		section, key string
		value        any
	}{
		{"samples", "minimum", p.minimum}, {"samples", "late_after", p.late}, {"samples", "late_limit", p.lateLimit},
		{"close", "grace_seconds", p.grace}, {"simulated", "earn", true},
		{"fees", "network_basis_points", networkPart}, {"fees", "grace_seconds", p.feeGrace},
		{"fees", "record", `"` + p.record + `"`},
	} {
		line := regexp.MustCompile(`(?m)(^\[` + set.section + `\]\n(?:[^\[\n].*\n)*?` + set.key + `\s*=\s*)(?:\d+|true|false|"\w+")`)
		if n := len(line.FindAll(file, -1)); n != 1 {
			return nil, fmt.Errorf("shorten the shipped policy: it has %d keys %s in [%s], not one", n, set.key, set.section)
		}
		file = line.ReplaceAll(file, fmt.Appendf(nil, "${1}%v", set.value))
	}
	// Its comments speak of the hour that it was made for.
	for _, comment := range []struct{ was, is string }{
		{"The default policy: an epoch is an hour of 60 samples.", fmt.Sprintf("The demo's policy: an epoch is %d seconds of %d samples.", p.epochSeconds, p.samples)},
		{"# of 60\n", fmt.Sprintf("# of %d\n", p.samples)},
	} {
		if n := bytes.Count(file, []byte(comment.was)); n != 1 {
			return nil, fmt.Errorf("shorten the shipped policy: it has %d comments %q, not one", n, comment.was)
		}
		file = bytes.Replace(file, []byte(comment.was), []byte(comment.is), 1)
	}
	if _, err := emissions.ParsePolicy(file); err != nil {
		return nil, fmt.Errorf("shorten the shipped policy: %w", err)
	}
	return file, nil
}
