package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// matrixKind is an outgoing kind: what brings the network to where a transaction
// of it is due next, and what goes on until it is final.
type matrixKind struct {
	name string
	// prepare ends where the next pass, or the first thing that run does, begins
	// the kind's transaction. Nothing fails here.
	prepare func(c *cell)
	// run goes on until the transaction is final and nothing of it is open, or the
	// process is dead. It is called again after the fault and must go on where it
	// stopped.
	run func(c *cell)
	// done checks that what was due was done, exactly once, beyond what check does.
	done func(c *cell)
	// payee is who can be in the way with its token account; nil: nobody.
	payee func(a *arena) *host
	// other pays the same debts in another way, on other lanes; nil: there is none.
	other func(c *cell)
	// wallet is true where a payee's wallet signs the transaction.
	wallet bool
	// arena makes the network of the kind on an empty database; nil: newArena.
	arena func(t *testing.T, url string) *arena
	// fresh is true where a network can do it only once.
	fresh bool
	// alone runs a cell without any arena; nil for all but one kind.
	alone func(t *testing.T, f matrixFault, n int) (steps []string, met string)
}

// matrixKinds are all outgoing kinds that settlement sends.
func matrixKinds() []matrixKind {
	return []matrixKind{
		epochKind(), sealKind(), payoutKind(), deadKind(), feesKind(), receiptsKind(), claimKind(), offerKind(), unlockKind(), withdrawalKind(), fenceKind(), skipKind(), genesisKind(), retireKind(), recoveryKind(),
	}
}

// epochKind is the seal that mints: closing, book and transaction.
func epochKind() matrixKind {
	return matrixKind{
		name: "epoch",
		prepare: func(c *cell) {
			k := c.playOn(c.alice, c.bob, c.carol)
			c.rest()
			c.toClose(k)
			c.epoch = k
		},
		run: func(c *cell) {
			c.goOn("the epoch is sealed", func() bool { return c.at(epochLane) > c.epoch })
		},
		done: func(c *cell) {
			if n := c.count(`SELECT count(*) FROM contents WHERE lane = 'epoch' AND position = $1 AND state = 'won'`, int64(c.epoch)); n != 1 {
				c.t.Errorf("epoch %d has %d winners, want 1", c.epoch, n)
			}
		},
	}
}

// playOn plays the next whole epoch with hosts and returns its number. The one
// before it is due then, it is not.
func (a *arena) playOn(hosts ...*host) uint64 {
	k, _, _ := a.clock.At(a.now())
	a.play(k+1, hosts...)
	return k + 1
}

// payoutKind is a batch for two payees.
func payoutKind() matrixKind {
	return matrixKind{
		name: "payout",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
		},
		run:   func(c *cell) { c.payOut(c.bob, c.carol) },
		done:  func(c *cell) { c.owesNothing(c.bob, c.carol) },
		payee: func(a *arena) *host { return a.bob },
		other: func(c *cell) { c.claimOf(c.bob); c.claimOf(c.carol) },
	}
}

// deadKind is a payout that expired unseen: it is buried, and its content signed
// again for its position.
func deadKind() matrixKind {
	k := payoutKind()
	k.name = "payout, signed again"
	k.prepare = func(c *cell) {
		c.earn(c.alice, c.bob, c.carol)
		c.rest()
		c.wires.Drop(true)
		if _, err := c.RequestPayout(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		c.settleOnce()
		c.wires.Drop(false)
		c.advance(blockhashLife)
	}
	return k
}

// claimKind is a claim that the wallet signs first.
func claimKind() matrixKind {
	return matrixKind{
		name: "claim",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
		},
		run:    func(c *cell) { c.claimOf(c.alice) },
		done:   func(c *cell) { c.owesNothing(c.alice) },
		other:  payAlice,
		payee:  func(a *arena) *host { return a.alice },
		wallet: true,
	}
}

// payAlice pays alice by a payout.
func payAlice(c *cell) {
	if _, ok := c.hasAccount(c.alice); !ok {
		c.openAccount(c.alice)
	}
	c.payOut(c.alice)
}

// fenceKind is a take-over while a payout of the former leader is open.
func fenceKind() matrixKind {
	return matrixKind{
		name: "fence",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
			c.signUnseen()
			c.start()
		},
		run: func(c *cell) { c.goOn("the lanes are fenced", c.view.isReady) },
		done: func(c *cell) {
			if n := c.count(`SELECT count(*) FROM lanes WHERE fenced = (SELECT number FROM lease) AND (name LIKE 'pay-%' OR name LIKE 'claim-%')`); n != 4 {
				c.t.Errorf("%d lanes are fenced under the lease, want 4", n)
			}
		},
	}
}

// skipKind passes a payout that a payee broke after it was signed.
func skipKind() matrixKind {
	return matrixKind{
		name: "skip",
		prepare: func(c *cell) {
			c.earn(c.alice, c.bob, c.carol)
			c.rest()
			c.signUnseen()
			c.freeze(c.bob, true)
			c.advance(c.slots)
		},
		run: func(c *cell) {
			c.goOn("the broken payout is passed", func() bool { return c.view.isReady() && c.isFree() })
		},
		done: func(c *cell) {
			if c.owed(c.bob) == 0 {
				c.t.Error("bob is owed nothing: nothing was passed")
			}
		},
		payee: func(a *arena) *host { return a.bob },
	}
}

// signUnseen makes the service sign a payout that the chain does not take yet.
func (c *cell) signUnseen() {
	c.t.Helper()
	c.wires.Mute("sendTransaction") // unlike Drop: it will be simulated when it is sent
	if _, err := c.RequestPayout(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.settleOnce()
	c.wires.Mute("")
	if n := c.count(`SELECT count(*) FROM attempts WHERE state = 'live'`); n == 0 {
		c.t.Fatal("no payout was signed")
	}
}

// isFree reports whether no payment is on its way.
func (a *arena) isFree() bool {
	var open int
	err := a.pool.QueryRow(a.t.Context(), `SELECT count(*) FROM payments WHERE state = 'signed'`).Scan(&open)
	return err == nil && open == 0
}

func (c *cell) owesNothing(hosts ...*host) {
	c.t.Helper()
	for _, h := range hosts {
		if c.balance(ledger.Owed(h.payout))+c.balance(ledger.InFlight(h.payout)) != 0 {
			c.t.Errorf("payee %s is still owed something", h.payout)
		}
	}
}
