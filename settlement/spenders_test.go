package settlement

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// spender is a renter's wallet with a session key, for tests of fees.
type spender struct {
	b       *books
	name    string
	wallet  ed25519.PrivateKey
	key     ed25519.PrivateKey
	text    proofs.Session
	session proofs.Envelope
	nonce   uint64 // of the next channel
}

// deposit credits a wallet in the books, as a final transfer on chain would.
func (b *books) deposit(wallet ionet.Key, n uint64, id string) {
	b.t.Helper()
	err := b.inTx(context.Background(), func(tx pgx.Tx) error {
		_, err := ledger.Post(context.Background(), tx, ledger.Entry{
			ID: ionet.HashOf([]byte("test deposit " + id)), Kind: "deposit",
			Transfers: []ledger.Transfer{{Debit: ledger.VaultFee(), Credit: ledger.Renter(wallet), Amount: ionet.MustAmount(n)}},
		}, b.now())
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// newSpender makes a renter who prepaid so much and signs a session of that reserve,
// which is not handed in.
func (b *books) newSpender(name string, prepaid, reserve uint64, caps ...proofs.PriceCap) *spender {
	b.t.Helper()
	s := &spender{b: b, name: name, wallet: keyOf("renter " + name), key: keyOf("session " + name)}
	if prepaid > 0 {
		b.deposit(s.renter(), prepaid, name)
	}
	now := b.now().Unix()
	s.text = proofs.Session{Renter: s.renter(), Key: chain.PublicOf(s.key), Reserve: ionet.MustAmount(reserve), Caps: caps, Issued: now, Expires: now + 50_000}
	s.session = s.sign()
	return s
}

func (s *spender) renter() ionet.Key { return chain.PublicOf(s.wallet) }

// sign signs the session as text says.
func (s *spender) sign() proofs.Envelope {
	s.b.t.Helper()
	text, err := s.text.Text(s.b.net.Network.ID())
	return s.b.signText(proofs.KindSession, s.wallet, text, err)
}

// signed signs a body.
func (b *books) signed(kind proofs.Kind, key ed25519.PrivateKey, body []byte, err error) proofs.Envelope {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return proofs.Sign(b.net.Network.ID(), kind, key, body)
}

// testModel is what every host of these tests serves: 3 base units for 2 tokens.
var testModel = proofs.OfferModel{Name: "llama", Unit: proofs.UnitToken, Price: ionet.MustAmount(3), Per: 2}

// offer signs an offer of a host.
func (h *host) offer(sequence uint64, models ...proofs.OfferModel) proofs.Envelope {
	h.b.t.Helper()
	if len(models) == 0 {
		models = []proofs.OfferModel{testModel}
	}
	body, err := proofs.Offer{Sequence: sequence, Expires: h.b.now().Unix() + 40_000, Endpoint: "https://" + fmt.Sprintf("%x", h.key[:4]) + ".example", Capacity: 8, Models: models}.Encode()
	return h.b.signed(proofs.KindOffer, h.key, body, err)
}

// seat is a channel as its two ends know it: who pays, who serves, what is spent.
type seat struct {
	s      *spender
	h      *host
	offer  proofs.Envelope
	text   proofs.ChannelOpen
	opened proofs.Envelope
	spent  uint64
	jobs   uint64
}

// seat opens a channel of a limit to a host; the statement is not handed in.
func (s *spender) seat(h *host, offer proofs.Envelope, limit uint64) *seat {
	s.b.t.Helper()
	c := &seat{s: s, h: h, offer: offer}
	salt := proofs.ChannelSalt(s.b.net.Network.ID(), s.session.ID(), s.nonce)
	s.nonce++
	address, err := proofs.ChannelAddress(s.renter(), h.worker(), s.b.net.Network.Mint, chain.PublicOf(s.key), salt, 7)
	if err != nil {
		s.b.t.Fatal(err)
	}
	c.text = proofs.ChannelOpen{Session: s.session.ID(), Worker: h.worker(), Channel: address, Limit: ionet.MustAmount(limit), Salt: salt, OpenSlot: 7, Expires: s.text.Expires}
	c.opened = c.sign()
	return c
}

// sign signs the opening as text says.
func (c *seat) sign() proofs.Envelope {
	body, err := c.text.Encode()
	return c.s.b.signed(proofs.KindChannelOpen, c.s.key, body, err)
}

// next is the job that continues the channel, with a voucher for just that; change may
// make another of it before the voucher is signed.
func (c *seat) next(units uint64, change ...func(*proofs.Job)) proofs.Job {
	c.s.b.t.Helper()
	fee, err := proofs.Fee(units, testModel.Price, testModel.Per)
	if err != nil {
		c.s.b.t.Fatal(err)
	}
	after := c.spent + fee.Base()
	j := proofs.Job{
		Channel: c.text.Channel, ID: c.jobID(c.jobs), Served: c.s.b.now().Unix(), Offer: c.offer.ID(), Model: testModel.Name, Unit: testModel.Unit, Units: units,
		Price: testModel.Price, Per: testModel.Per, Before: ionet.MustAmount(c.spent), Fee: fee, After: ionet.MustAmount(after),
		Request: ionet.HashOf([]byte("request")), Response: ionet.HashOf([]byte("response")), Cumulative: ionet.MustAmount(after),
	}
	for _, f := range change {
		f(&j)
	}
	j.Voucher = proofs.SignVoucher(c.s.key, j.Channel, j.Cumulative)
	return j
}

// jobID is the id of the n-th job of a channel.
func (c *seat) jobID(n uint64) (id [16]byte) {
	h := ionet.HashOf(c.text.Channel[:], binary.LittleEndian.AppendUint64(nil, n))
	copy(id[:], h[:])
	return id
}

// take moves the channel on by a job that both ends count.
func (c *seat) take(j proofs.Job) proofs.Job {
	c.spent, c.jobs = j.After.Base(), c.jobs+1
	return j
}

// signJob signs a job by the host.
func (c *seat) signJob(j proofs.Job) proofs.Envelope {
	c.s.b.t.Helper()
	body, err := j.Encode()
	return c.s.b.signed(proofs.KindJob, c.h.key, body, err)
}

// serve is the next job as a signed statement.
func (c *seat) serve(units uint64, change ...func(*proofs.Job)) proofs.Envelope {
	return c.signJob(c.take(c.next(units, change...)))
}

// serveBatch is the next n jobs of so many units as one signed statement.
func (c *seat) serveBatch(n int, units uint64) (proofs.Envelope, []proofs.Job) {
	c.s.b.t.Helper()
	id := c.jobID(c.jobs | 1<<63)
	jobs := make([]proofs.Job, n)
	for i := range jobs {
		jobs[i] = c.take(c.next(units))
	}
	last := jobs[n-1]
	batch, err := proofs.BatchOf(id, last.Served, jobs, last.Cumulative, last.Voucher)
	if err != nil {
		c.s.b.t.Fatal(err)
	}
	body, err := batch.Encode()
	return c.s.b.signed(proofs.KindJobBatch, c.h.key, body, err), jobs
}

// openSeat hands in the host's offer, the session where it is not there, and a channel.
func (s *spender) openSeat(h *host, offer proofs.Envelope, limit uint64) *seat {
	s.b.t.Helper()
	c := s.seat(h, offer, limit)
	for _, e := range []proofs.Envelope{offer, s.session, c.opened} {
		if r := s.b.submit(Submitted{Envelope: e})[0]; r.Status == Refused {
			s.b.t.Fatalf("%s is refused: %v", e.Kind, r.Problem)
		}
	}
	return c
}
