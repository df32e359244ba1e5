package settlement

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// The matrix runs every outgoing kind into every fault at every step. `make matrix`
// runs all of it and writes SETTLEMENT-MATRIX.md; `make test` runs each fault into two
// kinds, and so each kind into two faults or more, at one step each: pairs and steps are
// picked by the seed. A cell that failed is run alone by
// its name, as in go test ./settlement -run TestMatrix -matrix.cell=payout/killed-before/8.
var (
	matrixCell    = flag.String("matrix.cell", "", "run the cells whose name is this, or begins so: kind/fault/step")
	matrixFull    = flag.Bool("matrix.full", false, "run the cells of all steps")
	matrixSeed    = flag.Int64("matrix.seed", 0, "pick the pairs and steps of the reduced form by this; by the time when 0")
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
	t.Logf("cells are picked by -matrix.seed=%d", seed)
	chosen := choose(matrixKinds(), matrixFaults(), seed)
	crashing := newServer(t)
	var all []kindResult
	for _, k := range matrixKinds() {
		if *matrixOnly != "" && *matrixOnly != k.slug() || *matrixCell != "" && !strings.HasPrefix(*matrixCell, k.slug()) {
			continue
		}
		t.Run(k.slug(), func(t *testing.T) {
			r := runKind(t, k, seed, chosen, crashing)
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
func runKind(t *testing.T, k matrixKind, seed int64, chosen map[pair]bool, crashing *server) kindResult {
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
		if !*matrixFull && *matrixCell == "" && !chosen[pair{k.name, f.name}] {
			continue
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

// pair is a kind that meets a fault.
type pair struct{ kind, fault string }

// kindsPerFault is how many kinds meet each fault in the reduced form.
const kindsPerFault = 2

// choose picks the pairs of the reduced form: for each fault kinds that can meet it,
// those first that have met the fewest. Where one is left over it gets a fault too.
func choose(kinds []matrixKind, faults []matrixFault, seed int64) map[pair]bool {
	chosen, met := map[pair]bool{}, map[string]int{}
	add := func(k matrixKind, f matrixFault) {
		chosen[pair{k.name, f.name}] = true
		met[k.name]++
	}
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	r.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, f := range faults {
		able := slices.DeleteFunc(slices.Clone(kinds), func(k matrixKind) bool { return !k.canMeet(f) })
		slices.SortStableFunc(able, func(a, b matrixKind) int { return met[a.name] - met[b.name] })
		for _, k := range able[:min(len(able), kindsPerFault)] {
			add(k, f)
		}
	}
	for _, k := range kinds {
		if i := slices.IndexFunc(faults, k.canMeet); met[k.name] == 0 && i >= 0 {
			add(k, faults[i])
		}
	}
	return chosen
}

// canMeet reports whether the kind meets the fault at any of its steps.
func (k matrixKind) canMeet(f matrixFault) bool {
	if k.alone != nil && !slices.Contains(genesisFaults, f.name) {
		return false
	}
	return f.meets == nil || f.meets(k, "commit") || f.meets(k, "rpc sendTransaction")
}

// Whatever the seed, the reduced form leaves out no kind and no fault.
func TestChoose(t *testing.T) {
	for seed := range int64(1000) {
		met := map[string]bool{}
		chosen := choose(matrixKinds(), matrixFaults(), seed)
		for p := range chosen {
			met["kind "+p.kind], met["fault "+p.fault] = true, true
		}
		if got, want := len(met), len(matrixKinds())+len(matrixFaults()); got != want {
			t.Fatalf("seed %d: %d kinds and faults are met, want %d", seed, got, want)
		}
		if most := kindsPerFault*len(matrixFaults()) + len(matrixKinds()); len(chosen) > most {
			t.Fatalf("seed %d: %d pairs, want %d at most", seed, len(chosen), most)
		}
	}
}

// pick returns the steps at which k meets f: all that it may, or, in the reduced form, one
// of them.
func pick(k matrixKind, f matrixFault, steps []string, seed int64) (list []int) {
	for i, step := range steps {
		if k.canMeet(f) && (f.meets == nil || f.meets(k, step)) {
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
