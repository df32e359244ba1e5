package worker

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// moment is a sample of an epoch.
type moment struct {
	epoch  uint64
	sample uint16
}

func momentIn(u proofs.Uptime) moment { return moment{u.Epoch, u.Sample} }

// later returns the later of the two.
func (m moment) later(o moment) moment {
	if m.before(o) {
		return o
	}
	return m
}

func (m moment) before(o moment) bool { return m.compare(o) < 0 }

func (m moment) compare(o moment) int {
	return cmp.Or(cmp.Compare(m.epoch, o.epoch), cmp.Compare(m.sample, o.sample))
}

// item is a statement in the spool.
type item struct {
	id      ionet.Hash
	e       proofs.Envelope
	at      moment           // of an uptime statement
	names   [2]ionet.Hash    // delegation and inventory that it names; zeros for none
	ack     *proofs.Envelope // the service's promise
	refused string           // the problem's type, once refused for good

	sent bool // answered by the instance that is running; memory only
}

// state is what the spool's records add up to.
type state struct {
	items    []*item // in the order in which they were signed
	byID     map[ionet.Hash]*item
	readings []proofs.Uptime // without beacon and previous, in order of time
	last     ionet.Hash      // id of the last uptime statement
	read     moment          // last sample that was read; epoch 0: none
	signed   moment          // last sample that this key signed
	sealed   uint64          // statements of epochs up to that one are gone
	life     moment          // this key signed up to there in a life that this spool does not know
}

func newState() state { return state{byID: map[ionet.Hash]*item{}} }

func (s *state) addStatement(e proofs.Envelope) error {
	it := &item{id: e.ID(), e: e}
	if had := s.byID[it.id]; had != nil {
		if e.Kind != proofs.KindUptime { // in force once more
			s.items = append(slices.DeleteFunc(s.items, func(o *item) bool { return o == had }), had)
		}
		return nil
	}
	switch e.Kind {
	case proofs.KindDelegation:
	case proofs.KindInventory:
		v, err := proofs.ParseInventory(e.Body)
		if err != nil {
			return err
		}
		it.names[0] = v.Delegation
	case proofs.KindUptime:
		u, err := proofs.ParseUptime(e.Body)
		if err != nil {
			return err
		}
		it.at, it.names = momentIn(u), [2]ionet.Hash{u.Delegation, u.Inventory}
		s.dropReading(it.at)
		s.read, s.signed = s.read.later(it.at), s.signed.later(it.at)
		s.last = it.id
	default:
		return fmt.Errorf("statement of kind %s in the spool", e.Kind)
	}
	s.items = append(s.items, it)
	s.byID[it.id] = it
	return nil
}

// addAck keeps the first ack of a statement; acks of statements that are gone
// change nothing.
func (s *state) addAck(e proofs.Envelope) error {
	a, err := proofs.ParseAck(e.Body)
	if err != nil {
		return err
	}
	if it := s.byID[a.Statement]; it != nil && it.ack == nil {
		it.ack = &e
	}
	return nil
}

func (s *state) addReading(u proofs.Uptime) {
	s.readings = append(s.readings, u)
	s.read = s.read.later(momentIn(u))
}

func (s *state) dropReading(at moment) { s.dropReadings(func(m moment) bool { return m == at }) }

func (s *state) dropReadings(which func(moment) bool) {
	s.readings = slices.DeleteFunc(s.readings, func(u proofs.Uptime) bool { return which(momentIn(u)) })
}

// newLife drops the readings up to that sample and begins the chain anew.
func (s *state) newLife(upTo moment) {
	s.dropReadings(func(m moment) bool { return !upTo.before(m) })
	s.read, s.signed, s.life = s.read.later(upTo), s.signed.later(upTo), s.life.later(upTo)
	s.last = ionet.Hash{}
}

// goBack drops the readings of samples after now, so that they are read when their
// time comes. A sample that was signed stays signed.
func (s *state) goBack(now moment) {
	s.dropReadings(now.before)
	s.rereadFrom()
}

// rereadFrom sets the last sample that was read from what is left of the readings.
func (s *state) rereadFrom() {
	s.read = s.signed
	for _, u := range s.readings {
		s.read = s.read.later(momentIn(u))
	}
}

// recast puts each reading where place says that it belongs and returns the samples whose
// readings are gone, for place does not know. One that belongs to a sample that is signed
// or read already is dropped; so is one that would be the second inventory of an epoch.
func (s *state) recast(place func(proofs.Uptime) (m moment, ok bool)) (lost []moment, changed bool) {
	var stay, moved []proofs.Uptime
	for _, u := range s.readings {
		m, ok := place(u)
		switch {
		case !ok:
			lost = append(lost, momentIn(u))
		case m == momentIn(u):
			stay = append(stay, u)
		default:
			u.Epoch, u.Sample = m.epoch, m.sample
			moved = append(moved, u)
		}
	}
	if len(stay) == len(s.readings) {
		return nil, false
	}
	s.readings = stay
	for _, u := range moved {
		m := momentIn(u)
		taken := slices.ContainsFunc(s.readings, func(o proofs.Uptime) bool { return momentIn(o) == m })
		switch had, ok := s.inventoryIn(m.epoch); {
		case taken || !s.signed.before(m):
		case ok && had != u.Inventory:
			lost = append(lost, m)
		default:
			s.readings = append(s.readings, u)
		}
	}
	slices.SortFunc(s.readings, func(a, b proofs.Uptime) int { return momentIn(a).compare(momentIn(b)) })
	s.rereadFrom()
	return lost, true
}

// inventoryIn returns the inventory that the statements and readings of an epoch name:
// one epoch goes by one inventory.
func (s *state) inventoryIn(epoch uint64) (inventory ionet.Hash, ok bool) {
	for _, it := range s.items {
		if it.e.Kind == proofs.KindUptime && it.at.epoch == epoch {
			return it.names[1], true
		}
	}
	for _, u := range s.readings {
		if u.Epoch == epoch {
			return u.Inventory, true
		}
	}
	return ionet.Hash{}, false
}

func (s *state) refuse(id ionet.Hash, problem string) {
	if it := s.byID[id]; it != nil {
		it.refused = problem
	}
}

// seal drops the uptime statements and readings of epochs up to that one, and the
// inventories and delegations that nothing names any more, but the last of each.
func (s *state) seal(epoch uint64) {
	s.sealed = max(s.sealed, epoch)
	s.dropReadings(func(m moment) bool { return m.epoch <= epoch })
	named := map[ionet.Hash]bool{}
	for _, kind := range []proofs.Kind{proofs.KindDelegation, proofs.KindInventory} {
		if it := s.latest(kind); it != nil {
			named[it.id], named[it.names[0]] = true, true
		}
	}
	for _, u := range s.readings {
		named[u.Delegation], named[u.Inventory] = true, true
	}
	for _, it := range s.items {
		if it.e.Kind == proofs.KindUptime && it.at.epoch > epoch {
			named[it.id], named[it.names[0]], named[it.names[1]] = true, true, true
		}
	}
	s.items = slices.DeleteFunc(s.items, func(it *item) bool {
		if !named[it.id] {
			delete(s.byID, it.id)
		}
		return !named[it.id]
	})
}

// knows reports whether this spool signed that statement: it holds it, or it was the
// last one.
func (s *state) knows(id ionet.Hash) bool { return s.last == id || s.byID[id] != nil }

// foreign reports whether a statement that this key signed is not this spool's, which knows
// all that it signed for epochs that are not sealed.
func (s *state) foreign(id ionet.Hash, at moment) bool {
	return !id.IsZero() && !s.knows(id) && at.epoch > s.sealed
}

// latest returns the statement of that kind that was signed last, or nil.
func (s *state) latest(kind proofs.Kind) *item {
	for _, it := range slices.Backward(s.items) {
		if it.e.Kind == kind {
			return it
		}
	}
	return nil
}

// uptimes returns the uptime statements of that epoch.
func (s *state) uptimes(epoch uint64) []*item {
	var list []*item
	for _, it := range s.items {
		if it.e.Kind == proofs.KindUptime && it.at.epoch == epoch {
			list = append(list, it)
		}
	}
	return list
}

// oldest returns the lowest epoch with an uptime statement, 0 for none.
func (s *state) oldest() uint64 {
	var epoch uint64
	for _, it := range s.items {
		if it.e.Kind == proofs.KindUptime && (epoch == 0 || it.at.epoch < epoch) {
			epoch = it.at.epoch
		}
	}
	return epoch
}

// records encodes the state anew.
func (s *state) records() []byte {
	b := framed.Append(nil, tagSealed, binary.LittleEndian.AppendUint64(nil, s.sealed))
	b = framed.Append(b, tagNewLife, s.life.encode())
	for _, it := range s.items {
		b = framed.Append(b, tagStatement, it.e.Append(nil))
		if it.ack != nil {
			b = framed.Append(b, tagAck, it.ack.Append(nil))
		}
		if it.refused != "" {
			b = framed.Append(b, tagRefused, it.id[:], []byte(it.refused))
		}
	}
	for _, u := range s.readings {
		body, err := u.Encode()
		if err != nil {
			panic(err) // it was parsed from its encoding
		}
		b = framed.Append(b, tagReading, body)
	}
	// Last, for it overrules what the records before it imply.
	return framed.Append(b, tagChain, s.last[:], s.read.encode(), s.signed.encode())
}
