package settlement

import (
	"errors"

	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
)

// feeTables are the tables of fees as text, but for arrivals, which no record tells, and
// for entries of the ledger, which follow how records were batched.
var feeTables = map[string]string{
	"log_head":    `SELECT t::text FROM log_head t`,
	"log_entries": `SELECT index, tag, encode(key, 'hex'), channel, encode(record, 'hex') FROM log_entries ORDER BY index`,
	"sessions":    `SELECT id, renter, key, reserve, issued, expires, envelope, state, closing_at, index FROM sessions ORDER BY id`,
	"channels": `SELECT number, channel, session, worker, renter, key, provider, payee, open, envelope, limit_, spent, jobs, expires, state, closing_at, index
		FROM channels ORDER BY number`,
	"offers": `SELECT id, worker, ordinal, expires, endpoint, capacity, envelope, logged FROM offers WHERE logged IS NOT NULL ORDER BY id`,
	"models": `SELECT t.* FROM offer_models t JOIN offers o ON o.id = t.offer WHERE o.logged IS NOT NULL ORDER BY offer, name, unit`,
	"ledger": `SELECT account, balance FROM ledger_balances WHERE balance <> 0 ORDER BY account`,
}

// feeState returns all tables of fees, by name.
func (b *books) feeState() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for name, sql := range feeTables {
		var text string
		err := b.pool.QueryRow(b.t.Context(), `SELECT coalesce(string_agg(r::text, E'\n'), '') FROM (`+sql+`) r`).Scan(&text)
		if err != nil {
			b.t.Fatalf("%s: %v", name, err)
		}
		out[name] = text
	}
	return out
}

func (b *books) sameFees(want map[string]string) {
	b.t.Helper()
	for name, got := range b.feeState() {
		if got != want[name] {
			b.t.Errorf("%s is\n%s\nwant\n%s", name, got, want[name])
		}
	}
}

// encodedRecords are the log's records as they are stored.
func (b *books) encodedRecords() [][]byte {
	b.t.Helper()
	list, err := readRecords(b.t.Context(), b.pool, 0, uint64(b.count(`SELECT size FROM log_head`)))
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// liveFees lets two renters spend at two hosts, with all that a log may hold.
func (b *books) liveFees() {
	b.t.Helper()
	h, g := b.newHost("one", "gpu 0", "gpu 1"), b.newHost("two", "gpu 2")
	b.register(h, g)
	oh, og := h.offer(1), g.offer(1)
	a, z := b.newSpender("alice", 10_000, 6_000), b.newSpender("zoe", 5_000, 5_000)
	ah, ag, zh := a.openSeat(h, oh, 1_000), a.openSeat(g, og, 2_000), z.openSeat(h, oh, 3_000)
	for i := range 5 {
		b.accept(ah.serve(uint64(10+i)), ag.serve(7))
		batch, _ := zh.serveBatch(3, 9)
		b.accept(batch)
	}
	ah.text.Limit = ionet.MustAmount(1_500)
	b.accept(ah.sign(), b.closeOf(ag), ah.serve(500))
	b.goTo(b.now().Unix() + 86_400) // the grace of one channel is over
	if err := b.endFees(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.accept(b.closeSession(z))
	b.goTo(b.now().Unix() + 86_400)
	if err := b.endFees(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// closeOf signs a close of the channel.
func (b *books) closeOf(c *seat) proofs.Envelope {
	body, err := proofs.ChannelClose{Channel: c.text.Channel, Cumulative: ionet.MustAmount(c.spent)}.Encode()
	return b.signed(proofs.KindChannelClose, c.s.key, body, err)
}

// closeSession signs a close of the whole session.
func (b *books) closeSession(s *spender) proofs.Envelope {
	body, err := proofs.SessionClose{Session: s.session.ID()}.Encode()
	return b.signed(proofs.KindSessionClose, s.key, body, err)
}

func TestRebuildFromRecords(t *testing.T) {
	b := newBooks(t)
	b.liveFees()
	b.checkBooks()
	seen := map[proofs.Tag]int{}
	for _, tag := range b.tags() {
		seen[tag]++
	}
	if len(seen) != 7 || seen[proofs.TagReceipt] != 16 {
		t.Fatalf("the log has records %v, want all seven tags and 16 receipts", seen)
	}
	want, records := b.feeState(), b.encodedRecords()
	for name, cuts := range map[string][]int{"at once": nil, "one by one": ones(len(records)), "in parts": {3, 4, 11}} {
		t.Run(name, func(t *testing.T) {
			o := b.on(pgtest.NewURL(t))
			o.t = t
			for _, who := range []struct {
				name string
				n    uint64
			}{{"alice", 10_000}, {"zoe", 5_000}} {
				o.deposit(publicOf("renter "+who.name), who.n, who.name)
			}
			rest := records
			for _, n := range cuts {
				if err := o.importRecords(t.Context(), rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := o.importRecords(t.Context(), rest); err != nil {
				t.Fatal(err)
			}
			o.sameFees(want)
			o.checkBooks()
			if err := o.importRecords(t.Context(), records); err != nil { // again: nothing is new
				t.Fatal(err)
			}
			o.sameFees(want)
		})
	}
}

func ones(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

func TestImportRefuses(t *testing.T) {
	b := newBooks(t)
	b.liveFees()
	records := b.encodedRecords()
	o := b.on(pgtest.NewURL(t))
	if err := o.importRecords(t.Context(), records); !errors.Is(err, errUncovered) {
		t.Errorf("without deposits: %v, want errUncovered", err)
	}
	for _, who := range []string{"alice", "zoe"} {
		o.deposit(publicOf("renter "+who), 10_000, who)
	}
	if err := o.importRecords(t.Context(), records[1:]); err == nil {
		t.Error("a log without its first record was imported")
	}
	for i, record := range records {
		r, err := proofs.ParseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := r.Entry.(proofs.Receipt); ok {
			e.Payee[0] ^= 1
			r.Entry = e
		} else {
			continue
		}
		forged := append([][]byte(nil), records...)
		if forged[i], err = r.Encode(); err != nil {
			t.Fatal(err)
		}
		if err := o.importRecords(t.Context(), forged); !errors.Is(err, errNotFollowing) {
			t.Errorf("a forged record %d: %v, want errNotFollowing", i, err)
		}
	}
	if n := o.count(`SELECT size FROM log_head`); n != 0 {
		t.Errorf("the log has %d records, want none", n)
	}
	if err := o.importRecords(t.Context(), records); err != nil {
		t.Error(err)
	}
}
