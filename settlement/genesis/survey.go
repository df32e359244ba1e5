package genesis

import (
	"context"
	"errors"
	"fmt"

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
	keys    []string // files of the keys that the address follows from
	exists  bool
	lacks   uint64 // lamports to be put into it when it is made
}

// survey is what is there, at confirmed.
type survey struct {
	objects []object // mint, token accounts, lanes
	balance uint64   // lamports of the operator
	minted  bool     // the epoch lane has left position 0
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
	list := []object{
		{name: "mint", address: n.Mint, keys: []string{operatorFile, laneFile}},
		{name: "reward vault", address: n.Vaults.Reward, owner: n.Keys.Operator, keys: []string{operatorFile, laneFile}},
		{name: "fee vault", address: n.Vaults.Fee, owner: n.Keys.Fees, keys: []string{feesFile, operatorFile, laneFile}},
	}
	for _, a := range n.Allocation {
		list = append(list, object{name: "allocation " + a.Category, address: a.Account, owner: a.Owner, keys: []string{allocationFile(a.Category), operatorFile, laneFile}})
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
		if o.address == r.content.Lane && o.exists {
			state, err := chain.ParseLane(a.Owner, a.Data)
			if err != nil {
				return survey{}, err
			}
			s.minted = state != r.from
		}
	}
	return s, nil
}

func (r *run) rentOf(o object) uint64 {
	if o.owner.IsZero() {
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
	case o.owner.IsZero():
		m, err := chain.ParseMint(a.Owner, a.Data)
		if err == nil && (m.Authority != r.operator || int(m.Decimals) != r.Network.Decimals || !m.Freeze.IsZero()) {
			err = errors.New("mint has another authority or other decimals than the network's, or a freeze authority")
		}
		return true, err
	}
	t, err := chain.ParseTokenAccount(a.Owner, a.Data)
	if err == nil && (t.Mint != r.Network.Mint || t.Owner != o.owner) {
		err = fmt.Errorf("token account belongs to %s for mint %s", t.Owner, t.Mint)
	}
	return true, err
}
