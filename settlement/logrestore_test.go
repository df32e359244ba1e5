package settlement

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// standing looks at the log and returns how it stands.
func (m *machine) standing() logStanding {
	m.t.Helper()
	if err := m.LookAtLog(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	stand, _, _ := m.receipts.now()
	return stand
}

// mustRefuse holds the service to take nothing into the log, and to say why.
func (m *machine) mustRefuse(why string) {
	m.t.Helper()
	err := m.mayAppend(m.t.Context())
	if problem := (*Problem)(nil); !errors.As(err, &problem) || problem.Type != ProblemBusy || !strings.Contains(problem.Detail, why) {
		m.t.Errorf("mayAppend: %v, want a busy problem that says %q", err, why)
	}
	if h, err := m.Health(m.t.Context()); err != nil || !strings.Contains(h.Receipts, why) {
		m.t.Errorf("health says %q, %v, want %q", h.Receipts, err, why)
	}
	if st, err := m.Log(m.t.Context()); err != nil || !strings.Contains(st.Halted, why) {
		m.t.Errorf("the log's state says %q, %v, want %q", st.Halted, err, why)
	}
	before, err := m.store.Get(m.t.Context(), publish.CheckpointName)
	if err != nil {
		m.t.Fatal(err)
	}
	m.publishLog()
	if after, err := m.store.Get(m.t.Context(), publish.CheckpointName); err != nil || string(after) != string(before) {
		m.t.Errorf("another checkpoint was published over a log that does not agree: %v", err)
	}
}

// copyFolder copies the published store as it is now.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A database is put back, before the service starts or under it, and it grew since in
// another way: the log is a fork of what is published.
func TestForkedLog(t *testing.T) {
	for _, under := range []bool{true, false} {
		m := newMachine(t)
		m.lead()
		m.growLog("a", 300)
		m.publishLog()
		old := m.backup()
		m.growLog("a", 100)
		m.publishLog()
		if under {
			m.pool.Close()
			m.openUnder(old)
		} else {
			m.onDatabase(old)
		}
		m.growLog("b", 150)
		if stand := m.standing(); stand != logForked {
			t.Fatalf("standing is %d, want forked", stand)
		}
		m.mustRefuse("others than those published")
		if !m.saw(EventHalted) {
			t.Error("nobody was told")
		}
	}
}

// openUnder puts another database under the running service.
func (m *machine) openUnder(url string) {
	m.t.Helper()
	m.url = url
	m.Service.pool = m.wires.pool(m.t, url)
	m.Service.front = m.Service.pool
	m.books.pool = m.Service.pool
}

// A database that is put back lacks what is published: nothing is appended until it has it.
func TestLogBehind(t *testing.T) {
	m := newMachine(t)
	m.lead()
	m.growLog("a", 300)
	m.publishLog()
	old := m.backup()
	m.growLog("a", 100)
	m.publishLog()
	m.onDatabase(old)
	if stand := m.standing(); stand != logBehind {
		t.Fatalf("standing is %d, want behind", stand)
	}
	m.mustRefuse("300 records of the receipt log, 400 are published")
	// As the rebuild does.
	m.growLog("a", 100)
	if err := m.LookAtLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.mayAppend(t.Context()); err != nil {
		t.Errorf("with all records again: %v", err)
	}
	m.onDatabase(pgtest.NewURL(t))
	if stand := m.standing(); stand != logBehind {
		t.Errorf("an empty database: standing is %d, want behind", stand)
	}
}

// The published store is put back: the database has more, and publishes it again. What a
// run put that stopped before its checkpoint gives way to what the database says now.
func TestOlderStore(t *testing.T) {
	m := newMachine(t)
	m.lead()
	want := func(i uint64) []byte { return strayRecord(t, "a", i) }
	m.growLog("a", 300)
	m.publishLog()
	older := copyFolder(t, m.store.Dir())
	head := m.growLog("a", 500)
	m.publishLog()
	var err error
	if m.store, err = publish.NewFolder(older); err != nil {
		t.Fatal(err)
	}
	m.reopen()
	m.lead()
	if stand := m.standing(); stand != logAgrees {
		t.Fatalf("standing is %d, want agrees", stand)
	}
	m.publishLog()
	client := newLogClient(t, m.store.Dir(), m.net.Network)
	tracker := client.follow(t, nil)
	if got := tracker.Latest().Size; got != head.Size {
		t.Fatalf("the client sees size %d, want %d", got, head.Size)
	}
	client.check(t, tracker, want, 0, 299, 300, 799)
	m.checkLogFiles(800)
}

// A run stops before its checkpoint, and the database loses what it had put: other
// records take the places, and their files those of the lost ones.
func TestFilesWithoutCheckpoint(t *testing.T) {
	m := newMachine(t)
	m.lead()
	m.growLog("a", 300)
	m.publishLog()
	old := m.backup()
	m.growLog("lost", 400)
	f := &faultyStore{Store: m.store, after: 8, dies: true} // four bundles and tiles of level 0 and 1, then the checkpoint
	m.Service.cfg.Store = f
	if err := m.PublishLog(t.Context()); err == nil {
		t.Fatal("the store did not fail")
	}
	m.onDatabase(old)
	m.lead()
	head := m.growLog("a", 400)
	m.publishLog()
	client := newLogClient(t, m.store.Dir(), m.net.Network)
	tracker := client.follow(t, nil)
	if latest := tracker.Latest(); latest.Size != 700 || string(latest.Hash) != string(head.Root[:]) {
		t.Fatalf("the client sees size %d", latest.Size)
	}
	client.check(t, tracker, func(i uint64) []byte { return strayRecord(t, "a", i) }, 0, 299, 300, 511, 512, 699)
	m.checkLogFiles(700)
}

// Seals that are final bind the log too, where the store was lost.
func TestSealedLogIsBinding(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	head := m.growLog("a", 30)
	m.publishLog()
	m.sealLog(head.Checkpoint)
	empty := m.backup()
	m.growLog("a", 30)
	m.publishLog()
	var err error
	if m.store, err = publish.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{publish.NetworkName(m.net.Network.ID())} {
		if err := m.store.Put(t.Context(), name, m.net.NetworkFile); err != nil {
			t.Fatal(err)
		}
	}
	// The database has what was sealed: it goes on.
	m.onDatabase(empty)
	if stand := m.standing(); stand != logAgrees {
		t.Errorf("a database with all that was sealed: standing is %d, want agrees", stand)
	}
	// It has other records.
	if _, err := m.pool.Exec(t.Context(), `UPDATE seals SET root = $1`, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	if stand := m.standing(); stand != logForked {
		t.Errorf("a database with other records than were sealed: standing is %d, want forked", stand)
	}
	if _, err := m.pool.Exec(t.Context(), `UPDATE seals SET root = $1, size = 31`, head.Root[:]); err != nil {
		t.Fatal(err)
	}
	if stand := m.standing(); stand != logLost {
		t.Errorf("a database without what was sealed: standing is %d, want lost", stand)
	}
	if err := m.mayAppend(t.Context()); err == nil {
		t.Error("a database without what was sealed takes receipts in")
	}
}

// A checkpoint of another key, and tiles that are damaged, stop the publisher.
func TestStrangeStore(t *testing.T) {
	m := newMachine(t)
	m.lead()
	m.growLog("a", 300)
	m.publishLog()
	name := filepath.Join(m.store.Dir(), filepath.FromSlash(publish.TileName(proofs.Tile{Level: 0, Index: 1, Width: 44})))
	tile, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	tile[5] ^= 1
	if err := os.WriteFile(name, tile, 0o644); err != nil {
		t.Fatal(err)
	}
	m.reopen()
	m.lead()
	m.growLog("a", 10)
	if err := m.PublishLog(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged tile: %v", err)
	}
	tile[5] ^= 1
	if err := os.WriteFile(name, tile, 0o644); err != nil {
		t.Fatal(err)
	}
	m.publishLog()
	note, err := proofs.SignCheckpoint(m.net.Network.ID(), keyOf("another"), proofs.LogCheckpoint{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.store.Replace(t.Context(), publish.CheckpointName, note); err != nil {
		t.Fatal(err)
	}
	if stand := m.standing(); stand != logForked {
		t.Errorf("a checkpoint of another key: standing is %d, want forked", stand)
	}
	m.mustRefuse("none of ours")
}
