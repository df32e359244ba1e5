package localnet

import (
	"github.com/gagliardetto/solana-go"
)

// Account is the state of one account. Lamports 0 means that it does not exist.
type Account struct {
	Lamports   uint64
	Owner      solana.PublicKey
	Data       []byte
	Executable bool
}

// accounts holds every account as of the open slot, and for each write since the
// oldest kept slot what was there before (see DESIGN.md, "Views"). An *Account in it
// is never changed, only replaced: readers keep it after the lock is gone.
type accounts struct {
	now     map[solana.PublicKey]*Account
	owned   map[solana.PublicKey]map[solana.PublicKey]struct{}
	pending map[solana.PublicKey][]preimage
}

// preimage is what an account was before its first write in slot; nil: absent.
type preimage struct {
	slot   uint64
	before *Account
}

func newAccounts() *accounts {
	return &accounts{
		now:     map[solana.PublicKey]*Account{},
		owned:   map[solana.PublicKey]map[solana.PublicKey]struct{}{},
		pending: map[solana.PublicKey][]preimage{},
	}
}

// at returns the account as it was at the end of slot, or nil. slot must not be
// older than the oldest kept one.
func (s *accounts) at(key solana.PublicKey, slot uint64) *Account {
	list := s.pending[key] // ascending
	i := len(list)
	for i > 0 && list[i-1].slot > slot { // most readers come for the newest
		i--
	}
	if i < len(list) {
		return list[i].before
	}
	return s.now[key]
}

// write replaces an account in slot and reports whether this was the account's first
// write in that slot. nil removes it.
func (s *accounts) write(key solana.PublicKey, a *Account, slot uint64) (first bool) {
	p := s.pending[key]
	first = len(p) == 0 || p[len(p)-1].slot != slot
	if first {
		s.pending[key] = append(p, preimage{slot: slot, before: s.now[key]})
	}
	s.put(key, a)
	return first
}

// put replaces an account without a record of what was there.
func (s *accounts) put(key solana.PublicKey, a *Account) {
	if old := s.now[key]; old != nil {
		delete(s.owned[old.Owner], key)
	}
	if a == nil || a.Lamports == 0 {
		delete(s.now, key)
		return
	}
	s.now[key] = a
	set := s.owned[a.Owner]
	if set == nil {
		set = map[solana.PublicKey]struct{}{}
		s.owned[a.Owner] = set
	}
	set[key] = struct{}{}
}

// settle forgets the preimages of keys that are not newer than slot.
func (s *accounts) settle(keys []solana.PublicKey, slot uint64) {
	for _, k := range keys {
		p := s.pending[k]
		n := 0
		for n < len(p) && p[n].slot <= slot {
			n++
		}
		if n == len(p) {
			delete(s.pending, k)
		} else {
			s.pending[k] = p[n:]
		}
	}
}

// undo puts the keys back to what they were at the end of slot and returns that.
func (s *accounts) undo(keys []solana.PublicKey, slot uint64) map[solana.PublicKey]*Account {
	back := map[solana.PublicKey]*Account{}
	for _, k := range keys {
		p := s.pending[k]
		n := len(p)
		for n > 0 && p[n-1].slot > slot {
			n--
		}
		if n == len(p) {
			continue // already put back
		}
		back[k] = p[n].before
		s.put(k, p[n].before)
		if n == 0 {
			delete(s.pending, k)
		} else {
			s.pending[k] = p[:n:n] // a snapshot may hold what follows
		}
	}
	return back
}

// ownedBy returns the accounts of owner at the end of slot.
func (s *accounts) ownedBy(owner solana.PublicKey, slot uint64) map[solana.PublicKey]*Account {
	found := make(map[solana.PublicKey]*Account, len(s.owned[owner]))
	for k := range s.owned[owner] {
		if a := s.at(k, slot); a != nil && a.Owner == owner {
			found[k] = a
		}
	}
	for k := range s.pending { // what left the owner, or was closed, since then
		if a := s.at(k, slot); a != nil && a.Owner == owner {
			found[k] = a
		}
	}
	return found
}
