package genesis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// A network file that the folder's keys do not give is refused by what differs.
func TestContradictions(t *testing.T) {
	c := testConfig(t.TempDir(), "contradictions")
	if _, err := Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for name, breach := range map[string]struct {
		edit func(dir string, c *Config)
		want string
	}{
		"other policy":  {func(_ string, c *Config) { c.Policy = append(emissions.DefaultPolicy(), "# another\n"...) }, "policy.toml has hash"},
		"other reading": {func(_ string, c *Config) { c.Reading = emissions.OfGenesis }, "--allocation gives"},
		"other unlock": {func(_ string, c *Config) {
			c.Unlocks = map[string]emissions.Unlock{"core": {Kind: emissions.UnlockCliff, To: 2}}
		}, "unlock: "},
		"other decay":    {func(_ string, c *Config) { c.Schedule.Decay = "0.00001" }, "schedule.decay: "},
		"other cluster":  {func(_ string, c *Config) { c.Cluster[0]++ }, "--rpc gives"},
		"key is missing": {func(dir string, _ *Config) { os.Remove(filepath.Join(dir, laneFile)) }, "put its file back"},
		"another key": {func(dir string, _ *Config) {
			copyFile(t, filepath.Join(dir, laneFile), filepath.Join(dir, serviceFile))
		}, "service.json gives"},
		"another owner": {func(dir string, _ *Config) {
			copyFile(t, filepath.Join(dir, laneFile), filepath.Join(dir, "allocation-core.json"))
		}, "allocation-core.json gives"},
		"another address": {func(dir string, _ *Config) { swapLanes(t, filepath.Join(dir, NetworkFile)) }, "addresses in "},
		"bad unlock":      {func(dir string, _ *Config) { replace(t, filepath.Join(dir, NetworkFile), "immediate", "at once") }, `unlock "at once"`},
	} {
		bad := c
		bad.Dir = t.TempDir()
		entries, err := os.ReadDir(c.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			copyFile(t, filepath.Join(c.Dir, e.Name()), filepath.Join(bad.Dir, e.Name()))
		}
		breach.edit(bad.Dir, &bad)
		if _, err := Prepare(t.Context(), bad); err == nil || !strings.Contains(err.Error(), breach.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, breach.want)
		}
	}
}

func replace(t *testing.T, path, old, with string) {
	t.Helper()
	text := string(readFile(t, path))
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swapLanes exchanges the addresses of two lanes.
func swapLanes(t *testing.T, path string) {
	t.Helper()
	n, err := ionet.ParseNetwork(readFile(t, path))
	if err != nil {
		t.Fatal(err)
	}
	a, b := n.Lanes[2].Address.String(), n.Lanes[3].Address.String()
	replace(t, path, a, "@")
	replace(t, path, b, a)
	replace(t, path, "@", b)
}
