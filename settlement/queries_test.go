package settlement

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// Each query of this package, found in its source, is one that the migrated
// schema can run.
func TestEveryQueryPrepares(t *testing.T) {
	pool := pgtest.New(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	queries := sqlOf(t, ".")
	if len(queries) < 40 {
		t.Errorf("found only %d queries", len(queries))
	}
	for name, sql := range queries {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s: %v\n%s", name, err, sql)
		}
	}
}

// sqlOf returns the constants of a package's source that are SQL, by name, with
// the constants that they are made of put in. It fails where SQL stands in the
// code that is no constant.
func sqlOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	values := map[string]ast.Expr{}
	constant := map[ast.Node]bool{}
	for _, p := range files {
		ast.Inspect(p, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if i < len(v.Values) {
							values[name.Name] = v.Values[i]
							ast.Inspect(v.Values[i], func(n ast.Node) bool { constant[n] = true; return true })
						}
					}
				}
			}
			return true
		})
	}
	queries := map[string]string{}
	for name, value := range values {
		if sql, ok := textOf(value, values); ok && isSQL(sql) {
			queries[name] = sql
		}
	}
	for _, p := range files {
		ast.Inspect(p, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && !constant[n] && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && isSQL(s) {
					t.Errorf("query %.60q is not a constant: this test can't find its parts", s)
				}
			}
			return true
		})
	}
	return queries
}

// textOf evaluates a constant string expression.
func textOf(e ast.Expr, values map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		v, ok := values[e.Name]
		if !ok {
			return "", false
		}
		return textOf(v, values)
	case *ast.BinaryExpr:
		a, ok := textOf(e.X, values)
		b, also := textOf(e.Y, values)
		return a + b, ok && also
	}
	return "", false
}

func isSQL(s string) bool {
	word, _, more := strings.Cut(strings.TrimSpace(s), " ")
	switch word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return more
	}
	return false
}
