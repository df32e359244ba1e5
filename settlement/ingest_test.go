package settlement

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/migrations"
	"github.com/ionet-settlement/ionet/proofs"
)

// Ingest is a service on a database that syncs its log, with many registered hosts, for
// the benchmark that also needs the room above this one (package settlement_test).
type Ingest struct {
	*books
	hosts   []*host
	samples int // used so far

	postmaster int // process id
}

// NewIngest registers so many hosts of one device each.
func NewIngest(b testing.TB, hosts int) *Ingest {
	b.Helper()
	db, err := devdb.Start(b.Context(), devdb.Config{Dir: filepath.Join(b.TempDir(), "postgres")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Stop(context.Background()) })
	if err := migrations.Apply(b.Context(), pgtest.Open(b, db.URL())); err != nil {
		b.Fatal(err)
	}
	g := &Ingest{books: newBooksOn(b, testPolicy, db.URL())}
	for i := range hosts {
		g.hosts = append(g.hosts, g.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	for part := range slices.Chunk(g.hosts, MaxSubmitted/2) {
		var all []proofs.Envelope
		for _, h := range part {
			all = append(all, h.delegation, h.inventory)
		}
		g.accept(all...)
	}
	g.exec(`VACUUM ANALYZE`)
	g.postmaster = g.count(`SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer`)
	return g
}

// Next signs the statements of all hosts for the next sample. Unsigned ones, which only a
// test of the table can use, cost nothing to make.
func (g *Ingest) Next(sign bool) []proofs.Envelope {
	g.t.Helper()
	k, sample := uint64(1+g.samples/testSamples), uint16(g.samples%testSamples)
	g.samples++
	g.toSample(k, sample)
	beacon, err := g.Beacon(g.t.Context(), k, sample)
	if err != nil {
		g.t.Fatal(err)
	}
	all := make([]proofs.Envelope, len(g.hosts))
	for i, h := range g.hosts {
		u := proofs.Uptime{
			Epoch: k, Sample: sample, BeaconSlot: beacon.Slot, BeaconHash: beacon.Hash, Previous: h.previous, Delegation: h.delegation.ID(), Inventory: h.inventory.ID(),
			Devices: []proofs.UptimeDevice{{Utilization: 50, MemoryMiB: 1024, Temperature: 60, PowerW: 300, SMMHz: 1755, MemoryMHz: 2619, Processes: 1}},
		}
		body, err := u.Encode()
		if err != nil {
			g.t.Fatal(err)
		}
		all[i] = proofs.Envelope{Kind: proofs.KindUptime, Signer: h.worker(), Body: body}
		if sign {
			all[i] = proofs.Sign(g.net.Network.ID(), proofs.KindUptime, h.key, body)
		}
		h.previous = all[i].ID()
	}
	return all
}

// Stored is how many uptime statements are in the table.
func (g *Ingest) Stored() int { return g.count(`SELECT count(*) FROM uptimes`) }

// Network is that of the statements.
func (g *Ingest) Network() ionet.Hash { return g.net.Network.ID() }

// Connect opens a connection of its own.
func (g *Ingest) Connect() *pgx.Conn {
	g.t.Helper()
	conn, err := pgx.Connect(g.t.Context(), g.url)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// WAL is where the database's log ends, and how many whole pages are in it.
func (g *Ingest) WAL() (end, pages int) {
	g.t.Helper()
	err := g.pool.QueryRow(g.t.Context(), `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, (SELECT wal_fpi FROM pg_stat_wal)`).Scan(&end, &pages)
	if err != nil {
		g.t.Fatal(err)
	}
	return end, pages
}

// CPU is the processor time that this process and the database's have used so far, as
// far as Linux tells it in ticks of 10 ms.
func (g *Ingest) CPU() (sum time.Duration) {
	server := strconv.Itoa(g.postmaster)
	children, _ := os.ReadFile("/proc/" + server + "/task/" + server + "/children")
	for _, pid := range append(strings.Fields(string(children)), "self") {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		i := bytes.LastIndexByte(b, ')')
		if err != nil || i < 0 {
			continue
		}
		f := strings.Fields(string(b[i+1:]))
		if len(f) < 13 {
			continue
		}
		for _, ticks := range f[11:13] {
			n, _ := strconv.Atoi(ticks)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// Table is what is stored of batches, ready for the one statement that stores each.
type Table struct {
	g       *Ingest
	batches [][]*item
	top     *fact
}

// Prepare looks up what batches name.
func (g *Ingest) Prepare(batches [][]proofs.Envelope) *Table {
	g.t.Helper()
	t := &Table{g: g}
	for _, envelopes := range batches {
		items := make([]*item, len(envelopes))
		for i, e := range envelopes {
			u, err := proofs.ParseUptime(e.Body)
			if err != nil {
				g.t.Fatal(err)
			}
			items[i] = &item{envelope: e, id: e.ID(), body: &u, arrival: g.arrival()}
		}
		var err error
		if t.top, err = g.learnFacts(g.t.Context(), items, g.arrival().Epoch); err != nil {
			g.t.Fatal(err)
		}
		batch := g.fitting(items)
		if len(batch) != len(envelopes) {
			g.t.Fatalf("%d of %d statements fit", len(batch), len(envelopes))
		}
		t.batches = append(t.batches, batch)
	}
	return t
}

// Insert stores batch n.
func (t *Table) Insert(n int) error {
	p, err := t.g.insertBatch(context.Background(), t.batches[n], t.top)
	if err == nil && p != nil {
		err = p
	}
	return err
}
