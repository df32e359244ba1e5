package web

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"

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
	cache := "public, max-age=31536000, immutable"
	if name == "log/checkpoint" {
		cache = "no-cache"
	}
	w.Header().Set("Cache-Control", cache)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// nothing answers a path that the service does not have.
func (h *handler) nothing(w http.ResponseWriter, r *http.Request) {
	newProblem(http.StatusNotFound, client.NotFound, "There is nothing here", "path", "There is nothing at "+r.URL.Path+"; /openapi.json lists the API.").write(w)
}
