package emissions

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// small is a policy with every key; its values differ from the defaults.
const small = `version = 7
first_epoch = 9
draw = "schedule"
samples = { minimum = 3, late_after = 1, late_limit = 2 }
close.grace_seconds = 4
simulated.earn = true
binding.idle_epochs = 5
stake.minimum_per_multiplier = "20000000000"
fees.network_basis_points = 250
fees.network_wallet = "G6tnLzyPV3h69nPe9L9xTjo8ro8nk3y4duFDr8BGrGxx"
fees.grace_seconds = 77
fees.record = "inline"
idle = { utilization = 20, samples = 6 }
payout.minimum = "100"

[[pools]]
name = "west"
basis_points = 4000

[[pools]]
name = "east"
basis_points = 6000

[[models]]
name = "h100"
pool = "west"
multiplier_milli = 10000
match = ["NVIDIA H100 PCIe", "NVIDIA H100 NVL"]

[[models]]
name = "t4"
pool = "east"
multiplier_milli = 0
match = ["Tesla T4"]
`

func parse(t testing.TB, file string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// networkWallet is the wallet that small names.
var networkWallet = ionet.Key{0xe0, 0x61, 0xc2, 0x00, 0x47, 0x65, 0x55, 0x1e, 0xe4, 0x81, 0x01, 0x76, 0x55, 0x60, 0xf0, 0xaf, 0xfd, 0xa9, 0x4d, 0x22, 0xe0, 0xbf, 0xb2, 0x2d, 0x03, 0x92, 0xab, 0xf8, 0x5e, 0x0c, 0xf5, 0xe1}

func TestParsePolicy(t *testing.T) {
	want := &Policy{
		Version: 7, FirstEpoch: 9, Draw: "schedule",
		Pools: []Pool{{"east", 6000}, {"west", 4000}},
		Models: []Model{
			{"h100", "west", 10_000, []string{"NVIDIA H100 PCIe", "NVIDIA H100 NVL"}},
			{"t4", "east", 0, []string{"Tesla T4"}},
		},
		Samples: Samples{3, 1, 2}, Close: Close{4}, Idle: &Idle{20, 6},
		Fees:             Fees{250, networkWallet, 77, "inline"},
		Payout:           Payout{ionet.MustAmount(100)},
		SimulatedDevices: true, BindingIdleEpochs: 5, MinStakePerMultiplier: ionet.MustAmount(200 * 1e8),
		hash: sha256.Sum256([]byte(small)),
	}
	if got := parse(t, small); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPolicyDefaults(t *testing.T) {
	p := parse(t, `version = 1
samples = { minimum = 1, late_after = 0, late_limit = 0 }
pools = [{ name = "all", basis_points = 10000 }]
models = [{ name = "l4", pool = "all", multiplier_milli = 250, match = ["NVIDIA L4"] }]
`)
	p.Pools, p.Models, p.hash = nil, nil, ionet.Hash{}
	want := &Policy{
		Version: 1, FirstEpoch: 1, Draw: "schedule", Samples: Samples{Minimum: 1},
		Close: Close{300}, Fees: Fees{GraceSeconds: 86_400, Record: RecordRoot}, BindingIdleEpochs: 24,
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

func TestPolicyHashIsOfTheExactBytes(t *testing.T) {
	a, b := parse(t, small), parse(t, small+"# a comment\n")
	if a.Hash() == b.Hash() {
		t.Error("a comment does not change the hash")
	}
	if want := ionet.HashOf([]byte(small)); a.Hash() != want {
		t.Errorf("got %s, want %s", a.Hash(), want)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"version = 7", "version = 0", "version: 0 is not a whole number in 1..4294967295"},
		{"version = 7", "version = 4294967296", "version: 4294967296 is not a whole number in 1..4294967295"},
		{"version = 7", "version = 7.0", "version: 7 is not a whole number in"},
		{"version = 7", `version = "7"`, `version: "7" is not a whole number in`},
		{"version = 7", "", "version: missing"},
		{"version = 7", "Version = 7", `version: missing; is "Version" meant?`},
		{"minimum = 3", "minumum = 3", `samples.minimum: missing; is "minumum" meant?`},
		{"late_limit = 2", "late = 2", "samples.late_limit: missing"},
		{"version = 7", "version = 7\nvesrion = 7", "vesrion: unknown key; allowed here are binding, close, draw, fees, first_epoch, idle, models, payout, pools, samples, simulated, stake, target, version"},
		{"first_epoch = 9", "version = 7", "parse TOML, line 2, column"},
		{"version = 7", "version 7", "parse TOML, line 1, column"},
		{"first_epoch = 9", "first_epoch = 0", "first_epoch: 0 is not a whole number in 1..1048576"},
		{"first_epoch = 9", "first_epoch = -1", "first_epoch: -1 is not a whole number in 1..1048576"},
		{`"schedule"`, `"target"`, "target: missing"},
		{`"schedule"`, `"all"`, `draw: "all" is unknown; allowed are "schedule" and "target"`},
		{`draw = "schedule"`, `target.micro_usd = 5`, `target: only allowed where draw is "target"`},
		{`"schedule"`, `true`, "draw: true is not a string"},
		{"minimum = 3, ", "", "samples.minimum: missing"},
		{"minimum = 3", "minimum = 0", "samples.minimum: 0 is not a whole number in 1..65535"},
		{"late_after = 1", "late_after = 65536", "samples.late_after: 65536 is not a whole number in 0..65535"},
		{"late_limit = 2", "late_limits = 2", "samples.late_limit: missing"},
		{"late_limit = 2", "late_limit = 2, late = 1", "samples.late: unknown key; allowed here are late_after, late_limit, minimum"},
		{"samples = {", "samples = 4 #", "samples: 4 is not a table"},
		{"close.grace_seconds = 4", "close.grace_seconds = 86401", "close.grace_seconds: 86401 is not a whole number in 0..86400"},
		{"simulated.earn = true", "simulated.earn = 1", "simulated.earn: 1 is neither true nor false"},
		{"simulated.earn", "simulated.earns", "simulated.earns: unknown key; allowed here are earn"},
		{"idle_epochs = 5", "idle_epochs = 0", "binding.idle_epochs: 0 is not a whole number in 1..1048576"},
		{`"20000000000"`, "20000000000", "stake.minimum_per_multiplier: 20000000000 is not a string of base units"},
		{`"20000000000"`, `"9223372036854775808"`, "is not a string of base units in 0..9223372036854775807"},
		{`"100"`, `"0100"`, `payout.minimum: "0100" is not a string of base units`},
		{"points = 250", "points = 10001", "fees.network_basis_points: 10001 is not a whole number in 0..10000"},
		{`"G6tnLzyPV3h69nPe9L9xTjo8ro8nk3y4duFDr8BGrGxx"`, `"G6tn"`, "fees.network_wallet: \"G6tn\" is not a string with a public key in base58"},
		{`"G6tnLzyPV3h69nPe9L9xTjo8ro8nk3y4duFDr8BGrGxx"`, `"11111111111111111111111111111111"`, "fees.network_wallet: "},
		{"grace_seconds = 77", "grace_seconds = 0", "fees.grace_seconds: 0 is not a whole number in 1..31536000"},
		{"grace_seconds = 77", "grace_seconds = 31536001", "fees.grace_seconds: 31536001 is not a whole number in 1..31536000"},
		{`"inline"`, `"both"`, `fees.record: "both" is unknown; allowed are "root" and "inline"`},
		{`"inline"`, `""`, `fees.record: "" is unknown; allowed are "root" and "inline"`},
		{`"inline"`, `1`, "fees.record: 1 is not a string"},
		{"utilization = 20", "utilization = 100", "idle.utilization: 100 is not a whole number in 0..99"},
		{"utilization = 20", "utilization = -1", "idle.utilization: -1 is not a whole number in 0..99"},
		{"utilization = 20, ", "", "idle.utilization: missing"},
		{"utilization = 20, ", "utilisation = 20, ", `idle.utilization: missing; is "utilisation" meant?`},
		{"samples = 6", "samples = 65536", "idle.samples: 65536 is not a whole number in 0..65535"},
		{", samples = 6", "", "idle.samples: missing"},
		{"samples = 6", "samples = 6, epochs = 1", "idle.epochs: unknown key; allowed here are samples, utilization"},
		{"idle = { utilization = 20, samples = 6 }", "idle = {}", "idle.utilization: missing"},
		{"idle = { utilization = 20, samples = 6 }", "idle = true", "idle: true is not a table"},
		{"basis_points = 4000", "basis_points = 4001", "pools: basis_points sum to 10001, not 10000"},
		{`name = "east"`, `name = "west"`, `pools[1].name: "west" stands twice`},
		{`name = "east"`, `name = ""`, `pools[1].name: "" is not a name of 1..32 lowercase letters, digits and hyphens`},
		{`name = "east"`, `name = "Ea st"`, `pools[1].name: "Ea st" is not a name of`},
		{`name = "east"`, "", "pools[1].name: missing"},
		{`name = "east"`, "name = \"east\"\ncolour = 1", "pools[1].colour: unknown key; allowed here are basis_points, name"},
		{`pool = "east"`, `pool = "north"`, `models[1].pool: "north" is none of the pools`},
		{`name = "t4"`, `name = "h100"`, `models[1].name: "h100" stands twice`},
		{"multiplier_milli = 0", "multiplier_milli = 1000001", "models[1].multiplier_milli: 1000001 is not a whole number in 0..1000000"},
		{"multiplier_milli = 0", "multiplier = 0.5", "models[1].multiplier_milli: missing"},
		{`["Tesla T4"]`, "[]", "models[1].match: [] is not a list of at least one product name"},
		{`["Tesla T4"]`, `"Tesla T4"`, `models[1].match: "Tesla T4" is not a list of`},
		{`["Tesla T4"]`, `["Tesla T4", 4]`, "models[1].match[1]: 4 is not a string of 1..95 printable ASCII characters"},
		{`["Tesla T4"]`, `["Tesla\tT4"]`, "models[1].match[0]: "},
		{`["Tesla T4"]`, `["NVIDIA H100 NVL"]`, `models[1].match[0]: "NVIDIA H100 NVL" belongs to model "h100" already`},
		{`["Tesla T4"]`, `["Tesla T4", "Tesla T4"]`, `models[1].match[1]: "Tesla T4" belongs to model "t4" already`},
	} {
		file := strings.Replace(small, c.old, c.new, 1)
		if file == small {
			t.Fatalf("%q does not stand in the policy", c.old)
		}
		if _, err := ParsePolicy([]byte(file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q:\ngot  %v\nwant %s", c.new, c.old, err, c.want)
		}
	}
	head, _, _ := strings.Cut(small, "[[pools]]")
	for _, c := range []struct{ tail, want string }{
		{"", "pools: missing"},
		{"pools = 3\nmodels = 4", "pools: 3 is not an array of tables"},
		{"pools = [3]\nmodels = []", "pools[0]: 3 is not a table"},
		{"pools = []\nmodels = []", "pools: basis_points sum to 0, not 10000"},
		{"pools = [{name='a', basis_points=10000}]\nmodels = []", "models: empty; at least one is needed"},
		{strings.Repeat("#", MaxPolicyBytes), "more than 65536"},
	} {
		if _, err := ParsePolicy([]byte(head + c.tail)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: got %v, want %s", c.tail, err, c.want)
		}
	}
}

func TestPolicyModel(t *testing.T) {
	p := parse(t, small)
	for name, want := range map[string]string{
		"NVIDIA H100 NVL": "h100", "NVIDIA H100 PCIe": "h100", "Tesla T4": "t4",
		"tesla t4": "", "Tesla T4 ": "", "NVIDIA H100": "", "": "", "h100": "",
	} {
		m, ok := p.Model(name)
		if m.Name != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", name, m.Name, ok, want)
		}
	}
}

func TestCheckSamples(t *testing.T) {
	p := parse(t, small)
	if err := p.CheckSamples(3); err != nil {
		t.Error(err)
	}
	if err := p.CheckSamples(2); err == nil || !strings.Contains(err.Error(), "samples.minimum: 3 is more than the 2") {
		t.Errorf("got %v, want a refusal", err)
	}
}

// The shipped policy against the numbers that io.net publishes.
func TestDefaultPolicy(t *testing.T) {
	p := parse(t, string(DefaultPolicy()))
	if want := (Samples{Minimum: 54, LateAfter: 5, LateLimit: 20}); p.Samples != want {
		t.Errorf("samples: got %+v, want %+v", p.Samples, want)
	}
	if p.Close.GraceSeconds != 300 || p.BindingIdleEpochs != 24 || p.SimulatedDevices || p.FirstEpoch != 1 || p.Idle != nil {
		t.Errorf("got %+v, want 300 s of grace, 24 idle epochs, no simulated devices, from epoch 1", p)
	}
	if err := p.CheckSamples(60); err != nil {
		t.Error(err)
	}
	if want := []Pool{{"community", 500}, {"enterprise", 9500}}; !reflect.DeepEqual(p.Pools, want) {
		t.Errorf("pools: got %v, want %v", p.Pools, want)
	}
	published := map[string]uint32{
		"b200": 30_000, "h200": 12_000, "h100": 10_000, "a100-80gb": 5000, "rtx-6000-ada": 4500, "l40s": 3000,
		"rtx-5000-ada": 3000, "rtx-4080": 2750, "rtx-4070-ti": 2500, "a100-40gb": 2000, "rtx-3090-ti": 2000,
		"rtx-a6000": 2000, "rtx-3090": 1750, "rtx-3080-ti": 1750, "rtx-4090": 1250, "rtx-4060": 1000, "t4": 500, "l4": 250,
		"a10": 0, "a10g": 0, "a16": 0, "a40": 0, "gtx-1080-ti": 0, "rtx-2080-ti": 0, "rtx-3050": 0,
	}
	if len(p.Models) != len(published) {
		t.Errorf("models: got %d, want %d", len(p.Models), len(published))
	}
	for _, m := range p.Models {
		if want, ok := published[m.Name]; !ok || m.MultiplierMilli != want {
			t.Errorf("%s: got multiplier %d, want %d", m.Name, m.MultiplierMilli, want)
		}
	}
	for name, want := range map[string]string{
		"NVIDIA H100 80GB HBM3": "h100", "NVIDIA H200": "h200", "NVIDIA GeForce RTX 4090": "rtx-4090",
		"Tesla T4": "t4", "NVIDIA L4": "l4", "NVIDIA A100-SXM4-80GB": "a100-80gb", "NVIDIA A100-SXM4-40GB": "a100-40gb",
		"NVIDIA A10G": "a10g", "NVIDIA GeForce RTX 3090 Ti": "rtx-3090-ti",
	} {
		if m, _ := p.Model(name); m.Name != want {
			t.Errorf("%s: got model %q, want %q", name, m.Name, want)
		}
	}
	first := DefaultPolicy()
	first[0] = 'X'
	if DefaultPolicy()[0] == 'X' {
		t.Error("a caller can change the default policy")
	}
}

// FORMAT.md's table of keys is the parser's: each key stands in both.
func TestFormatNamesEveryKey(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"version", "first_epoch", "draw", "samples.minimum", "samples.late_after", "samples.late_limit",
		"close.grace_seconds", "simulated.earn", "binding.idle_epochs", "stake.minimum_per_multiplier",
		"fees.network_basis_points", "fees.network_wallet", "fees.grace_seconds", "fees.record", "payout.minimum", "idle.utilization", "idle.samples", "pools.name", "pools.basis_points",
		"models.name", "models.pool", "models.multiplier_milli", "models.match",
	} {
		if !strings.Contains(string(format), "| `"+key+"` |") {
			t.Errorf("FORMAT.md has no row for %s", key)
		}
	}
}

// Whatever a single changed byte does, the parser does not panic, and what it
// still accepts has another hash and keeps every rule.
func TestParsePolicyEveryByteFlipped(t *testing.T) {
	hash := parse(t, small).Hash()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range len(small) {
		file := []byte(small)
		file[i] ^= byte(1 + r.IntN(255))
		if p, err := ParsePolicy(file); err == nil {
			if p.Hash() == hash {
				t.Errorf("byte %d: another file has the same hash", i)
			}
			checkPolicy(t, p)
		}
	}
}

func checkPolicy(t testing.TB, p *Policy) {
	t.Helper()
	if _, err := PoolShares(ionet.MustAmount(1e15), p.Pools); err != nil {
		t.Error(err)
	}
	for i, pool := range p.Pools {
		if i > 0 && p.Pools[i-1].Name >= pool.Name {
			t.Errorf("pools %q and %q are out of order", p.Pools[i-1].Name, pool.Name)
		}
	}
	for _, m := range p.Models {
		if len(m.Match) == 0 {
			t.Errorf("model %q matches nothing", m.Name)
		}
		for _, product := range m.Match {
			if got, ok := p.Model(product); !ok || got.Name != m.Name {
				t.Errorf("%q: got model %q, want %q", product, got.Name, m.Name)
			}
		}
	}
	if p.Version == 0 || p.FirstEpoch == 0 || p.Samples.Minimum == 0 || p.Draw != DrawSchedule || p.Idle != nil && p.Idle.Utilization > 99 {
		t.Errorf("accepted %s", fmt.Sprintf("%+v", p))
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(small))
	f.Add(DefaultPolicy())
	f.Add([]byte("pools = [[[[]]]]"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if p, err := ParsePolicy(file); err == nil {
			checkPolicy(t, p)
		}
	})
}

func TestResemble(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"minimum", "minumum", true}, {"minimum", "minimun", true}, {"minimum", "minium", true}, {"minimum", "miniimum", true},
		{"minimum", "MINIMUM", true}, {"minimum", "maximum", true}, {"minimum", "late_after", false}, {"minimum", "", false},
		{"cap", "cop", true}, {"cap", "xyz", false}, {"cap", "cape", true}, {"decay", "dekay", true},
	} {
		if got := resemble(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestTooManyPools(t *testing.T) {
	head, _, _ := strings.Cut(small, "[[pools]]")
	var pools strings.Builder
	for i := range maxPools + 1 {
		fmt.Fprintf(&pools, "[[pools]]\nname = \"p%d\"\nbasis_points = 0\n", i)
	}
	_, models, _ := strings.Cut(small, "[[models]]")
	if _, err := ParsePolicy([]byte(head + pools.String() + "[[models]]" + models)); err == nil || !strings.Contains(err.Error(), "pools: 65 of them; at most 64") {
		t.Errorf("got %v, want a refusal of 65 pools", err)
	}
}
