package client

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"

	"github.com/ionet-settlement/ionet"
)

// EarningsRow is what a sealed epoch decided on one device.
type EarningsRow struct {
	Epoch    uint64       `json:"epoch"`
	Device   ionet.UUID   `json:"device"`
	Worker   ionet.Key    `json:"worker"`
	Provider ionet.Key    `json:"provider" doc:"The wallet that delegated the worker"`
	Payee    ionet.Key    `json:"payee" doc:"The wallet that is paid"`
	Rule     uint16       `json:"rule" doc:"0 is accepted; the texts are in /v1/rules"`
	Samples  uint16       `json:"samples"`
	Weight   uint64       `json:"weight"`
	Amount   ionet.Amount `json:"amount" doc:"Base units"`
}

// EarningsPage is a part of a wallet's rows, ascending by epoch, device and worker.
type EarningsPage struct {
	Wallet   ionet.Key     `json:"wallet"`
	Decimals int           `json:"decimals"`
	Through  uint64        `json:"through" doc:"The last epoch that is looked at: the one asked for, or the last one sealed"`
	Rows     []EarningsRow `json:"rows"`
	Next     string        `json:"next,omitempty" doc:"The value of after for the page that follows; absent on the last"`
}

// EarningsAsk asks for the rows of a wallet in the epochs From..To; From 0 is the first
// epoch, To 0 the last one sealed.
type EarningsAsk struct {
	Wallet   ionet.Key
	From, To uint64
	After    string // Next of the page before
	Limit    int    // rows of a page, 1..5000; 0: as many as the service likes
}

// EarningsPage returns one page of a wallet's rows: those of devices that pay it, and
// of those whose provider it is.
func (c *Client) EarningsPage(ctx context.Context, ask EarningsAsk) (p EarningsPage, err error) {
	q := url.Values{}
	for name, n := range map[string]uint64{"from": ask.From, "to": ask.To, "limit": uint64(max(ask.Limit, 0))} {
		if n > 0 {
			q.Set(name, strconv.FormatUint(n, 10))
		}
	}
	if ask.After != "" {
		q.Set("after", ask.After)
	}
	return p, c.get(ctx, &p, "/v1/providers/%s/earnings?%s", ask.Wallet, q.Encode())
}

// Earnings yields the pages of a wallet's rows to the last. All are of the epochs that
// were sealed when the first was read. A service that repeats rows, or shows them out of order, is an error.
func (c *Client) Earnings(ctx context.Context, ask EarningsAsk) iter.Seq2[EarningsPage, error] {
	return func(yield func(EarningsPage, error) bool) {
		var last *EarningsRow
		for {
			p, err := c.EarningsPage(ctx, ask)
			if err == nil {
				last, err = p.follow(last, ask)
			}
			if !yield(p, err) || err != nil || p.Next == "" {
				return
			}
			ask.To, ask.After = p.Through, p.Next
		}
	}
}

// follow checks that the page comes after the row last, and returns its own last row.
func (p EarningsPage) follow(last *EarningsRow, ask EarningsAsk) (*EarningsRow, error) {
	for i := range p.Rows {
		r := &p.Rows[i]
		switch {
		case r.Epoch < ask.From || r.Epoch > p.Through || ask.To > 0 && r.Epoch > ask.To:
			return nil, fmt.Errorf("read earnings: a row of epoch %d, asked for %d to %d", r.Epoch, ask.From, p.Through)
		case r.Payee != ask.Wallet && r.Provider != ask.Wallet:
			return nil, fmt.Errorf("read earnings: the row of %s in epoch %d is not of wallet %s", r.Device, r.Epoch, ask.Wallet)
		case last != nil && !last.before(r):
			return nil, fmt.Errorf("read earnings: the row of %s in epoch %d is out of order", r.Device, r.Epoch)
		}
		last = r
	}
	if p.Next != "" && len(p.Rows) == 0 {
		return nil, fmt.Errorf("read earnings: an empty page that is not the last")
	}
	return last, nil
}

func (r *EarningsRow) before(o *EarningsRow) bool {
	if r.Epoch != o.Epoch {
		return r.Epoch < o.Epoch
	}
	if r.Device != o.Device {
		return string(r.Device[:]) < string(o.Device[:])
	}
	return string(r.Worker[:]) < string(o.Worker[:])
}
