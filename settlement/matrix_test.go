package settlement

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// The matrix runs every outgoing kind into every fault at every step. `make matrix`
// runs all of it and writes SETTLEMENT-MATRIX.md; `make test` runs each kind into
// each fault at one step, which the seed picks. A cell that failed is run alone by
// its name, as in go test ./settlement -run TestMatrix -matrix.cell=payout/killed-before/8.
var (
	matrixCell    = flag.String("matrix.cell", "", "run the cells whose name is this, or begins so: kind/fault/step")
	matrixFull    = flag.Bool("matrix.full", false, "run the cells of all steps")
	matrixSeed    = flag.Int64("matrix.seed", 0, "pick the steps of the reduced form by this; by the time when 0")
	matrixOut     = flag.String("matrix.out", "", "write the results here, as JSON")
	matrixWorkers = flag.Int("matrix.workers", runtime.NumCPU(), "how many kinds run at once when a report is made")
	matrixReport  = flag.String("matrix.report", "", "run the full matrix, each kind in a process, and write this file")
	matrixOnly    = flag.String("matrix.kind", "", "run this kind alone")
)

// kindResult is what became of one kind's cells.
type kindResult struct {
	Kind  string       `json:"kind"`
	Steps []string     `json:"steps"`
	Cells []cellResult `json:"cells"`
}

type cellResult struct {
	Fault string   `json:"fault"`
	N     int      `json:"n"`
	Met   string   `json:"met"` // the step, "" where the run ended before it
	OK    bool     `json:"ok"`
	Rows  []string `json:"rows,omitempty"` // of the crash table
}

func TestMatrix(t *testing.T) {
	if *matrixReport != "" {
		coordinate(t, *matrixReport)
		return
	}
	seed := *matrixSeed
	if seed == 0 {
		seed = time.Now().UnixNano() % 1_000_000
	}
	t.Logf("steps are picked by -matrix.seed=%d", seed)
	crashing := newServer(t)
	var all []kindResult
	for _, k := range matrixKinds() {
		if *matrixOnly != "" && *matrixOnly != k.slug() || *matrixCell != "" && !strings.HasPrefix(*matrixCell, k.slug()) {
			continue
		}
		t.Run(k.slug(), func(t *testing.T) {
			r := runKind(t, k, seed, crashing)
			t.Logf("%d steps, %d cells", len(r.Steps), len(r.Cells))
			checkSteps(t, r)
			all = append(all, r)
			if *matrixOut != "" {
				writeResult(t, r)
			}
		})
	}
	if *matrixOnly == "" && *matrixCell == "" && !t.Failed() {
		checkTable(t, all)
	}
}

func writeResult(t *testing.T, r kindResult) {
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(*matrixOut, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func slugOf(name string) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(name)
}

func (k matrixKind) slug() string  { return slugOf(k.name) }
func (f matrixFault) slug() string { return slugOf(f.name) }

// perArena is how many cells one network serves: an audit at the end of each walks
// all that they did.
const perArena = 150

// runKind counts the kind's steps and runs the cells that the flags pick.
func runKind(t *testing.T, k matrixKind, seed int64, crashing *server) kindResult {
	r := kindResult{Kind: k.name}
	s := &supply{t: t, kind: k}
	t.Run("none", func(t *testing.T) {
		if k.alone != nil {
			r.Steps, _ = k.alone(t, matrixFault{}, 0)
			return
		}
		r.Steps = s.next().runCell(t, k, matrixFault{}, 0).steps
	})
	for i, step := range r.Steps {
		t.Logf("step %d: %s", i+1, step)
	}
	durable := &supply{t: t, kind: k, server: crashing}
	for _, f := range matrixFaults() {
		of := s
		if f.durable {
			of = durable
		}
		for _, n := range pick(k, f, r.Steps, seed) {
			r.Cells = append(r.Cells, of.runCell(t, k, f, n))
		}
	}
	if !t.Failed() {
		s.end()
		durable.end()
	}
	return r
}

// pick returns the steps at which k meets f: all that it may, or one of them.
func pick(k matrixKind, f matrixFault, steps []string, seed int64) (list []int) {
	for i, step := range steps {
		if k.alone != nil && !slices.Contains(genesisFaults, f.name) {
			break
		}
		if f.meets == nil || f.meets(k, step) {
			list = append(list, i+1)
		}
	}
	switch {
	case *matrixCell != "":
		return slices.DeleteFunc(list, func(n int) bool {
			name := fmt.Sprintf("%s/%s/%d", k.slug(), f.slug(), n)
			last := (*matrixCell)[len(*matrixCell)-1]
			return name != *matrixCell && (!strings.HasPrefix(name, *matrixCell) || '0' <= last && last <= '9')
		})
	case *matrixFull || len(list) == 0:
		return list
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s", seed, k.name, f.name)
	return list[h.Sum64()%uint64(len(list)):][:1]
}

// supply hands out networks: the same again, until a cell fails in it, or it is old.
type supply struct {
	t      *testing.T
	kind   matrixKind
	a      *arena
	cells  int
	server *server // nil: that of all tests
}

func (s *supply) next() *arena {
	if s.a != nil && (s.kind.fresh || s.cells >= perArena) {
		s.end()
	}
	if s.a == nil {
		made := newArena
		if s.kind.arena != nil {
			made = s.kind.arena
		}
		if s.server != nil {
			s.a = made(s.t, s.server.newURL())
			s.a.server = s.server
		} else {
			s.a = made(s.t, pgtest.NewURL(s.t))
		}
		s.cells = 0
	}
	s.cells++
	return s.a
}

// end lets the auditor look at the network, and gives it up.
func (s *supply) end() {
	if s.a != nil {
		s.a.inspect()
		s.drop()
	}
}

func (s *supply) drop() {
	s.a.shut()
	s.a = nil
}

// runCell runs a cell as a test of its own.
func (s *supply) runCell(t *testing.T, k matrixKind, f matrixFault, n int) cellResult {
	r := cellResult{Fault: f.name, N: n}
	name := fmt.Sprintf("%s/%d", f.slug(), n)
	r.OK = t.Run(name, func(t *testing.T) {
		if k.alone != nil {
			_, r.Met = k.alone(t, f, n)
		} else {
			r.Met = s.next().runCell(t, k, f, n).step
		}
		if r.Met != "" {
			r.Rows = crashRows(k, f, r.Met)
		}
	})
	if !r.OK {
		if s.a != nil {
			s.drop()
		}
		t.Logf("alone: go test ./settlement -run TestMatrix -matrix.cell=%s/%s", k.slug(), name)
	}
	if *matrixOut != "" {
		fmt.Fprintf(os.Stderr, "%s %s/%s\n", map[bool]string{true: "ok  ", false: "FAIL"}[r.OK], k.slug(), name)
	}
	return r
}
