package settlement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// feesKind is a batch of fees for two payees, out of receipts that are published.
func feesKind() matrixKind {
	return matrixKind{
		name: "fees",
		prepare: func(c *cell) {
			c.rest()
			c.fees = c.earnFees(c.bob, c.carol)
			c.goOn("the receipts are published", c.isPublished)
			c.rest()
			c.paidBefore = c.gotFees(c.bob, c.carol)
		},
		run: func(c *cell) { c.payFees(c.bob, c.carol) },
		done: func(c *cell) {
			for i, h := range []*host{c.bob, c.carol} {
				if got := c.gotFees(h)[0] - c.paidBefore[i]; got != c.fees[i] {
					c.t.Errorf("payee %d got fees of %d, want %d", i, got, c.fees[i])
				}
			}
		},
		payee: func(a *arena) *host { return a.bob },
	}
}

// receiptsKind puts the log's records into a memo, under a policy that says so.
func receiptsKind() matrixKind {
	return matrixKind{
		name: "receipts",
		arena: func(t *testing.T, url string) *arena {
			policy := strings.Replace(testPolicy, "network_basis_points = 0", "network_basis_points = 0\nrecord = \"inline\"", 1)
			return newArenaWith(t, url, func(c *genesis.Config) { c.Policy = []byte(policy) })
		},
		prepare: func(c *cell) {
			c.rest()
			c.earnFees(c.bob, c.carol)
			c.goOn("the receipts are published", c.isPublished)
			c.rest()
		},
		run: func(c *cell) {
			c.goOn("the receipts are in memos, and sealed", func() bool {
				log, err := c.Log(c.t.Context())
				if err != nil || log.Size == 0 || log.Size != log.Published.Size {
					return false
				}
				if c.view.isReady() && c.isSealed(log.Checkpoint) {
					return true
				}
				if err := c.SealReceipts(c.t.Context(), log.Checkpoint); err != nil {
					c.last = err
				}
				return false
			})
		},
		done: func(c *cell) { c.checkInline() },
	}
}

// earnFees lets hosts serve a job each, for a renter of the arena, and returns what they
// earned. The renter pays in once.
func (c *cell) earnFees(hosts ...*host) (fees []uint64) {
	c.t.Helper()
	if c.seats == nil {
		c.spend()
		c.openSeats(hosts)
	}
	var list []proofs.Envelope
	for i := range hosts {
		before := c.seats[i].spent
		list = append(list, c.seats[i].serve(2+uint64(len(fees))))
		fees = append(fees, c.seats[i].spent-before)
	}
	c.take(list...)
	return fees
}

// spend has carol pay in for a renter of the arena.
func (c *cell) spend() {
	const amount = 1_000_000
	c.publishes = true
	if held, _ := c.hasAccount(c.carol); held < amount {
		c.earn(c.alice, c.bob, c.carol)
		c.settleDebts()
	}
	c.rest()
	c.spender = c.newSpender("of the arena", 0, amount/2)
	wallet := c.spender.renter()
	r := c.request(wallet)
	c.lands(c.wallet[c.carol.payout], false, c.in(c.carol.payout, transfer{c.net.Network.Vaults.Fee, amount, []ionet.Key{r.Reference}}))
	c.hidden[c.carol.payout] += amount
	c.goOn("the deposit is credited", func() bool { return c.renter(wallet) == amount })
	c.rest()
}

// openSeats opens a session and a channel to each host.
func (c *cell) openSeats(hosts []*host) {
	c.spender.text.Expires = c.now().Unix() + 30_000_000 // longer than any arena
	c.spender.session = c.spender.sign()
	list := []proofs.Envelope{c.spender.session}
	for _, h := range hosts {
		body, err := proofs.Offer{Sequence: 1, Expires: c.spender.text.Expires, Endpoint: "https://" + h.worker().String()[:8] + ".example", Capacity: 8, Models: []proofs.OfferModel{testModel}}.Encode()
		offer := c.signed(proofs.KindOffer, h.key, body, err)
		s := c.spender.seat(h, offer, 100_000)
		c.seats = append(c.seats, s)
		list = append(list, offer, s.opened)
	}
	c.take(list...)
}

// take hands statements in, all of which must pass. Their makers hand them in again after
// a database that knew them is gone.
func (c *cell) take(list ...proofs.Envelope) {
	c.t.Helper()
	for _, e := range list {
		if r := c.submit(Submitted{Envelope: e})[0]; r.Status == Refused {
			c.t.Fatalf("%s is refused: %v", e.Kind, r.Problem)
		}
	}
}

func (c *cell) isPublished() bool {
	log, err := c.Log(c.t.Context())
	return err == nil && log.Size > 0 && log.Size == log.Published.Size
}

// payFees asks for a payout run, where none is open, and makes passes until no fees are
// owed to hosts.
func (c *cell) payFees(hosts ...*host) {
	c.t.Helper()
	c.goOn("fees are paid", func() bool {
		if c.owesFees(hosts...) == 0 && c.view.isReady() {
			return true
		}
		var open int
		if err := c.pool.QueryRow(c.t.Context(), `SELECT count(*) FROM payout_runs WHERE done_at IS NULL`).Scan(&open); err == nil && open == 0 {
			c.RequestPayout(c.t.Context()) // unheard, it is asked for again
		}
		return false
	})
}

// owesFees returns what hosts are owed of fees, or what is on its way to them.
func (a *arena) owesFees(hosts ...*host) uint64 {
	var sum uint64
	for _, h := range hosts {
		for _, of := range []ledger.Account{ledger.OwedFees(h.payout), ledger.FeesInFlight(h.payout)} {
			b, err := ledger.Balance(a.t.Context(), a.pool, of)
			if err != nil {
				return 1 // it can't be told now
			}
			sum += b.Base()
		}
	}
	return sum
}

// gotFees returns what hosts were ever paid of fees by the books, which check holds
// against the chain.
func (c *cell) gotFees(hosts ...*host) (list []uint64) {
	for _, h := range hosts {
		list = append(list, uint64(c.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND state = 'paid' AND kind = $2`, h.payout[:], int16(chain.KindFees))))
	}
	return list
}

// checkInline: the memos that won carry every record of the log once, in order.
func (c *cell) checkInline() {
	c.t.Helper()
	rows, err := c.pool.Query(c.t.Context(), `SELECT bytes FROM contents WHERE lane = 'seal' AND kind = $1 AND state = 'won' ORDER BY position`, int16(chain.KindReceipts))
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	next := uint64(0)
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			c.t.Fatal(err)
		}
		content, err := chain.ParseContent(data)
		if err != nil {
			c.t.Fatal(err)
		}
		parsed, err := proofs.ParseMemo(content.Memo)
		m, ok := parsed.(proofs.ReceiptsMemo)
		if err != nil || !ok || m.First != next {
			c.t.Fatalf("a memo begins at record %d, want %d (%v)", m.First, next, err)
		}
		next += m.Count
	}
	if size := uint64(c.count(`SELECT size FROM log_head`)); next != size {
		c.t.Errorf("memos carry %d records, the log has %d", next, size)
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(fmt.Errorf("read the memos: %w", err))
	}
}
