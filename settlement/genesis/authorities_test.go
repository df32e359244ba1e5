package genesis

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

func memberKey(name string) ionet.Key {
	seed := sha256.Sum256([]byte("member " + name))
	return chain.PublicOf(ed25519.NewKeyFromSeed(seed[:]))
}

func mustAuthority(t testing.TB, text string) Authority {
	t.Helper()
	a, err := ParseAuthority(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// withMultisigs gives mint and vaults to multisigs of the same three members, and
// one with the operator.
func withMultisigs(t testing.TB, c *Config) {
	t.Helper()
	three := fmt.Sprintf("2of3:%s,%s,%s", memberKey("a"), memberKey("b"), memberKey("c"))
	c.Mint, c.Fee = mustAuthority(t, three), mustAuthority(t, three)
	c.Reward = mustAuthority(t, fmt.Sprintf("2of3:operator,%s,%s", memberKey("a"), memberKey("b")))
	c.Owners = map[string]Authority{"core": mustAuthority(t, three)}
}

func TestParseOwners(t *testing.T) {
	a := memberKey("a").String()
	got, err := ParseOwners([]string{"seed=1of1:" + a, "core=1of2:operator," + a})
	if err != nil || len(got) != 2 || got["seed"].M != 1 || !got["core"].Operator {
		t.Errorf("got %+v, %v", got, err)
	}
	for want, texts := range map[string][]string{
		"is not category=authority":    {"seed"},
		"category seed is named twice": {"seed=1of1:" + a, "seed=1of1:" + a},
		"category seed: 2of1":          {"seed=2of1:" + a},
	} {
		if _, err := ParseOwners(texts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", texts, err, want)
		}
	}
	c := testConfig(t.TempDir(), "owners")
	c.Owners = map[string]Authority{"friends": mustAuthority(t, "1of1:"+a)}
	if _, err := Prepare(t.Context(), c); err == nil || !strings.Contains(err.Error(), "--allocation-authority friends=...: category is none of seed, ") {
		t.Errorf("a category that is none: got %v", err)
	}
}

func TestParseAuthority(t *testing.T) {
	a, b := memberKey("a").String(), memberKey("b").String()
	got := mustAuthority(t, "2of3:"+a+",operator,"+b)
	if got.M != 2 || !got.Operator || len(got.Members) != 2 || compareKeys(got.Members[0], got.Members[1]) >= 0 {
		t.Errorf("got %+v", got)
	}
	other := mustAuthority(t, "2of3:operator,"+b+","+a)
	if operator := memberKey("o"); !slices.Equal(got.state(operator).Members, other.state(operator).Members) {
		t.Error("the order of the members matters")
	}
	for text, want := range map[string]string{
		"":                                       "not of the form",
		"2of3":                                   "not of the form",
		"xof1:" + a:                              "not of the form",
		"1ofx:" + a:                              "not of the form",
		"2of3:" + a + "," + b:                    "said of 3 members, 2 are named",
		"3of2:" + a + "," + b:                    "want 1 <= m <= n",
		"0of1:" + a:                              "want 1 <= m <= n",
		"1of2:" + a + "," + a:                    "named twice",
		"1of2:operator,operator":                 "named twice",
		"1of1:nobody":                            "member: key",
		"1of1:" + ionet.Key{}.String():           "nobody can sign with it",
		"1of12:" + strings.Repeat(a+",", 11) + b: "want 1 <= m <= n <= 11",
		"1of2:" + a + "," + strings.ToLower(b[:4]) + "0": "member: key",
	} {
		if _, err := ParseAuthority(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseAuthority(f *testing.F) {
	f.Add("2of3:operator," + memberKey("a").String() + "," + memberKey("b").String())
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAuthority(text)
		if err == nil && a.state(memberKey("o")).Check() != nil && !slices.Contains(a.Members, memberKey("o")) {
			t.Errorf("%q gives %+v, which is no multisig", text, a)
		}
	})
}

// Genesis needs no co-signer, makes the multisigs as the network file says, and
// ends with the mint in the hands of its own.
func TestGenesisOfMultisigs(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), testConfig(t.TempDir(), "multisigs")
	withMultisigs(t, &c)
	p, err := Prepare(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	n, client := p.Network, newClient(t, rpc.Config{})
	// Strangers may send lamports there first, too few or too many.
	endow(t, n.Multisigs[0].Address, 1_000_000)
	endow(t, n.Multisigs[1].Address, 50_000_000)
	store, err := publish.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		t.Helper()
		if err := Run(ctx, p, Options{Chain: client, Store: store, Airdrop: true, Poll: 5 * time.Millisecond, Log: t.Logf}); err != nil {
			t.Fatal(err)
		}
	}
	run()
	checkSupply(t, p)
	keys := []ionet.Key{n.Mint, n.Vaults.Reward, n.Vaults.Fee}
	for _, s := range n.Multisigs {
		keys = append(keys, s.Address)
	}
	accounts, _, err := client.Accounts(ctx, keys, rpc.Finalized, 0)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := chain.ParseMint(accounts[0].Owner, accounts[0].Data); err != nil || m.Authority != n.Multisigs[0].Address || !m.Freeze.IsZero() {
		t.Errorf("mint: got authority %s, %v, want multisig %s", m.Authority, err, n.Multisigs[0].Address)
	}
	for i, want := range []ionet.Key{n.Multisigs[1].Address, n.Multisigs[2].Address} {
		if v, err := chain.ParseTokenAccount(accounts[1+i].Owner, accounts[1+i].Data); err != nil || v.Owner != want {
			t.Errorf("vault %d: got owner %s, %v, want %s", i, v.Owner, err, want)
		}
	}
	for i, s := range n.Multisigs {
		got, err := chain.ParseMultisig(accounts[3+i].Owner, accounts[3+i].Data)
		if err != nil || got.M != s.M || !slices.Equal(got.Members, s.Members) {
			t.Errorf("multisig %d: got %+v, %v, want %+v", i, got, err, s)
		}
	}
	core, _ := n.AllocationOf("core")
	if core.Owner != n.Multisigs[3].Address || core.Account != chain.TokenAccount(core.Owner, n.Mint) {
		t.Errorf("core belongs to %s, want multisig %s", core.Owner, n.Multisigs[3].Address)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, allocationFile("core"))); err == nil {
		t.Error("a key was made for what belongs to a multisig")
	}
	if loaded, err := Load(ctx, c.Dir); err != nil || loaded.Keys.Allocation["core"] != nil || loaded.Keys.Allocation["seed"] == nil {
		t.Errorf("load: %v, want all keys but that of core", err)
	}
	run() // and again: all is there
	plan := planOf(t, c, store)
	if !plan.IsDone() || !strings.Contains(plan.String(), "any 2 of 3 members") {
		t.Errorf("plan of a finished network:\n%s", plan)
	}
}

// The network file decides; flags that say another authority are refused by name.
func TestAuthoritiesAreFixed(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir(), "fixed")
	withMultisigs(t, &c)
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	again := c
	again.Mint, again.Reward, again.Fee, again.Owners = Authority{}, Authority{}, Authority{}, nil
	if q, err := Prepare(t.Context(), again); err != nil || q.Network.ID() != p.Network.ID() {
		t.Errorf("without flags: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"authorities.mint: ":              func(c *Config) { c.Mint.M = 1 },
		"authorities.reward: ":            func(c *Config) { c.Reward = c.Fee },
		"allocation of core, authority: ": func(c *Config) { c.Owners = map[string]Authority{"core": c.Reward} },
		"allocation of seed, authority: ": func(c *Config) { c.Owners = map[string]Authority{"seed": c.Mint} },
		"authorities.fee: ":               func(c *Config) { c.Fee = mustAuthority(t, "1of1:"+memberKey("a").String()) },
	} {
		other := c
		change(&other)
		if _, err := Prepare(t.Context(), other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := os.Remove(filepath.Join(c.Dir, NetworkFile)); err != nil {
		t.Fatal(err)
	}
	many := c
	many.Reward = mustAuthority(t, fmt.Sprintf("5of5:%s,%s,%s,%s,%s", memberKey("a"), memberKey("b"), memberKey("c"), memberKey("d"), memberKey("e")))
	if _, err := Prepare(t.Context(), many); err == nil || !strings.Contains(err.Error(), "more than the 4 signers") {
		t.Errorf("five signers of claims: got %v", err)
	}
	lane := c
	lane.Mint = mustAuthority(t, "1of1:"+p.Network.Keys.Lane.String())
	if _, err := Prepare(t.Context(), lane); err == nil || !strings.Contains(err.Error(), "keys.lane") {
		t.Errorf("the lane key as a member: got %v", err)
	}
}
