package ionet

import (
	"fmt"
	"slices"
)

// MaxBeneficiaries is how many wallets may share an allocation. A release pays all
// of them in one transaction, and may have to make their accounts: where somebody
// sent lamports to their addresses before, that is eight instructions each with all
// inner ones, of the 64 that the runtime allows.
const MaxBeneficiaries = 7

// maxParts bounds a beneficiary's parts.
const maxParts = 1_000_000

// Beneficiary is a wallet to which an allocation's tokens go as they unlock.
type Beneficiary struct {
	Wallet Key    `toml:"wallet"`
	Parts  uint64 `toml:"parts"` // of the sum of all parts, 1..1,000,000
}

// AllocationOf returns the allocation of that category.
func (n *Network) AllocationOf(category string) (Allocation, bool) {
	i := slices.IndexFunc(n.Allocation, func(a Allocation) bool { return a.Category == category })
	if i < 0 {
		return Allocation{}, false
	}
	return n.Allocation[i], true
}

// IsManaged reports whether the network releases the allocation: it names
// beneficiaries. Of another one only its owner can move the tokens.
func (a Allocation) IsManaged() bool { return len(a.Beneficiaries) > 0 }

// checkBeneficiaries: whoever is paid is nobody's double, and none of ours.
func (n *Network) checkBeneficiaries(a Allocation) error {
	if len(a.Beneficiaries) > MaxBeneficiaries {
		return fmt.Errorf("allocation %s has %d beneficiaries, more than %d", a.Category, len(a.Beneficiaries), MaxBeneficiaries)
	}
	if first, _ := n.AllocationOf(a.Category); a.IsManaged() && first.Account != a.Account {
		return fmt.Errorf("allocation %s has beneficiaries and another of that category", a.Category)
	}
	for i, b := range a.Beneficiaries {
		if b.Wallet.IsZero() || b.Parts == 0 || b.Parts > maxParts {
			return fmt.Errorf("allocation %s: beneficiary %d lacks a wallet, or its parts are not in 1..%d", a.Category, i, maxParts)
		}
		if slices.ContainsFunc(a.Beneficiaries[:i], func(o Beneficiary) bool { return o.Wallet == b.Wallet }) {
			return fmt.Errorf("allocation %s: beneficiary %s is named twice", a.Category, b.Wallet)
		}
		if what := n.roleOf(b.Wallet); what != "" {
			return fmt.Errorf("allocation %s: beneficiary %s is %s", a.Category, b.Wallet, what)
		}
	}
	return nil
}

// roleOf returns what a key is in the network, "" where it is nothing: tokens
// that a release moves to an account of ours would be in no book.
func (n *Network) roleOf(key Key) string {
	switch key {
	case n.Mint, n.Vaults.Reward, n.Vaults.Fee:
		return "an account of the network"
	case n.Keys.Operator, n.Keys.Fees, n.Keys.Service, n.Keys.Lane:
		return "a key of the network"
	}
	for _, a := range n.Allocation {
		if key == a.Owner || key == a.Account {
			return "owner or account of allocation " + a.Category
		}
	}
	for _, s := range n.Multisigs {
		if key == s.Address || slices.Contains(s.Members, key) {
			return "a multisig of the network, or a member"
		}
	}
	if name, ok := n.LaneName(key); ok {
		return "lane " + name
	}
	return ""
}
