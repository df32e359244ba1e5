package main

import (
	"fmt"
	"regexp"

	"github.com/ionet-settlement/ionet/emissions"
)

// policy is the shipped policy for a short hour, in which simulated devices earn.
func (p pace) policy() ([]byte, error) {
	file := emissions.DefaultPolicy()
	for _, set := range []struct {
		key   string
		value any
	}{
		{"minimum", p.minimum}, {"late_after", p.late}, {"late_limit", p.lateLimit}, {"grace_seconds", p.grace}, {"earn", true},
	} {
		line := regexp.MustCompile(`(?m)^(` + set.key + `\s*=\s*)(?:\d+|true|false)`)
		if n := len(line.FindAll(file, -1)); n != 1 {
			return nil, fmt.Errorf("shorten the shipped policy: it has %d keys %s, not one", n, set.key)
		}
		file = line.ReplaceAll(file, fmt.Appendf(nil, "${1}%v", set.value))
	}
	if _, err := emissions.ParsePolicy(file); err != nil {
		return nil, fmt.Errorf("shorten the shipped policy: %w", err)
	}
	return file, nil
}
