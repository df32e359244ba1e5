package proofs

import (
	stdlib "crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"

	"github.com/ionet-settlement/ionet"
)

// channelsProgram is the payment-channels program of x402.
var channelsProgram = mustKey("CHNLxYvVA28MJP9PrFuDXccuoGXAx7jBacfLEkahyGsX")

func mustKey(s string) ionet.Key {
	k, err := ionet.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return k
}

// ChannelAddress returns the address of a channel, as the payment-channels program of
// x402's batch settlement derives it:
//
//	address(bump) = H("channel" ‖ renter ‖ worker ‖ mint ‖ session key ‖ salt u64 ‖ open_slot u64 ‖ bump u8 ‖ program ‖ "ProgramDerivedAddress")
//
// with the greatest bump for which that is no point of the curve. FORMAT.md, section 5.
func ChannelAddress(renter, worker, mint, sessionKey ionet.Key, salt, openSlot uint64) (ionet.Key, error) {
	b := make([]byte, 0, 224)
	b = append(b, "channel"...)
	for _, k := range []ionet.Key{renter, worker, mint, sessionKey} {
		b = append(b, k[:]...)
	}
	b = binary.LittleEndian.AppendUint64(b, salt)
	b = binary.LittleEndian.AppendUint64(b, openSlot)
	at := len(b)
	b = append(b, 0)
	b = append(b, channelsProgram[:]...)
	b = append(b, "ProgramDerivedAddress"...)
	for bump := 255; bump >= 0; bump-- {
		b[at] = byte(bump)
		if address := ionet.Key(ionet.HashOf(b)); !onCurve(address) {
			return address, nil
		}
	}
	return ionet.Key{}, errors.New("derive channel: every bump gives a point of the curve")
}

// onCurve reports whether k decodes to a point as Solana decodes it: not canonical y
// and x = -0 are no obstacle.
func onCurve(k ionet.Key) bool {
	y := curve.CompressedEdwardsY(k)
	var p curve.EdwardsPoint
	_, err := p.SetCompressedY(&y)
	return err == nil
}

// ChannelSalt returns the salt that binds a channel to a network:
//
//	LE u64 of the first 8 bytes of H("io/channel/1" ‖ network id ‖ session id ‖ nonce u64)
//
// The nonce is the renter's own count and is not on the wire.
func ChannelSalt(network, session ionet.Hash, nonce uint64) uint64 {
	h := ionet.HashOf([]byte("io/channel/1"), network[:], session[:], binary.LittleEndian.AppendUint64(nil, nonce))
	return binary.LittleEndian.Uint64(h[:8])
}

// SignedVoucher is a voucher without expiry as a job has it: Signature is Key's over the
// 50 bytes. It is comparable.
type SignedVoucher struct {
	Key        ionet.Key // the channel's session key
	Channel    ionet.Key
	Cumulative ionet.Amount
	Signature  [64]byte
}

// SignedVoucher returns the bill's voucher, signed by the key of the channel's session.
func (b Bill) SignedVoucher(sessionKey ionet.Key) SignedVoucher {
	return SignedVoucher{Key: sessionKey, Channel: b.Channel, Cumulative: b.Cumulative, Signature: b.Voucher}
}

// SignVoucher signs a voucher without expiry with the session key.
func SignVoucher(sessionKey stdlib.PrivateKey, channel ionet.Key, cumulative ionet.Amount) (sig [64]byte) {
	copy(sig[:], stdlib.Sign(sessionKey, appendVoucher(nil, channel, cumulative, 0)))
	return sig
}

// VerifyVoucher checks a voucher without expiry by the rule of FORMAT.md, section 3.
func VerifyVoucher(key, channel ionet.Key, cumulative ionet.Amount, sig [64]byte) error {
	v := SignedVoucher{Key: key, Channel: channel, Cumulative: cumulative, Signature: sig}
	var buf [voucherSize]byte
	if !stdlib.Verify(key[:], v.append(buf[:0]), sig[:]) {
		return v.badSignature()
	}
	return nil
}

const voucherSize = 50

func (v *SignedVoucher) append(b []byte) []byte { return appendVoucher(b, v.Channel, v.Cumulative, 0) }

func (v *SignedVoucher) badSignature() error {
	return fmt.Errorf("voucher of %s on channel %s: %w", v.Cumulative, v.Channel, ErrSignature)
}
