package genesis

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
)

// small is a schedule whose token has no decimals: 12 steps of 4 epochs.
func small() emissions.Params {
	return emissions.Params{
		Genesis: ionet.MustAmount(1000), Cap: ionet.MustAmount(1100), Epochs: 48,
		FirstYearRate: "0.5", StepsPerYear: 12, Decay: "0.01", EpochsPerStep: 4,
	}
}

func planOf(t testing.TB, c Config, store publish.Reader) *Plan {
	t.Helper()
	d, err := NewDraft(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Plan(t.Context(), newClient(t, rpc.Config{}), store)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(p.Transactions); (got == 0) != (p.Cost() == 0) {
		t.Errorf("plan of %d transactions costs %d", got, p.Cost())
	}
	return p
}

// endow gives lamports to an address and waits until they are final.
func endow(t testing.TB, to ionet.Key, lamports uint64) {
	t.Helper()
	c := newClient(t, rpc.Config{})
	if err := c.Airdrop(t.Context(), to, lamports); err != nil {
		t.Fatal(err)
	}
	for lamportsOf(t, to) < lamports {
		time.Sleep(5 * time.Millisecond)
	}
}

// lamportsOf is a balance at finalized.
func lamportsOf(t testing.TB, of ionet.Key) uint64 {
	t.Helper()
	list, _, err := newClient(t, rpc.Config{}).Accounts(t.Context(), []ionet.Key{of}, rpc.Finalized, 0)
	if err != nil {
		t.Fatal(err)
	}
	return list[0].Lamports
}

// A plan without a folder, a plan of the folder and the run cost the same; the
// operator needs no lamport more than the plan asks for.
func TestPlanIsWhatARunSpends(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"hourly":  func(*Config) {},
		"monthly": func(c *Config) { c.Schedule, c.Profile = emissions.Params{}, emissions.ProfileMonthly },
		"monthly-of-theirs": func(c *Config) {
			c.Schedule, c.Profile, c.Reading = emissions.Params{}, emissions.ProfileMonthly, emissions.OfGenesis
		},
		"small":            func(c *Config) { c.Schedule, c.Decimals = small(), new(int) },
		"small-of-genesis": func(c *Config) { c.Schedule, c.Decimals, c.Reading = small(), new(int), emissions.OfGenesis },
		"many-lanes":       func(c *Config) { c.PayLanes, c.ClaimLanes = 12, 11 },
		"multisigs":        func(c *Config) { withMultisigs(t, c) },
		"unlocks": func(c *Config) {
			c.Unlocks = map[string]emissions.Unlock{"research": {Kind: emissions.UnlockLinear, To: 48}, "seed": {Kind: emissions.UnlockCliff, To: 12}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testConfig(filepath.Join(t.TempDir(), "keys"), name)
			change(&c)
			first := planOf(t, c, nil)
			if _, err := os.Stat(c.Dir); err == nil {
				t.Error("a plan left a folder")
			}
			p, err := Prepare(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			checkShares(t, c, p.Network)
			spend(t, c, p, first)
		})
	}
}

// spend gives the operator what the plan asks for and runs.
func spend(t *testing.T, c Config, p *Prepared, first *Plan) {
	t.Helper()
	store, err := publish.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	second := planOf(t, c, store)
	if second.Cost() != first.Cost() || second.Lacks() != first.Lacks() {
		t.Errorf("plan costs %d with a folder, %d without", second.Cost(), first.Cost())
	}
	endow(t, p.Network.Keys.Operator, second.Lacks())
	if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: store, Poll: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	checkSupply(t, p)
	if got, want := lamportsOf(t, p.Network.Keys.Operator), second.Lacks()-second.Cost(); got != want {
		t.Errorf("operator is left with %d lamports, want %d: planned cost %d, paid %d", got, want, second.Cost(), second.Lacks()-got)
	}
	last := planOf(t, Config{Dir: c.Dir, Cluster: c.Cluster}, store)
	if !last.IsDone() || !last.Final || last.Lacks() != 0 || !strings.Contains(last.String(), "nothing is left to do: ") {
		t.Errorf("plan of a finished network:\n%s", last)
	}
}

// checkShares compares the allocation with what the published percentages and
// the configured unlocks give.
func checkShares(t *testing.T, c Config, n *ionet.Network) {
	t.Helper()
	whole := n.Schedule.Cap
	if c.Reading == emissions.OfGenesis {
		whole = n.Schedule.Genesis
	}
	if got, want := n.Allocation[0].Amount.Base(), whole.Base()/1000*125+whole.Base()%1000*125/1000; got != want {
		t.Errorf("seed gets %d, want 12.5%% of %s: %d", got, whole, want)
	}
	unlocks := map[string]string{"seed": "tranches:13..36", "series_a": "tranches:13..36", "core": "tranches:13..48", "research": "immediate", "community": "immediate"}
	for category, u := range c.Unlocks {
		unlocks[category] = u.String()
	}
	for _, a := range n.Allocation {
		if a.Unlock != unlocks[a.Category] {
			t.Errorf("%s: unlock %s, want %s", a.Category, a.Unlock, unlocks[a.Category])
		}
	}
	schedule, err := emissions.New(emissions.ParamsOf(n.Schedule))
	if err != nil || schedule.Hash() != n.Schedule.Hash {
		t.Errorf("schedule of the network file: %v, or another hash", err)
	}
}

// Lamports that strangers sent to our addresses make it cheaper, as planned.
func TestPlanCountsWhatLiesThere(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir(), "gifts")
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	before := planOf(t, c, nil)
	lane, _ := p.Network.Lane("pay-1")
	gifts := map[ionet.Key]uint64{p.Network.Mint: 900_000, lane: 900_000, p.Network.Allocation[2].Account: 1_000_000, p.Network.Vaults.Fee: 50_000_000}
	var worth uint64
	for _, a := range before.Accounts {
		worth += min(gifts[a.Address], a.Rent)
	}
	for to, lamports := range gifts {
		endow(t, to, lamports)
	}
	after := planOf(t, c, nil)
	if after.Cost() != before.Cost()-worth {
		t.Errorf("plan costs %d, want %d less %d", after.Cost(), before.Cost(), worth)
	}
	spend(t, c, p, after)
}

// A run dies at call n; what the plan then says is what the rest costs.
func TestPlanOfAHalfMadeNetwork(t *testing.T) {
	t.Parallel()
	partial := 0
	for n := 4; n <= 28; n += 4 {
		c, store := testConfig(t.TempDir(), fmt.Sprint("half-", n)), t.TempDir()
		dieAt(t, c, store, n)
		awaitFinal(t) // what can land has landed
		folder, err := publish.NewFolder(store)
		if err != nil {
			t.Fatal(err)
		}
		plan := planOf(t, c, folder)
		if made := len(plan.Transactions); made > 0 && made < 5 {
			partial++
		}
		p, err := Load(t.Context(), c.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Lacks() > 0 {
			endow(t, p.Network.Keys.Operator, plan.Balance+plan.Lacks())
		}
		before := lamportsOf(t, p.Network.Keys.Operator)
		if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: folder, Poll: 5 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if paid := before - lamportsOf(t, p.Network.Keys.Operator); paid != plan.Cost() {
			t.Errorf("died at call %d: the rest cost %d, planned were %d:\n%s", n, paid, plan.Cost(), plan)
		}
	}
	if partial < 2 {
		t.Errorf("only %d of the runs died half-way", partial)
	}
}

// dieAt runs until call n, which is carried out and not heard of.
func dieAt(t *testing.T, c Config, store string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dead atomic.Bool
	_, err := genesisOnce(ctx, t, c, store, intercept(func(call int, _ []byte, forward func() (*http.Response, error)) (*http.Response, error) {
		if dead.Load() {
			return nil, errCrash
		}
		resp, err := forward()
		if call < n {
			return resp, err
		}
		if err == nil {
			resp.Body.Close()
		}
		dead.Store(true)
		cancel()
		return nil, errCrash
	}).transport())
	if err == nil && dead.Load() {
		t.Fatalf("a run that died at call %d ended well", n)
	}
}

// Addresses are shown once their keys are in the folder, and no sooner.
func TestPlanHidesWhatIsNotFinal(t *testing.T) {
	c := testConfig(t.TempDir(), "partly")
	whole := c
	whole.Dir = t.TempDir()
	p, err := Prepare(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(whole.Dir, operatorFile), filepath.Join(c.Dir, operatorFile))
	copyFile(t, filepath.Join(whole.Dir, laneFile), filepath.Join(c.Dir, laneFile))
	c.StartIn, c.Start = time.Hour, time.Time{}
	plan := planOf(t, c, nil)
	text := plan.String()
	for _, a := range plan.Accounts {
		final := a.Name == "mint" || a.Name == "reward vault" || strings.HasPrefix(a.Name, "lane ")
		i := slices.IndexFunc(objects(p.Network), func(o object) bool { return o.name == a.Name })
		if same := a.Address == objects(p.Network)[i].address; same != final || (a.NewKey == "") != final || strings.Contains(text, a.Address.String()) != final {
			t.Errorf("%s %s, new key %q: want final %t", a.Name, a.Address, a.NewKey, final)
		}
	}
	n := plan.draft.Network()
	for _, secret := range []string{ionet.Key(n.ID()).String(), n.Keys.Fees.String(), n.Allocation[0].Owner.String(), time.Unix(n.Start, 0).UTC().Format(time.RFC3339)} {
		if strings.Contains(text, secret) {
			t.Errorf("plan shows %s, which no run will have:\n%s", secret, text)
		}
	}
	for _, want := range []string{"1h0m0s after the run", "<id of the network file>", "a new key in " + filepath.Join(c.Dir, "allocation-core.json"), chain.PublicOf(p.Keys.Operator).String()} {
		if !strings.Contains(text, want) {
			t.Errorf("plan lacks %q:\n%s", want, text)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, feesFile)); err == nil {
		t.Error("a plan made a key")
	}
}

func TestInWords(t *testing.T) {
	for text, want := range map[string]string{
		"immediate":       "free at genesis",
		"cliff:12":        "locked, free at once at the end of month 12 (epoch 8760)",
		"tranches:13..36": "locked, 24 equal tranches monthly from the end of month 13 (epoch 9490) to the end of month 36 (epoch 26280)",
		"linear:0..48":    "locked, free epoch by epoch from genesis to the end of month 48 (epoch 35040)",
		"linear:6..7":     "locked, free epoch by epoch from the end of month 6 (epoch 4380) to the end of month 7 (epoch 5110)",
	} {
		u, err := emissions.ParseUnlock(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := inWords(u); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	most := ionet.MustAmount(1<<63 - 1)
	for _, c := range []struct {
		part, whole ionet.Amount
		want        string
	}{{most, most, "100.00%"}, {ionet.Amount{}, most, "0.00%"}, {ionet.MustAmount(1), ionet.MustAmount(3), "33.33%"}, {ionet.MustAmount(125), ionet.MustAmount(1000), "12.50%"}} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("percent(%s, %s) = %s, want %s", c.part, c.whole, got, c.want)
		}
	}
}
