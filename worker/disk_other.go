//go:build !linux && !darwin && !freebsd

package worker

import "errors"

// freeBytes says that this system is not asked.
func freeBytes(string) (int64, error) {
	return 0, errors.New("how much room the disk has is not known on this system")
}
