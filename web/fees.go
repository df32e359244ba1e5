package web

import (
	"github.com/danielgtaylor/huma/v2"
)

// fees registers what renters and workers ask of sessions, channels and receipts.
func (h *handler) fees(api huma.API) {
	get(h, api, "/v1/sessions/text", "The text of a session for a wallet to sign", h.sessionText)
}
