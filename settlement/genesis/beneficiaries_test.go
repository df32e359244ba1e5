package genesis

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

func TestParseBeneficiaries(t *testing.T) {
	a, b := ionet.Key{1}, ionet.Key{2}
	got, err := ParseBeneficiaries([]string{"seed=" + a.String(), "core=" + b.String() + ":7", "seed=" + b.String() + ":2"})
	want := map[string][]ionet.Beneficiary{"seed": {{Wallet: a, Parts: 1}, {Wallet: b, Parts: 2}}, "core": {{Wallet: b, Parts: 7}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "seed", "=" + a.String(), "seed=", "seed=x", "seed=" + a.String() + ":", "seed=" + a.String() + ":0", "seed=" + a.String() + ":-1", "seed=" + a.String() + ":1.5"} {
		if got, err := ParseBeneficiaries([]string{text}); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// Beneficiaries are written into the network file; a later run may leave them out or
// repeat them, and may not say others.
func TestBeneficiariesOfANetwork(t *testing.T) {
	c := testConfig(t.TempDir(), "beneficiaries")
	c.Beneficiaries = map[string][]ionet.Beneficiary{"seed": {{Wallet: ionet.Key{31: 5}, Parts: 3}, {Wallet: ionet.Key{31: 6}, Parts: 1}}}
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Network.Allocation {
		if want := c.Beneficiaries[a.Category]; !reflect.DeepEqual(a.Beneficiaries, want) {
			t.Errorf("%s goes to %v, want %v", a.Category, a.Beneficiaries, want)
		}
	}
	plan, err := NewDraft(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	told, err := plan.Plan(t.Context(), newClient(t, rpc.Config{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := told.String(); !strings.Contains(text, "released to "+ionet.Key{31: 5}.String()+", 3 of 4 parts") {
		t.Errorf("the plan does not tell the beneficiaries:\n%s", text)
	}
	same := c
	same.Beneficiaries = nil
	if again, err := Prepare(t.Context(), same); err != nil || again.Network.ID() != p.Network.ID() {
		t.Errorf("without saying them again: %v", err)
	}
	for want, list := range map[string]map[string][]ionet.Beneficiary{
		"allocation of seed, beneficiaries: ":                     {"seed": {{Wallet: ionet.Key{31: 5}, Parts: 1}}},
		"allocation of core, beneficiaries: ":                     {"core": {{Wallet: ionet.Key{31: 5}, Parts: 1}}},
		"--beneficiary researchers=...: category is none of seed": {"researchers": nil},
	} {
		other := c
		other.Beneficiaries = list
		if _, err := Prepare(t.Context(), other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	// Before there is a network file nothing contradicts; its own rules do.
	if err := os.Remove(filepath.Join(c.Dir, NetworkFile)); err != nil {
		t.Fatal(err)
	}
	c.Beneficiaries["core"] = []ionet.Beneficiary{{Wallet: p.Network.Keys.Operator, Parts: 1}}
	if _, err := Prepare(t.Context(), c); err == nil || !strings.Contains(err.Error(), "is a key of the network") {
		t.Errorf("the operator as beneficiary: got %v", err)
	}
}

// Who owns a vault, signs for one or is anything else in the network gets nothing of
// what unlocks: a vault would be paid what no book has.
func TestBeneficiariesAreNoneOfOurs(t *testing.T) {
	c := testConfig(t.TempDir(), "none-of-ours")
	withMultisigs(t, &c)
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := p.Network
	if err := os.Remove(filepath.Join(c.Dir, NetworkFile)); err != nil {
		t.Fatal(err)
	}
	for name, wallet := range map[string]ionet.Key{
		"operator": n.Keys.Operator, "fees": n.Keys.Fees, "service": n.Keys.Service, "lane key": n.Keys.Lane, "mint": n.Mint,
		"mint authority": n.Authorities.Mint, "owner of the reward vault": n.Authorities.Reward, "owner of the fee vault": n.Authorities.Fee,
		"reward vault": n.Vaults.Reward, "member": memberKey("c"), "owner of core": n.Allocation[2].Owner, "owner of seed": n.Allocation[0].Owner,
		"account of seed": n.Allocation[0].Account, "lane": n.Lanes[0].Address,
	} {
		c.Beneficiaries = map[string][]ionet.Beneficiary{"seed": {{Wallet: wallet, Parts: 1}}}
		if _, err := Prepare(t.Context(), c); err == nil || !strings.Contains(err.Error(), "allocation seed: beneficiary "+wallet.String()+" is ") {
			t.Errorf("%s as beneficiary of seed: got %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, NetworkFile)); !os.IsNotExist(err) {
		t.Errorf("a network file is there: %v", err)
	}
	c.Beneficiaries = map[string][]ionet.Beneficiary{"seed": {{Wallet: memberKey("stranger"), Parts: 1}}}
	if _, err := Prepare(t.Context(), c); err != nil {
		t.Errorf("a wallet that is nothing in the network: %v", err)
	}
}

func FuzzParseBeneficiaries(f *testing.F) {
	key := ionet.Key{1}.String()
	for _, text := range []string{"seed=" + key, "seed=" + key + ":7", "seed=" + key + ":", "=", "seed=:3", "core=" + key + ":18446744073709551616"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseBeneficiaries([]string{text})
		if err != nil {
			return
		}
		for category, list := range all {
			if again, err := ParseBeneficiaries([]string{category + "=" + beneficiaryText(list)}); err != nil || !reflect.DeepEqual(again, all) {
				t.Errorf("%q renders as %s, which is read as %v, %v", text, beneficiaryText(list), again, err)
			}
		}
	})
}
