package proofs

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

type recordCase struct {
	name   string
	record Record
	want   Compact // but for index and, of what has no statement, the id
}

// recordCases has every tag, and the edges of each.
func recordCases(t testing.TB) []recordCase {
	const at = 1_763_888_460
	io := ionet.MustAmount
	by := map[string]Envelope{}
	for _, s := range samples(t) {
		by[s.name] = s.envelope()
	}
	of := func(name string, fee, after uint64) Compact {
		e := by[name]
		return Compact{ID: e.ID(), Fee: io(fee), After: io(after)}
	}
	return []recordCase{
		{"receipt", Record{7, at, Receipt{
			Renter: public("renter"), Payee: public("payout"), BasisPoints: 250, ProviderPart: io(1805), NetworkPart: io(46), TotalFees: io(9_999), TotalJobs: 12, Statement: by["job"],
		}}, of("job", 1851, 1861)},
		{"receipt-of-batch", Record{8, at, Receipt{
			Renter: public("renter"), Payee: public("payout"), BasisPoints: 10_000, NetworkPart: io(90), TotalFees: io(math.MaxInt64), TotalJobs: math.MaxInt64, Statement: by["job-batch"],
		}}, of("job-batch", 90, 100)},
		{"session", Record{0, at, SessionEntry{by["session"]}}, of("session", 0, 5_000_000_000)},
		{"channel", Record{1, at, ChannelEntry{by["delegation"], by["channel-open"]}}, of("channel-open", 0, 1_000_000)},
		{"channel-of-many-workers", Record{1, at, ChannelEntry{by["delegation-many-workers"], by["channel-open"]}}, of("channel-open", 0, 1_000_000)},
		{"offer", Record{math.MaxInt64, at, OfferEntry{by["offer"]}}, of("offer", 0, 0)},
		{"close", Record{9, at, CloseEntry{by["channel-close"]}}, of("channel-close", 0, 0)},
		{"close-of-session", Record{10, at, CloseEntry{by["session-close"]}}, of("session-close", 0, 0)},
		{"channel-over", Record{11, at, ChannelOver{public("channel"), io(1951), io(998_049)}}, Compact{}},
		{"session-over", Record{12, 0, SessionOver{ionet.HashOf([]byte("session")), io(4_999_998_049)}}, Compact{}},
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	seen := map[Tag]bool{}
	for _, c := range recordCases(t) {
		seen[c.record.Entry.Tag()] = true
		t.Run(c.name, func(t *testing.T) {
			b := must[[]byte](t)(c.record.Encode())
			got := must[Record](t)(ParseRecord(b))
			if again := must[[]byte](t)(got.Encode()); !bytes.Equal(again, b) {
				t.Errorf("got %x, want %x", again, b)
			}
			for n := 0; n < len(b); n += stride(b) {
				if _, err := ParseRecord(b[:n]); err == nil {
					t.Errorf("parses when cut to %d bytes", n)
				}
			}
			if _, err := ParseRecord(append(bytes.Clone(b), 0)); err == nil {
				t.Error("parses with a trailing byte")
			}
			want := c.want
			want.Index = c.record.Index
			if want.ID.IsZero() {
				want.ID = ionet.HashOf(b)
			}
			compact := must[Compact](t)(CompactOf(testNetwork, b))
			if compact != want {
				t.Errorf("compact form is %+v, want %+v", compact, want)
			}
			if again := must[Compact](t)(ParseCompact(compact.Append(nil))); again != compact || len(compact.Append(nil)) != CompactSize {
				t.Errorf("compact form parses as %+v, want %+v", again, compact)
			}
		})
	}
	if len(seen) != 7 {
		t.Errorf("%d tags have a case, FORMAT.md has 7", len(seen))
	}
}

func TestRecordRefuses(t *testing.T) {
	good := map[string]Record{}
	envelope := map[string]Envelope{}
	for _, c := range recordCases(t) {
		good[c.name] = c.record
	}
	for _, s := range samples(t) {
		envelope[s.name] = s.envelope()
	}
	receipt := func(change func(*Receipt)) Record {
		r := good["receipt"]
		e := r.Entry.(Receipt)
		change(&e)
		r.Entry = e
		return r
	}
	for name, r := range map[string]Record{
		"nothing":                        {},
		"index":                          {math.MaxInt64 + 1, 5, good["offer"].Entry},
		"before 1970":                    {1, -1, good["offer"].Entry},
		"after 9999":                     {1, 253402300800, good["offer"].Entry},
		"basis points":                   receipt(func(e *Receipt) { e.BasisPoints = 10_001 }),
		"jobs":                           receipt(func(e *Receipt) { e.TotalJobs = math.MaxInt64 + 1 }),
		"receipt of an offer":            receipt(func(e *Receipt) { e.Statement = envelope["offer"] }),
		"session that is a job":          {1, 5, SessionEntry{envelope["job"]}},
		"channel that is a close":        {1, 5, ChannelEntry{envelope["delegation"], envelope["channel-close"]}},
		"channel without a delegation":   {1, 5, ChannelEntry{envelope["revocation"], envelope["channel-open"]}},
		"offer that is a job":            {1, 5, OfferEntry{envelope["job"]}},
		"close that is an open":          {1, 5, CloseEntry{envelope["channel-open"]}},
		"larger than a bundle can hold":  {1, 5, OfferEntry{Envelope{Kind: KindOffer, Body: make([]byte, MaxBody)}}},
		"larger than an envelope can be": {1, 5, OfferEntry{Envelope{Kind: KindOffer, Body: make([]byte, MaxBody+1)}}},
	} {
		if b, err := r.Encode(); err == nil {
			t.Errorf("%s: encodes as %x", name, b)
		}
		if r.Entry == nil {
			continue
		}
		w := writer{}
		w.u64(r.Index)
		w.i64(r.Accepted)
		w.u8(uint8(r.Entry.Tag()))
		r.Entry.put(&w)
		if got, err := ParseRecord(w.b); err == nil {
			t.Errorf("%s: parses as %+v", name, got)
		}
	}
	b := must[[]byte](t)(good["session"].Encode())
	for _, tag := range []byte{0, 8, 255} {
		b[16] = tag
		if _, err := ParseRecord(b); err == nil {
			t.Errorf("tag %d parses", tag)
		}
	}
}

// The parts are those of exact arithmetic, and nothing is lost between them.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		fee      uint64
		points   uint16
		provider uint64
	}{
		{0, 10_000, 0}, {1, 0, 1}, {1, 1, 1}, {1, 9_999, 1}, {1, 10_000, 0}, {9_999, 1, 9_999}, {10_000, 1, 9_999}, {19_999, 1, 19_998},
		{1851, 250, 1805}, {math.MaxInt64, 10_000, 0}, {math.MaxInt64, 0, math.MaxInt64}, {math.MaxInt64, 1, math.MaxInt64 - 922337203685477},
	} {
		provider, network, err := Split(ionet.MustAmount(c.fee), c.points)
		if err != nil || provider.Base() != c.provider || network.Base() != c.fee-c.provider {
			t.Errorf("%d at %d points: got %s and %s (%v), want %d for the provider", c.fee, c.points, provider, network, err, c.provider)
		}
	}
	if _, _, err := Split(ionet.MustAmount(5), 10_001); err == nil {
		t.Error("10,001 basis points split")
	}
	rapid.Check(t, func(t *rapid.T) {
		fee, points := rapid.Uint64Range(0, math.MaxInt64).Draw(t, "fee"), rapid.Uint16Range(0, 10_000).Draw(t, "points")
		provider, network, err := Split(ionet.MustAmount(fee), points)
		if err != nil {
			t.Fatal(err)
		}
		exact := new(big.Int).Mul(new(big.Int).SetUint64(fee), big.NewInt(int64(points)))
		if want := exact.Quo(exact, big.NewInt(10_000)).Uint64(); network.Base() != want || provider.Base() != fee-want {
			t.Errorf("got %s and %s, want %d for the network", provider, network, want)
		}
	})
}

func TestNewReceipt(t *testing.T) {
	io := ionet.MustAmount
	for _, s := range samples(t) {
		if s.kind != KindJob && s.kind != KindJobBatch {
			continue
		}
		b := must[Bill](t)(ParseBill(s.kind, s.body))
		r := must[Receipt](t)(NewReceipt(s.envelope(), b, public("renter"), public("payout"), 250, io(1_000), 10))
		network := b.Fee.Base() * 250 / 10_000
		if r.NetworkPart.Base() != network || r.ProviderPart.Base() != b.Fee.Base()-network || r.TotalFees.Base() != 1_000+b.Fee.Base() || r.TotalJobs != 10+uint64(b.Count) {
			t.Errorf("%s: got %+v", s.name, r)
		}
		if _, err := NewReceipt(s.envelope(), b, r.Renter, r.Payee, 250, io(math.MaxInt64), 10); err == nil {
			t.Errorf("%s: the total of fees overflows", s.name)
		}
		if _, err := NewReceipt(s.envelope(), b, r.Renter, r.Payee, 250, io(1), math.MaxInt64); err == nil {
			t.Errorf("%s: the total of jobs overflows", s.name)
		}
	}
	if _, err := ParseBill(KindOffer, nil); err == nil {
		t.Error("an offer asks for a fee")
	}
}

func TestReceiptsMemo(t *testing.T) {
	var list []Compact
	for i := range uint64(20) {
		list = append(list, Compact{Index: 90 + i, ID: ionet.HashOf([]byte(fmt.Sprint(i))), Fee: ionet.MustAmount(i), After: ionet.MustAmount(100 * i)})
	}
	m := must[ReceiptsMemo](t)(NewReceiptsMemo(list))
	parsed := must[Memo](t)(ParseMemo(m.String())).(ReceiptsMemo)
	got := must[[]Compact](t)(parsed.Compacts())
	if len(got) != len(list) {
		t.Fatalf("got %d receipts, want %d", len(got), len(list))
	}
	for i := range got {
		if got[i] != list[i] {
			t.Errorf("%d: got %+v, want %+v", i, got[i], list[i])
		}
	}
	list[3].Index++
	if _, err := NewReceiptsMemo(list); err == nil {
		t.Error("receipts that do not follow each other make a memo")
	}
	if _, err := NewReceiptsMemo(nil); err == nil {
		t.Error("no receipts make a memo")
	}
}

func FuzzRecord(f *testing.F) {
	for _, c := range recordCases(f) {
		f.Add(must[[]byte](f)(c.record.Encode()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if again, err := r.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes again as %x (%v)", b, again, err)
		}
		if c, err := CompactOf(testNetwork, b); err == nil && c.Index != r.Index {
			t.Errorf("%x has compact index %d", b, c.Index)
		}
	})
}
