package web

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The API's document names every path that the mux knows but the pages, and whatever it
// refers to is in it.
func TestOpenAPI(t *testing.T) {
	h := open(t)
	_, b := h.send(request{method: http.MethodGet, path: "/openapi.json"})
	var doc struct {
		Paths map[string]map[string]struct {
			Summary    string
			Parameters []struct{ Name, In, Description string }
			Responses  map[string]struct {
				Description string
				Content     map[string]any
			}
		}
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Type any }
			}
		}
	}
	check(t, json.Unmarshal(b, &doc))
	source, err := os.ReadFile("handler.go")
	check(t, err)
	patterns := regexp.MustCompile(`mux\.Handle(?:Func)?\("(GET|POST) (/[^"]*)"`).FindAllStringSubmatch(string(source), -1)
	if len(patterns) < 6 {
		t.Fatalf("found %d patterns in handler.go", len(patterns))
	}
	pages := map[string]bool{"/{$}": true, "/delegate": true}
	for _, p := range patterns {
		path := p[2]
		if path == "/files/" {
			path = "/files/{name}"
		}
		if _, ok := doc.Paths[path][strings.ToLower(p[1])]; !ok && !pages[path] && !strings.HasPrefix(path, "/delegate.") {
			t.Errorf("%s %s is not described", p[1], path)
		}
	}
	operations := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			if op.Summary == "" || len(op.Responses) < 2 {
				t.Errorf("%s %s has summary %q and %d answers", method, path, op.Summary, len(op.Responses))
			}
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range op.Parameters {
					found = found || p.In == "path" && p.Name == name[1]
				}
				if !found {
					t.Errorf("%s %s does not describe %s", method, path, name[1])
				}
			}
		}
	}
	signed := false
	for _, p := range doc.Paths["/v1/renters/{key}/receipts"]["get"].Parameters {
		signed = signed || p.In == "header" && p.Name == "Ionet-Read" && p.Description != ""
	}
	if !signed {
		t.Error("a renter's receipts do not tell of their signature")
	}
	if operations < 46 {
		t.Errorf("%d operations", operations)
	}
	refs := regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllSubmatch(b, -1)
	for _, ref := range refs {
		if _, ok := doc.Components.Schemas[string(ref[1])]; !ok {
			t.Errorf("schema %s is referred to and not there", ref[1])
		}
	}
	for schema, fields := range map[string][]string{
		"Problem": {"type", "title", "status", "detail", "field", "retry_after"},
		"Results": {"results", "problem"}, "Result": {"id", "status", "ack", "problem"},
		"Session": {"free", "channels", "statement"}, "Receipt": {"record", "published", "sealed"}, "SealedReceipt": {"proof", "memo", "signature"}, "Dispute": {"file", "state"},
		"EarningsPage": {"rows", "next", "through"}, "Delegation": {"envelope", "revoked"}, "DelegationText": {"text", "id"}, "Rule": {"rule", "name", "text", "evidence"},
	} {
		for _, f := range fields {
			if _, ok := doc.Components.Schemas[schema].Properties[f]; !ok {
				t.Errorf("schema %s lacks %s", schema, f)
			}
		}
	}
}
