package meter

import (
	"encoding/hex"
	"net/http"
	"strconv"

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
	offer      ionet.Hash   // zero: any
	most       ionet.Amount // that the job may cost
	signed     [64]byte     // of the request, by the session key
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
	return a, a.parseSigned(h)
}

// parseSigned reads what the session key signed for this request alone.
func (a *ask) parseSigned(h http.Header) (p *client.MeterProblem) {
	for _, name := range []string{proofs.MostHeader, proofs.RequestHeader} {
		if len(h.Values(name)) != 1 {
			return unsigned(name, "the request has not one header "+name)
		}
	}
	most := h.Get(proofs.MostHeader)
	n, err := strconv.ParseUint(most, 10, 64)
	if err == nil {
		a.most, err = ionet.NewAmount(n)
	}
	if err != nil || strconv.FormatUint(n, 10) != most {
		return unsigned(proofs.MostHeader, proofs.MostHeader+" is not a number of base units")
	}
	if a.signed, err = proofs.ParseRequestSignature(h.Get(proofs.RequestHeader)); err != nil {
		return unsigned(proofs.RequestHeader, proofs.RequestHeader+": "+err.Error())
	}
	return nil
}

func unsigned(name, detail string) *client.MeterProblem {
	p := problem(http.StatusUnauthorized, client.RequestSignature, detail)
	p.Field = name
	return p
}

// verifyRequest checks that the channel's session key asked for this job: the voucher by
// itself is public.
func (m *Meter) verifyRequest(a *ask, path string, body []byte) *client.MeterProblem {
	m.journal.mu.Lock()
	ch := m.journal.book.channels[a.channel]
	if ch == nil {
		m.journal.mu.Unlock()
		return unknownChannel(a.channel)
	}
	key := ch.session.Key
	m.journal.mu.Unlock()
	request := proofs.RequestHash(a.salt, path, body)
	if err := proofs.VerifyRequest(m.cfg.Network.ID(), key, a.channel, a.job, request, a.most, a.signed); err != nil {
		return unsigned(proofs.RequestHeader, err.Error())
	}
	return nil
}

func unknownChannel(key ionet.Key) *client.MeterProblem {
	p := problem(http.StatusPaymentRequired, client.UnknownChannel, "hand session, opening and ack of channel "+key.String()+" in at /ionet/v1/channels")
	p.Channel = &key
	return p
}

// verifyVoucher checks the voucher's signature by the channel's session key. One that is
// the channel's greatest was checked when it came.
func (m *Meter) verifyVoucher(a *ask) *client.MeterProblem {
	m.journal.mu.Lock()
	ch := m.journal.book.channels[a.channel]
	if ch == nil {
		m.journal.mu.Unlock()
		return unknownChannel(a.channel)
	}
	if p := m.spentVoucher(ch, a); p != nil {
		m.journal.mu.Unlock()
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

// spentVoucher refuses what is sure not to be served, before its body is read: a voucher
// that covers nothing more. One of a job that runs or was served may come again.
func (m *Meter) spentVoucher(ch *channel, a *ask) *client.MeterProblem {
	_, served := ch.byID[a.job]
	if served || ch.running[a.job] != nil || a.cumulative.Cmp(ch.spent) > 0 {
		return nil
	}
	in, _ := m.inForce(m.now())
	if in == nil {
		return noOffer()
	}
	least, err := ch.spent.Add(ch.reserved)
	if err == nil {
		least, err = least.Add(ionet.MustAmount(1))
	}
	if err != nil {
		return field(client.VoucherHeader, "the channel can't be spent further")
	}
	return ch.payment(least, in, "the voucher covers "+a.cumulative.String()+", and the channel spent "+ch.spent.String())
}
