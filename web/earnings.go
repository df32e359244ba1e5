package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

type earningsInput struct {
	Key   ionet.Key `path:"key" doc:"The wallet, base58"`
	From  uint64    `query:"from" doc:"First epoch; the network's first where absent"`
	To    uint64    `query:"to" doc:"Last epoch; the last one sealed where absent"`
	After string    `query:"after" doc:"next of the page before"`
	Limit int       `query:"limit" default:"1000" minimum:"1" maximum:"5000" doc:"Rows of a page"`
}

// earnings lists what sealed epochs decided on a wallet's devices.
func (h *handler) earnings(ctx context.Context, in *earningsInput) (client.EarningsPage, error) {
	after, err := parsePlace(in.After)
	if err != nil {
		return client.EarningsPage{}, newProblem(http.StatusUnprocessableEntity, client.InvalidParameter, "A parameter is not valid", "after", "after: "+err.Error())
	}
	if in.To != 0 && in.To < in.From {
		return client.EarningsPage{}, newProblem(http.StatusUnprocessableEntity, client.InvalidParameter, "A parameter is not valid", "to",
			fmt.Sprintf("to: epoch %d comes before from, %d", in.To, in.From))
	}
	page, err := h.service.Earned(ctx, settlement.EarnedAsk{Wallet: in.Key, From: in.From, To: in.To, After: after, Limit: in.Limit})
	if err != nil {
		return client.EarningsPage{}, err
	}
	out := client.EarningsPage{Wallet: in.Key, Decimals: h.service.Network().Decimals, Through: page.Through, Rows: make([]client.EarningsRow, len(page.Rows))}
	for i, v := range page.Rows {
		out.Rows[i] = client.EarningsRow{
			Epoch: v.Epoch, Device: v.UUID, Worker: v.Worker, Provider: v.Provider, Payee: v.Payee,
			Rule: uint16(v.Rule), Samples: v.Samples, Weight: v.Weight, Amount: v.Amount,
		}
	}
	if page.More {
		out.Next = placeText(page.Rows[len(page.Rows)-1].Place())
	}
	return out, nil
}

func placeText(p settlement.EarnedAt) string {
	return fmt.Sprintf("%d.%s.%s", p.Epoch, p.Device, p.Worker)
}

// parsePlace parses what placeText made, or "" for the place before all rows.
func parsePlace(text string) (p settlement.EarnedAt, err error) {
	if text == "" {
		return p, nil
	}
	epoch, rest, _ := strings.Cut(text, ".")
	device, worker, _ := strings.Cut(rest, ".")
	if p.Epoch, err = strconv.ParseUint(epoch, 10, 63); err == nil {
		p.Device, err = ionet.ParseUUID(device)
	}
	if err == nil {
		p.Worker, err = ionet.ParseKey(worker)
	}
	if err != nil || placeText(p) != text {
		return settlement.EarnedAt{}, fmt.Errorf("%q is not the next of a page", text)
	}
	return p, nil
}
