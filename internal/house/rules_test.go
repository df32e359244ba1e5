package house

import (
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// The rules above are only as good as these.

func parse(t *testing.T, text string) source {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{path: "x.go", file: f}
}

func TestNeedsCgo(t *testing.T) {
	for text, want := range map[string]bool{
		"package x":                                                 false,
		"//go:build cgo\n\npackage x":                               true,
		"//go:build cgo && linux\n\npackage x":                      true,
		"//go:build !cgo\n\npackage x":                              false,
		"//go:build cgo || linux\n\npackage x":                      false,
		"// Words.\n\n//go:build cgo\n\npackage x":                  true,
		"package x\n\n//go:build cgo\nvar y int":                    false,
		"//go:build linux && !(cgo)\n\npackage x":                   false,
		"//go:build (cgo && linux) || (cgo && !linux)\n\npackage x": true,
	} {
		if got := parse(t, text).needsCgo(); got != want {
			t.Errorf("needsCgo is %v, want %v, of\n%s", got, want, text)
		}
	}
}

func TestUses(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"package x\nimport \"time\"\nvar a, b = time.Now(), time.Second", []string{"Now", "Second"}},
		{"package x\nimport clock \"time\"\nvar a = clock.Now", []string{"Now"}},
		{"package x\nimport \"os\"\nvar time struct{ Now int }\nvar a = time.Now\nvar b = os.Args", nil},
	} {
		if got := parse(t, c.text).uses("time"); !slices.Equal(got, c.want) {
			t.Errorf("got %v, want %v, of\n%s", got, c.want, c.text)
		}
	}
}

func TestFloats(t *testing.T) {
	got := parse(t, "package x\nvar a float64\nvar b = 1.5\nvar c = 2\ntype d []float32").floats()
	if want := []string{"float64", "1.5", "float32"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReach(t *testing.T) {
	graph := map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"a", "d"}, "e": {"a"}}
	ways := reach(graph, "a")
	for to, want := range map[string][]string{"b": {"a", "b"}, "c": {"a", "c"}, "d": {"a", "b", "d"}} {
		if !slices.Equal(ways[to], want) {
			t.Errorf("the way to %s is %v, want %v", to, ways[to], want)
		}
	}
	if len(ways) != 3 {
		t.Errorf("%d packages are reached, want 3: %v", len(ways), ways)
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		pkg  string
		want bool
	}{{"net", true}, {"net/http", true}, {"netip", false}, {"internal/net", false}} {
		if got := within(c.pkg, []string{"net"}); got != c.want {
			t.Errorf("within(%s, net) is %v, want %v", c.pkg, got, c.want)
		}
	}
}
