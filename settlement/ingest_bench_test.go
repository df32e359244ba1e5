package settlement_test

import (
	"bufio"
	"bytes"
	stdlib "crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/web"
)

const (
	ingestHosts  = 10_000
	ingestRounds = 5
	ingestBatch  = settlement.MaxSubmitted
	ingestLines  = 512 // connections that send one statement at a time
)

// BenchmarkIngest compares, a slice of each in turn, so that all have the same weather:
//
//	reference   what everybody writes first: the standard library verifies, a statement
//	            of 1,000 rows inserts, two goroutines and two connections
//	values      the same with the rows as VALUES, in place of arrays
//	verify      our verification alone, two goroutines
//	insert      our one SQL statement alone, two connections
//	service     ours, from HTTP bodies of 1,000 statements to acks of what is durable
//	singles     the same by requests of one statement each
//
// It reports statements a second and the processor time of one, PostgreSQL's too, and of the service: its ratio to the reference, its
// share of what its two halves would allow one after the other, and what it writes and
// allocates for a statement.
func BenchmarkIngest(b *testing.B) {
	g := settlement.NewIngest(b, ingestHosts)
	server := httptest.NewServer(web.Handler(web.Config{Service: g.Service, Files: b.TempDir()}))
	b.Cleanup(server.Close)
	r := &ingestRun{b: b, g: g, address: strings.TrimPrefix(server.URL, "http://"), verifier: proofs.NewVerifier(g.Network(), 1<<14), took: map[string]time.Duration{}, cpu: map[string]time.Duration{}, statements: map[string]int{}}
	r.openReference()
	for b.Loop() {
		for range ingestRounds {
			r.round()
		}
	}
	b.ReportMetric(0, "ns/op")
	for name := range r.took {
		b.ReportMetric(r.rate(name), name+"/s")
		b.ReportMetric(float64(r.cpu[name].Microseconds())/float64(r.statements[name]), name+"-cpu-us")
	}
	b.ReportMetric(r.rate("service")/r.rate("reference"), "service/reference")
	b.ReportMetric(r.rate("service")*(1/r.rate("verify")+1/r.rate("insert")), "service/halves")
	n := float64(r.statements["service"])
	b.ReportMetric(float64(r.wal)/n, "WAL-B/statement")
	b.ReportMetric(float64(r.pages)*8192/n, "of-that-whole-pages-B/statement")
	b.ReportMetric(float64(r.mallocs)/n, "allocs/statement")
	b.ReportMetric(float64(r.allocated)/n, "B/statement")
}

type ingestRun struct {
	b        *testing.B
	g        *settlement.Ingest
	address  string
	verifier *proofs.Verifier
	conns    [2]*pgx.Conn
	stored   int

	took, cpu          map[string]time.Duration
	statements         map[string]int
	wal, pages         int
	mallocs, allocated uint64
}

func (r *ingestRun) rate(name string) float64 {
	return float64(r.statements[name]) / r.took[name].Seconds()
}

// measure runs f over so many things in so many goroutines.
func (r *ingestRun) measure(name string, statements, things, goroutines int, f func(line, n int) error) {
	r.b.Helper()
	next := make(chan int, things)
	for n := range things {
		next <- n
	}
	close(next)
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	runtime.GC()
	used := r.g.CPU()
	start := time.Now()
	for line := range goroutines {
		wg.Go(func() {
			for n := range next {
				if errs[line] = f(line, n); errs[line] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	r.took[name] += time.Since(start)
	r.cpu[name] += r.g.CPU() - used
	r.statements[name] += statements
	if err := errors.Join(errs...); err != nil {
		r.b.Fatalf("%s: %v", name, err)
	}
}

func (r *ingestRun) round() {
	b := r.b
	b.StopTimer()
	signed, unsigned, single := r.g.Next(true), r.g.Next(false), r.g.Next(true)
	batches := chunks(signed)
	table := r.g.Prepare(chunks(unsigned))
	b.StartTimer()

	n := len(batches)
	r.measure("reference", len(signed), n, 2, func(line, i int) error { return r.reference(line, batches[i], insertReference) })
	r.truncate()
	r.measure("values", len(signed), n, 2, func(line, i int) error { return r.reference(line, batches[i], "") })
	r.truncate()
	r.measure("verify", len(signed), n, 2, func(_, i int) error { return errors.Join(r.verifier.Verify(batches[i])...) })
	r.measure("insert", len(unsigned), n, 2, func(_, i int) error { return table.Insert(i) })
	r.stored += len(unsigned)

	b.StopTimer()
	requests := r.requests(batches)
	b.StartTimer()
	wal, pages := r.g.WAL()
	var before, after runtime.MemStats
	r.send("service", len(signed), requests, 8, &before)
	runtime.ReadMemStats(&after)
	end, whole := r.g.WAL()
	r.wal, r.pages = r.wal+end-wal, r.pages+whole-pages
	r.mallocs, r.allocated = r.mallocs+after.Mallocs-before.Mallocs, r.allocated+after.TotalAlloc-before.TotalAlloc

	b.StopTimer()
	ones := make([][]proofs.Envelope, len(single))
	for i := range single {
		ones[i] = single[i : i+1]
	}
	requests = r.requests(ones)
	b.StartTimer()
	r.send("singles", len(single), requests, ingestLines, &before)
	r.stored += len(signed) + len(single)
	if got := r.g.Stored(); got != r.stored {
		b.Fatalf("%d statements are stored, want %d", got, r.stored)
	}
}

func chunks(all []proofs.Envelope) [][]proofs.Envelope {
	var list [][]proofs.Envelope
	for ; len(all) > ingestBatch; all = all[ingestBatch:] {
		list = append(list, all[:ingestBatch])
	}
	return append(list, all)
}

// requests are the bytes of HTTP requests, one for each batch.
func (r *ingestRun) requests(batches [][]proofs.Envelope) [][]byte {
	list := make([][]byte, len(batches))
	for i, batch := range batches {
		var body []byte
		for _, e := range batch {
			body = e.Append(body)
		}
		list[i] = fmt.Appendf(nil, "POST /v1/statements HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			r.address, client.StatementsMediaType, client.NetworkHeader, client.NetworkText(r.g.Network()), len(body), body)
	}
	return list
}

// send sends requests on so many connections, each after the answer to the one before,
// and looks at no more of the answers than that all is accepted.
func (r *ingestRun) send(name string, statements int, requests [][]byte, lines int, before *runtime.MemStats) {
	type line struct {
		conn net.Conn
		in   *bufio.Reader
		buf  bytes.Buffer
	}
	all := make([]*line, lines)
	for i := range all {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			r.b.Fatal(err)
		}
		defer conn.Close()
		all[i] = &line{conn: conn, in: bufio.NewReaderSize(conn, 4<<10)}
		all[i].buf.Grow(2 * 700 * statements / len(requests))
	}
	accepted := []byte(`"status":"accepted"`)
	runtime.ReadMemStats(before)
	r.measure(name, statements, len(requests), lines, func(i, n int) error {
		l := all[i]
		if _, err := l.conn.Write(requests[n]); err != nil {
			return err
		}
		res, err := http.ReadResponse(l.in, nil)
		if err != nil {
			return err
		}
		l.buf.Reset()
		if _, err := io.Copy(&l.buf, res.Body); err != nil {
			return err
		}
		if want := statements / len(requests); res.StatusCode != http.StatusOK || bytes.Count(l.buf.Bytes(), accepted) != want {
			return fmt.Errorf("status %d, %d of %d accepted: %.300s", res.StatusCode, bytes.Count(l.buf.Bytes(), accepted), want, l.buf.Bytes())
		}
		return nil
	})
}

const createReference = `
CREATE TABLE reference (
    epoch bigint NOT NULL, worker bytea NOT NULL, sample integer NOT NULL, id bytea NOT NULL, signature bytea NOT NULL, body bytea NOT NULL,
    arrival_epoch bigint NOT NULL, arrival_sample integer NOT NULL, PRIMARY KEY (epoch, worker, sample))`

const insertReference = `
INSERT INTO reference SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::integer[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[], $8::integer[])
ON CONFLICT DO NOTHING`

func (r *ingestRun) openReference() {
	for i := range r.conns {
		r.conns[i] = r.g.Connect()
	}
	if _, err := r.conns[0].Exec(r.b.Context(), createReference); err != nil {
		r.b.Fatal(err)
	}
}

func (r *ingestRun) truncate() {
	r.b.StopTimer()
	defer r.b.StartTimer()
	if _, err := r.conns[0].Exec(r.b.Context(), `TRUNCATE reference`); err != nil {
		r.b.Fatal(err)
	}
}

// reference verifies and stores one batch; as VALUES where sql is "".
func (r *ingestRun) reference(line int, batch []proofs.Envelope, sql string) error {
	n := len(batch)
	epochs, samples, zeros, zero := make([]int64, n), make([]int32, n), make([]int64, n), make([]int32, n)
	workers, ids, signatures, bodies := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i := range batch {
		e := &batch[i]
		if !stdlib.Verify(e.Signer[:], proofs.SignedBytes(r.g.Network(), e.Kind, e.Body), e.Signature[:]) {
			return errors.New("a signature does not verify")
		}
		u, err := proofs.ParseUptime(e.Body)
		if err != nil {
			return err
		}
		id := e.ID()
		epochs[i], samples[i], workers[i], ids[i], signatures[i], bodies[i] = int64(u.Epoch), int32(u.Sample), e.Signer[:], id[:], e.Signature[:], e.Body
	}
	args := []any{epochs, workers, samples, ids, signatures, bodies, zeros, zero}
	if sql == "" {
		sql, args = valuesOf(n, epochs, workers, samples, ids, signatures, bodies)
	}
	_, err := r.conns[line].Exec(r.b.Context(), sql, args...)
	return err
}

func valuesOf(n int, epochs []int64, workers [][]byte, samples []int32, ids, signatures, bodies [][]byte) (string, []any) {
	b := []byte(`INSERT INTO reference VALUES `)
	var args []any
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		k := len(args)
		b = fmt.Appendf(b, "($%d,$%d,$%d,$%d,$%d,$%d,0,0)", k+1, k+2, k+3, k+4, k+5, k+6)
		args = append(args, epochs[i], workers[i], samples[i], ids[i], signatures[i], bodies[i])
	}
	return string(append(b, ` ON CONFLICT DO NOTHING`...)), args
}
