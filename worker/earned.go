package worker

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// EpochEarned is what a worker's devices brought in one sealed epoch.
type EpochEarned struct {
	Epoch    uint64
	Devices  int // with a verdict
	Accepted int // of those
	Refused  Refusals
	Amount   ionet.Amount
}

// AcceptedLine says how many devices were accepted and, by rule, why others were not.
func (e EpochEarned) AcceptedLine() string { return acceptedOf(e.Accepted, e.Devices, e.Refused) }

func (e *EpochEarned) refuse(rule proofs.Rule) {
	if e.Refused == nil {
		e.Refused = Refusals{}
	}
	e.Refused[rule]++
}

// LastEarned asks the service what a worker's devices earned for its provider in the last
// n epochs up to sealed, the newest first. An epoch without this worker has no devices.
func LastEarned(ctx context.Context, api *client.Client, provider, worker ionet.Key, sealed uint64, n int) ([]EpochEarned, error) {
	var list []EpochEarned
	for epoch := sealed; epoch > 0 && len(list) < n; epoch-- {
		list = append(list, EpochEarned{Epoch: epoch})
	}
	if len(list) == 0 {
		return nil, nil
	}
	ask := client.EarningsAsk{Wallet: provider, From: list[len(list)-1].Epoch, To: sealed}
	for page, err := range api.Earnings(ctx, ask) {
		if err != nil {
			return nil, fmt.Errorf("ask for earnings: %w", err)
		}
		for _, r := range page.Rows {
			if r.Worker != worker {
				continue
			}
			of := &list[sealed-r.Epoch]
			of.Devices++
			if rule := proofs.Rule(r.Rule); rule == proofs.Accepted {
				of.Accepted++
			} else {
				of.refuse(rule)
			}
			if of.Amount, err = of.Amount.Add(r.Amount); err != nil {
				return nil, fmt.Errorf("add up earnings of epoch %d: %w", r.Epoch, err)
			}
		}
	}
	return list, nil
}
