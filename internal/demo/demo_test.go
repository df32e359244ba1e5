package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// testPace is five seconds for an hour: acceptance tests run many epochs.
var testPace = pace{
	epochSeconds: 5, samples: 5, minimum: 3, late: 5, lateLimit: 5, grace: 3, feeGrace: 2, record: emissions.RecordRoot,
	slot: 20 * time.Millisecond, startIn: 6 * time.Second, payoutEvery: time.Hour,
	checkpointEvery: 300 * time.Millisecond, sealEvery: time.Second,
	between: time.Second,
}

var allHold = regexp.MustCompile(`(?m)(\d+) epochs?, (\d+) verdicts?, (\d+) payouts?(?:, \d+ receipts?)?: all hold$`)

// TestDemo is `make demo` itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := demo(ctx, []string{"--dir", t.TempDir()}, io.MultiWriter(&out, testLog{t})); err != nil {
		t.Fatalf("demo: %v", err)
	}
	// Renter, proxy, worker and log tell the same story: four inferences, each with a
	// receipt, the last of which is verified with the service and without.
	for want, times := range map[string]int{
		`renter    (?:chat|embedding|image):? .*, job [0-9a-f]{32}\n`: 4, `log       receipt \d+: job [0-9a-f]{32}, `: 4, `log       \d+ records, 4 inferences, `: 1,
		`renter    verified\n`: 2, `renter    paid: final in slot `: 1, `ionetd    fees of \S+ IO to 1 payee, `: 1,
	} {
		if got := len(regexp.MustCompile(want).FindAllString(out.String(), -1)); got != times {
			t.Errorf("the demo says %q %d times, want %d", want, got, times)
		}
	}
	m := allHold.FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("the demo's output has no line %q", allHold)
	}
	for i, want := range []int{3, 3 * hosts * devices, hosts} {
		if got, err := strconv.Atoi(m[i+1]); err != nil || got < want {
			t.Errorf("%s: number %d is %s, want at least %d", m[0], i+1, m[i+1], want)
		}
	}
}

// TestMultisigDemo is the same story where 2 of 3 members mint and pay, all of them
// processes of their own, and one is lost before a claim and a payout.
func TestMultisigDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s := newTestStage(t, ctx)
	s.multisig = true
	must(t, s.mainJob(ctx, 2))
	s.wantHolds(t, ctx)
	if got := len(s.network.Multisigs); got != 3 {
		t.Errorf("the network has %d multisigs, want 3", got)
	}
	for _, name := range []string{"operator.json", "fees.json", "lane-secret.json"} {
		if _, err := os.Stat(filepath.Join(s.place(), name)); err == nil {
			t.Errorf("the service's folder holds %s", name)
		}
	}
}

// TestKillRestoreTamper is the life of one network under an unkind operator:
// kill -9, an old backup, then damage that an auditor must name.
func TestKillRestoreTamper(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s := openStage(t, ctx)

	must(t, s.sealed(ctx, 1))
	s.service.kill()
	must(t, s.serve(ctx))
	must(t, s.claim(ctx, 1))
	must(t, s.rent(ctx))
	must(t, s.payoutsRun(ctx))
	backupAt := s.head(t, ctx)
	must(t, s.db.Snapshot(ctx, "ionet", "backup"))
	must(t, s.sealed(ctx, backupAt+2))
	must(t, s.claim(ctx, 1))
	must(t, s.payoutsRun(ctx))
	s.service.kill()
	s.wantHolds(t, ctx)

	must(t, s.db.Snapshot(ctx, "backup", "ionet"))
	must(t, s.serve(ctx))
	must(t, s.sealed(ctx, backupAt+4))
	must(t, s.payoutsRun(ctx))
	s.wantHolds(t, ctx)

	t.Run("published byte", func(t *testing.T) { s.flipPublished(t, ctx) })
	t.Run("published receipt", func(t *testing.T) { s.flipReceipt(t, ctx) })
	t.Run("stored statement", func(t *testing.T) { s.flipStatement(t, ctx) })
	t.Run("verdict amount", func(t *testing.T) { s.shiftVerdict(t, ctx) })
}

// newTestStage is an empty stage that is closed with the test.
func newTestStage(t *testing.T, ctx context.Context) *stage {
	t.Helper()
	dir, unlock, err := newRun(t.TempDir())
	must(t, err)
	s, err := newStage(ctx, testPace, dir, testLog{t})
	must(t, err)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Errorf("stop the network: %v", err)
		}
		unlock()
	})
	return s
}

func openStage(t *testing.T, ctx context.Context) *stage {
	t.Helper()
	s := newTestStage(t, ctx)
	for _, step := range []func(context.Context) error{s.startChain, s.genesis, s.serve, s.addWorkers, s.openAccounts} {
		must(t, step(ctx))
	}
	return s
}

func (s *stage) head(t *testing.T, ctx context.Context) uint64 {
	t.Helper()
	h, err := s.api.Head(ctx)
	must(t, err)
	return h.Sealed
}

func (s *stage) wantHolds(t *testing.T, ctx context.Context) {
	t.Helper()
	code, out, err := s.audit(ctx)
	must(t, err)
	if code != 0 || !allHold.MatchString(out) {
		t.Fatalf("audit: exit status %d, want 0 and %q", code, allHold)
	}
}

// wantFinding audits and wants exit status 1 and a finding that matches.
func (s *stage) wantFinding(t *testing.T, ctx context.Context, store, finding string) {
	t.Helper()
	code, out, err := run(ctx, io.Discard, s.log, "audit", filepath.Join(s.bin, "ionet-audit"),
		"--rpc", s.rpc, "--mint", s.network.Mint.String(), "--store", store)
	must(t, err)
	if code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	if !regexp.MustCompile(finding).MatchString(out) {
		t.Errorf("no finding matches %q in\n%s", finding, out)
	}
}

// flipPublished changes one byte of one file of every kind in a copy of the
// published store.
func (s *stage) flipPublished(t *testing.T, ctx context.Context) {
	for _, kind := range []string{"books", "contents", "network"} {
		store := t.TempDir()
		must(t, os.CopyFS(filepath.Join(store, "s"), os.DirFS(s.published())))
		files, err := filepath.Glob(filepath.Join(store, "s", kind, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no published file in %s: %v", kind, err)
		}
		file, err := os.ReadFile(files[0])
		must(t, err)
		file[len(file)/2] ^= 1
		must(t, os.Chmod(files[0], 0o644))
		must(t, os.WriteFile(files[0], file, 0o644))
		s.wantFinding(t, ctx, filepath.Join(store, "s"), `(?m)^(epoch \d+|network): rule (book|content|network-file)`)
	}
}

// flipReceipt changes one byte of the published receipt log.
func (s *stage) flipReceipt(t *testing.T, ctx context.Context) {
	store := filepath.Join(t.TempDir(), "s")
	must(t, os.CopyFS(store, os.DirFS(s.published())))
	head, err := os.ReadFile(filepath.Join(store, "log", "checkpoint"))
	must(t, err)
	c, err := proofs.OpenCheckpoint(s.network.ID(), s.network.Keys.Service, head)
	must(t, err)
	name := filepath.Join(store, filepath.FromSlash(publish.EntriesName(0, int(min(c.Size, proofs.TileWidth)))))
	file, err := os.ReadFile(name)
	must(t, err)
	file[len(file)/2] ^= 1
	must(t, os.Chmod(name, 0o644))
	must(t, os.WriteFile(name, file, 0o644))
	s.wantFinding(t, ctx, store, `rule (log|fee|receipt|seal|checkpoint)`)
}

// flipStatement changes one byte of a stored statement before its epoch closes.
func (s *stage) flipStatement(t *testing.T, ctx context.Context) {
	db := s.connect(t, ctx)
	var epoch uint64
	err := db.QueryRow(ctx, `
		UPDATE uptimes SET signed = set_byte(signed, 40, get_byte(signed, 40) # 1)
		WHERE (ring, epoch, worker, sample, half) = (SELECT ring, epoch, worker, sample, half FROM uptimes ORDER BY epoch DESC, sample LIMIT 1)
		RETURNING epoch`).Scan(&epoch)
	must(t, err)
	must(t, s.sealed(ctx, epoch))
	s.wantFinding(t, ctx, s.published(), `(?m)^epoch `+ionet.MustAmount(epoch).String()+`: rule signature`)
}

// shiftVerdict moves one base unit from one verdict to another between computing
// and minting: the trigger acts inside the transaction that stores the verdicts.
// The sum stays, so only a replay can tell.
func (s *stage) shiftVerdict(t *testing.T, ctx context.Context) {
	db := s.connect(t, ctx)
	epoch := s.head(t, ctx) + 2
	for _, q := range []string{`
		CREATE FUNCTION shift_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.amount > 0 AND NEW.epoch = ` + ionet.MustAmount(epoch).String() + ` THEN
				NEW.amount := NEW.amount + CASE (SELECT count(*) FROM verdicts v WHERE v.epoch = NEW.epoch AND v.amount > 0)
					WHEN 0 THEN 1 WHEN 1 THEN -1 ELSE 0 END;
			END IF;
			RETURN NEW; END $$`,
		`CREATE TRIGGER shift_one BEFORE INSERT ON verdicts FOR EACH ROW EXECUTE FUNCTION shift_one()`,
	} {
		_, err := db.Exec(ctx, q)
		must(t, err)
	}
	must(t, s.sealed(ctx, epoch))
	s.wantFinding(t, ctx, s.published(), `(?m)^epoch `+ionet.MustAmount(epoch).String()+`: rule split`)
}

func (s *stage) connect(t *testing.T, ctx context.Context) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(ctx, s.db.URL())
	must(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog shows the children's lines in the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
