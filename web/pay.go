package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet/client"
)

// payPrefix begins the paths that wallets call by themselves, following Solana Pay's
// transaction requests: GET says who asks, POST gives a transaction for the account
// that the wallet names. Wallets that are web pages call them from origins of their
// own.
const payPrefix = "/v1/pay/"

// payIcon is what a wallet shows beside the label.
var payIcon = []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="14" fill="#101418"/>` +
	`<path d="M18 18v28M28 32a11 11 0 1 0 22 0 11 11 0 1 0-22 0" fill="none" stroke="#7ee0a8" stroke-width="6" stroke-linecap="round"/></svg>`)

// payInput learns from a request under which address the service was called.
type payInput struct{ base string }

// Resolve implements huma.Resolver. What a proxy says of the scheme is believed: it
// is told to nobody but the caller.
func (i *payInput) Resolve(ctx huma.Context) []error {
	scheme := "http"
	if ctx.TLS() != nil || strings.EqualFold(ctx.Header("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	i.base = scheme + "://" + ctx.Host()
	return nil
}

var _ huma.Resolver = (*payInput)(nil)

type payRequest struct{ Body client.PayRequest }

func (h *handler) payLabel(_ context.Context, in *payInput) (client.PayLabel, error) {
	return client.PayLabel{Label: h.service.Network().Name + " settlement", Icon: in.base + payPrefix + "icon.svg"}, nil
}

// payClaim hands out a claim that lacks the wallet's signature alone.
func (h *handler) payClaim(ctx context.Context, in *payRequest) (client.PayTransaction, error) {
	p, err := h.service.OfferClaim(ctx, in.Body.Account)
	if err != nil {
		problem := asProblem(h.log, err)
		problem.Message = problem.Detail // what wallets show
		return client.PayTransaction{}, problem
	}
	return client.PayTransaction{
		Transaction: p.Transaction,
		Message:     fmt.Sprintf("Claim of %s IO that were earned with GPU time.", p.Amount.Tokens(h.service.Network().Decimals)),
	}, nil
}

// openToWallets allows every origin to call the paths under payPrefix; they carry no
// cookies and know nobody but by what is asked.
func openToWallets(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, payPrefix) {
			next.ServeHTTP(w, r)
			return
		}
		head := w.Header()
		head.Set("Access-Control-Allow-Origin", "*")
		head.Set("Access-Control-Expose-Headers", "Retry-After")
		head.Set("Cache-Control", "no-store")
		if r.Method == http.MethodOptions {
			head.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
			head.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, Content-Encoding, Accept-Encoding")
			head.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
