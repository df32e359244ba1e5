package audit

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// feesPolicy divides fees: a twentieth is the network's.
const feesPolicy = testPolicy + `[fees]
network_basis_points = 500
grace_seconds = 10
`

// feeDesk does by hand what the service does about fees, and where a test says so, what
// the service never would.
type feeDesk struct {
	o         *operator
	points    uint16
	records   [][]byte // the log
	accepted  int64    // of the last record
	fees      ionet.Amount
	jobs      uint64
	edge      proofs.Edge // of what is published
	sealed    ionet.Hash  // H of the last seal's memo
	payments  byte
	sequence  uint64 // of offers
	delegates map[int]proofs.Envelope
}

func (o *operator) desk() *feeDesk {
	return &feeDesk{o: o, points: 500, delegates: map[int]proofs.Envelope{}}
}

// log appends a record, which is accepted at the chain's time; change makes another of it.
func (d *feeDesk) log(e proofs.Entry, change ...func(*proofs.Record)) {
	d.o.t.Helper()
	d.accepted = max(d.accepted, unixTime.Load())
	r := proofs.Record{Index: uint64(len(d.records)), Accepted: d.accepted, Entry: e}
	for _, f := range change {
		f(&r)
	}
	b, err := r.Encode()
	if err != nil {
		d.o.t.Fatal(err)
	}
	d.records = append(d.records, b)
}

func (d *feeDesk) sign(kind proofs.Kind, key ed25519.PrivateKey, body []byte, err error) proofs.Envelope {
	d.o.t.Helper()
	if err != nil {
		d.o.t.Fatal(err)
	}
	return proofs.Sign(d.o.n.ID(), kind, key, body)
}

// lease is a renter's session.
type lease struct {
	d         *feeDesk
	wallet    ed25519.PrivateKey
	key       ed25519.PrivateKey
	text      proofs.Session
	statement proofs.Envelope
	nonce     uint64
}

// session opens a session of a renter, with a reserve.
func (d *feeDesk) session(wallet ed25519.PrivateKey, name string, reserve uint64, change ...func(*proofs.Session)) *lease {
	d.o.t.Helper()
	l := &lease{d: d, wallet: wallet, key: testKey("session " + name)}
	now := unixTime.Load()
	l.text = proofs.Session{Renter: chain.PublicOf(wallet), Key: chain.PublicOf(l.key), Reserve: ionet.MustAmount(reserve), Issued: now - 1, Expires: now + 5000}
	for _, f := range change {
		f(&l.text)
	}
	text, err := l.text.Text(d.o.n.ID())
	l.statement = d.sign(proofs.KindSession, wallet, []byte(text), err)
	d.log(proofs.SessionEntry{Statement: l.statement})
	return l
}

// served is what every host of these tests serves: 3 base units for 2 tokens.
var served = proofs.OfferModel{Name: "llama", Unit: proofs.UnitToken, Price: ionet.MustAmount(3), Per: 2}

// offer is one of host i, which is logged.
func (d *feeDesk) offer(i int) proofs.Envelope {
	d.o.t.Helper()
	d.sequence++
	body, err := proofs.Offer{
		Sequence: d.sequence, Expires: unixTime.Load() + 4000, Endpoint: "https://host.example", Capacity: 8, Models: []proofs.OfferModel{served},
	}.Encode()
	e := d.sign(proofs.KindOffer, d.o.hosts[i].worker, body, err)
	d.log(proofs.OfferEntry{Statement: e})
	return e
}

// seat is a channel as its two ends know it.
type seat struct {
	l     *lease
	host  int
	offer proofs.Envelope
	text  proofs.ChannelOpen
	payee ionet.Key
	spent uint64
	jobs  uint64
}

// channel opens a channel of a session to host i.
func (l *lease) channel(i int, offer proofs.Envelope, limit uint64, change ...func(*proofs.ChannelEntry, *proofs.ChannelOpen)) *seat {
	l.d.o.t.Helper()
	c := &seat{l: l, host: i, offer: offer, payee: key(l.d.o, i)}
	worker := chain.PublicOf(l.d.o.hosts[i].worker)
	salt := proofs.ChannelSalt(l.d.o.n.ID(), l.statement.ID(), l.nonce)
	l.nonce++
	address, err := proofs.ChannelAddress(l.text.Renter, worker, l.d.o.n.Mint, l.text.Key, salt, 7)
	if err != nil {
		l.d.o.t.Fatal(err)
	}
	c.text = proofs.ChannelOpen{
		Session: l.statement.ID(), Worker: worker, Channel: address, Limit: ionet.MustAmount(limit), Salt: salt, OpenSlot: 7, Expires: l.text.Expires,
	}
	c.open(change...)
	return c
}

// open logs the opening as text says, or a top-up.
func (c *seat) open(change ...func(*proofs.ChannelEntry, *proofs.ChannelOpen)) {
	d := c.l.d
	d.o.t.Helper()
	e := proofs.ChannelEntry{Delegation: d.o.hosts[c.host].delegation.Envelope}
	for _, f := range change {
		f(&e, &c.text)
	}
	body, err := c.text.Encode()
	e.Statement = d.sign(proofs.KindChannelOpen, c.l.key, body, err)
	d.log(e)
}

// next is the job that continues the channel.
func (c *seat) next(units uint64, change ...func(*proofs.Job)) proofs.Job {
	c.l.d.o.t.Helper()
	fee, err := proofs.Fee(units, served.Price, served.Per)
	if err != nil {
		c.l.d.o.t.Fatal(err)
	}
	id := ionet.HashOf(c.text.Channel[:], binary.LittleEndian.AppendUint64(nil, c.jobs))
	j := proofs.Job{
		Channel: c.text.Channel, ID: [16]byte(id[:16]), Served: unixTime.Load(), Offer: c.offer.ID(), Model: served.Name, Unit: served.Unit, Units: units,
		Price: served.Price, Per: served.Per, Before: ionet.MustAmount(c.spent), Fee: fee, After: ionet.MustAmount(c.spent + fee.Base()),
		Request: ionet.HashOf([]byte("request")), Response: ionet.HashOf([]byte("response")), Cumulative: ionet.MustAmount(c.spent + fee.Base()),
	}
	for _, f := range change {
		f(&j)
	}
	j.Voucher = proofs.SignVoucher(c.l.key, j.Channel, j.Cumulative)
	c.spent, c.jobs = j.After.Base(), c.jobs+1
	return j
}

// job is the next job as its worker signs it.
func (c *seat) job(units uint64, change ...func(*proofs.Job)) proofs.Envelope {
	c.l.d.o.t.Helper()
	body, err := c.next(units, change...).Encode()
	return c.l.d.sign(proofs.KindJob, c.l.d.o.hosts[c.host].worker, body, err)
}

// batch is the next n jobs as one statement.
func (c *seat) batch(n int, units uint64) proofs.Envelope {
	c.l.d.o.t.Helper()
	jobs := make([]proofs.Job, n)
	for i := range jobs {
		jobs[i] = c.next(units)
	}
	last := jobs[n-1]
	b, err := proofs.BatchOf(last.ID, last.Served, jobs, last.Cumulative, last.Voucher)
	if err != nil {
		c.l.d.o.t.Fatal(err)
	}
	body, err := b.Encode()
	return c.l.d.sign(proofs.KindJobBatch, c.l.d.o.hosts[c.host].worker, body, err)
}

// serve logs the receipt of the channel's next job.
func (c *seat) serve(units uint64, change ...func(*proofs.Job)) {
	c.l.d.o.t.Helper()
	c.l.d.receipt(c, c.job(units, change...))
}

// receipt logs the receipt of a job or a batch.
func (d *feeDesk) receipt(c *seat, e proofs.Envelope, change ...func(*proofs.Receipt)) {
	d.o.t.Helper()
	b, err := proofs.ParseBill(e.Kind, e.Body)
	if err != nil {
		d.o.t.Fatal(err)
	}
	r, err := proofs.NewReceipt(e, b, c.l.text.Renter, c.payee, d.points, d.fees, d.jobs)
	if err != nil {
		d.o.t.Fatal(err)
	}
	for _, f := range change {
		f(&r)
	}
	d.fees, d.jobs = r.TotalFees, r.TotalJobs
	d.log(r)
}

// close asks for a channel's end; closeAll for that of a session.
func (c *seat) close() {
	d := c.l.d
	d.o.t.Helper()
	body, err := proofs.ChannelClose{Channel: c.text.Channel, Cumulative: ionet.MustAmount(c.spent)}.Encode()
	d.log(proofs.CloseEntry{Statement: d.sign(proofs.KindChannelClose, c.l.key, body, err)})
}

func (l *lease) closeAll() {
	l.d.o.t.Helper()
	body, err := proofs.SessionClose{Session: l.statement.ID()}.Encode()
	l.d.log(proofs.CloseEntry{Statement: l.d.sign(proofs.KindSessionClose, l.key, body, err)})
}

// over ends a channel; overAll a session of which so much is left.
func (c *seat) over(change ...func(*proofs.ChannelOver)) {
	e := proofs.ChannelOver{Channel: c.text.Channel, Spent: ionet.MustAmount(c.spent), Returned: ionet.MustAmount(c.text.Limit.Base() - c.spent)}
	for _, f := range change {
		f(&e)
	}
	c.l.d.log(e)
}

func (l *lease) overAll(left uint64) {
	l.d.log(proofs.SessionOver{Session: l.statement.ID(), Returned: ionet.MustAmount(left)})
}

// root is that of the log's first n records.
func (d *feeDesk) root(n uint64) ionet.Hash {
	var f proofs.Frontier
	f.Append(d.records[:n]...)
	return f.Root()
}

// publish puts what is logged into the store, bundles, tiles and checkpoint.
func (d *feeDesk) publish() {
	d.o.t.Helper()
	from, size := d.edge.Size(), uint64(len(d.records))
	var leaves []ionet.Hash
	for _, r := range d.records[from:] {
		leaves = append(leaves, proofs.LeafHash(r))
	}
	for _, t := range d.edge.Grow(leaves) {
		d.put(publish.TileName(t), t.Data)
	}
	for first := from - from%proofs.TileWidth; first < size; first += proofs.TileWidth {
		part := d.records[first:min(first+proofs.TileWidth, size)]
		var bundle []byte
		for _, r := range part {
			var err error
			if bundle, err = proofs.AppendEntry(bundle, r); err != nil {
				d.o.t.Fatal(err)
			}
		}
		d.put(publish.EntriesName(first/proofs.TileWidth, len(part)), bundle)
	}
	note, err := proofs.SignCheckpoint(d.o.n.ID(), d.o.p.Keys.Service, proofs.LogCheckpoint{Size: size, Root: d.root(size)})
	if err != nil {
		d.o.t.Fatal(err)
	}
	if err := d.o.store.Replace(d.o.ctx, publish.CheckpointName, note); err != nil {
		d.o.t.Fatal(err)
	}
}

func (d *feeDesk) put(name string, data []byte) {
	d.o.t.Helper()
	if err := d.o.store.Put(d.o.ctx, name, data); err != nil && !errors.Is(err, publish.ErrConflict) {
		d.o.t.Fatal(err)
	}
}

// seal seals the log as it is.
func (d *feeDesk) seal(change ...func(*proofs.SealMemo)) {
	d.o.t.Helper()
	m := proofs.SealMemo{Size: uint64(len(d.records)), Root: d.root(uint64(len(d.records))), Fees: d.fees, Prev: d.sealed}
	for _, f := range change {
		f(&m)
	}
	d.sealed = ionet.HashOf([]byte(m.String()))
	d.step(chain.KindSeal, m.String())
}

// inline carries records in a memo.
func (d *feeDesk) inline(first, n int, change ...func([]proofs.Compact)) {
	d.o.t.Helper()
	var list []proofs.Compact
	for _, r := range d.records[first : first+n] {
		c, err := proofs.CompactOf(d.o.n.ID(), r)
		if err != nil {
			d.o.t.Fatal(err)
		}
		list = append(list, c)
	}
	for _, f := range change {
		f(list)
	}
	m, err := proofs.NewReceiptsMemo(list)
	if err != nil {
		d.o.t.Fatal(err)
	}
	d.step(chain.KindReceipts, m.String())
}

func (d *feeDesk) step(kind chain.Kind, memo string) {
	d.o.t.Helper()
	d.o.waitFinal()
	d.o.step("seal", chain.Plan{Kind: kind, Version: 1, FeePayer: d.o.n.Keys.Operator, Memo: memo}, nil, d.o.p.Keys.Operator)
	d.o.waitFinal()
}

// pay pays fees to wallets.
func (d *feeDesk) pay(amounts map[ionet.Key]uint64, change ...func(*proofs.FeesMemo)) {
	d.o.t.Helper()
	d.payments++
	plan := chain.Plan{Kind: chain.KindFees, Version: 1, FeePayer: d.o.n.Keys.Operator, Owners: map[ionet.Key]ionet.Key{d.o.n.Vaults.Fee: d.o.n.Keys.Fees}}
	m := proofs.FeesMemo{Batch: [16]byte{d.payments}}
	for payee, amount := range amounts {
		plan.Movements = append(plan.Movements, chain.Movement{
			Op: chain.Transfer, Source: d.o.n.Vaults.Fee, Destination: chain.TokenAccount(payee, d.o.n.Mint), Amount: ionet.MustAmount(amount),
		})
		m.Count, m.Sum = m.Count+1, ionet.MustAmount(m.Sum.Base()+amount)
	}
	for _, f := range change {
		f(&m)
	}
	plan.Memo = m.String()
	d.o.waitFinal()
	d.o.step("pay-0", plan, nil, d.o.p.Keys.Operator, d.o.p.Keys.Fees)
	d.o.waitFinal()
}
