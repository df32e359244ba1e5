//go:build !unix

package publish

import "context"

// lockDir does nothing where there is no flock: there the leader's lease alone keeps two
// processes from replacing one file.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }
