package proofs

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Compact is a record in a memo: what is needed to find it and to add up fees.
type Compact struct {
	Index uint64
	ID    ionet.Hash   // statement id; H of the record where there is no statement
	Fee   ionet.Amount // of a receipt, else 0
	After ionet.Amount // after of a receipt, reserve of a session, limit of a channel, else 0
}

// CompactSize is the size of an encoded Compact in bytes.
const CompactSize = 8 + 32 + 8 + 8

// Append appends the compact form's bytes to b.
func (c Compact) Append(b []byte) []byte {
	w := writer{b: b}
	w.u64(c.Index)
	w.raw(c.ID[:])
	w.money(c.Fee)
	w.money(c.After)
	return w.b
}

// ParseCompact parses exactly one compact form.
func ParseCompact(b []byte) (Compact, error) {
	r := reader{b: b}
	c := Compact{Index: r.u64(), ID: r.b32(), Fee: r.money(), After: r.money()}
	return ended(&r, "compact receipt", c, func() error {
		if c.Index > maxIndex {
			return fmt.Errorf("index is %d, more than %d", c.Index, uint64(maxIndex))
		}
		return nil
	})
}

// CompactOf returns the compact form of a record's bytes.
func CompactOf(network ionet.Hash, record []byte) (Compact, error) {
	r, err := ParseRecord(record)
	if err != nil {
		return Compact{}, err
	}
	c := Compact{Index: r.Index, ID: ionet.HashOf(record)}
	e, ok := r.Statement()
	if !ok {
		return c, nil
	}
	c.ID = e.ID()
	switch r.Entry.Tag() {
	case TagReceipt:
		var b Bill
		b, err = ParseBill(e.Kind, e.Body)
		c.Fee, c.After = b.Fee, b.After
	case TagSession:
		var s Session
		s, err = ParseSession(network, e.Signer, e.Body)
		c.After = s.Reserve
	case TagChannel:
		var o ChannelOpen
		o, err = ParseChannelOpen(e.Body)
		c.After = o.Limit
	}
	if err != nil {
		return Compact{}, fmt.Errorf("compact record %d: %w", r.Index, err)
	}
	return c, nil
}
