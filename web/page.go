package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML []byte

//go:embed delegate.html
var delegateHTML []byte

// page is the status page: it is static and asks the API.
func (h *handler) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'")
	_, _ = w.Write(pageHTML)
}

// delegatePage is where a provider's wallet signs a delegation. What runs there asks for
// signatures, so that nothing runs but the script as it was built in, and no other page
// can show it in a frame.
func delegatePage() http.HandlerFunc {
	policy := "default-src 'none'; script-src " + hashOf(delegateHTML, "script") + "; style-src " + hashOf(delegateHTML, "style") +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return func(w http.ResponseWriter, _ *http.Request) {
		head := w.Header()
		head.Set("Content-Type", "text/html; charset=utf-8")
		head.Set("Content-Security-Policy", policy)
		head.Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups") // some wallets are windows
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cache-Control", "no-cache")
		_, _ = w.Write(delegateHTML)
	}
}

// hashOf is how a policy names the only element of that name.
func hashOf(html []byte, element string) string {
	_, rest, _ := strings.Cut(string(html), "<"+element+">")
	inner, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(inner))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
