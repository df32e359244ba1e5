package settlement

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/publish"
)

// The files of a log of 600 records that was published at 200, 512 and 600: which there
// are, and each one's bytes, as they must be for ever. Set UPDATE_GOLDEN to write them.
func TestLogLayout(t *testing.T) {
	m := newMachine(t)
	m.lead()
	for _, n := range []int{200, 312, 88} {
		m.growLog("golden", n)
		m.publishLog()
	}
	names, err := m.store.List("log/")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		if name == publish.CheckpointName {
			continue // its key is this network's
		}
		data, err := m.store.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %s\n", name, len(data), ionet.HashOf(data))
	}
	golden := filepath.Join("testdata", "log-layout.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || b.String() != string(want) {
		t.Errorf("%v: the log's files are\n%s\nwant\n%s", err, b.String(), want)
	}
}
