package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasARule(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rooms {
		if known[r.path] {
			t.Errorf("%q is in the table twice", r.path)
		}
		known[r.path] = true
		for _, m := range r.may {
			if !slices.ContainsFunc(rooms, func(o room) bool { return o.path == m }) {
				t.Errorf("%q may import %q, which is not in the table", r.path, m)
			}
		}
	}
	told := map[string]bool{}
	for _, s := range readSources(t) {
		if !known[s.room] && !told[s.room] {
			told[s.room] = true
			t.Errorf("package %s has no rule in rooms_test.go", s.room)
		}
	}
}

// What a room imports of ours, in its own files.
func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, s := range readSources(t) {
		if s.test {
			continue
		}
		i := slices.IndexFunc(rooms, func(r room) bool { return r.path == s.room })
		if i < 0 {
			continue // told by the test above
		}
		for _, p := range s.imports {
			if p != module && !strings.HasPrefix(p, module+"/") {
				continue
			}
			of := strings.TrimPrefix(strings.TrimPrefix(p, module), "/")
			if !slices.Contains(rooms[i].may, of) {
				t.Errorf("%s imports %q, which %q may not", s.path, of, s.room)
			}
		}
	}
}

// What a room reaches through others, theirs and ours.
func TestRoomsReachNothingForbidden(t *testing.T) {
	graph := listImports(t)
	for _, r := range rooms {
		from := path.Join(module, r.path)
		if _, exists := graph[from]; !exists || len(r.never) == 0 {
			continue
		}
		for pkg, way := range reach(graph, from) {
			if within(pkg, r.never) {
				t.Errorf("%q reaches %s: %s", r.path, pkg, strings.Join(way, " -> "))
			}
		}
	}
}

// A pure room gives the same bytes on any machine at any time.
func TestPureRooms(t *testing.T) {
	impure := []string{"os", "net", "syscall", "io/ioutil", "log", "log/slog", "math/rand", "math/rand/v2", "unsafe", "database/sql"}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"}
	for _, s := range readSources(t) {
		if s.test || !slices.ContainsFunc(rooms, func(r room) bool { return r.pure && r.path == s.room }) {
			continue
		}
		for _, p := range s.imports {
			if within(p, impure) {
				t.Errorf("%s imports %s: the room is pure", s.path, p)
			}
		}
		for _, name := range s.uses("time") {
			if slices.Contains(clock, name) {
				t.Errorf("%s uses time.%s: the room is pure", s.path, name)
			}
		}
		if found := s.floats(); len(found) > 0 {
			t.Errorf("%s uses %s: what is computed here is integers", s.path, strings.Join(found, ", "))
		}
	}
}

// Everything builds without a C compiler: cgo is for the one file that talks to NVML,
// in a room where another file stands in for it.
func TestCgoIsForNVMLOnly(t *testing.T) {
	for _, s := range readSources(t) {
		for _, p := range s.imports {
			switch {
			case p == "C":
				t.Errorf(`%s imports "C"`, s.path)
			case within(p, nvml) && s.room != "worker":
				t.Errorf("%s imports %s: only worker may", s.path, p)
			case within(p, nvml) && !s.needsCgo():
				t.Errorf("%s imports %s without //go:build cgo", s.path, p)
			}
		}
	}
}

// The dev chain is for development: of what is shipped, only its own command has it.
func TestWhoImportsTheDevChain(t *testing.T) {
	for _, s := range readSources(t) {
		if s.test || s.room == "cmd/ionet-localnet" || strings.HasPrefix(s.room, "internal/") {
			continue
		}
		if slices.ContainsFunc(s.imports, func(p string) bool { return within(p, devChain) }) && s.room != "chain/localnet" {
			t.Errorf("%s imports chain/localnet", s.path)
		}
	}
}

func TestNoPackageWithoutAName(t *testing.T) {
	for _, s := range readSources(t) {
		if slices.Contains([]string{"util", "utils", "common", "types", "models", "helpers", "misc"}, s.file.Name.Name) {
			t.Errorf("%s: package %s says nothing about what it does", s.path, s.file.Name.Name)
		}
	}
}

// listImports asks the go command what each package of the build imports, tests left
// out; with cgo, which adds files and takes none away.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	// Read here so that the go command knows what our result depends on.
	for _, name := range []string{"go.mod", "go.sum"} {
		if _, err := os.ReadFile(root + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	readSources(t)
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,ImportMap", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	graph := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
			ImportMap  map[string]string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		for i, name := range p.Imports {
			if real, ok := p.ImportMap[name]; ok {
				p.Imports[i] = real
			}
		}
		graph[p.ImportPath] = p.Imports
	}
}

// reach returns every package that from leads to, each with the shortest way.
func reach(graph map[string][]string, from string) map[string][]string {
	ways := map[string][]string{from: {from}}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range graph[queue[0]] {
			if _, seen := ways[next]; !seen {
				ways[next] = append(slices.Clone(ways[queue[0]]), next)
				queue = append(queue, next)
			}
		}
	}
	delete(ways, from)
	return ways
}
