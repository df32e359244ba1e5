package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// newFees makes a network with one host, and an offer of it.
func newFees(t testing.TB) (*books, *host, proofs.Envelope) {
	t.Helper()
	b := newBooks(t)
	h := b.newHost("host", "gpu 0", "gpu 1")
	b.register(h)
	return b, h, h.offer(1)
}

// records returns the log as the database has it.
func (b *books) records() []proofs.Record {
	b.t.Helper()
	var list []proofs.Record
	stored, err := readRecords(b.t.Context(), b.pool, 0, uint64(b.count(`SELECT size FROM log_head`)))
	if err != nil {
		b.t.Fatal(err)
	}
	for i, record := range stored {
		r, err := proofs.ParseRecord(record)
		if err != nil || r.Index != uint64(i) {
			b.t.Fatalf("record %d has index %d: %v", i, r.Index, err)
		}
		list = append(list, r)
	}
	return list
}

// balance is what the ledger's account has.
func (b *books) balance(a ledger.Account) uint64 {
	b.t.Helper()
	n, err := ledger.Balance(b.t.Context(), b.pool, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return n.Base()
}

// tags are the tags of the log's records.
func (b *books) tags() (tags []proofs.Tag) {
	for _, r := range b.records() {
		tags = append(tags, r.Entry.Tag())
	}
	return tags
}

// checkBooks holds the trial balance and the head against the records.
func (b *books) checkBooks() {
	b.t.Helper()
	if err := ledger.TrialBalance(b.t.Context(), b.pool); err != nil {
		b.t.Error(err)
	}
	var f proofs.Frontier
	var fees, jobs uint64
	for _, r := range b.records() {
		record, err := r.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		f.Append(record)
		if r, ok := r.Entry.(proofs.Receipt); ok {
			fees, jobs = r.TotalFees.Base(), r.TotalJobs
		}
	}
	h, err := readLogHead(b.t.Context(), b.pool)
	if err != nil || h.Size != f.Size() || h.Root != f.Root() || h.Fees.Base() != fees || h.jobs != jobs {
		b.t.Errorf("head is %+v (%v), the records make size %d, root %s, fees %d, jobs %d", h, err, f.Size(), f.Root(), fees, jobs)
	}
}

func TestFeesFromSessionToReceipt(t *testing.T) {
	b, h, offer := newFees(t)
	s := b.newSpender("alice", 10_000, 6_000)
	c := s.seat(h, offer, 1_000)
	first, second := c.serve(10), c.serve(4)

	results := b.accept(offer, s.session, c.opened, first, second)
	wallet, channel := s.renter(), c.text.Channel
	if got, want := b.tags(), []proofs.Tag{proofs.TagSession, proofs.TagChannel, proofs.TagOffer, proofs.TagReceipt, proofs.TagReceipt}; !equal(got, want) {
		t.Errorf("records are %v, want %v", got, want)
	}
	for account, want := range map[ledger.Account]uint64{
		ledger.Renter(wallet): 4_000, ledger.Session(s.session.ID()): 5_000, ledger.Channel(channel): 1_000 - 21, ledger.OwedFees(h.payout): 21, ledger.NetworkFees(): 0,
	} {
		if got := b.balance(account); got != want {
			t.Errorf("%s has %d, want %d", account, got, want)
		}
	}
	b.checkBooks()

	again := b.submit(plain(second, first, c.opened, s.session, offer)...)
	for i, r := range again {
		if former := results[len(results)-1-i]; r.Status != Duplicate || string(r.Ack.Body) == "" || b.checkAck([]proofs.Envelope{second, first, c.opened, s.session, offer}[i], r) != b.checkAck([]proofs.Envelope{second, first, c.opened, s.session, offer}[i], former) {
			t.Errorf("statement %d again is %s: %v", i, r.Status, r.Problem)
		}
	}
	if got := b.count(`SELECT size FROM log_head`); got != 5 {
		t.Errorf("the log has %d records after the same statements, want 5", got)
	}
	b.checkBooks()
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

var _ = ionet.Key{}
