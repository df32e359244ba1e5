package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ionet-settlement/ionet/worker"
)

// A back end that answers nothing but what is sold works: doctor warns, and names what it
// asked.
func TestDoctorOfABackEndWithoutList(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "offer.toml")
	text := "endpoint=\"http://127.0.0.1:1\"\n[[models]]\nname=\"a\"\nunit=\"token\"\nprice=\"1\"\nper=1\nmax_units=1\nbackend=\"" + server.URL + "\"\n"
	check(t, os.WriteFile(path, []byte(text), 0o600))
	list := examineSale(t.Context(), path, &membership{})
	want := server.URL + " answers, and has no list of models at " + server.URL + "/v1/models: whether it serves model a is not known"
	if len(list) != 2 || list[1].Level != worker.LevelWarn || list[1].Text != want || list.Failed() != 0 {
		t.Errorf("found %+v, want a warning %q", list, want)
	}
}
