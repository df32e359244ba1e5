package genesis

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
)

// A first policy leaves room for those that follow it, and names an observer whose
// prices can be accepted.
func TestFirstPolicy(t *testing.T) {
	with := func(version int, observer ionet.Key) []byte {
		file := bytes.Replace(emissions.DefaultPolicy(), []byte("\nversion = 1\n"), fmt.Appendf(nil, "\nversion = %d\n", version), 1)
		file = bytes.Replace(file, []byte(`draw = "schedule"`), []byte(`draw = "target"`), 1)
		return fmt.Appendf(file, "\n[target]\nkey = %q\nmicro_usd = 1\n", observer)
	}
	observer := chain.TokenProgram() // any key of large order
	for name, c := range map[string]struct {
		policy []byte
		want   string // in the error; "": none
	}{
		"fit":               {with(1, observer), ""},
		"the last version":  {with(1_000_000, observer), ""},
		"too high":          {with(1_000_001, observer), "version: 1000001 is more than 1000000"},
		"the highest":       {with(4_294_967_295, observer), "version: 4294967295 is more than 1000000"},
		"a key of order 1":  {with(1, ionet.Key{1}), "target.key: no price by it would be accepted"},
		"a key of no point": {with(1, ionet.Key{2}), "target.key: no price by it would be accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t.TempDir(), "policy")
			config.Policy = c.policy
			_, err := Prepare(t.Context(), config)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
