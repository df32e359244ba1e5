package ionet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Authorities are who signs for the mint and for the vaults: a key of NetworkKeys,
// or the address of one of the network's multisigs.
type Authorities struct {
	Mint   Key `toml:"mint"`   // keys.operator or a multisig
	Reward Key `toml:"reward"` // keys.operator or a multisig
	Fee    Key `toml:"fee"`    // keys.fees or a multisig
}

// Multisig is a multisig account of the SPL Token program: M of its members sign
// together.
type Multisig struct {
	Address Key   `toml:"address"`
	M       int   `toml:"m"`
	Members []Key `toml:"members"` // public keys, ascending by their bytes
}

// MaxMembers is the most members that a multisig has.
const MaxMembers = 11

// A transaction of version 1 has 12 signatures, two of them the fee payer's and the
// one-time key's. A claim is one of version 0, and leaves room for what a wallet
// adds to it.
const (
	maxSigners       = 10
	maxRewardSigners = 4
)

// Multisig returns the multisig at that address.
func (n *Network) Multisig(address Key) (Multisig, bool) {
	i := slices.IndexFunc(n.Multisigs, func(s Multisig) bool { return s.Address == address })
	if i < 0 {
		return Multisig{}, false
	}
	return n.Multisigs[i], true
}

// AuthorityOf returns who signs for a source of tokens: the mint, a vault or an
// allocation account. It is a key, or the address of a multisig.
func (n *Network) AuthorityOf(source Key) (Key, bool) {
	switch source {
	case n.Mint:
		return n.Authorities.Mint, true
	case n.Vaults.Reward:
		return n.Authorities.Reward, true
	case n.Vaults.Fee:
		return n.Authorities.Fee, true
	}
	for _, a := range n.Allocation {
		if a.Account == source {
			return a.Owner, true
		}
	}
	return Key{}, false
}

// checkAuthorities: each multisig is an authority or an allocation's owner, and nobody
// is a member whose key is for something else.
func (n *Network) checkAuthorities() error {
	if n.Vaults.Reward == n.Vaults.Fee {
		return errors.New("vaults.reward and vaults.fee are one account")
	}
	used := map[Key]int{n.Authorities.Mint: 1}
	used[n.Authorities.Reward]++
	used[n.Authorities.Fee]++
	for _, a := range n.Allocation {
		used[a.Owner]++
	}
	for _, a := range []struct {
		name     string
		key, own Key
	}{
		{"mint", n.Authorities.Mint, n.Keys.Operator}, {"reward", n.Authorities.Reward, n.Keys.Operator}, {"fee", n.Authorities.Fee, n.Keys.Fees},
	} {
		if _, ok := n.Multisig(a.key); !ok && a.key != a.own {
			return fmt.Errorf("authorities.%s is %s, neither %s nor a multisig", a.name, a.key, a.own)
		}
	}
	for i, s := range n.Multisigs {
		if err := n.checkMultisig(s); err != nil {
			return fmt.Errorf("multisig %d: %w", i, err)
		}
		if s.M > maxSigners {
			return fmt.Errorf("multisig %d: m is %d, more than the %d signers that a transaction has room for", i, s.M, maxSigners)
		}
		if s.Address == n.Authorities.Reward && s.M > maxRewardSigners {
			return fmt.Errorf("authorities.reward: m is %d, more than the %d signers that a claim has room for", s.M, maxRewardSigners)
		}
		if used[s.Address] != 1 {
			return fmt.Errorf("multisig %d is %d of the authorities and allocations' owners, not one of them", i, used[s.Address])
		}
	}
	return nil
}

func (n *Network) checkMultisig(s Multisig) error {
	if s.Address.IsZero() || len(s.Members) > MaxMembers || s.M < 1 || s.M > len(s.Members) {
		return fmt.Errorf("want an address, and m and members with 1 <= m <= number of members <= %d", MaxMembers)
	}
	for i, k := range s.Members {
		if k.IsZero() || i > 0 && bytes.Compare(s.Members[i-1][:], k[:]) >= 0 {
			return fmt.Errorf("member %s is zero, there twice, or not in ascending order", k)
		}
		if k == n.Keys.Service || k == n.Keys.Lane {
			return fmt.Errorf("member %s is keys.service or keys.lane, which move no money", k)
		}
	}
	return nil
}
