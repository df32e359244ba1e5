package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Signed is a request for what is a renter's own. The receipt log is public, so that
// anybody can audit it; all that a wallet ever asked for in one list is for its owner. Huma
// reads no headers into a type that is not exported.
type Signed struct {
	Read string `header:"Ionet-Read" doc:"<key base58>.<Unix seconds>.<signature base64url> over this request, by the wallet or the key of one of its sessions; proofs/FORMAT.md section 4. It holds for five minutes"`

	method, target string
}

// Resolve implements huma.Resolver: it keeps what the signature is over.
func (in *Signed) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.method, in.target = ctx.Method(), u.RequestURI()
	return nil
}

// checkReader refuses a request that neither the wallet nor the key of one of its
// sessions has signed.
func (h *handler) checkReader(ctx context.Context, in *Signed, wallet ionet.Key) error {
	if in.Read == "" {
		return unauthorized("it is missing; sign the request as proofs/FORMAT.md section 4 has it")
	}
	signer, err := proofs.VerifyRead(h.service.Network().ID(), in.Read, h.now(), in.method, in.target)
	if err != nil {
		return unauthorized(err.Error())
	}
	may, err := h.service.MayRead(ctx, wallet, signer)
	if err == nil && !may {
		err = unauthorized(signer.String() + " is neither the wallet nor the key of one of its sessions")
	}
	return err
}

func unauthorized(detail string) *problem {
	return newProblem(http.StatusUnauthorized, client.Unauthorized, "The request is not signed by who may read this", proofs.ReadHeader, proofs.ReadHeader+": "+detail)
}
