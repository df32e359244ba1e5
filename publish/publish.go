// Package publish is the published store: the files of proofs/FORMAT.md,
// section 13, that let anybody check everything. The service writes them into
// a Folder; web serves that folder; an auditor reads the folder or its copy
// behind a web server.
//
// A name appears only once its bytes are complete and durable, and it never
// changes: putting the same bytes again is fine, putting others is an error. The
// receipt log's checkpoint alone is replaced, by larger ones.
// Put returns nil only when a crash of the machine can no longer lose the
// file, so that what is committed on chain under its hash can always be read.
package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNotFound reports a name without a file.
var ErrNotFound = errors.New("not found in the published store")

// ErrConflict reports other bytes under a name that exists.
var ErrConflict = errors.New("the published store holds other bytes under this name")

// MaxSize is the largest file that a store keeps or a reader accepts: above
// the largest book compressed.
const MaxSize = 1 << 30

// Reader gives published files. Get returns the whole file, ErrNotFound, or
// another error when the answer is not known.
type Reader interface {
	Get(ctx context.Context, name string) ([]byte, error)
}

// Store is what the service writes to: a Folder, or a bucket of package s3. Several
// processes may use one. A method that returns an error may have done its work all the
// same, and may be called again.
type Store interface {
	Reader

	// Put makes data durable under a name. The same bytes again change nothing; other
	// bytes are ErrConflict.
	Put(ctx context.Context, name string, data []byte) error

	// Has reports whether there is a file of that name.
	Has(ctx context.Context, name string) (bool, error)

	// Replace is Put for the names that CheckReplace lets change: the receipt log's
	// checkpoint and what no checkpoint contains. Readers see the old bytes or the new.
	Replace(ctx context.Context, name string, data []byte) error

	// Remove removes the partial tiles of a full tile, or the partial bundles of a full
	// one, which is named and must be there: readers who look for one find the full one.
	Remove(ctx context.Context, full string) error
}

// Open returns a reader of a location: an http or https URL under which the
// names lie, or the path of a folder, which must exist.
func Open(location string) (Reader, error) {
	if strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://") {
		return NewHTTP(location, nil)
	}
	if strings.Contains(location, "://") {
		return nil, fmt.Errorf("open store %s: want a folder or an http(s) URL", location)
	}
	return openFolder(location)
}

// CheckName returns an error unless name is a path of section 13's kind:
// elements of letters, digits, dot, dash and underscore, none of which starts
// with a dot, separated by single slashes, at most 255 bytes.
func CheckName(name string) error {
	if name == "" || len(name) > 255 {
		return fmt.Errorf("store name %.40q has %d bytes, want 1..255", name, len(name))
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element[0] == '.' || strings.ContainsFunc(element, isOutside) {
			return fmt.Errorf("store name %q has an element that is empty, starts with a dot or holds a sign outside A-Z a-z 0-9 . _ -", name)
		}
	}
	return nil
}

func isOutside(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
}
