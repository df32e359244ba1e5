package settlement

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	tessera "github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// strayRecord is a record of the log that moves no money, number index of a history.
func strayRecord(t testing.TB, history string, index uint64) []byte {
	t.Helper()
	return strayRecordAt(t, history, index, 1_700_000_000+int64(index))
}

func strayRecordAt(t testing.TB, history string, index uint64, accepted int64) []byte {
	t.Helper()
	r := proofs.Record{Index: index, Accepted: accepted, Entry: proofs.SessionOver{Session: ionet.HashOf([]byte(history), binary.LittleEndian.AppendUint64(nil, index))}}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// growLog appends n records to the log in one transaction, as the log's writer does.
func (m *machine) growLog(history string, n int) logHead {
	m.t.Helper()
	return m.growBy(n, func(i uint64) []byte { return strayRecord(m.t, history, i) })
}

func (m *machine) growBy(n int, record func(uint64) []byte) logHead {
	m.t.Helper()
	ctx := m.t.Context()
	err := m.inTx(ctx, func(tx pgx.Tx) error {
		var size int64
		var roots []byte
		if err := tx.QueryRow(ctx, `SELECT size, frontier FROM log_head FOR UPDATE`).Scan(&size, &roots); err != nil {
			return err
		}
		f, err := proofs.ParseFrontier(append(binary.LittleEndian.AppendUint64(nil, uint64(size)), roots...))
		if err != nil {
			return err
		}
		var indexes []int64
		var records, keys [][]byte
		for i := range n {
			r := record(uint64(size) + uint64(i))
			f.Append(r)
			indexes, records, keys = append(indexes, size+int64(i)), append(records, r), append(keys, make([]byte, 16))
		}
		if _, err := tx.Exec(ctx, `INSERT INTO log_entries (index, tag, key, arrival_epoch, arrival_sample, record)
			SELECT i, 7, k, 1, 0, r FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS t (i, k, r)`, indexes, keys, records); err != nil {
			return err
		}
		root := f.Root()
		encoded, err := f.MarshalBinary()
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE log_entries SET root = $2 WHERE index = $1`, size+int64(n)-1, root[:])
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE log_head SET size = $1, frontier = $2, fees = fees + $3`, size+int64(n), encoded[8:], n)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	head, err := readLogHead(ctx, m.pool)
	if err != nil {
		m.t.Fatal(err)
	}
	return head
}

// lead makes the service the leader.
func (m *machine) lead() {
	m.t.Helper()
	if err := m.Settle(m.t.Context()); err != nil || m.leaseNumber() == 0 {
		m.t.Fatalf("does not lead: %v", err)
	}
}

func (m *machine) publishLog() {
	m.t.Helper()
	if err := m.PublishLog(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// logClient is Tessera's client of our log, over HTTP, as any other program has it.
type logClient struct {
	*tessera.HTTPFetcher
	verifier note.Verifier
	origin   string
}

func newLogClient(t testing.TB, dir string, network *ionet.Network) *logClient {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL + "/log/")
	if err != nil {
		t.Fatal(err)
	}
	f, err := tessera.NewHTTPFetcher(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := proofs.LogVerifierKey(network.ID(), network.Keys.Service)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	return &logClient{f, v, proofs.LogOrigin(network.ID())}
}

// follow reads the newest checkpoint and checks it against the one before.
func (c *logClient) follow(t testing.TB, former *tessera.LogStateTracker) *tessera.LogStateTracker {
	t.Helper()
	if former == nil {
		tracker, err := tessera.NewLogStateTracker(t.Context(), c.ReadTile, nil, c.verifier, c.origin, tessera.UnilateralConsensus(c.ReadCheckpoint))
		if err != nil {
			t.Fatal(err)
		}
		return tracker
	}
	if _, _, _, err := former.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	return former
}

// check reads records by their bundles and checks that each is included.
func (c *logClient) check(t testing.TB, of *tessera.LogStateTracker, want func(uint64) []byte, indexes ...uint64) {
	t.Helper()
	latest := of.Latest()
	builder, err := tessera.NewProofBuilder(t.Context(), latest.Size, c.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range indexes {
		bundle, err := tessera.GetEntryBundle(t.Context(), c.ReadEntryBundle, i/proofs.TileWidth, latest.Size)
		if err != nil {
			t.Fatalf("entry %d of %d: %v", i, latest.Size, err)
		}
		record := bundle.Entries[i%proofs.TileWidth]
		if string(record) != string(want(i)) {
			t.Errorf("entry %d of %d is another record", i, latest.Size)
		}
		path, err := builder.InclusionProof(t.Context(), i)
		if err != nil {
			t.Fatalf("entry %d of %d: %v", i, latest.Size, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, latest.Size, rfc6962.DefaultHasher.HashLeaf(record), path, latest.Hash); err != nil {
			t.Errorf("entry %d of %d: %v", i, latest.Size, err)
		}
	}
}

// Tessera's client follows our log as it grows, checks every step's consistency, and
// finds records in it. Our own proofs say the same.
func TestTesseraReadsOurLog(t *testing.T) {
	m := newMachine(t)
	m.lead()
	client := newLogClient(t, m.store.Dir(), m.net.Network)
	m.publishLog()
	tracker := client.follow(t, nil)
	want := func(i uint64) []byte { return strayRecord(t, "a", i) }
	size := uint64(0)
	sizes := []uint64{0}
	var roots []ionet.Hash
	roots = append(roots, ionet.HashOf())
	for _, grown := range []int{1, 1, 5, 248, 1, 1, 255, 1, 1000, 3, 64_500, 10, 300, 70_000} {
		head := m.growLog("a", grown)
		size += uint64(grown)
		m.publishLog()
		client.follow(t, tracker)
		latest := tracker.Latest()
		if latest.Size != size || ionet.Hash(latest.Hash) != head.Root {
			t.Fatalf("the client sees size %d, want %d with the head's root", latest.Size, size)
		}
		sizes, roots = append(sizes, size), append(roots, head.Root)
		client.check(t, tracker, want, 0, size/3, size/2, size-1, size-uint64(grown))
		st, err := m.Log(t.Context())
		if err != nil || st.Published.Size != size && st.Published.Size != sizes[len(sizes)-2] || st.Size != size {
			t.Errorf("Log: %+v, %v", st, err)
		}
	}
	m.goTo(handTime.Load() + 2)
	for i, n := range sizes {
		for j, k := range sizes[i:] {
			path, err := m.Consistency(t.Context(), n, k)
			if err != nil {
				t.Fatal(err)
			}
			if err := proofs.CheckConsistency(path, roots[i], n, roots[i+j], k); err != nil {
				t.Errorf("from %d to %d: %v", n, k, err)
			}
		}
		for _, index := range []uint64{0, n / 2, n - 1} {
			if n == 0 {
				continue
			}
			path, err := m.Inclusion(t.Context(), index, n)
			if err != nil {
				t.Fatal(err)
			}
			if err := proofs.CheckInclusion(path, roots[i], n, index, proofs.LeafHash(want(index))); err != nil {
				t.Errorf("record %d of %d: %v", index, n, err)
			}
		}
	}
	m.checkLogFiles(size)
}

// checkLogFiles: the folder holds the bundles and tiles of a log of that size, and of its
// partial tiles those that no full one replaced.
func (m *machine) checkLogFiles(size uint64) {
	m.t.Helper()
	names, err := m.store.List("log/")
	if err != nil {
		m.t.Fatal(err)
	}
	full := map[string]bool{publish.CheckpointName: false}
	for level, n := 0, size; n > 0; level, n = level+1, n/proofs.TileWidth {
		for i := range n / proofs.TileWidth {
			full[publish.TileName(proofs.Tile{Level: level, Index: i, Width: proofs.TileWidth})] = false
			if level == 0 {
				full[publish.EntriesName(i, proofs.TileWidth)] = false
			}
		}
	}
	edge := map[string]bool{}
	for _, t := range proofs.RightEdge(size) {
		edge[publish.TileName(t)] = false
	}
	for _, name := range names {
		if _, ok := full[name]; ok {
			full[name] = true
			continue
		}
		if _, ok := edge[name]; ok {
			edge[name] = true
		}
		var level, width int
		var index uint64
		if t, entries, err := proofs.ParseLogPath(name[len("log/"):]); err != nil || t.Width == proofs.TileWidth {
			m.t.Errorf("%s is no file of a log of size %d", name, size)
		} else {
			level, width, index = t.Level, t.Width, t.Index
			if last := size >> (8 * level) / proofs.TileWidth; index != last || entries && level != 0 || uint64(width) > size>>(8*level)%proofs.TileWidth {
				m.t.Errorf("%s is of no use for a log of size %d", name, size)
			}
		}
	}
	for _, want := range []map[string]bool{full, edge} {
		for name, there := range want {
			if !there {
				m.t.Errorf("%s is missing", name)
			}
		}
	}
}
