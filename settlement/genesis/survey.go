package genesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// object is one account of the network.
type object struct {
	name    string
	address ionet.Key
	owner   ionet.Key // of a token account
	lane    bool
	sigs    *chain.NewMultisig // of a multisig
	keys    []string           // files of the keys that the address follows from
	exists  bool
	lacks   uint64 // lamports to be put into it when it is made
}

// survey is what is there, at confirmed.
type survey struct {
	objects []object  // mint, multisigs, token accounts, lanes
	balance uint64    // lamports of the operator
	minter  ionet.Key // mint authority, where the mint is there
	minted  bool      // the epoch lane has left position 0
}

// isFresh reports whether none of the accounts is there yet.
func (s survey) isFresh() bool {
	for _, o := range s.objects {
		if o.exists {
			return false
		}
	}
	return true
}

// objects lists all accounts of the network, the mint first.
func objects(n *ionet.Network) []object {
	list := []object{{name: "mint", address: n.Mint, keys: []string{operatorFile, laneFile}}}
	for i, s := range n.Multisigs {
		list = append(list, object{name: multisigName(n, s), address: s.Address, keys: []string{operatorFile},
			sigs: &chain.NewMultisig{Index: i, MultisigState: chain.MultisigState{M: s.M, Members: s.Members}}})
	}
	feeKeys := []string{feesFile, operatorFile, laneFile}
	if n.Authorities.Fee != n.Keys.Fees {
		feeKeys = feeKeys[1:]
	}
	list = append(list,
		object{name: "reward vault", address: n.Vaults.Reward, owner: n.Authorities.Reward, keys: []string{operatorFile, laneFile}},
		object{name: "fee vault", address: n.Vaults.Fee, owner: n.Authorities.Fee, keys: feeKeys})
	for _, a := range n.Allocation {
		keys := []string{allocationFile(a.Category), operatorFile, laneFile}
		if _, ok := n.Multisig(a.Owner); ok {
			keys = keys[1:]
		}
		list = append(list, object{name: "allocation " + a.Category, address: a.Account, owner: a.Owner, keys: keys})
	}
	for _, l := range n.Lanes {
		list = append(list, object{name: "lane " + l.Name, address: l.Address, lane: true, keys: []string{laneFile}})
	}
	return list
}

// survey reads all accounts of the network and checks those that exist.
func (r *run) survey(ctx context.Context) (survey, error) {
	s := survey{objects: objects(r.Network)}
	keys := []ionet.Key{r.operator}
	for _, o := range s.objects {
		keys = append(keys, o.address)
	}
	accounts, _, err := r.Chain.Accounts(ctx, keys, rpc.Confirmed, 0)
	if err != nil {
		return survey{}, err
	}
	s.balance = accounts[0].Lamports
	for i := range s.objects {
		o, a := &s.objects[i], accounts[i+1]
		if o.exists, err = r.checkObject(*o, a); err != nil {
			return survey{}, fmt.Errorf("%s %s: %w", o.name, o.address, err)
		}
		if !o.exists {
			o.lacks = chain.Missing(r.rentOf(*o), a.Lamports)
		}
		if o.address == r.Network.Mint && o.exists {
			m, err := chain.ParseMint(a.Owner, a.Data)
			if err != nil {
				return survey{}, err
			}
			s.minter = m.Authority
		}
		if o.address == r.content.Lane && o.exists {
			state, err := chain.ParseLane(a.Owner, a.Data)
			if err != nil {
				return survey{}, err
			}
			s.minted = state != r.from
		}
	}
	return s, r.checkMinter(s)
}

// checkMinter: the operator mints until genesis has landed; then the network's
// authority, or nobody, where the schedule is over and the mint given up.
func (r *run) checkMinter(s survey) error {
	want := r.operator
	if s.minted {
		want = r.Network.Authorities.Mint
	}
	if !s.objects[0].exists || s.minter == want || s.minted && s.minter.IsZero() {
		return nil
	}
	return fmt.Errorf("mint %s: its authority is %s, not %s", r.Network.Mint, s.minter, want)
}

// multisigName tells what the multisig is for and who signs.
func multisigName(n *ionet.Network, s ionet.Multisig) string {
	use := "fee"
	switch s.Address {
	case n.Authorities.Mint:
		use = "mint"
	case n.Authorities.Reward:
		use = "reward"
	}
	for _, a := range n.Allocation {
		if a.Owner == s.Address {
			use = a.Category
		}
	}
	return fmt.Sprintf("%s multisig %d of %d", use, s.M, len(s.Members))
}

func (r *run) rentOf(o object) uint64 {
	switch {
	case o.sigs != nil:
		return r.rent.multisig
	case o.owner.IsZero():
		return r.rent.mint
	}
	return r.rent.account
}

// checkObject reports whether the account was made, and returns an error when
// it holds what we would not have made.
func (r *run) checkObject(o object, a rpc.Account) (bool, error) {
	if a.Owner.IsZero() && len(a.Data) == 0 {
		return false, nil // nothing there, or lamports that somebody sent
	}
	switch {
	case o.lane:
		_, err := chain.ParseLane(a.Owner, a.Data)
		return true, err
	case o.sigs != nil:
		s, err := chain.ParseMultisig(a.Owner, a.Data)
		if err == nil && (s.M != o.sigs.M || !slices.Equal(s.Members, o.sigs.Members)) {
			err = fmt.Errorf("multisig is %d of %v", s.M, s.Members)
		}
		return true, err
	case o.owner.IsZero():
		m, err := chain.ParseMint(a.Owner, a.Data)
		if err == nil && (int(m.Decimals) != r.Network.Decimals || !m.Freeze.IsZero()) {
			err = errors.New("mint has other decimals than the network's, or a freeze authority")
		}
		return true, err
	}
	t, err := chain.ParseTokenAccount(a.Owner, a.Data)
	if err == nil && (t.Mint != r.Network.Mint || t.Owner != o.owner) {
		err = fmt.Errorf("token account belongs to %s for mint %s", t.Owner, t.Mint)
	}
	return true, err
}
