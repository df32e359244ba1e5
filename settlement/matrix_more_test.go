package settlement

import (
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// offerKind is a claim that the service signs first and the wallet sends.
func offerKind() matrixKind {
	return matrixKind{
		name: "claim, server-signed",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
		},
		run:    func(c *cell) { c.acceptOffer(c.alice) },
		done:   func(c *cell) { c.owesNothing(c.alice) },
		other:  payAlice,
		payee:  func(a *arena) *host { return a.alice },
		wallet: true,
	}
}

// acceptOffer lets h's wallet ask for a claim, sign and send it, until nothing is
// owed to it. The wallet speaks over the same wires.
func (a *arena) acceptOffer(h *host) {
	a.t.Helper()
	if a.offers == 0 {
		a.offers = 2
	}
	a.goOn("the offered claim is paid", func() bool {
		if a.pays(h) == 0 && a.view.isReady() {
			return true
		}
		if p, err := a.OfferClaim(a.t.Context(), h.payout); err == nil {
			tx, err := chain.CoSign(p.Transaction, a.wallet[h.payout])
			if err != nil {
				a.t.Fatal(err)
			}
			// Some wallets send it, some hand it in, some do both.
			a.offers++ // 3 in the run that counts steps
			if a.offers%3 != 1 {
				if _, err := a.SubmitClaim(a.t.Context(), tx); err != nil {
					a.last = err
				}
			}
			if a.offers%3 != 2 {
				if err := a.rpc.Send(a.t.Context(), tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
					a.last = err
				}
			}
		}
		return false
	})
}

// sealKind commits to a log of receipts.
func sealKind() matrixKind {
	return matrixKind{
		name: "receipt seal",
		prepare: func(c *cell) {
			c.rest()
			c.log++
		},
		run: func(c *cell) {
			c.goOn("the log is sealed", func() bool {
				if c.view.isReady() && c.isSealed(checkpoint(c.log)) {
					return true
				}
				if err := c.SealReceipts(c.t.Context(), checkpoint(c.log)); err != nil {
					c.last = err
				}
				return false
			})
		},
		done: func(c *cell) { c.checkSealed(checkpoint(c.log)) },
	}
}

func (c *cell) isSealed(want Checkpoint) bool {
	list, err := c.Seals(c.t.Context(), 1)
	return err == nil && len(list) == 1 && list[0].Checkpoint == want && list[0].State == SealSealed
}

// withdrawalKind gives a renter back what it paid in.
func withdrawalKind() matrixKind {
	const amount = 3
	return matrixKind{
		name: "withdrawal",
		prepare: func(c *cell) {
			key := keyOf(fmt.Sprint("renter ", c.withdrawals/20)) // one has so many an hour
			if held, _ := c.hasAccount(c.carol); held < 10 {
				c.earn(c.alice, c.bob, c.carol)
				c.settleDebts()
			}
			if _, ok := c.hasAccount(c.erin); !ok {
				c.openAccount(c.erin)
			}
			c.rest()
			r := c.request(chain.PublicOf(key))
			c.lands(c.wallet[c.carol.payout], false, c.in(c.carol.payout, transfer{c.net.Network.Vaults.Fee, 10, []ionet.Key{r.Reference}}))
			c.hidden[c.carol.payout] += 10
			had := c.renter(chain.PublicOf(key))
			c.goOn("the deposit is credited", func() bool { return c.renter(chain.PublicOf(key)) == had+10 })
			c.rest()
			c.withdrawals++
			c.statement = c.withdrawal(key, byte(c.withdrawals), amount, c.erin.payout, hour)
			c.had = c.onChain(c.erin.payout) + c.hidden[c.erin.payout]
		},
		run: func(c *cell) {
			c.goOn("the withdrawal is paid", func() bool {
				w, err := c.SubmitWithdrawal(c.t.Context(), c.statement) // the same again is answered the same
				return err == nil && w.State == WithdrawalPaid && c.view.isReady()
			})
		},
		done: func(c *cell) {
			if got := c.onChain(c.erin.payout) + c.hidden[c.erin.payout] - c.had; got != amount {
				c.t.Errorf("the recipient got %d, want %d", got, amount)
			}
		},
		payee: func(a *arena) *host { return a.erin },
	}
}

// unlockKind releases a month of a genesis category to three beneficiaries.
func unlockKind() matrixKind {
	return matrixKind{
		name: "unlock",
		arena: func(t *testing.T, url string) *arena {
			a := newArenaWith(t, url, func(c *genesis.Config) {
				c.Schedule, _ = c.Schedule.Shorten(shortEpochs)
				c.Unlocks = map[string]emissions.Unlock{"seed": {Kind: emissions.UnlockLinear, To: 1400}}
				c.Beneficiaries = map[string][]ionet.Beneficiary{"seed": {
					{Wallet: wallet("a"), Parts: 1}, {Wallet: chain.PublicOf(keyOf("payout erin")), Parts: 2}, {Wallet: wallet("c"), Parts: 4},
				}}
			})
			for a.at(epochLane) <= shortEpochs {
				a.earn(a.alice, a.bob, a.carol)
			}
			a.payOut(a.bob, a.carol)
			a.claimOf(a.alice)
			a.rest()
			return a
		},
		prepare: func(c *cell) {
			month := uint64(1)
			for c.clock.EpochEnd(month*emissions.EpochsPerMonth) <= handTime.Load() {
				month++ // the clock is that of other networks too
			}
			handTime.Store(c.clock.EpochEnd(month * emissions.EpochsPerMonth))
			c.advance(40)
			c.rest()
			sum := c.byMonth(month)
			for _, r := range c.released {
				sum -= r
			}
			c.released = append(c.released, sum)
		},
		run: func(c *cell) {
			c.goOn("the month is released", func() bool {
				var open int
				err := c.pool.QueryRow(c.t.Context(), `SELECT count(*) FROM unlock_requests WHERE done_at IS NULL`).Scan(&open)
				if err != nil || open > 0 {
					return false
				}
				list, err := c.Unlocks(c.t.Context())
				for _, u := range list {
					if err == nil && u.Category == "seed" && u.Due.IsZero() && u.InFlight.IsZero() && c.view.isReady() {
						return true
					}
				}
				if _, err := c.RequestRelease(c.t.Context(), "seed"); err != nil {
					c.last = err
				}
				return false
			})
		},
		done:  func(c *cell) { c.checkReleasedOf() },
		payee: func(a *arena) *host { return a.erin },
	}
}

// checkReleasedOf is checkReleased with what a beneficiary moved elsewhere.
func (c *cell) checkReleasedOf() {
	c.t.Helper()
	a, _ := c.net.Network.AllocationOf("seed")
	total, want := uint64(0), map[ionet.Key]uint64{}
	for _, sum := range c.released {
		shares, err := emissions.Divide(ionet.MustAmount(sum), a.Beneficiaries)
		if err != nil {
			c.t.Fatal(err)
		}
		for i, b := range a.Beneficiaries {
			want[b.Wallet] += shares[i].Base()
		}
		total += sum
	}
	for _, b := range a.Beneficiaries {
		if got := c.onChain(b.Wallet) + c.hidden[b.Wallet]; got != want[b.Wallet] {
			c.t.Errorf("beneficiary %s got %d, want %d", b.Wallet, got, want[b.Wallet])
		}
	}
	held, rest := c.onChain(a.Owner), a.Amount.Base()-total
	if held != rest || c.balance(ledger.VaultAllocation("seed")) != rest || c.balance(ledger.Locked("seed")) != rest {
		c.t.Errorf("seed holds %d, by the books %d of which %d are locked, want %d", held, c.balance(ledger.VaultAllocation("seed")), c.balance(ledger.Locked("seed")), rest)
	}
}

// retireEpochs is how many epochs the network of a retire has: one to warm up in,
// and one that is sealed in the same run.
const retireEpochs = 2

// retireKind gives up the mint after the last epoch. It can be done once, so each
// cell has a network of its own.
func retireKind() matrixKind {
	return matrixKind{
		name:  "retire",
		fresh: true,
		arena: func(t *testing.T, url string) *arena {
			return newArenaWith(t, url, func(c *genesis.Config) { c.Schedule, _ = c.Schedule.Shorten(retireEpochs) })
		},
		prepare: func(c *cell) {
			k := c.playOn(c.alice, c.bob, c.carol)
			c.rest()
			c.toClose(k)
			c.goOn("the last epoch's seal is sent", func() bool {
				var sent int
				err := c.pool.QueryRow(c.t.Context(), `SELECT count(*) FROM attempts WHERE kind = $1 AND state = 'live' AND sent > 0`, int16(chain.KindEpoch)).Scan(&sent)
				return err == nil && sent > 0
			})
		},
		run: func(c *cell) {
			c.goOn("the mint is retired", func() bool { return c.at(epochLane) > retireEpochs+1 })
		},
		done: func(c *cell) {
			if state := c.mintState(); !state.Authority.IsZero() {
				c.t.Errorf("the mint's authority is %s, want none", state.Authority)
			}
		},
	}
}

// recoveryKind is no outgoing kind: it is what a database does that was put back over
// an epoch, a claim, a payout that it knows as signed and one that it never knew.
func recoveryKind() matrixKind {
	return matrixKind{
		name: "recovery",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
			if _, err := c.RequestPayout(c.t.Context()); err != nil {
				c.t.Fatal(err)
			}
			c.settleOnce()
			old := c.keep()
			c.settleDebts()
			c.earn(c.alice, c.bob, c.carol)
			c.settleDebts()
			c.rest()
			c.restore(old)
		},
		run: func(c *cell) {
			c.goOn("the lanes are explained and fenced", func() bool { return c.view.isReady() && c.last == nil })
		},
	}
}
