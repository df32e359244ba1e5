package localnet

import (
	"context"
	"net/http"
)

type hub struct{ n *Node }

func newHub(n *Node) *hub              { return &hub{n} }
func (h *hub) wake()                   {}
func (h *hub) run(ctx context.Context) { <-ctx.Done() }
func (h *hub) closeAll()               {}

func isUpgrade(*http.Request) bool                         { return false }
func (n *Node) serveWS(http.ResponseWriter, *http.Request) {}
