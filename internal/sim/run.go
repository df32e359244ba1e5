package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
)

// run is one seed's way through a world of its own.
type run struct {
	world     *world
	seed      uint64
	rng       *rand.Rand
	database  string // name
	store     *publish.Folder
	storeDir  string
	a, b      *instance
	eyes      *pgxpool.Pool // looks at the database, past all faults
	oracle    *oracle
	status    settlement.Overview // of a, after its last pass
	premature error               // bytes that left too early
	lastErr   error               // of its last pass

	wrong        [endpoints]int // for how many passes the endpoint's view is wrong still
	claims       []*claim       // that wallets were handed
	sent         [][]byte       // transactions that instances sent, oldest first
	spool        []spooled      // statements that workers keep until their epoch is sealed
	proved       map[proof]bool // who proved which sample
	offers       []*claim       // claims that were offered with our signatures
	withdrawals  []proofs.Envelope
	sessions     []*session
	seats        []*seat
	taken        map[ionet.Hash]bool         // of those that were handed in, which were not refused when they were last
	fees         []settlement.Submitted      // statements of sessions, channels, offers and jobs, that their makers keep
	meant        map[chain.Signature][]meant // whom transfers to the vaults are for
	stolen       map[chain.Signature]bool    // transfers from the vaults by the simulation
	forgotten    [][]byte                    // transactions that the database was put back to before
	forgottenFor int                         // passes until they are sent
	asked        [16]byte                    // the last resumption
	backups      []string                    // databases
	previous     map[int]ionet.Hash          // last uptime statement, by provider's number
	halts        string                      // why a halt is expected; "": none is
	tally        tally
	step         int               // at hand
	detail       string            // what else the step at hand heard; no part of the digest
	lines        []string          // of the trace
	digest       hash.Hash         // over them
	verbose      func(line string) // nil: nobody
}

type proof struct {
	number int
	epoch  uint64
	sample uint16
}

// newRun makes the run of a seed on a database and a folder of published files,
// which both are its own.
func newRun(w *world, seed uint64, database, storeDir string) *run {
	r := &run{
		world: w, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x10e7)), database: database, storeDir: storeDir,
		proved: map[proof]bool{}, taken: map[ionet.Hash]bool{}, previous: map[int]ionet.Hash{}, tally: tally{}, meant: map[chain.Signature][]meant{}, stolen: map[chain.Signature]bool{}, digest: sha256.New(),
	}
	r.inherit(w)
	r.a, r.b = newInstance(r, "a", 1), newInstance(r, "b", 2)
	if w.oracle != nil {
		r.oracle = w.oracle.clone()
	} else {
		r.oracle = newOracle()
	}
	return r
}

// entropy is the randomness of the n-th thing of the seed that needs its own.
func (r *run) entropy(n uint64) *rand.ChaCha8 {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.seed)
	binary.LittleEndian.PutUint64(seed[8:], n)
	return rand.NewChaCha8(seed)
}

// play makes the steps of a seed and brings everything to rest. Whatever does not
// hold is a *Broken.
func (r *run) play(ctx context.Context, steps int) error {
	if err := r.start(ctx, r.a); err != nil {
		return err
	}
	for r.step = 1; r.step <= steps; r.step++ {
		act := r.choose()
		outcome, err := act.do(r, ctx)
		if err != nil {
			return r.broken(act.name, err)
		}
		if err := r.look(ctx); err != nil {
			return r.broken(act.name, err)
		}
		if err := r.note(ctx, act.name, outcome); err != nil {
			return r.broken(act.name, err)
		}
		r.tally.add("step "+act.name, 1)
	}
	if err := r.rest(ctx); err != nil {
		return r.broken("rest", err)
	}
	return r.note(ctx, "rest", "all hold")
}

// Broken is a seed that did not hold.
type Broken struct {
	Seed  uint64
	Step  int
	Doing string
	Cause error
	Tail  []string // the last lines of its trace
}

func (b *Broken) Error() string {
	return fmt.Sprintf("seed %d, step %d (%s): %v", b.Seed, b.Step, b.Doing, b.Cause)
}

func (b *Broken) Unwrap() error { return b.Cause }

// tail is how many lines of the trace a failure shows.
const tail = 40

func (r *run) broken(doing string, err error) error {
	return &Broken{Seed: r.seed, Step: r.step, Doing: doing, Cause: err, Tail: r.lines[max(0, len(r.lines)-tail):]}
}

// choose draws the next action.
func (r *run) choose() action {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	n := r.rng.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	return actions[0]
}

// note adds a line to the trace: what was done, what came of it, where the lanes
// are and what the ledger says. All of it follows from the seed.
func (r *run) note(ctx context.Context, name, outcome string) error {
	state, err := r.describe(ctx)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("%4d %-9s %-40s | %d %d %s", r.step, name, outcome, r.world.unix.Load()-r.world.began, r.world.node.Slot(), state)
	fmt.Fprintln(r.digest, line)
	if r.detail != "" {
		line += "\n          " + r.detail
	}
	r.detail = ""
	r.lines = append(r.lines, line)
	if r.verbose != nil {
		r.verbose(line)
	}
	return nil
}

// said keeps an error's text for whoever reads the trace.
func (r *run) said(err error) {
	if err != nil {
		r.detail = err.Error()
	}
}

// Trace is the hash of all lines so far.
func (r *run) Trace() ionet.Hash { return ionet.Hash(r.digest.Sum(nil)) }

// describe renders lanes and ledger.
func (r *run) describe(ctx context.Context) (string, error) {
	rows, err := r.eyes.Query(ctx, selectDescription)
	if err != nil {
		return "", fmt.Errorf("describe the database: %w", err)
	}
	defer rows.Close()
	var parts []string
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return "", fmt.Errorf("describe the database: %w", err)
		}
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, " "), rows.Err()
}

const selectDescription = `
SELECT split_part(name, '-', 1), string_agg(position::text, ',' ORDER BY name COLLATE "C") FROM lanes GROUP BY 1
UNION ALL
SELECT kind, sum::text FROM (
    SELECT CASE WHEN starts_with(account, 'vault:') THEN account ELSE split_part(account, ':', 1) END AS kind, abs(sum(balance)) AS sum
    FROM ledger_balances WHERE NOT starts_with(account, 'vault:allocation:') GROUP BY 1 HAVING sum(balance) <> 0 ORDER BY 1) AS b
UNION ALL
SELECT state, n::text FROM (SELECT state, count(*) AS n FROM attempts GROUP BY 1 ORDER BY 1) AS a`

// close ends the run's connections.
func (r *run) close() {
	r.a.stop()
	r.b.stop()
	if r.eyes != nil {
		r.eyes.Close()
		r.eyes = nil
	}
}

// look holds what must always be so, in the database and on the chain.
func (r *run) look(ctx context.Context) error { return r.oracle.look(ctx, r) }

// backup is the name of the n-th copy of the run's database.
func (r *run) backupName(n int) string { return fmt.Sprintf("%s_backup_%d", r.database, n) }

// begin makes the run of a seed at the world's beginning; end it.
func (w *world) begin(ctx context.Context, seed uint64, dir string) (*run, error) {
	database := fmt.Sprintf("seed_%d", seed)
	if err := w.rewind(); err != nil {
		return nil, err
	}
	if err := w.dbs.copy(ctx, base, database); err != nil {
		return nil, err
	}
	r := newRun(w, seed, database, filepath.Join(dir, database))
	return r, w.copyStore(r.storeDir)
}

// end removes what the run made.
func (r *run) end(ctx context.Context) error {
	r.close()
	errs := []error{r.world.dbs.drop(ctx, r.database), r.world.dbs.drop(ctx, r.database+"_amnesia"), os.RemoveAll(r.storeDir)}
	for _, name := range r.backups {
		errs = append(errs, r.world.dbs.drop(ctx, name))
	}
	return errors.Join(errs...)
}

// rewind puts chain and clock back to where the world was made.
func (w *world) rewind() error {
	if err := w.node.Restore(w.snapshot); err != nil {
		return err
	}
	w.unix.Store(w.began)
	return nil
}
