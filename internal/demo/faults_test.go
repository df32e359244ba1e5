package main

import (
	"context"
	"testing"
	"time"
)

// TestUnderFaults is `make demo FAULTS=15m` made short: whatever goes wrong by this
// seed, all are paid what they earned and the audit holds.
func TestUnderFaults(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := newTestStage(t, ctx)
	s.hostile = true
	must(t, s.mainJob(ctx, 2))
	must(t, s.underFaults(ctx, 15*time.Second, 7))
	s.wantHolds(t, ctx)
}
