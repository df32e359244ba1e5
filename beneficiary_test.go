package ionet

import (
	"bytes"
	"testing"
)

// withBeneficiaries is a network whose first allocation goes to three wallets.
func withBeneficiaries(t *testing.T) Network {
	t.Helper()
	n := testNetwork()
	n.Allocation[0].Beneficiaries = []Beneficiary{{Key{81}, 1}, {Key{82}, 2}, {Key{83}, maxParts}}
	return n
}

func TestBeneficiariesRoundTrip(t *testing.T) {
	n := withBeneficiaries(t)
	file, err := EncodeNetwork(n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseNetwork(file)
	if err != nil {
		t.Fatal(err)
	}
	al, ok := got.AllocationOf(n.Allocation[0].Category)
	if !ok || !al.IsManaged() || len(al.Beneficiaries) != 3 || al.Beneficiaries[2] != (Beneficiary{Key{83}, maxParts}) {
		t.Errorf("got %+v, %t", al, ok)
	}
	if other, ok := got.AllocationOf("nobody"); ok || other.IsManaged() {
		t.Errorf("an allocation of that category is there: %+v", other)
	}
	// A file without any says nothing of them: networks that were made before have the
	// same bytes, and with them the same id.
	plain, err := EncodeNetwork(testNetwork())
	if err != nil || bytes.Contains(plain, []byte("beneficiary")) {
		t.Errorf("a file without beneficiaries names them: %v", err)
	}
}

func TestBeneficiaryRules(t *testing.T) {
	for name, change := range map[string]func(n *Network, b []Beneficiary) []Beneficiary{
		"no wallet":           func(_ *Network, b []Beneficiary) []Beneficiary { b[0].Wallet = Key{}; return b },
		"no parts":            func(_ *Network, b []Beneficiary) []Beneficiary { b[1].Parts = 0; return b },
		"too many parts":      func(_ *Network, b []Beneficiary) []Beneficiary { b[1].Parts = maxParts + 1; return b },
		"twice":               func(_ *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = b[0].Wallet; return b },
		"the operator":        func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Keys.Operator; return b },
		"the key of the fees": func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Keys.Fees; return b },
		"who mints":           func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Authorities.Mint; return b },
		"who owns a vault":    func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Authorities.Fee; return b },
		"a member":            func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Multisigs[1].Members[0]; return b },
		"its own owner":       func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Allocation[0].Owner; return b },
		"the lane key":        func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Keys.Lane; return b },
		"the mint":            func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Mint; return b },
		"a vault":             func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Vaults.Fee; return b },
		"a lane":              func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Lanes[2].Address; return b },
		"its own account":     func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Allocation[0].Account; return b },
		"another's owner":     func(n *Network, b []Beneficiary) []Beneficiary { b[1].Wallet = n.Allocation[1].Owner; return b },
		"a category twice": func(n *Network, b []Beneficiary) []Beneficiary {
			n.Allocation[1].Category, n.Allocation[1].Beneficiaries = n.Allocation[0].Category, b[:1]
			return b
		},
		"one too many": func(_ *Network, b []Beneficiary) []Beneficiary { return many(MaxBeneficiaries + 1) },
	} {
		n := withBeneficiaries(t)
		n.Allocation[0].Beneficiaries = change(&n, n.Allocation[0].Beneficiaries)
		if _, err := EncodeNetwork(n); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	n := withBeneficiaries(t)
	n.Allocation[0].Beneficiaries = many(MaxBeneficiaries)
	if _, err := EncodeNetwork(n); err != nil {
		t.Errorf("seven: %v", err)
	}
}

func many(n int) []Beneficiary {
	list := make([]Beneficiary, n)
	for i := range list {
		list[i] = Beneficiary{Key{90, byte(i)}, uint64(i + 1)}
	}
	return list
}
