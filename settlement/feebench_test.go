package settlement

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/migrations"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

const (
	feeHosts    = 50
	feeRenters  = 50
	feeChannels = 1000   // each of a renter to a host
	feeLines    = 8      // that submit at once, each for channels of its own
	feeRound    = 40_000 // receipts of one side of a round
	feeSingles  = 1000   // receipts of a round of the reference
	feeBatch    = 1024   // inferences of a batch
	feeBatches  = 8_000  // of a round
)

// feesPolicy gives the network 5 percent, and a grace that a test can wait for.
var feesPolicy = strings.Replace(testPolicy, "network_basis_points = 0\n", "network_basis_points = 500\ngrace_seconds = 30\n", 1)

// BenchmarkFees compares, a slice of each in turn:
//
//	receipts    jobs as signed statements, each with a voucher of its own, to receipts that are durable: both signatures, rules, ledger, log
//	shared      the same where one voucher pays for many of a channel's jobs
//	hot         as receipts, all of eight channels
//	reference   one transaction for each receipt: the standard library verifies both, head and channel are locked, a record
//	            inserted, three balances updated; on one connection, and on eight
//	batches     job-batch statements of 1,024 inferences each: what the service does
//	batching    what the worker does before: the tree over its jobs, and the signature; one goroutine
//
// It reports receipts, or inferences, a second, and the processor time of one,
// PostgreSQL's too.
func BenchmarkFees(b *testing.B) {
	r := newFeeRun(b)
	for b.Loop() {
		r.round()
	}
	b.ReportMetric(0, "ns/op")
	for name := range r.took {
		b.ReportMetric(r.rate(name), name+"/s")
		b.ReportMetric(float64(r.cpu[name].Nanoseconds())/1e3/float64(r.done[name]), name+"-cpu-us")
	}
	b.ReportMetric(r.rate("receipts")/max(r.rate("reference"), r.rate("reference-8")), "receipts/reference")
	b.ReportMetric(float64(r.wal)/float64(r.done["receipts"]), "WAL-B/receipt")
	b.ReportMetric(float64(r.batchWAL)/float64(r.done["batches"]/feeBatch), "WAL-B/batch")
	if err := ledger.TrialBalance(b.Context(), r.pool); err != nil {
		b.Fatal(err)
	}
}

// feeRun is a service on a database that syncs its log, with channels that have room.
type feeRun struct {
	*Ingest
	seats []*seat
	refs  *pgxpool.Pool
	keys  map[ionet.Key]ionet.Key // that sign a channel's vouchers

	took, cpu     map[string]time.Duration
	done          map[string]int
	wal, batchWAL int
}

func newFeeRun(b *testing.B) *feeRun {
	b.Helper()
	db, err := devdb.Start(b.Context(), devdb.Config{Dir: filepath.Join(b.TempDir(), "postgres")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Stop(context.Background()) })
	if err := migrations.Apply(b.Context(), pgtest.Open(b, db.URL())); err != nil {
		b.Fatal(err)
	}
	r := &feeRun{Ingest: &Ingest{books: newBooksOn(b, feesPolicy, db.URL())}, took: map[string]time.Duration{}, cpu: map[string]time.Duration{}, done: map[string]int{}}
	var offers, sessions, opened []proofs.Envelope
	var hosts []*host
	for i := range feeHosts {
		h := r.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i))
		r.register(h)
		hosts, offers = append(hosts, h), append(offers, h.offer(1))
	}
	for i := range feeChannels {
		if i < feeRenters {
			s := r.newSpender(fmt.Sprint("renter ", i), 1<<50, 1<<50)
			sessions = append(sessions, s.session)
			r.seats = append(r.seats, s.seat(hosts[i%feeHosts], offers[i%feeHosts], 1<<44))
			opened = append(opened, r.seats[i].opened)
			continue
		}
		n := (i + i/feeHosts) % feeHosts
		c := r.seats[i%feeRenters].s.seat(hosts[n], offers[n], 1<<44)
		r.seats, opened = append(r.seats, c), append(opened, c.opened)
	}
	for _, part := range [][]proofs.Envelope{offers, sessions} {
		r.accept(part...)
	}
	for part := range slices.Chunk(opened, MaxSubmitted) {
		r.accept(part...)
	}
	r.keys = map[ionet.Key]ionet.Key{}
	for _, c := range r.seats {
		r.keys[c.text.Channel] = c.s.text.Key
	}
	r.openReference(db.URL())
	r.exec(`VACUUM ANALYZE`)
	r.postmaster = r.count(`SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer`)
	return r
}

func (r *feeRun) rate(name string) float64 { return float64(r.done[name]) / r.took[name].Seconds() }

// measure times what is done in the meantime.
func (r *feeRun) measure(name string, done int, f func() error) {
	r.t.Helper()
	runtime.GC()
	used, start := r.CPU(), time.Now()
	err := f()
	r.took[name] += time.Since(start)
	r.cpu[name] += r.CPU() - used
	r.done[name] += done
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
}

// round takes a slice of each side; what is measured is signed before.
func (r *feeRun) round() {
	own, shared, hot := r.requests(feeRound, false, feeChannels), r.requests(feeRound, true, feeChannels), r.requests(feeRound, false, feeLines)
	before, _ := r.WAL()
	r.measure("receipts", feeRound, func() error { return r.send(own) })
	end, _ := r.WAL()
	r.wal += end - before
	r.measure("shared", feeRound, func() error { return r.send(shared) })
	r.measure("hot", feeRound, func() error { return r.send(hot) })

	singles := r.requests(2*feeSingles, false, feeChannels)
	var ones []proofs.Envelope
	for _, line := range singles {
		for _, request := range line {
			for _, s := range request {
				ones = append(ones, s.Envelope)
			}
		}
	}
	r.measure("reference", feeSingles, func() error { return r.reference(ones[:feeSingles], 1) })
	r.measure("reference-8", feeSingles, func() error { return r.reference(ones[feeSingles:], 8) })
	if err := r.send(singles); err != nil { // which the seats have counted
		r.t.Fatal(err)
	}

	batches := r.batches()
	before, _ = r.WAL()
	r.measure("batches", feeBatches*feeBatch, func() error { return r.send(batches) })
	end, _ = r.WAL()
	r.batchWAL += end - before
	r.batching()
}

// requests signs the next n jobs, spread over so many channels, as requests of each line.
func (r *feeRun) requests(n int, shared bool, channels int) [feeLines][][]Submitted {
	var lines [feeLines][][]Submitted
	r.inLines(func(line int, seats []*seat) {
		var request []Submitted
		seats = seats[:channels/feeLines]
		for i := range n / feeLines {
			c := seats[i%len(seats)]
			job := c.take(c.next(20, func(j *proofs.Job) {
				if shared { // a multiple of what all jobs of a while will cost
					j.Cumulative = ionet.MustAmount((j.After.Base()>>14 + 1) << 14)
				}
			}))
			if request = append(request, Submitted{Envelope: c.signJob(job)}); len(request) == MaxSubmitted {
				lines[line], request = append(lines[line], request), nil
			}
		}
		if len(request) > 0 {
			lines[line] = append(lines[line], request)
		}
	})
	return lines
}

// inLines runs f for each line at once, with the channels that are its own.
func (r *feeRun) inLines(f func(line int, seats []*seat)) {
	var wg sync.WaitGroup
	each := len(r.seats) / feeLines
	for line := range feeLines {
		wg.Go(func() { f(line, r.seats[line*each:(line+1)*each]) })
	}
	wg.Wait()
}

// send submits each line's requests, one after the other, all lines at once; each
// statement must be accepted.
func (r *feeRun) send(lines [feeLines][][]Submitted) error {
	errs := make([]error, feeLines)
	r.inLines(func(line int, _ []*seat) {
		for _, request := range lines[line] {
			results, err := r.Submit(r.t.Context(), request)
			if err == nil {
				err = allAccepted(results)
			}
			if errs[line] = err; err != nil {
				return
			}
		}
	})
	return errors.Join(errs...)
}

func allAccepted(results []Result) error {
	for _, res := range results {
		if res.Status != Accepted {
			return fmt.Errorf("%s is %s: %w", res.ID, res.Status, res.Problem)
		}
	}
	return nil
}

// batches signs the next batches of all channels. Their trees are over jobs that nobody
// needs here, so each is over the same.
func (r *feeRun) batches() [feeLines][][]Submitted {
	var lines [feeLines][][]Submitted
	root := ionet.HashOf([]byte("a tree"))
	r.inLines(func(line int, seats []*seat) {
		for i := range feeBatches / feeLines {
			c := seats[i%len(seats)]
			job := c.take(c.next(20 * feeBatch))
			body, err := proofs.JobBatch{
				Channel: job.Channel, ID: job.ID, Served: job.Served, Offer: job.Offer, Count: feeBatch, Root: root,
				Before: job.Before, Fee: job.Fee, After: job.After, Cumulative: job.Cumulative, Voucher: job.Voucher,
			}.Encode()
			s := Submitted{Envelope: r.signed(proofs.KindJobBatch, c.h.key, body, err)}
			if n := len(lines[line]); n > 0 && len(lines[line][n-1]) < MaxSubmitted {
				lines[line][n-1] = append(lines[line][n-1], s)
				continue
			}
			lines[line] = append(lines[line], []Submitted{s})
		}
	})
	return lines
}

// batching measures what a worker does for a batch, beside serving its jobs.
func (r *feeRun) batching() {
	c := *r.seats[0]
	jobs := make([]proofs.Job, feeBatch)
	for i := range jobs {
		jobs[i] = c.take(c.next(20))
	}
	last := jobs[feeBatch-1]
	const batches = 64
	r.measure("batching", batches*feeBatch, func() error {
		for range batches {
			batch, err := proofs.BatchOf(last.ID, last.Served, jobs, last.Cumulative, last.Voucher)
			if err != nil {
				return err
			}
			body, err := batch.Encode()
			if err != nil {
				return err
			}
			proofs.Sign(r.Network(), proofs.KindJobBatch, c.h.key, body)
		}
		return nil
	})
}
