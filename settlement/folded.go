package settlement

import (
	"fmt"
	"math"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// maxAlike is how many credits of one transaction that differ in their place alone are
// kept as they are. More are one credit over their sum: a stranger can put dozens into a
// transaction, again and again.
const maxAlike = 4

// kindred is what credits of a transaction have in common that are folded.
type kindred struct {
	account, renter, reference ionet.Key
	reason                     string
}

// fold sums up those credits of one transaction to vaults that are alike and many. The
// place of a sum is that of the vault's change as a whole, with a number behind it: which
// ones it is made of is on chain.
func (s *Service) fold(list []credit) []credit {
	sums, counts := map[kindred]uint64{}, map[kindred]int{}
	for _, c := range list {
		k := c.kindred()
		if counts[k]++; sums[k] > math.MaxInt64-min(c.amount, math.MaxInt64) {
			return list // of no mint with such a supply; ours has none
		}
		sums[k] += c.amount
	}
	var out []credit
	sub := 0
	for _, c := range list {
		k := c.kindred()
		n := counts[k]
		if n <= maxAlike || !c.booked || c.place.Outer == whole {
			out = append(out, c)
			continue
		}
		if _, first := sums[k]; !first {
			continue
		}
		sub++
		c.amount, c.source, c.move = sums[k], ionet.Key{}, chain.Move{}
		c.place = chain.Place{Outer: whole, Inner: s.nth(c.account), Sub: sub}
		if c.reason != "" {
			c.reason = fmt.Sprintf("%s, in %d transfers", c.reason, n)
		}
		delete(sums, k)
		out = append(out, c)
	}
	return out
}

func (c *credit) kindred() kindred { return kindred{c.account, c.renter, c.reference, c.reason} }

// nth numbers the vaults in places of credits as a whole: the fee vault is 0.
func (s *Service) nth(vault ionet.Key) int {
	if vault == s.cfg.Network.Vaults.Fee {
		return 0
	}
	return 1
}
