package house

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ionet-settlement/ionet"

// root is the repository's folder, seen from this package's.
const root = "../.."

// source is one Go file of ours.
type source struct {
	path    string // below the repository, with slashes
	room    string // its folder, "" at the root
	test    bool
	file    *ast.File
	imports []string
}

// readSources parses every Go file of the module, whatever its build constraints: the
// rules hold on every platform.
func readSources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, ".go", func(rel string, text []byte) {
		f, err := parser.ParseFile(token.NewFileSet(), rel, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: rel, room: strings.TrimPrefix(path.Dir(rel), "."), test: strings.HasSuffix(rel, "_test.go"), file: f}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", rel, err)
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
	})
	if len(all) < 20 {
		t.Fatalf("found %d Go files only: not the repository?", len(all))
	}
	return all
}

// walk visits the repository's files with one ending, leaving out what git ignores
// and what tests keep as data.
func walk(t *testing.T, ext string, visit func(rel string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			skip := slices.Contains([]string{"bin", "node_modules", "testdata"}, d.Name()) || (rel != "." && strings.HasPrefix(d.Name(), "."))
			if skip {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ext {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// needsCgo reports whether a file is left out of a build without cgo.
func (s source) needsCgo() bool {
	for _, group := range s.file.Comments {
		if group.Pos() > s.file.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return tag != "cgo" }) {
				return true
			}
		}
	}
	return false
}

// uses lists the names that the file takes from an imported package.
func (s source) uses(pkg string) (names []string) {
	local := ""
	for _, i := range s.file.Imports {
		if i.Path.Value != strconv.Quote(pkg) {
			continue
		}
		local = path.Base(pkg)
		if i.Name != nil {
			local = i.Name.Name
		}
	}
	if local == "" {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
			names = append(names, sel.Sel.Name)
		}
		return true
	})
	return names
}

// floats lists the floating-point types and numbers that the file names.
func (s source) floats() (found []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if n.Name == "float32" || n.Name == "float64" {
				found = append(found, n.Name)
			}
		case *ast.BasicLit:
			if n.Kind == token.FLOAT {
				found = append(found, n.Value)
			}
		}
		return true
	})
	return found
}

// within reports whether a package lies at or below one of the paths.
func within(pkg string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return pkg == p || strings.HasPrefix(pkg, p+"/") })
}
