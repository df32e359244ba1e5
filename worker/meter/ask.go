package meter

import (
	"encoding/hex"
	"net/http"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// ask is what a request's headers say.
type ask struct {
	channel    ionet.Key
	cumulative ionet.Amount
	signature  [64]byte
	job        [16]byte
	salt       [32]byte
	offer      ionet.Hash // zero: any
}

// parseAsk reads the headers of a request. Each must be there once: of two one can't be
// told from the other.
func parseAsk(h http.Header) (*ask, *client.MeterProblem) {
	for _, name := range []string{client.VoucherHeader, client.JobHeader, client.SaltHeader, client.OfferHeader} {
		if n := len(h.Values(name)); n > 1 || n == 0 && name != client.OfferHeader {
			return nil, field(name, "the request has not one header "+name)
		}
	}
	v, signature, err := client.ParseVoucherHeader(h.Get(client.VoucherHeader))
	if err != nil {
		return nil, field(client.VoucherHeader, err.Error())
	}
	if v.Expiry != 0 {
		return nil, field(client.VoucherHeader, "the voucher has an expiry: only one without is sure to be paid")
	}
	a := &ask{channel: v.Channel, cumulative: v.Cumulative, signature: signature}
	job, err := hex.DecodeString(h.Get(client.JobHeader))
	if err != nil || len(job) != len(a.job) {
		return nil, field(client.JobHeader, client.JobHeader+" is not 32 hexadecimal digits")
	}
	copy(a.job[:], job)
	if a.salt, err = client.ParseSalt(h.Get(client.SaltHeader)); err != nil {
		return nil, field(client.SaltHeader, err.Error())
	}
	if s := h.Get(client.OfferHeader); s != "" {
		if a.offer, err = ionet.ParseHash(s); err != nil {
			return nil, field(client.OfferHeader, client.OfferHeader+" is not 64 hexadecimal digits")
		}
	}
	return a, nil
}

// verifyVoucher checks the voucher's signature by the channel's session key. One that is
// the channel's greatest was checked when it came.
func (m *Meter) verifyVoucher(a *ask) *client.MeterProblem {
	m.journal.mu.Lock()
	ch := m.journal.book.channels[a.channel]
	if ch == nil {
		m.journal.mu.Unlock()
		p := problem(http.StatusPaymentRequired, client.UnknownChannel, "hand session, opening and ack of channel "+a.channel.String()+" in at /ionet/v1/channels")
		p.Channel = &a.channel
		return p
	}
	key, known := ch.session.Key, !ch.covered.IsZero() && ch.covered == a.cumulative && ch.voucher == a.signature
	m.journal.mu.Unlock()
	if known {
		return nil
	}
	if err := proofs.VerifyVoucher(key, a.channel, a.cumulative, a.signature); err != nil {
		p := problem(http.StatusForbidden, client.WrongVoucher, err.Error())
		p.Field = client.VoucherHeader
		return p
	}
	return nil
}
