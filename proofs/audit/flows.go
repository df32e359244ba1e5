package audit

import (
	"cmp"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// skew is how many seconds the service's clock and the chain's may differ: what the log
// gives somebody counts that much earlier, so that a payment in time is never called
// too early.
const skew = 120

// flows is what wallets were given and what was taken from them, each at a time that is
// favourable to the service: a sum that falls below zero even so is a finding.
type flows map[ionet.Key]*flow

type flow struct {
	moves   []move
	pending []int // moves whose time is not known yet: they are in the log, and not sealed
}

type move struct {
	at       int64
	amount   ionet.Amount
	taken    bool
	unsealed bool
	object   string
	epoch    uint64
}

func (f flows) of(wallet ionet.Key) *flow {
	if f[wallet] == nil {
		f[wallet] = &flow{}
	}
	return f[wallet]
}

// add gives a wallet an amount at a time.
func (f flows) add(wallet ionet.Key, at int64, amount ionet.Amount) {
	w := f.of(wallet)
	w.moves = append(w.moves, move{at: at, amount: amount})
}

// owe is add for amounts that are many: those of one minute are one, as of its beginning.
func (f flows) owe(wallet ionet.Key, at int64, amount ionet.Amount) {
	w := f.of(wallet)
	at -= at % 60
	if n := len(w.moves); n > 0 && !w.moves[n-1].taken && w.moves[n-1].at == at {
		if sum, err := w.moves[n-1].amount.Add(amount); err == nil {
			w.moves[n-1].amount = sum
			return
		}
	}
	w.moves = append(w.moves, move{at: at, amount: amount})
}

// take takes an amount from a wallet at a time.
func (f flows) take(wallet ionet.Key, at int64, amount ionet.Amount, object string, epoch uint64) {
	w := f.of(wallet)
	w.moves = append(w.moves, move{at: at, amount: amount, taken: true, object: object, epoch: epoch})
}

// reserve takes an amount from a wallet at the time of the next seal: until then the
// chain does not say that it was taken.
func (f flows) reserve(wallet ionet.Key, amount ionet.Amount, object string) {
	w := f.of(wallet)
	w.pending = append(w.pending, len(w.moves))
	w.moves = append(w.moves, move{amount: amount, taken: true, unsealed: true, object: object})
}

// seal dates what was reserved since the last seal.
func (f flows) seal(at int64, epoch uint64) {
	for _, w := range f {
		for _, i := range w.pending {
			w.moves[i].at, w.moves[i].epoch, w.moves[i].unsealed = at, epoch, false
		}
		w.pending = nil
	}
}

// walk goes through a wallet's moves in order of time, what is given first, and calls
// short for each that takes more than there is. It returns what is left.
func (w *flow) walk(short func(m move, had ionet.Amount)) (left ionet.Amount, err error) {
	sorted := slices.Clone(w.moves)
	slices.SortStableFunc(sorted, func(a, b move) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(order(a), order(b)))
	})
	for _, m := range sorted {
		switch {
		case m.unsealed:
		case m.taken:
			rest, subErr := left.Sub(m.amount)
			if subErr != nil {
				short(m, left)
				rest = ionet.Amount{}
			}
			left = rest
		default:
			if left, err = left.Add(m.amount); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

func order(m move) int {
	if m.taken {
		return 1
	}
	return 0
}
