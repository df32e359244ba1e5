package web

import (
	_ "embed"
	"net/http"
)

//go:embed page.html
var pageHTML []byte

// page is the status page: it is static and asks the API.
func (h *handler) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'")
	_, _ = w.Write(pageHTML)
}
