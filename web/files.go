package web

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/publish"
)

// files serves the published store, read only. A file never changes, so it may be
// kept for ever; the receipt log's checkpoint alone is new each time.
func (h *handler) files(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/files/")
	if err := publish.CheckName(name); err != nil {
		h.nothing(w, r)
		return
	}
	if h.folder == "" {
		h.stored(w, r, name)
		return
	}
	f, err := os.Open(filepath.Join(h.folder, filepath.FromSlash(name)))
	if err != nil {
		h.nothing(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		h.nothing(w, r)
		return
	}
	fileHeaders(w, name)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// stored serves a file of a store that is no folder.
func (h *handler) stored(w http.ResponseWriter, r *http.Request, name string) {
	data, err := h.store.Get(r.Context(), name)
	if errors.Is(err, publish.ErrNotFound) {
		h.nothing(w, r)
		return
	}
	if err != nil {
		h.log.Warn("a published file was not read", "name", name, "error", err)
		newProblem(http.StatusBadGateway, client.Internal, "The published store does not answer", "path", "The published store does not answer for "+r.URL.Path+"; try again.").write(w)
		return
	}
	fileHeaders(w, name)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func fileHeaders(w http.ResponseWriter, name string) {
	w.Header().Set("Cache-Control", publish.CacheControl(name))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Access-Control-Allow-Origin", "*")
}

// nothing answers a path that the service does not have.
func (h *handler) nothing(w http.ResponseWriter, r *http.Request) {
	newProblem(http.StatusNotFound, client.NotFound, "There is nothing here", "path", "There is nothing at "+r.URL.Path+"; /openapi.json lists the API.").write(w)
}
