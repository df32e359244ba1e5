package proofs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// Beacon is a finalized block: nobody knew its hash before its time.
type Beacon struct {
	Slot uint64
	Hash ionet.Key // blockhash
	Time int64     // block time, Unix seconds
}

// Binding says that a device belongs to a worker.
type Binding struct {
	UUID   ionet.UUID
	Worker ionet.Key
	Since  uint64 // first epoch in which the device was accepted from the worker
	Last   uint64 // last such epoch
}

// Statement is an accepted statement with its arrival.
type Statement struct {
	Arrival  Arrival
	Envelope Envelope
}

// Inputs is everything that an epoch is judged by; FORMAT.md, section 6.
type Inputs struct {
	Network    ionet.Hash
	Epoch      uint64
	Policy     []byte // exact bytes of the policy file
	Beacons    []Beacon
	Bindings   []Binding
	Statements []Statement
}

// Tags of input records.
const (
	tagHeader = iota
	tagPolicy
	tagBeacon
	tagBinding
	tagStatement
)

// Has reports whether a statement of that kind and id is among the inputs.
func (in *Inputs) Has(kind Kind, id ionet.Hash) bool {
	for i := range in.Statements {
		if e := &in.Statements[i].Envelope; e.Kind == kind && e.ID() == id {
			return true
		}
	}
	return false
}

// place is a statement's place in the canonical order.
type place struct {
	kind   Kind
	signer ionet.Key
	epoch  uint64
	sample uint16
	id     ionet.Hash
}

func placeOf(e *Envelope) (place, error) {
	p := place{kind: e.Kind, signer: e.Signer, id: e.ID()}
	if e.Kind == KindUptime {
		u, err := ParseUptime(e.Body)
		if err != nil {
			return p, err
		}
		p.epoch, p.sample = u.Epoch, u.Sample
	}
	if e.Kind == KindPrice {
		o, err := ParsePrice(e.Body)
		if err != nil {
			return p, err
		}
		p.epoch = o.Epoch
	}
	return p, nil
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), bytes.Compare(a.signer[:], b.signer[:]), cmp.Compare(a.epoch, b.epoch),
		cmp.Compare(a.sample, b.sample), bytes.Compare(a.id[:], b.id[:]))
}

// Sort puts the inputs into canonical order. It fails on a statement whose body
// does not parse.
func (in *Inputs) Sort() error {
	type placed struct {
		place place
		s     Statement
	}
	list := make([]placed, len(in.Statements))
	for i := range in.Statements {
		p, err := placeOf(&in.Statements[i].Envelope)
		if err != nil {
			return fmt.Errorf("sort inputs: statement %s: %w", p.id, err)
		}
		list[i] = placed{p, in.Statements[i]}
	}
	slices.SortFunc(list, func(a, b placed) int { return comparePlaces(a.place, b.place) })
	for i := range list {
		in.Statements[i] = list[i].s
	}
	slices.SortFunc(in.Beacons, func(a, b Beacon) int { return cmp.Compare(a.Slot, b.Slot) })
	slices.SortFunc(in.Bindings, func(a, b Binding) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	return nil
}

// Records returns the input records in order; their Merkle root is the inputs
// root. The inputs must be sorted.
func (in *Inputs) Records() [][]byte {
	records := make([][]byte, 0, 2+len(in.Beacons)+len(in.Bindings)+len(in.Statements))
	add := func(tag uint8, fill func(w *writer)) {
		w := writer{b: []byte{tag}}
		fill(&w)
		records = append(records, w.b)
	}
	policy := ionet.HashOf(in.Policy)
	add(tagHeader, func(w *writer) { w.raw(in.Network[:]); w.u64(in.Epoch); w.raw(policy[:]) })
	add(tagPolicy, func(w *writer) { w.vec(in.Policy) })
	for _, b := range in.Beacons {
		add(tagBeacon, func(w *writer) { w.u64(b.Slot); w.raw(b.Hash[:]); w.i64(b.Time) })
	}
	for _, b := range in.Bindings {
		add(tagBinding, func(w *writer) { w.raw(b.UUID[:]); w.raw(b.Worker[:]); w.u64(b.Since); w.u64(b.Last) })
	}
	for i := range in.Statements {
		s := &in.Statements[i]
		add(tagStatement, func(w *writer) { w.u64(s.Arrival.Epoch); w.u16(s.Arrival.Sample); w.b = s.Envelope.Append(w.b) })
	}
	return records
}

// Root returns the inputs root.
func (in *Inputs) Root() ionet.Hash { return Root(in.Records()) }

// ParseInputs parses input records. It refuses any order but the canonical
// one, repeated records, and a policy that is not the header's.
func ParseInputs(records [][]byte) (*Inputs, error) {
	in := &Inputs{}
	var policy ionet.Hash
	var last place
	tag := -1
	for i, rec := range records {
		if len(rec) == 0 {
			return nil, fmt.Errorf("parse inputs: record %d is empty", i)
		}
		if int(rec[0]) < tag || tag < 0 && rec[0] != tagHeader || i < 2 && int(rec[0]) != i || i >= 2 && rec[0] < tagBeacon {
			return nil, fmt.Errorf("parse inputs: record %d with tag %d is out of order", i, rec[0])
		}
		tag = int(rec[0])
		r := reader{b: rec[1:]}
		switch tag {
		case tagHeader:
			in.Network, in.Epoch, policy = r.b32(), r.u64(), r.b32()
		case tagPolicy:
			in.Policy = r.vec()
		case tagBeacon:
			in.addBeacon(&r)
		case tagBinding:
			in.addBinding(&r)
		case tagStatement:
			in.addStatement(&r, &last)
		default:
			return nil, fmt.Errorf("parse inputs: record %d has unknown tag %d", i, tag)
		}
		if err := r.end(fmt.Sprintf("inputs: record %d", i)); err != nil {
			return nil, err
		}
	}
	switch {
	case len(records) < 2:
		return nil, errors.New("parse inputs: header or policy is missing")
	case ionet.HashOf(in.Policy) != policy:
		return nil, errors.New("parse inputs: the policy is not the one that the header names")
	case in.Epoch == 0:
		return nil, errors.New("parse inputs: epoch is 0")
	}
	return in, nil
}

func (in *Inputs) addBeacon(r *reader) {
	b := Beacon{Slot: r.u64(), Hash: r.b32(), Time: r.i64()}
	if n := len(in.Beacons); n > 0 && in.Beacons[n-1].Slot >= b.Slot {
		r.fail(fmt.Errorf("beacon of slot %d does not ascend", b.Slot))
	}
	in.Beacons = append(in.Beacons, b)
}

func (in *Inputs) addBinding(r *reader) {
	b := Binding{UUID: r.b16(), Worker: r.b32(), Since: r.u64(), Last: r.u64()}
	if n := len(in.Bindings); n > 0 && bytes.Compare(in.Bindings[n-1].UUID[:], b.UUID[:]) >= 0 {
		r.fail(fmt.Errorf("binding of %s does not ascend", b.UUID))
	}
	if b.Since == 0 || b.Since > b.Last || b.Last >= in.Epoch {
		r.fail(fmt.Errorf("binding of %s from epoch %d to %d can't be in force when epoch %d begins", b.UUID, b.Since, b.Last, in.Epoch))
	}
	in.Bindings = append(in.Bindings, b)
}

func (in *Inputs) addStatement(r *reader, last *place) {
	s := Statement{Arrival: Arrival{Epoch: r.u64(), Sample: r.u16()}}
	if r.err != nil {
		return
	}
	e, rest, err := ParseEnvelope(r.b)
	if err != nil {
		r.fail(err)
		return
	}
	s.Envelope, r.b = e, rest
	at, err := placeOf(&e)
	if err != nil {
		r.fail(err)
		return
	}
	if len(in.Statements) > 0 && comparePlaces(*last, at) >= 0 {
		r.fail(fmt.Errorf("statement %s does not ascend", at.id))
	}
	*last = at
	in.Statements = append(in.Statements, s)
}
