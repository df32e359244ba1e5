package web

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

type receiptInput struct {
	ID string `path:"id" minLength:"32" maxLength:"64" pattern:"^([0-9a-f]{32}|[0-9a-f]{64})$" doc:"A job's id, 32 hexadecimal digits, or the id of its statement, 64"`
}

type receiptsInput struct {
	Signed
	Key   ionet.Key `path:"key" doc:"The renter's wallet, base58"`
	After uint64    `query:"after" maximum:"9223372036854775807" doc:"next of the page before"`
	Limit int       `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Receipts of a page"`
}

// receipts registers what is read of the receipt log, and what is said against it.
func (h *handler) receipts(api huma.API) {
	get(h, api, "/v1/log", "Where the receipt log is: committed, published and sealed", h.logState)
	get(h, api, "/v1/log/inclusion", "The proof that a leaf is in the published log of a size", h.inclusion)
	get(h, api, "/v1/log/consistency", "The proof that a published log begins with a smaller one", h.consistency)
	get(h, api, "/v1/receipts/{id}", "A receipt, and what proves that it is in the log", h.receipt)
	get(h, api, "/v1/renters/{key}/receipts", "A renter's receipts, page by page; a signed request", h.receiptsOf)
}

func (h *handler) receiptsOf(ctx context.Context, in *receiptsInput) (client.ReceiptsPage, error) {
	if err := h.checkReader(ctx, &in.Signed, in.Key); err != nil {
		return client.ReceiptsPage{}, err
	}
	page, err := h.service.ReceiptsOf(ctx, in.Key, in.After, in.Limit)
	out := client.ReceiptsPage{Renter: in.Key, Decimals: h.service.Network().Decimals, Receipts: make([]client.LoggedRecord, len(page.Receipts))}
	for i, r := range page.Receipts {
		out.Receipts[i] = client.LoggedRecord{Index: r.Index, Record: r.Record}
	}
	if page.More {
		out.Next = page.Receipts[len(page.Receipts)-1].Index + 1
	}
	return out, err
}
