package genesis

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// Authority says who signs for the mint or for a vault: M of the members
// together. The zero value is one key of the network.
type Authority struct {
	M        int
	Members  []ionet.Key // ascending
	Operator bool        // the operator's key, which may not be made yet, is a member beside these
}

// operatorMember stands for the operator's key in the text of an Authority.
const operatorMember = "operator"

// ParseAuthority parses "<m>of<n>:<key>,<key>,...", whose keys are n public keys
// in any order; the word operator stands for the operator's.
func ParseAuthority(text string) (Authority, error) {
	var a Authority
	ratio, list, ok := strings.Cut(text, ":")
	m, n, of := strings.Cut(ratio, "of")
	count, err := strconv.Atoi(n)
	if !ok || !of || err != nil {
		return a, fmt.Errorf("%.100q is not of the form 2of3:KEY,KEY,KEY", text)
	}
	if a.M, err = strconv.Atoi(m); err != nil {
		return Authority{}, fmt.Errorf("%.100q is not of the form 2of3:KEY,KEY,KEY", text)
	}
	members := strings.Split(list, ",")
	if len(members) != count {
		return Authority{}, fmt.Errorf("%s is said of %d members, %d are named", ratio, count, len(members))
	}
	if a.M < 1 || a.M > count || count > ionet.MaxMembers {
		return Authority{}, fmt.Errorf("%s: want 1 <= m <= n <= %d", ratio, ionet.MaxMembers)
	}
	for _, name := range members {
		if err := a.add(name); err != nil {
			return Authority{}, err
		}
	}
	slices.SortFunc(a.Members, compareKeys)
	return a, nil
}

// add adds one member.
func (a *Authority) add(name string) error {
	if name == operatorMember {
		if a.Operator {
			return fmt.Errorf("member %s is named twice", name)
		}
		a.Operator = true
		return nil
	}
	key, err := ionet.ParseKey(name)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	if err := proofs.CheckKey(key); err != nil {
		return fmt.Errorf("member %s: nobody can sign with it: %w", key, err)
	}
	if slices.Contains(a.Members, key) {
		return fmt.Errorf("member %s is named twice", key)
	}
	a.Members = append(a.Members, key)
	return nil
}

func (a Authority) isZero() bool { return a.M == 0 }

// state is the multisig account, once the operator's key is known.
func (a Authority) state(operator ionet.Key) chain.MultisigState {
	s := chain.MultisigState{M: a.M, Members: slices.Clone(a.Members)}
	if a.Operator {
		s.Members = append(s.Members, operator)
	}
	slices.SortFunc(s.Members, compareKeys)
	return s
}

// authorities are those of a network with the accounts of its multisigs.
type authorities struct {
	ionet.Authorities
	owners    map[string]ionet.Key // of allocations that belong to multisigs, by category
	multisigs []ionet.Multisig
}

// add derives the next multisig.
func (a *authorities) add(say Authority, operator ionet.Key) ionet.Key {
	s := say.state(operator)
	address := chain.MultisigAddress(operator, len(a.multisigs), s)
	a.multisigs = append(a.multisigs, ionet.Multisig{Address: address, M: s.M, Members: s.Members})
	return address
}

// authorities derives the multisigs, in the order mint, reward, fee, categories.
func (d design) authorities(operator, fees ionet.Key) authorities {
	all := authorities{owners: map[string]ionet.Key{}}
	for _, a := range []struct {
		say Authority
		own ionet.Key
		key *ionet.Key
	}{{d.Mint, operator, &all.Mint}, {d.Reward, operator, &all.Reward}, {d.Fee, fees, &all.Fee}} {
		if *a.key = a.own; !a.say.isZero() {
			*a.key = all.add(a.say, operator)
		}
	}
	for _, s := range d.shares {
		if owner := d.Owners[s.Category]; !owner.isZero() {
			all.owners[s.Category] = all.add(owner, operator)
		}
	}
	return all
}

// keyed returns the categories that a key of the folder owns.
func (d design) keyed() (shares []emissions.Share) {
	for _, s := range d.shares {
		if d.Owners[s.Category].isZero() {
			shares = append(shares, s)
		}
	}
	return shares
}

// keyedOf is keyed for a network file.
func keyedOf(n *ionet.Network) ([]emissions.Share, error) {
	all, err := sharesOf(n)
	if err != nil {
		return nil, err
	}
	var shares []emissions.Share
	for i, s := range all {
		if _, ok := n.Multisig(n.Allocation[i].Owner); !ok {
			shares = append(shares, s)
		}
	}
	return shares, nil
}

// ParseOwners reads texts such as "seed=2of3:KEY,KEY,KEY" for Config.Owners.
func ParseOwners(texts []string) (map[string]Authority, error) {
	owners := map[string]Authority{}
	for _, text := range texts {
		category, say, ok := strings.Cut(text, "=")
		if !ok || category == "" {
			return nil, fmt.Errorf("%.100q is not category=authority, such as seed=2of3:KEY,KEY,KEY", text)
		}
		if _, ok := owners[category]; ok {
			return nil, fmt.Errorf("category %s is named twice", category)
		}
		a, err := ParseAuthority(say)
		if err != nil {
			return nil, fmt.Errorf("category %s: %w", category, err)
		}
		owners[category] = a
	}
	return owners, nil
}

// followOwners takes from the network file those of the categories that c says
// nothing of.
func (c *Config) followOwners(n *ionet.Network) {
	all := map[string]Authority{}
	for _, a := range n.Allocation {
		if s, ok := n.Multisig(a.Owner); ok {
			all[a.Category] = Authority{M: s.M, Members: s.Members}
		}
	}
	maps.Copy(all, c.Owners)
	c.Owners = all
}

// checkOwners refuses those of a category that is none.
func (c Config) checkOwners(shares []emissions.Share) error {
	for _, category := range slices.Sorted(maps.Keys(c.Owners)) {
		if !slices.Contains(categories(shares), category) {
			return fmt.Errorf("--allocation-authority %s=...: category is none of %s", category, strings.Join(categories(shares), ", "))
		}
	}
	return nil
}

// authorityText is what ParseAuthority would read, "one key" where it is no
// multisig.
func authorityText(n *ionet.Network, key ionet.Key) string {
	s, ok := n.Multisig(key)
	if !ok {
		return "one key"
	}
	members := make([]string, len(s.Members))
	for i, k := range s.Members {
		members[i] = k.String()
	}
	return fmt.Sprintf("%dof%d:%s", s.M, len(members), strings.Join(members, ","))
}

func compareKeys(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) }
