package genesis

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// ParseBeneficiaries reads texts such as "seed=WALLET:3" for Config.Beneficiaries;
// without parts it is one.
func ParseBeneficiaries(texts []string) (map[string][]ionet.Beneficiary, error) {
	all := map[string][]ionet.Beneficiary{}
	for _, text := range texts {
		category, who, ok := strings.Cut(text, "=")
		if !ok || category == "" {
			return nil, fmt.Errorf("%q is not category=WALLET or category=WALLET:PARTS", text)
		}
		wallet, parts, counted := strings.Cut(who, ":")
		b := ionet.Beneficiary{Parts: 1}
		var err error
		if b.Wallet, err = ionet.ParseKey(wallet); err != nil {
			return nil, fmt.Errorf("category %s: %w", category, err)
		}
		if counted {
			if b.Parts, err = strconv.ParseUint(parts, 10, 64); err != nil || b.Parts == 0 {
				return nil, fmt.Errorf("category %s: parts %q of %s are not a whole number of 1 or more", category, parts, b.Wallet)
			}
		}
		all[category] = append(all[category], b)
	}
	return all, nil
}

// Managed returns the keys of the categories that have beneficiaries: those that
// release them. What belongs to a multisig its members release.
func (p *Prepared) Managed() []ed25519.PrivateKey {
	var keys []ed25519.PrivateKey
	for _, a := range p.Network.Allocation {
		if key, ok := p.Keys.Allocation[a.Category]; ok && a.IsManaged() {
			keys = append(keys, key)
		}
	}
	return keys
}

// followBeneficiaries takes from the network file those of the categories that c
// says nothing of.
func (c *Config) followBeneficiaries(n *ionet.Network) {
	all := maps.Clone(c.Beneficiaries)
	if all == nil {
		all = map[string][]ionet.Beneficiary{}
	}
	for _, a := range n.Allocation {
		if _, said := all[a.Category]; !said && a.IsManaged() {
			all[a.Category] = a.Beneficiaries
		}
	}
	c.Beneficiaries = all
}

// checkBeneficiaries refuses those of a category that is none.
func (c Config) checkBeneficiaries(shares []emissions.Share) error {
	for _, category := range slices.Sorted(maps.Keys(c.Beneficiaries)) {
		if !slices.Contains(categories(shares), category) {
			return fmt.Errorf("--beneficiary %s=...: category is none of %s", category, strings.Join(categories(shares), ", "))
		}
	}
	return nil
}

// beneficiaryText tells who gets an allocation, as the flag says it.
func beneficiaryText(list []ionet.Beneficiary) string {
	if len(list) == 0 {
		return "nobody"
	}
	var words []string
	for _, b := range list {
		words = append(words, fmt.Sprintf("%s:%d", b.Wallet, b.Parts))
	}
	return strings.Join(words, ", ")
}

// tellBeneficiaries tells who gets an allocation as it unlocks.
func tellBeneficiaries(line func(...any), a ionet.Allocation) {
	var whole uint64
	for _, b := range a.Beneficiaries {
		whole += b.Parts
	}
	for _, b := range a.Beneficiaries {
		line(fmt.Sprintf("    released to %s, %d of %s", b.Wallet, b.Parts, count(whole, "part")))
	}
}
