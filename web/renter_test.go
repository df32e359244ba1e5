package web

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// payIn has a wallet deposit tokens on the chain and waits until the books have them.
func (h *house) payIn(api *client.Client, wallet ed25519.PrivateKey, amount uint64) {
	h.t.Helper()
	ctx := h.t.Context()
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	check(h.t, err)
	owner := h.keys.Allocation["community"]
	check(h.t, cluster.Airdrop(ctx, chain.PublicOf(owner), 1_000_000_000))
	r, err := api.RequestDeposit(ctx, chain.PublicOf(wallet))
	check(h.t, err)
	hash, err := cluster.LatestBlockhash(ctx)
	check(h.t, err)
	message, err := chain.Deposit{
		Wallet: chain.PublicOf(owner), Mint: h.network.Mint, Decimals: uint8(h.network.Decimals), To: h.network.Vaults.Fee, Amount: ionet.MustAmount(amount),
		References: []ionet.Key{r.Reference, r.Wallet}, Blockhash: hash.Hash, Budget: chain.Budget{ComputeUnits: 60_000, LoadedBytes: 512 << 10},
	}.Message()
	check(h.t, err)
	tx, _, err := chain.SignMessage(message, owner)
	check(h.t, err)
	h.settles(func() bool { // the lamports may not be confirmed yet
		err = cluster.Send(ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot})
		return err == nil
	})
	h.settles(func() bool {
		v, err := api.Renter(ctx, r.Wallet)
		check(h.t, err)
		return v.Balance == ionet.MustAmount(amount)
	})
}

// settles makes passes until something is so.
func (h *house) settles(so func() bool) {
	h.t.Helper()
	for range 2000 {
		if so() {
			return
		}
		check(h.t, h.service.Settle(h.t.Context()))
		time.Sleep(5 * time.Millisecond)
	}
	h.t.Fatal("it does not come about")
}

// submit hands in one statement, which must be taken.
func (h *house) submit(api *client.Client, e proofs.Envelope) proofs.Envelope {
	h.t.Helper()
	results, err := api.Submit(h.t.Context(), []client.Presented{{Statement: e}})
	check(h.t, err)
	if results[0].Status == client.Refused {
		h.t.Fatalf("%s: %v", e.Kind, results[0].Problem)
	}
	ack, _, err := proofs.ParseEnvelope(results[0].Ack)
	check(h.t, err)
	return ack
}

// encoded signs a body by name.
func encoded(h *house, kind proofs.Kind, by string, body []byte, err error) proofs.Envelope {
	h.t.Helper()
	check(h.t, err)
	return h.sign(kind, by, body)
}

// TestRenterPays is a renter's way by the API alone: money in, session, channel, jobs,
// receipts with their proofs, a dispute, and the close.
func TestRenterPays(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	api, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	h.ready(api)
	wallet, key, host := chain.PublicOf(keyOf("renter")), chain.PublicOf(keyOf("session")), chain.PublicOf(keyOf("host"))
	h.payIn(api, keyOf("renter"), 1_000_000)
	h.accept(h.inventory("host", h.accept(h.delegation(h.network.ID(), "ann", "host")), 1))
	now := time.Now().Unix()

	text, err := api.SessionText(ctx, client.SessionAsk{Renter: wallet, Key: key, Reserve: ionet.MustAmount(600_000), Caps: []client.PriceCap{{Model: "llama", Price: ionet.MustAmount(5), Per: 1}}})
	check(t, err)
	session := encoded(h, proofs.KindSession, "renter", []byte(text.Text), nil)
	h.submit(api, session)
	s, err := api.Session(ctx, session.ID())
	check(t, err)
	if s.State != client.StateOpen || s.Free != s.Reserve || s.Reserve != text.Reserve || len(s.Caps) != 1 || len(s.Channels) != 0 || string(s.Statement) != string(session.Append(nil)) {
		t.Errorf("session %+v", s)
	}
	o, err := proofs.Offer{Sequence: 1, Expires: now + 3600, Endpoint: "https://host.example", Capacity: 2, Models: []proofs.OfferModel{{Name: "llama", Unit: proofs.UnitToken, Price: ionet.MustAmount(3), Per: 1}}}.Encode()
	offer := encoded(h, proofs.KindOffer, "host", o, err)
	h.submit(api, offer)
	list, err := api.Offers(ctx, "llama", 10)
	check(t, err)
	if len(list) != 1 || list[0].Offer != offer.ID() || list[0].Worker != host || list[0].Unit != "token" || list[0].Price != ionet.MustAmount(3) || string(list[0].Statement) != string(offer.Append(nil)) {
		t.Errorf("offers %+v", list)
	}
	if list, err = api.Offers(ctx, "other", 0); err != nil || len(list) != 0 {
		t.Errorf("offers of another model %+v, %v", list, err)
	}

	salt := proofs.ChannelSalt(h.network.ID(), session.ID(), 0)
	channel, err := proofs.ChannelAddress(wallet, host, h.network.Mint, key, salt, 1)
	check(t, err)
	opening, err := proofs.ChannelOpen{Session: session.ID(), Worker: host, Channel: channel, Limit: ionet.MustAmount(500_000), Salt: salt, OpenSlot: 1, Expires: text.Expires}.Encode()
	opened := encoded(h, proofs.KindChannelOpen, "session", opening, err)
	h.submit(api, opened)

	job := proofs.Job{
		Channel: channel, ID: [16]byte{7}, Served: now, Model: "llama", Unit: proofs.UnitToken, Units: 100, Price: ionet.MustAmount(3), Per: 1,
		Offer: offer.ID(), Fee: ionet.MustAmount(300), After: ionet.MustAmount(300), Request: ionet.Hash{1}, Response: ionet.Hash{2}, Cumulative: ionet.MustAmount(900),
	}
	job.Voucher = proofs.SignVoucher(keyOf("session"), channel, job.Cumulative)
	body, err := job.Encode()
	first := encoded(h, proofs.KindJob, "host", body, err)
	ack := h.submit(api, first)
	c, err := api.Channel(ctx, channel)
	check(t, err)
	if c.Spent != job.After || c.Jobs != 1 || c.State != client.StateOpen || c.Worker != host || c.Payee != chain.PublicOf(keyOf("ann")) || c.Open != opened.ID() {
		t.Errorf("channel %+v", c)
	}
	h.checkReceipt(api, session.ID(), first, ack)

	renter, err := api.Renter(ctx, wallet)
	check(t, err)
	if renter.Balance != ionet.MustAmount(400_000) || renter.Reserved != ionet.MustAmount(599_700) || len(renter.Sessions) != 1 || renter.Sessions[0].Spent != job.Fee || len(renter.Deposits) != 1 {
		t.Errorf("renter %+v", renter)
	}
	if of, err := api.SessionsOf(ctx, key); err != nil || len(of) != 1 || of[0].ID != session.ID() {
		t.Errorf("sessions of the key: %+v, %v", of, err)
	}
	second := job
	second.ID, second.Before, second.After = [16]byte{8}, job.After, ionet.MustAmount(600)
	body, err = second.Encode()
	h.submit(api, encoded(h, proofs.KindJob, "host", body, err))
	for _, reader := range []string{"renter", "session"} {
		var jobs []proofs.Bill
		for page, err := range api.Receipts(ctx, client.ReceiptsAsk{Renter: wallet, Reader: keyOf(reader), Limit: 1}) {
			check(t, err)
			for _, r := range page.Receipts {
				jobs = append(jobs, billOf(t, r.Record))
			}
		}
		if !slices.EqualFunc(jobs, []proofs.Job{job, second}, func(b proofs.Bill, j proofs.Job) bool { return b == j.Bill() }) {
			t.Errorf("receipts read by %s: %+v", reader, jobs)
		}
	}
	if p, err := api.Provider(ctx, chain.PublicOf(keyOf("ann"))); err != nil || p.FeesOwed != second.After {
		t.Errorf("provider %+v, %v", p, err)
	}
	h.dispute(api, first, job)
}

func billOf(t *testing.T, record []byte) proofs.Bill {
	t.Helper()
	r, err := proofs.ParseRecord(record)
	check(t, err)
	e, ok := r.Statement()
	if !ok {
		t.Fatalf("record %d has no statement", r.Index)
	}
	b, err := proofs.ParseBill(e.Kind, e.Body)
	check(t, err)
	return b
}

// checkReceipt asks for a receipt by both ids until it is published, and verifies it.
func (h *house) checkReceipt(api *client.Client, session ionet.Hash, job, ack proofs.Envelope) {
	h.t.Helper()
	ctx := h.t.Context()
	var r client.Receipt
	h.settles(func() bool {
		err := h.service.PublishLog(ctx)
		check(h.t, err)
		r, err = api.Receipt(ctx, job.ID().String())
		check(h.t, err)
		return r.State != client.ReceiptLogged
	})
	b := billOf(h.t, r.Record)
	same, err := api.Receipt(ctx, client.ID(b.ID).String())
	if err != nil || same.Index != r.Index || string(same.Record) != string(r.Record) || string(r.Ack) != string(ack.Append(nil)) {
		h.t.Errorf("receipt by the job's id %+v, by the statement's %+v, %v", same, r, err)
	}
	check(h.t, proofs.CheckInclusion(r.Published.Proof, r.Published.Root, r.Published.Size, r.Index, proofs.LeafHash(r.Record)))
	note, err := proofs.OpenCheckpoint(h.network.ID(), h.network.Keys.Service, []byte(r.Published.Note))
	if err != nil || note.Size != r.Published.Size || note.Root != r.Published.Root {
		h.t.Errorf("checkpoint %+v, %v; receipt %+v", note, err, r.Published)
	}
	log, err := api.Log(ctx)
	check(h.t, err)
	file, err := api.File(ctx, "log/checkpoint")
	check(h.t, err)
	if log.Published == nil || string(file) != log.Published.Note || log.Fees != b.Fee || log.Jobs != 1 {
		h.t.Errorf("log %+v, checkpoint %s", log, file)
	}
	proof, err := api.Inclusion(ctx, r.Index, r.Published.Size)
	check(h.t, err)
	check(h.t, proofs.CheckInclusion(proof, r.Published.Root, r.Published.Size, r.Index, proofs.LeafHash(r.Record)))
	smaller, err := api.Inclusion(ctx, 0, 1)
	if err != nil || len(smaller) != 0 {
		h.t.Errorf("proof in a log of one record: %v, %v", smaller, err)
	}
	proof, err = api.Consistency(ctx, 1, r.Published.Size)
	check(h.t, err)
	first, err := api.Receipt(ctx, session.String())
	check(h.t, err)
	if first.Index != 0 {
		h.t.Fatalf("the session is record %d", first.Index)
	}
	check(h.t, proofs.CheckConsistency(proof, proofs.LeafHash(first.Record), 1, r.Published.Root, r.Published.Size))
	h.checkSealed(api, job, log)
}

// checkSealed has the log sealed on chain and verifies a receipt by that alone.
func (h *house) checkSealed(api *client.Client, job proofs.Envelope, log client.Log) {
	h.t.Helper()
	ctx := h.t.Context()
	check(h.t, h.service.SealReceipts(ctx, settlement.Checkpoint{Size: log.Size, Root: log.Root, Fees: log.Fees}))
	var r client.Receipt
	h.settles(func() bool {
		var err error
		r, err = api.Receipt(ctx, job.ID().String())
		check(h.t, err)
		return r.State == client.ReceiptSealed
	})
	check(h.t, proofs.CheckInclusion(r.Sealed.Proof, r.Sealed.Root, r.Sealed.Size, r.Index, proofs.LeafHash(r.Record)))
	memo, err := proofs.ParseMemo(r.Sealed.Memo)
	check(h.t, err)
	if m, ok := memo.(proofs.SealMemo); !ok || m.Size != r.Sealed.Size || m.Root != r.Sealed.Root || m.Fees != log.Fees || r.Sealed.Signature == "" || r.Sealed.Slot == 0 {
		h.t.Errorf("seal %+v, memo %+v", r.Sealed, memo)
	}
	if log, err = api.Log(ctx); err != nil || log.Sealed == nil || *log.Sealed != r.Sealed.LogSeal {
		h.t.Errorf("log %+v, %v", log, err)
	}
}

// dispute hands in another statement of a job that was paid.
func (h *house) dispute(api *client.Client, paid proofs.Envelope, job proofs.Job) {
	h.t.Helper()
	ctx := h.t.Context()
	job.Response = ionet.Hash{9}
	body, err := job.Encode()
	other := encoded(h, proofs.KindJob, "host", body, err)
	text, err := proofs.Dispute{Renter: chain.PublicOf(keyOf("renter")), Job: paid.ID(), Response: other.ID(), Issued: time.Now().Unix()}.Text(h.network.ID())
	d := encoded(h, proofs.KindDispute, "renter", []byte(text), err)
	taken, err := api.SubmitDispute(ctx, d, other)
	check(h.t, err)
	if taken.ID != d.ID() || taken.State != client.DisputeContradiction || taken.Worker != chain.PublicOf(keyOf("host")) || taken.Job != paid.ID() {
		h.t.Errorf("dispute %+v", taken)
	}
	if again, err := api.Dispute(ctx, d.ID()); err != nil || again.ID != taken.ID || again.File != taken.File {
		h.t.Errorf("asked again: %+v, %v", again, err)
	}
	file, err := api.File(ctx, taken.File)
	check(h.t, err)
	evidence, err := proofs.ParseEvidence(file)
	if err == nil {
		_, err = evidence.Check(h.network.ID())
	}
	if err != nil || evidence.Response.ID() != other.ID() {
		h.t.Errorf("evidence: %v", err)
	}
	if _, err := api.SubmitDispute(ctx, d, paid); err == nil {
		h.t.Error("a dispute with another response than it names was taken")
	}
	if _, err := api.AnswerDispute(ctx, d.ID(), client.DisputeAnswer{Leaf: []byte{1}, Path: []ionet.Hash{}}); err != nil {
		h.t.Errorf("an answer to what is no longer open: %v", err)
	}
}
