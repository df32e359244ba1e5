package web

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// books writes sealed epochs 1..sealed and one published one with random verdicts of
// three wallets, and returns the rows.
func (h *house) books(sealed uint64, rng *rand.Rand) (rows []client.EarningsRow) {
	h.t.Helper()
	wallets := []ionet.Key{public("ann"), public("bob"), public("bank")}
	for epoch := uint64(1); epoch <= sealed+1; epoch++ {
		_, err := h.pool.Exec(h.t.Context(), `INSERT INTO epochs (epoch, state, emission, sum, unissued, policy, inputs_root, verdicts_root, verdicts, memo, inputs)
			VALUES ($1::bigint, CASE WHEN $1::bigint <= $2::bigint THEN 'sealed' ELSE 'published' END, 9, 9, 0, $3, $3, $3, 1, 'x', '')`, int64(epoch), int64(sealed), make([]byte, 32))
		check(h.t, err)
		for d := range rng.IntN(7) {
			for w := range 1 + rng.IntN(2) { // two workers may name one device
				rows = append(rows, client.EarningsRow{
					Epoch: epoch, Device: ionet.UUID{byte(d), 7}, Worker: public(fmt.Sprint("host ", w)),
					Provider: wallets[rng.IntN(2)], Payee: wallets[rng.IntN(3)],
					Rule: uint16(rng.IntN(17)), Samples: uint16(rng.IntN(61)), Weight: rng.Uint64N(1e6), Amount: ionet.MustAmount(rng.Uint64N(1e12)),
				})
			}
		}
	}
	_, err := h.pool.CopyFrom(h.t.Context(), pgx.Identifier{"verdicts"}, []string{"epoch", "uuid", "worker", "provider", "payee", "rule", "samples", "weight", "evidence", "amount"},
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			return []any{int64(r.Epoch), r.Device[:], r.Worker[:], r.Provider[:], r.Payee[:], int16(r.Rule), int32(r.Samples), int64(r.Weight), make([]byte, 32), r.Amount.Int64()}, nil
		}))
	check(h.t, err)
	slices.SortFunc(rows, func(a, b client.EarningsRow) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), bytes.Compare(a.Device[:], b.Device[:]), bytes.Compare(a.Worker[:], b.Worker[:]))
	})
	return rows
}

// Page by page, of any size, every row of a wallet in the sealed epochs asked for is
// shown once and in order, and nothing else is.
func TestEarnings(t *testing.T) {
	h := open(t)
	c, err := client.New(client.Config{Server: h.url})
	check(t, err)
	rng := rand.New(rand.NewPCG(5, 11))
	const sealed = 60
	all := h.books(sealed, rng)
	for i := range 60 {
		ask := client.EarningsAsk{Wallet: []ionet.Key{public("ann"), public("bob"), public("bank"), public("nobody")}[rng.IntN(4)], Limit: 1 + rng.IntN(40)}
		if i%3 > 0 {
			ask.From, ask.To = rng.Uint64N(sealed+4), rng.Uint64N(sealed+4)
			if ask.To < ask.From {
				ask.From, ask.To = ask.To, ask.From
			}
		}
		through := uint64(sealed)
		if ask.To > 0 {
			through = min(through, ask.To)
		}
		var want, got []client.EarningsRow
		for _, r := range all {
			if (r.Payee == ask.Wallet || r.Provider == ask.Wallet) && r.Epoch >= ask.From && r.Epoch <= through {
				want = append(want, r)
			}
		}
		pages := 0
		for page, err := range c.Earnings(t.Context(), ask) {
			check(t, err)
			pages++
			if len(page.Rows) > ask.Limit || page.Through != through || page.Wallet != ask.Wallet || page.Decimals != h.network.Decimals {
				t.Errorf("%+v: a page of %d rows through %d of %s", ask, len(page.Rows), page.Through, page.Wallet)
			}
			got = append(got, page.Rows...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d rows, want %d", ask, len(got), len(want))
		}
		if most := max(1, (len(want)+ask.Limit-1)/ask.Limit); pages != most {
			t.Errorf("%+v: %d rows on %d pages, want %d", ask, len(want), pages, most)
		}
	}
	path := "/v1/providers/" + public("ann").String() + "/earnings"
	h.refuseAll([]doorCase{
		{"range backwards", request{method: "GET", path: path + "?from=5&to=4"}, 422, client.InvalidParameter, `to: epoch 4 comes before from, 5`},
		{"no limit", request{method: "GET", path: path + "?limit=0"}, 422, client.InvalidParameter, `limit`},
		{"greedy limit", request{method: "GET", path: path + "?limit=5001"}, 422, client.InvalidParameter, `limit`},
		{"not an epoch", request{method: "GET", path: path + "?from=-1"}, 422, client.InvalidParameter, `from`},
		{"no place", request{method: "GET", path: path + "?after=5"}, 422, client.InvalidParameter, `after`},
		{"a place of no worker", request{method: "GET", path: path + "?after=5." + (ionet.UUID{1}).String() + "."}, 422, client.InvalidParameter, `after`},
		{"a place beyond all epochs", request{method: "GET", path: path + "?after=9223372036854775808." + (ionet.UUID{1}).String() + "." + public("a").String()}, 422, client.InvalidParameter, `after`},
		{"a place in other words", request{method: "GET", path: path + "?after=05." + (ionet.UUID{1}).String() + "." + public("a").String()}, 422, client.InvalidParameter, `after`},
		{"not a wallet", request{method: "GET", path: "/v1/providers/me/earnings"}, 422, client.InvalidParameter, `key`},
	})
	far := client.EarningsAsk{Wallet: public("ann"), From: 1<<64 - 1}
	if p, err := c.EarningsPage(t.Context(), far); err != nil || len(p.Rows) > 0 || p.Next != "" {
		t.Errorf("from an epoch beyond all: %+v, %v", p, err)
	}
}
