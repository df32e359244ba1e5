package settlement

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// authority is who signs for a source of tokens: key, or m of members for the
// multisig at it.
type authority struct {
	key     ionet.Key
	members []ionet.Key
	m       int // 0: key signs itself
}

// authorityOf returns who signs for what leaves a vault, an allocation account or
// the mint.
func (s *Service) authorityOf(source ionet.Key) (authority, bool) {
	key, ok := s.cfg.Network.AuthorityOf(source)
	a := authority{key: key}
	if sig, multisig := s.cfg.Network.Multisig(key); ok && multisig {
		a.members, a.m = sig.Members, sig.M
	}
	return a, ok
}

// cosigners remembers which members of multisigs were chosen last, and which did not
// sign. It decides whom to ask, nothing else: any m of the members sign the same content.
type cosigners struct {
	mu     sync.Mutex
	until  map[ionet.Key]time.Time   // those that did not sign rest until then
	well   map[memberKind]bool       // those that signed when they were last asked
	chosen map[ionet.Key][]ionet.Key // by multisig
}

// memberKind is a member, asked for transactions of a kind: it may refuse one and sign
// another.
type memberKind struct {
	member ionet.Key
	kind   chain.Kind
}

// cosignerRest is for how long a member that did not sign is asked only where the
// others do not suffice.
const cosignerRest = time.Minute

// note notes whether the member signed that was asked for one of the kind.
func (c *cosigners) note(member ionet.Key, kind chain.Kind, signed bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil {
		c.until, c.well = map[ionet.Key]time.Time{}, map[memberKind]bool{}
	}
	c.well[memberKind{member, kind}] = signed
	delete(c.until, member)
	if !signed {
		c.until[member] = now.Add(cosignerRest)
	}
}

// isWell reports whether the member signed when it was last asked for one of the kind.
func (c *cosigners) isWell(member ionet.Key, kind chain.Kind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.well[memberKind{member, kind}]
}

// rests reports whether the member did not sign a while ago.
func (c *cosigners) rests(member ionet.Key, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until[member])
}

// choose takes m of the members that have a signer: the one named first, then
// those that were chosen last, so that one that was away is not asked again as long as
// the others sign; last those that did not sign a moment ago, by turns: any of them may
// be back.
func (c *cosigners) choose(multisig ionet.Key, members []ionet.Key, m int, first ionet.Key, now time.Time) []ionet.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	rank := func(k ionet.Key) int {
		switch {
		case now.Before(c.until[k]):
			return 3
		case k == first:
			return 0
		case slices.Contains(c.chosen[multisig], k):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(members, func(x, y ionet.Key) int { return cmp.Or(cmp.Compare(rank(x), rank(y)), c.until[x].Compare(c.until[y])) })
	members = members[:m]
	slices.SortFunc(members, func(x, y ionet.Key) int { return slices.Compare(x[:], y[:]) })
	if c.chosen == nil {
		c.chosen = map[ionet.Key][]ionet.Key{}
	}
	c.chosen[multisig] = members
	return slices.Clone(members)
}

// errTooFewCosigners reports a multisig whose members can't be asked.
var errTooFewCosigners = errors.New("too few co-signers")

// authorize says in p who signs for the source of its movements, or for a mint to
// retire.
func (s *Service) authorize(p *chain.Plan, source ionet.Key) error {
	a, ok := s.authorityOf(source)
	if !ok {
		return fmt.Errorf("%s is no account of this network to move tokens from", source)
	}
	p.Owners, p.Cosigners = map[ionet.Key]ionet.Key{source: a.key}, nil
	if a.m == 0 {
		return nil
	}
	list, err := s.chooseCosigners(a, p.FeePayer)
	if err != nil {
		return err
	}
	p.Cosigners = map[ionet.Key][]ionet.Key{a.key: list}
	return nil
}

// chooseCosigners picks the m members that sign: those that are not known to be
// away, the operator first, whose signature the transaction has anyway. A claim's
// fee payer is its wallet, which co-signs nothing.
func (s *Service) chooseCosigners(a authority, feePayer ionet.Key) ([]ionet.Key, error) {
	operator := s.cfg.Network.Keys.Operator
	var list []ionet.Key
	for _, k := range a.members {
		if s.holds(k) && (k != feePayer || k == operator) {
			list = append(list, k)
		}
	}
	if len(list) < a.m {
		return nil, fmt.Errorf("%w: %d of %d members of multisig %s are needed, signers of %d are there", errTooFewCosigners, a.m, len(a.members), a.key, len(list))
	}
	return s.cosigners.choose(a.key, list, a.m, operator, s.now()), nil
}

// canCosign reports whether those who are to co-sign the transaction are not known
// to be away: one that nobody has signed is then better built anew.
func (s *Service) canCosign(tx []byte) bool {
	d, err := chain.Decode(tx)
	if err != nil {
		return false
	}
	for _, list := range d.Plan.Cosigners {
		for _, k := range list {
			if !s.holds(k) || s.cosigners.rests(k, s.now()) {
				return false
			}
		}
	}
	return true
}

// maxPayees is the most payees of one payout or batch of fees: 57 where the operator pays
// them, one less for an owner of the vault's own, for a multisig and for each of its
// signers that is not the operator.
func maxPayees(n *ionet.Network, kind chain.Kind) int {
	authority := n.Authorities.Reward
	if kind == chain.KindFees {
		authority = n.Authorities.Fee
	}
	longest := fmt.Sprintf("io1 %s batch=%032x count=57 sum=%d", kind, 0, math.MaxInt64)
	s, ok := n.Multisig(authority)
	if !ok {
		return chain.MaxPayees(kind, 1, longest, 0)
	}
	m := s.M
	if slices.Contains(s.Members, n.Keys.Operator) {
		m = max(1, m-1)
	}
	return chain.MaxPayees(kind, 1, longest, m)
}
