package settlement

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	iwires "github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// cell is one run of one kind that meets one fault at one of its steps.
type cell struct {
	*arena
	kind  matrixKind
	fault matrixFault
	n     int
	step  string // that the fault met; "": the run has fewer
	steps []string

	epoch      uint64          // that kind epoch seals
	statement  proofs.Envelope // that kind withdrawal hands in
	had        uint64          // what its recipient had before
	fees       []uint64        // that the payees of kind fees earned
	paidBefore []uint64        // what they were paid before
	old, early string          // copies of the database: of before the run, and of before the preparation
	other      *Service
	otherWires *wires
	resigned   bool
}

// runCell prepares, runs into the fault, heals, runs to the end, and checks all
// that must hold. With n zero it meets nothing and counts the steps.
func (a *arena) runCell(t *testing.T, k matrixKind, f matrixFault, n int) *cell {
	c := &cell{arena: a, kind: k, fault: f, n: n}
	defer c.leave(t)()
	if c.forgets() {
		c.fund()
	}
	if k.fresh && f.begin != nil {
		c.early = c.keep()
	}
	k.prepare(c)
	fault := iwires.Fault{}
	if n > 0 {
		if f.begin != nil {
			f.begin(c)
		}
		fault = f.at(c, n)
	}
	fault.Step = n
	c.wires.Count(iwires.Every)
	c.wires.Arm(fault)
	c.faulty = n > 0
	k.run(c)
	c.faulty = false
	c.steps = c.wires.Steps()
	c.step = c.wires.Disarm()
	if n > 0 && f.heal != nil {
		f.heal(c)
	}
	k.run(c)
	c.check()
	if k.done != nil {
		k.done(c)
	}
	c.settleDebts()
	c.rest()
	c.check()
	return c
}

// leave makes t the one that everything of the arena reports to, and returns what
// ends that.
func (c *cell) leave(t *testing.T) func() {
	life := c.t
	c.arena.life, c.t = life, t
	return func() {
		c.t, c.faulty, c.absent = life, false, false
		c.wires.Disarm()
		c.wires.Drop(false)
		c.wires.Twist(nil)
		c.wires.Hook(nil)
		c.slots = arenaDepth + 1
	}
}

// fund lets the payees give what an epoch brought them to the vault, so that it could
// pay twice: what is not owed to anybody stays there.
func (c *cell) fund() {
	c.t.Helper()
	if c.funded {
		return
	}
	c.earn(c.alice, c.bob, c.carol)
	c.settleDebts()
	for _, h := range []*host{c.alice, c.bob, c.carol} {
		held, _ := c.hasAccount(h)
		c.bySolana(h, c.transferOut(h, c.net.Network.Vaults.Reward, held))
		c.hidden[h.payout] += held
	}
	c.advance(c.slots)
	c.goOn("what the payees gave is booked", c.vaultsAgree)
	c.funded = true
}

// settleDebts pays everybody, whatever the cell did: payments still work.
func (c *cell) settleDebts() {
	c.t.Helper()
	c.thaw()
	c.payOut(c.bob, c.carol)
	c.claimOf(c.alice)
}

// thaw puts the payees' accounts in order.
func (c *cell) thaw() {
	for _, h := range []*host{c.alice, c.bob, c.carol, c.erin} {
		if _, ok := c.hasAccount(h); ok {
			c.freeze(h, false)
		}
	}
	c.advance(c.slots)
	c.release()
}

// check holds chain, ledger, payments and lanes against each other. Nothing may be
// on its way on the positions that were due.
func (c *cell) check() {
	c.t.Helper()
	ctx := c.t.Context()
	c.rest()
	if err := ledger.TrialBalance(ctx, c.pool); err != nil {
		c.t.Error(err)
	}
	c.goOn("all that came into the vaults is booked", c.vaultsAgree)
	c.checkVaults()
	c.checkMinted(0)
	for payee := range c.wallet {
		earned := uint64(c.count(`SELECT coalesce(sum(v.amount), 0)::bigint FROM verdicts v JOIN epochs e USING (epoch) WHERE v.payee = $1 AND e.state = 'sealed'`, payee[:]))
		paid := uint64(c.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND state = 'paid' AND kind <> $2`, payee[:], int16(chain.KindFees)))
		fees := uint64(c.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND state = 'paid' AND kind = $2`, payee[:], int16(chain.KindFees)))
		owed := c.balance(ledger.Owed(payee))
		if payee == c.dora.payout || payee == c.erin.payout {
			continue // what they have is not from earnings
		}
		if chain := c.onChain(payee) + c.hidden[payee]; earned != paid+owed || chain != paid+fees {
			c.t.Errorf("payee %s earned %d, is owed %d, was paid %d and %d of fees by the books, %d on chain", payee, earned, owed, paid, fees, chain)
		}
	}
	c.checkLanes()
}

// direct is a pool of the test's own, that no fault meets.
func (a *arena) direct() *pgxpool.Pool {
	if a.own == nil || a.ownURL != a.url {
		a.own, a.ownURL = a.plainPool(), a.url
	}
	a.own.Reset() // a copy or a restart ended its sessions
	return a.own
}

// vaultsAgree reports whether vaults and ledger agree: a stranger's gift waits for the
// history that tells of it.
func (a *arena) vaultsAgree() bool {
	for _, v := range a.vaults() {
		held, _, err := a.clean.TokenBalance(a.t.Context(), v.address, a.net.Network.Mint, rpc.Finalized, 0)
		if err != nil || a.balance(v.account) != held.Base() {
			return false
		}
	}
	return true
}

// inspect lets the auditor, who shares no code with this package but the rules, walk
// over all that was done in the arena. It can't read the made-up log of receipts.
func (a *arena) inspect() {
	a.t.Helper()
	r, err := audit.Run(a.t.Context(), audit.Config{Chain: a.clean, Store: a.store, Mint: a.net.Network.Mint})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range r.Findings {
		a.t.Error(f)
	}
	for _, f := range r.Unchecked {
		if f.Rule != "receipts" {
			a.t.Error(f)
		}
	}
	sealed := a.count(`SELECT count(*) FROM epochs WHERE state = 'sealed'`)
	if r.Epochs != sealed {
		a.t.Errorf("the auditor saw %d epochs, sealed are %d", r.Epochs, sealed)
	}
}
