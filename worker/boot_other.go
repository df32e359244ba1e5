//go:build !linux

package worker

import (
	"time"

	"github.com/ionet-settlement/ionet"
)

// bootClock returns a clock that nobody can set, and a name of its life.
func bootClock() (boot ionet.Key, up func() time.Duration) { return processClock() }
