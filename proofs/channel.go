package proofs

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// ChannelOpen opens a session key's channel to one worker. That Channel is the
// address which the other fields derive is for its reader to check.
type ChannelOpen struct {
	Session  ionet.Hash // id of the session statement
	Worker   ionet.Key
	Channel  ionet.Key
	Limit    ionet.Amount
	Salt     uint64
	OpenSlot uint64
	Expires  int64
}

// Encode returns the body of a channel opening.
func (c ChannelOpen) Encode() ([]byte, error) {
	var w writer
	w.raw(c.Session[:])
	w.raw(c.Worker[:])
	w.raw(c.Channel[:])
	w.money(c.Limit)
	w.u64(c.Salt)
	w.u64(c.OpenSlot)
	w.i64(c.Expires)
	return w.b, nil
}

// ParseChannelOpen parses the body of a channel opening.
func ParseChannelOpen(body []byte) (ChannelOpen, error) {
	r := reader{b: body}
	c := ChannelOpen{
		Session: r.b32(), Worker: r.b32(), Channel: r.b32(), Limit: r.money(), Salt: r.u64(), OpenSlot: r.u64(), Expires: r.i64(),
	}
	return c, r.end("channel-open")
}

// ChannelClose ends a channel at what was spent.
type ChannelClose struct {
	Channel    ionet.Key
	Cumulative ionet.Amount
}

// Encode returns the body of a channel closing.
func (c ChannelClose) Encode() ([]byte, error) {
	var w writer
	w.raw(c.Channel[:])
	w.money(c.Cumulative)
	return w.b, nil
}

// ParseChannelClose parses the body of a channel closing.
func ParseChannelClose(body []byte) (ChannelClose, error) {
	r := reader{b: body}
	c := ChannelClose{Channel: r.b32(), Cumulative: r.money()}
	return c, r.end("channel-close")
}

// SessionClose ends a session and all its channels. Its signer is the session's key.
type SessionClose struct {
	Session ionet.Hash // id of the session statement
}

// Encode returns the body of a session closing.
func (c SessionClose) Encode() ([]byte, error) { return c.Session[:], nil }

// ParseSessionClose parses the body of a session closing.
func ParseSessionClose(body []byte) (SessionClose, error) {
	r := reader{b: body}
	c := SessionClose{Session: r.b32()}
	return c, r.end("session-close")
}

// Voucher is the 50 bytes of x402 batch settlement on Solana: all that the
// channel's payer ever promised its worker.
type Voucher struct {
	Channel    ionet.Key
	Cumulative ionet.Amount
	Expiry     int64 // 0: none
}

// voucherMagic and voucherVersion are the first two bytes of a voucher.
const (
	voucherMagic   = 0x56
	voucherVersion = 0x01
)

// Encode returns the voucher's 50 bytes.
func (v Voucher) Encode() ([]byte, error) {
	if v.Expiry < 0 {
		return nil, fmt.Errorf("encode voucher: %w", errExpiry)
	}
	w := writer{b: []byte{voucherMagic, voucherVersion}}
	w.raw(v.Channel[:])
	w.money(v.Cumulative)
	w.i64(v.Expiry)
	return w.b, nil
}

var errExpiry = errors.New("expiry is before 1970")

// ParseVoucher parses a voucher's 50 bytes.
func ParseVoucher(body []byte) (Voucher, error) {
	r := reader{b: body}
	if magic, version := r.u8(), r.u8(); r.err == nil && (magic != voucherMagic || version != voucherVersion) {
		r.fail(fmt.Errorf("it begins with %02x%02x, not %02x%02x", magic, version, voucherMagic, voucherVersion))
	}
	v := Voucher{Channel: r.b32(), Cumulative: r.money(), Expiry: r.i64()}
	return ended(&r, "voucher", v, func() error {
		if v.Expiry < 0 {
			return errExpiry
		}
		return nil
	})
}
