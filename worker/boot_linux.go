package worker

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ionet-settlement/ionet"
)

// bootClock returns the clock that counts since this boot of the host, suspensions
// included, and a name of the boot. Nobody can set it.
func bootClock() (boot ionet.Key, up func() time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var t unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return processClock()
	}
	return ionet.Key(ionet.HashOf([]byte("io/boot/1"), id)), func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			panic(err) // it worked before, and the call has no other reason to fail
		}
		return time.Duration(t.Nano())
	}
}
