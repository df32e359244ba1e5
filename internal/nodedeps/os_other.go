//go:build !unix

package nodedeps

import (
	"errors"
	"os"
)

var errLocked = errors.New("locked")

// tryLock does not lock here: two processes at once may both install, and the
// rename lets one of them win.
func tryLock(*os.File) error { return nil }

func checkPrivate(string) error { return nil }
