package audit

import (
	"encoding/binary"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// desktop is a desk with a renter's session and a channel, in which all before is honest.
type desktop struct {
	*feeDesk
	t     *testing.T
	l     *lease
	c     *seat
	offer proofs.Envelope
}

// crookedFees are what an operator might write into the log, each in a session of its
// own, and what the audit says of it.
var crookedFees = []struct {
	name  string
	crook func(d *desktop)
	rules []string
}{
	{"honest", func(d *desktop) { d.c.serve(2) }, nil},
	{"a receipt of a job that no worker signed", func(d *desktop) {
		e := d.c.job(2)
		e.Signature[7] ^= 1
		d.receipt(d.c, e)
	}, []string{"fee-signature"}},
	{"a receipt of a job that another worker signed", func(d *desktop) {
		d.c.host = 1
		d.c.serve(2)
	}, []string{"fee-other-worker"}},
	{"a job that costs a unit more than its units", func(d *desktop) {
		e := d.c.job(2)
		at := len(e.Body) - 64 - 8 - 64 - 16
		for _, i := range []int{at, at + 8} {
			binary.LittleEndian.PutUint64(e.Body[i:], binary.LittleEndian.Uint64(e.Body[i:])+1)
		}
		e = proofs.Sign(d.o.n.ID(), proofs.KindJob, d.o.hosts[0].worker, e.Body)
		fee := ionet.MustAmount(4)
		provider, network, err := proofs.Split(fee, d.points)
		if err != nil {
			d.t.Fatal(err)
		}
		total := ionet.MustAmount(d.fees.Base() + 4)
		d.log(proofs.Receipt{Renter: d.l.text.Renter, Payee: d.c.payee, BasisPoints: d.points, ProviderPart: provider, NetworkPart: network, TotalFees: total, TotalJobs: d.jobs + 1, Statement: e})
		d.fees, d.jobs = total, d.jobs+1
	}, []string{"fee-wrong-fee"}},
	{"a voucher that the renter never signed", func(d *desktop) {
		j := d.c.next(2)
		j.Voucher[3] ^= 1
		body, err := j.Encode()
		d.receipt(d.c, d.sign(proofs.KindJob, d.o.hosts[0].worker, body, err))
	}, []string{"fee-voucher"}},
	{"a price that was not offered", func(d *desktop) {
		d.c.serve(2, func(j *proofs.Job) {
			j.Price = ionet.MustAmount(5)
			j.Fee, j.After, j.Cumulative = j.Price, ionet.MustAmount(j.Before.Base()+5), ionet.MustAmount(j.Before.Base()+5)
		})
	}, []string{"fee-model-not-offered"}},
	{"an offer that is not in the log", func(d *desktop) {
		d.c.serve(2, func(j *proofs.Job) { j.Offer = ionet.HashOf([]byte("none")) })
	}, []string{"fee-model-not-offered"}},
	{"the same part of a channel twice", func(d *desktop) {
		d.c.serve(2)
		d.c.spent -= 3
		d.c.serve(2)
	}, []string{"fee-overlap"}},
	{"the same job id again", func(d *desktop) {
		d.c.serve(2)
		d.c.jobs--
		d.c.serve(4)
	}, []string{"fee-replay"}},
	{"more than the limit", func(d *desktop) { d.c.serve(1000) }, []string{"fee-above-limit"}},
	{"a job served before its session", func(d *desktop) {
		d.c.serve(2, func(j *proofs.Job) { j.Served -= 100 })
	}, []string{"fee-expired"}},
	{"a job served after its channel was closed", func(d *desktop) {
		d.c.close()
		d.c.serve(2, func(j *proofs.Job) { j.Served += 60 }) // as much as the rule lets clocks differ
		d.o.waitTime(unixTime.Load() + 5)
		d.c.serve(2, func(j *proofs.Job) { j.Served += 60 })
	}, []string{"fee-closed"}},
	{"no hash of the response", func(d *desktop) {
		d.c.serve(2, func(j *proofs.Job) { j.Response = ionet.Hash{} })
	}, []string{"fee-no-response-hash"}},
	{"a receipt left out", func(d *desktop) {
		d.c.next(2)
		d.c.serve(2)
	}, []string{"fee-order"}},
	{"a channel that is not in the log", func(d *desktop) {
		c := *d.c
		c.text.Channel = ionet.Key{9}
		c.serve(2)
	}, []string{"fee-unknown-channel"}},
	{"the network takes a unit more", func(d *desktop) {
		d.receipt(d.c, d.c.job(20), func(r *proofs.Receipt) {
			r.ProviderPart, r.NetworkPart = ionet.MustAmount(r.ProviderPart.Base()-1), ionet.MustAmount(r.NetworkPart.Base()+1)
		})
	}, []string{"fee-split"}},
	{"the network takes by another share", func(d *desktop) {
		d.points = 600
		d.c.serve(20)
		d.points = 500
	}, []string{"fee-split"}},
	{"another payee", func(d *desktop) {
		d.receipt(d.c, d.c.job(2), func(r *proofs.Receipt) { r.Payee = key(d.o, 1) })
	}, []string{"fee-payee"}},
	{"another renter", func(d *desktop) {
		d.receipt(d.c, d.c.job(2), func(r *proofs.Receipt) { r.Renter = key(d.o, 1) })
	}, []string{"fee-renter"}},
	{"totals that begin to be wrong, and go on so", func(d *desktop) {
		d.receipt(d.c, d.c.job(2), func(r *proofs.Receipt) { r.TotalFees = ionet.MustAmount(r.TotalFees.Base() + 1) })
		d.c.serve(2)
	}, []string{"fee-totals"}},
	{"a count of jobs that is wrong", func(d *desktop) {
		d.receipt(d.c, d.c.batch(3, 2), func(r *proofs.Receipt) { r.TotalJobs-- })
	}, []string{"fee-totals"}},
	{"an index that is another record's", func(d *desktop) {
		body, err := proofs.ChannelClose{Channel: d.c.text.Channel}.Encode()
		d.log(proofs.CloseEntry{Statement: d.sign(proofs.KindChannelClose, d.l.key, body, err)}, func(r *proofs.Record) { r.Index++ })
	}, []string{"log-index"}},
	{"a time before the record before", func(d *desktop) {
		body, err := proofs.SessionClose{Session: d.l.statement.ID()}.Encode()
		d.log(proofs.CloseEntry{Statement: d.sign(proofs.KindSessionClose, d.l.key, body, err)}, func(r *proofs.Record) { r.Accepted-- })
	}, []string{"log-time"}},
	{"bytes that are no record", func(d *desktop) { d.records = append(d.records, []byte("record")) }, []string{"log-record"}},
	{"a session that its renter did not sign", func(d *desktop) {
		e := d.l.statement
		e.Signature[9] ^= 1
		e.Body = []byte(strings.Replace(string(e.Body), "Reserve: 1000", "Reserve: 1001", 1))
		d.log(proofs.SessionEntry{Statement: e})
	}, []string{"fee-signature"}},
	{"a session's reserve taken twice", func(d *desktop) { d.log(proofs.SessionEntry{Statement: d.l.statement}) }, []string{"fee-session"}},
	{"a session that had expired", func(d *desktop) {
		d.session(d.l.wallet, "expired", 1, func(s *proofs.Session) { s.Issued, s.Expires = s.Issued-100, s.Issued-50 })
	}, []string{"fee-session"}},
	{"a channel of more than the reserve has left", func(d *desktop) { d.l.channel(1, d.offer, 901) }, []string{"fee-reserve"}},
	{"a channel that is not the one that its fields derive", func(d *desktop) {
		d.l.channel(1, d.offer, 10, func(_ *proofs.ChannelEntry, o *proofs.ChannelOpen) { o.Channel = ionet.Key{8} })
	}, []string{"fee-channel"}},
	{"a channel that another key opens", func(d *desktop) {
		l := *d.l
		l.key = testKey("another key")
		l.channel(1, d.offer, 10)
	}, []string{"fee-channel"}},
	{"a channel of no session", func(d *desktop) {
		d.l.channel(1, d.offer, 10, func(_ *proofs.ChannelEntry, o *proofs.ChannelOpen) { o.Session = ionet.Hash{7} })
	}, []string{"fee-channel"}},
	{"a top-up that takes away", func(d *desktop) {
		d.c.text.Limit = ionet.MustAmount(99)
		d.c.open()
	}, []string{"fee-channel"}},
	{"a top-up after the close", func(d *desktop) {
		d.c.close()
		d.c.text.Limit = ionet.MustAmount(101)
		d.c.open()
	}, []string{"fee-channel"}},
	{"a delegation that does not name the worker", func(d *desktop) {
		d.l.channel(1, d.offer, 10, func(e *proofs.ChannelEntry, _ *proofs.ChannelOpen) { e.Delegation = d.o.hosts[0].delegation.Envelope })
	}, []string{"fee-delegation"}},
	{"a delegation that its provider did not sign", func(d *desktop) {
		d.l.channel(1, d.offer, 10, func(e *proofs.ChannelEntry, _ *proofs.ChannelOpen) { e.Delegation.Signature[1] ^= 1 })
	}, []string{"fee-signature"}},
	{"a close by a stranger", func(d *desktop) {
		l := *d.l
		l.key = testKey("another key")
		l.closeAll()
	}, []string{"fee-close"}},
	{"a channel that ends though nobody asked", func(d *desktop) { d.c.over() }, []string{"fee-early-close"}},
	{"a channel that ends within the grace", func(d *desktop) {
		d.c.close()
		d.o.waitTime(unixTime.Load() + 9)
		d.c.over()
	}, []string{"fee-early-close"}},
	{"less goes back to the session than is left", func(d *desktop) {
		d.c.close()
		d.o.waitTime(unixTime.Load() + 10)
		d.c.over(func(e *proofs.ChannelOver) { e.Returned = ionet.MustAmount(e.Returned.Base() - 1) })
	}, []string{"fee-returned"}},
	{"a session that ends before its channel", func(d *desktop) {
		d.l.closeAll()
		d.o.waitTime(unixTime.Load() + 10)
		d.l.overAll(900)
	}, []string{"fee-close"}},
	{"less goes back to the renter than is left", func(d *desktop) {
		d.l.closeAll()
		d.o.waitTime(unixTime.Load() + 10)
		d.c.over()
		d.l.overAll(999)
	}, []string{"fee-returned"}},
	{"a reserve that the renter does not have", func(d *desktop) {
		d.session(testKey("renter poor"), "poor", 101)
	}, []string{"overdrawn"}},
}

var recordOf = regexp.MustCompile(`record (\d+)`)

// Each crooked record is found, by the rule that it breaks, and nothing else is.
func TestCrookedFees(t *testing.T) {
	o := foundUnder(t, "crooked-fees", []byte(feesPolicy))
	o.rich()
	rich, poor := testKey("renter rich"), testKey("renter poor")
	o.payIn(0, o.n.Vaults.Fee, 1_000_000, o.reference(chain.PublicOf(rich), 1))
	o.payIn(0, o.n.Vaults.Fee, 100, o.reference(chain.PublicOf(poor), 1))
	d := o.desk()
	offer := d.offer(0)
	ends := make([]int, len(crookedFees))
	for i, c := range crookedFees {
		l := d.session(rich, fmt.Sprint("crooked ", i), 1000)
		x := &desktop{feeDesk: d, t: t, l: l, c: l.channel(0, offer, 100), offer: offer}
		x.c.serve(2)
		c.crook(x)
		ends[i] = len(d.records)
	}
	d.publish()
	d.seal()
	r := o.audit()
	found := make([]map[string]bool, len(crookedFees))
	for _, f := range r.Findings {
		m := recordOf.FindStringSubmatch(f.Object)
		if m == nil {
			t.Errorf("of no record: %s", f)
			continue
		}
		n, err := strconv.Atoi(m[1])
		i := slices.IndexFunc(ends, func(end int) bool { return n < end })
		if err != nil || i < 0 {
			t.Errorf("of record %s, the log has %d: %s", m[1], len(d.records), f)
			continue
		}
		if found[i] == nil {
			found[i] = map[string]bool{}
		}
		if found[i][f.Rule] {
			t.Errorf("%s: said twice: %s", crookedFees[i].name, f)
		}
		found[i][f.Rule] = true
	}
	for i, c := range crookedFees {
		if got := slices.Sorted(maps.Keys(found[i])); !slices.Equal(got, slices.Sorted(slices.Values(c.rules))) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.rules)
		}
	}
	if len(r.Unchecked) > 0 {
		show(t, r)
	}
}
