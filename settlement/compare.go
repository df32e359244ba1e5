package settlement

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// Bounds on comparing endpoints.
const (
	compareEvery = 10 * time.Second
	longestWait  = time.Minute // for our own reads to come to the slot of an answer
	maxSights    = 512         // passes remembered
	maxStrikes   = 2           // shortfalls in a row of one endpoint that stop us
)

// comparer holds what every endpoint says of the vaults against the books: reads prefer
// one endpoint, and that one could hide a theft. Others lag, or are ahead, so each is
// compared with the books of passes at about its own slot. Guarded by Service.pass.
type comparer struct {
	sights  []sight
	asked   time.Time
	waiting []rpc.View        // not compared yet: they are ahead of our own reads
	strikes map[string]strike // by endpoint
}

// sight is what the books said of the vaults at the slot of a pass.
type sight struct {
	slot   uint64
	booked []ionet.Amount // in the order of Service.vaults
}

// strike is what an endpoint shows amiss, of which vault.
type strike struct {
	n     int
	vault int // index in Service.vaults
	why   string
}

// compareVaults asks every endpoint now and then what the vaults hold. Where one shows,
// twice in a row, that tokens are missing or that others could take some, and the one
// that we read from does not, one of them is wrong: nothing is signed until they agree.
// A halt for good takes the word of all of them.
func (s *Service) compareVaults(ctx context.Context, list []vaultStanding, slot uint64) error {
	c := &s.comparer
	if slices.ContainsFunc(list, func(st vaultStanding) bool { return st.irregular != "" || !st.missing().IsZero() }) {
		c.waiting, c.strikes = nil, nil // it is told already
		return nil
	}
	c.note(list, slot)
	if err := s.askViews(ctx, list); err != nil {
		return err
	}
	waiting := c.waiting
	c.waiting = nil
	for _, v := range waiting {
		if v.Slot > slot {
			c.waiting = append(c.waiting, v)
			continue
		}
		c.judge(v.Endpoint, s.amiss(list, v))
	}
	for _, st := range c.strikes {
		if st.n >= maxStrikes {
			list[st.vault].behind = st.why
			s.view.reset()
			return fmt.Errorf("compare endpoints: %s: nothing is signed until they agree: if one of them lies leave it out (--rpc)", st.why)
		}
	}
	return nil
}

// askViews asks every endpoint where it is time: at once after something was amiss, not
// while answers wait for our own reads to come to their slots.
func (s *Service) askViews(ctx context.Context, list []vaultStanding) error {
	c, now := &s.comparer, s.now()
	if len(c.waiting) > 0 && now.Before(c.asked.Add(longestWait)) || len(c.strikes) == 0 && now.Before(c.asked.Add(compareEvery)) {
		return nil
	}
	c.asked = now // also where one hangs: not every pass can wait for it
	views, err := s.cfg.Chain.Everywhere(ctx, addressesOf(list))
	if err != nil {
		s.log.Debug("endpoints are not compared", "error", err)
		return ctx.Err()
	}
	c.waiting = views
	for i, v := range views {
		if i == 0 || v.Slot < s.top.slot {
			s.top = topSlot{v.Slot, now}
		}
	}
	return nil
}

// note remembers what the books say at the slot of a pass.
func (c *comparer) note(list []vaultStanding, slot uint64) {
	booked := make([]ionet.Amount, len(list))
	for i := range list {
		booked[i] = list[i].booked
	}
	if n := len(c.sights); n > 0 && c.sights[n-1].slot >= slot {
		c.sights[n-1].booked = booked
		return
	}
	if len(c.sights) == maxSights {
		c.sights = append(c.sights[:0], c.sights[1:]...)
	}
	c.sights = append(c.sights, sight{slot, booked})
}

// least returns the least that the books say of a vault around a slot; ok is false where
// the passes of then are forgotten.
func (c *comparer) least(vault int, slot uint64) (least ionet.Amount, ok bool) {
	for _, g := range c.sights {
		switch {
		case g.slot <= slot:
			least, ok = g.booked[vault], true
		case ok && g.booked[vault].Cmp(least) < 0:
			return g.booked[vault], true
		default:
			return least, ok
		}
	}
	return least, ok
}

// amiss says what is wrong with the vaults by one endpoint; n is zero where nothing is.
func (s *Service) amiss(list []vaultStanding, v rpc.View) strike {
	for i := range list {
		st := &list[i]
		there := s.vaultStateOf(st.vault, v.Accounts[i])
		if there.irregular != "" {
			return strike{1, i, fmt.Sprintf("%s says of the %s %s at slot %d: %s", v.Endpoint, st.name, st.address, v.Slot, there.irregular)}
		}
		if least, ok := s.comparer.least(i, v.Slot); ok && there.amount.Cmp(least) < 0 {
			return strike{1, i, fmt.Sprintf("%s says that the %s %s holds %s base units at slot %d, the ledger says %s, and another endpoint no less", v.Endpoint, st.name, st.address, there.amount, v.Slot, least)}
		}
	}
	return strike{}
}

// judge counts what an endpoint shows amiss.
func (c *comparer) judge(endpoint string, st strike) {
	if st.n == 0 {
		delete(c.strikes, endpoint)
		return
	}
	if c.strikes == nil {
		c.strikes = map[string]strike{}
	}
	st.n += c.strikes[endpoint].n
	c.strikes[endpoint] = st
}

// agreeOnVaults asks every endpoint for what a person is about to book, for good. It
// returns the lowest slot at which all of them say what list does.
func (s *Service) agreeOnVaults(ctx context.Context, list []vaultStanding, slot uint64) (uint64, error) {
	views, err := s.cfg.Chain.Everywhere(ctx, addressesOf(list))
	if err != nil {
		return 0, fmt.Errorf("compare endpoints: %w", err)
	}
	for _, v := range views {
		for i := range list {
			st := &list[i]
			if st.amount == st.booked && st.irregular == "" {
				continue // nothing of it is booked, so what a stranger sends to it meanwhile is no matter
			}
			there := s.vaultStateOf(st.vault, v.Accounts[i])
			if there != st.vaultState {
				return 0, fmt.Errorf("compare endpoints: %s says that the %s holds %s base units at slot %d (%s), another one said %s at slot %d (%s)",
					v.Endpoint, st.name, there.amount, v.Slot, there.irregular, st.amount, slot, st.irregular)
			}
		}
		slot = min(slot, v.Slot)
	}
	return slot, nil
}

func addressesOf(list []vaultStanding) []ionet.Key {
	keys := make([]ionet.Key, len(list))
	for i := range list {
		keys[i] = list[i].address
	}
	return keys
}
