package settlement

import (
	"context"
	"strings"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	iwires "github.com/ionet-settlement/ionet/internal/wires"
)

// matrixFault is a fault: what it does at its step, and how the world is after it.
type matrixFault struct {
	name string
	what string // in words
	// durable is true where the database must have what it committed after a crash.
	durable bool
	// meets reports whether it makes sense at a step; nil: at every step.
	meets func(k matrixKind, step string) bool
	// forgets is true where what was sent may be forgotten and land late.
	forgets bool
	// begin runs before the kind's run; nil: nothing.
	begin func(c *cell)
	// at is the fault at step n.
	at func(c *cell, n int) iwires.Fault
	// heal runs after the kind's run ended or died, and ends the fault; nil: nothing.
	heal func(c *cell)
}

func isCall(_ matrixKind, step string) bool { return strings.HasPrefix(step, "rpc ") }
func isSend(_ matrixKind, step string) bool { return step == "rpc sendTransaction" }

// matrixFaults are all faults of the matrix.
func matrixFaults() []matrixFault {
	list := []matrixFault{
		{name: "killed before", what: "the process dies (kill -9) before the step arrives; the next one starts from the database.", at: stops(iwires.Lost, true), heal: (*cell).restart},
		{name: "killed after", what: "the process dies once the step has taken effect, before it hears of it.", at: stops(iwires.Unheard, true), heal: (*cell).restart},
		{name: "request lost", what: "the step never arrives, the process goes on.", at: stops(iwires.Lost, false)},
		{name: "answer lost", what: "the step takes effect, its answer is lost, the process goes on.", at: stops(iwires.Unheard, false)},
		{name: "RPC error", what: "the endpoint refuses the call: 503 in HTML, 429, node is behind, or half an answer.", meets: isCall, at: stops(iwires.Refused, false)},
	}
	list = append(list, chainFaults()...)
	list = append(append(list, databaseFaults()...), serverFault())
	return append(list, outsiderFaults()...)
}

// stops is the fault that a step itself fails.
func stops(o iwires.Outcome, dies bool) func(*cell, int) iwires.Fault {
	return func(_ *cell, n int) iwires.Fault {
		return iwires.Fault{Outcome: o, Dies: dies, Refusal: iwires.RefusalOf(n)}
	}
}

// does is the fault that something happens just before a step.
func does(what func(c *cell, n int)) func(*cell, int) iwires.Fault {
	return func(c *cell, n int) iwires.Fault {
		return iwires.Fault{Outcome: iwires.Pass, Before: func(string) { what(c, n) }}
	}
}

// restart starts a new process in place of the dead one.
func (c *cell) restart() {
	if c.step != "" {
		c.start()
	}
}

// chainFaults are those of the chain.
func chainFaults() []matrixFault {
	return []matrixFault{
		{
			name: "landed late", what: "what is sent is swallowed, and lands by itself in the last block that takes it.", meets: isSend,
			at:   does(func(c *cell, _ int) { c.wires.Drop(true) }),
			heal: (*cell).landLate,
		},
		{
			name: "forked, lands again", what: "all slots that are not final are abandoned at the step; what was in them may land again.", meets: isCall,
			begin: func(c *cell) { c.slots = 1 },
			at: func(c *cell, _ int) iwires.Fault {
				return iwires.Fault{Outcome: iwires.Pass, After: func(string) { c.fork() }}
			},
			heal: func(c *cell) { c.slots = arenaDepth + 1 },
		},
		{
			name: "forked, never lands", what: "the transaction's slots are abandoned and no node has it any more, until it has expired.", meets: isSend,
			begin: func(c *cell) { c.slots = 1 },
			at: func(c *cell, _ int) iwires.Fault {
				return iwires.Fault{Outcome: iwires.Pass, After: func(string) { c.fork(); c.wires.Drop(true) }}
			},
			heal: (*cell).expire,
		},
		{
			name: "RPC lies", what: "one of two endpoints tells of each open content that it won, while what is sent is swallowed (at every second step: that it did not, while it lands), or of a key that nobody knows.",
			begin: func(c *cell) { c.wires.Drop(c.n%2 == 0) }, // or what it says would come true
			at:    does((*cell).lie),
			heal:  (*cell).endLie,
		},
	}
}

// fork abandons all slots that are not finalized.
func (c *cell) fork() {
	for n := arenaDepth; n > 0; n-- {
		if c.node.Fork(n) == nil {
			return
		}
	}
	c.t.Error("the chain did not fork")
}

// expire lets everything that was dropped expire and the service find that out.
func (c *cell) expire() {
	c.slots = arenaDepth + 1
	for range blockhashLife/c.slots + 2 {
		c.settleOnce()
	}
	c.wires.Drop(false)
}

// landLate lets what was dropped land in the last block that takes it.
func (c *cell) landLate() {
	late := c.wires.Dropped()
	var messages [][]byte
	for i, tx := range late {
		d, err := chain.Decode(tx)
		if err != nil {
			c.t.Fatal(err)
		}
		message := d.MessageHash()
		if c.kind.name != "skip" || d.Plan.Kind == chain.KindSkip { // the payout that is skipped can't land
			messages = append(messages, message[:])
		}
		var last uint64
		if err := c.pool.QueryRow(c.t.Context(), `SELECT last_valid_height FROM attempts WHERE message = $1`, message[:]).Scan(&last); err != nil {
			c.t.Fatalf("find what was dropped: %v", err)
		}
		for n := 0; c.openHeight() < last+1; n++ {
			if n%20 == 0 {
				c.last = c.Settle(c.t.Context())
			}
			c.advance(1)
		}
		if err := c.clean.Send(c.t.Context(), tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
			c.t.Errorf("land transaction %d late: %v", i, err)
		}
	}
	c.wires.Drop(false)
	c.goOn("what landed late is found", func() bool {
		return c.count(`SELECT count(*) FROM attempts WHERE message = ANY ($1) AND state = 'live'`, messages) == 0
	})
	won := c.count(`SELECT count(*) FROM attempts WHERE message = ANY ($1) AND state = 'won'`, messages)
	if len(messages) > 0 && won == 0 {
		c.t.Errorf("%d transactions landed in their last valid block, none of them won", len(messages))
	}
}

// openHeight is the height of the block in which transactions run now.
func (c *cell) openHeight() uint64 {
	h, err := c.clean.LatestBlockhash(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return h.LastValidHeight - 150 + 1
}

// databaseFaults are those of the database and of the processes on it.
func databaseFaults() []matrixFault {
	return []matrixFault{
		{name: "sessions ended", what: "all sessions of the database end at the step, as when it restarts or fails over.", at: does(func(c *cell, _ int) { c.endSessions() })},
		{
			name: "restored from before the step", what: "the database is put back to just before the step, after everything had come to its end.",
			at: stops(iwires.Lost, true),
			heal: func(c *cell) {
				if c.step == "" {
					return
				}
				c.shut()
				before := c.keep()
				c.start()
				c.kind.run(c)
				c.rest()
				c.restore(before)
			},
		},
		{
			name: "restored from before the last final position", what: "the process dies after the step, and the database is put back to before the former run of the kind; at every second step what was sent lands only after the debts were paid in another way.",
			forgets: true,
			begin: func(c *cell) {
				if c.kind.fresh {
					c.old = c.early
					return
				}
				c.old = c.keep()
				c.kind.run(c)
				c.settleDebts()
				c.rest()
				c.kind.prepare(c)
				c.hide()
			},
			at: stops(iwires.Unheard, true),
			heal: func(c *cell) {
				forgotten := c.unhide()
				c.restore(c.old)
				c.payOtherwise(forgotten)
			},
		},
		{
			name: "put back under the running process", what: "at the step the database is put back to before the run, while the process goes on; at every second step what was sent lands only after the debts were paid in another way.",
			forgets: true,
			begin:   func(c *cell) { c.old = c.keep(); c.hide() },
			at: does(func(c *cell, _ int) {
				c.putTo(c.old)
				c.absent = c.forgets() // or the same would be signed for the same position
			}),
			heal: func(c *cell) {
				forgotten := c.unhide()
				c.outlast() // its lease is of the other database
				c.payOtherwise(forgotten)
			},
		},
		{name: "two instances", what: "a second instance takes over while the first one stands still at the step; then both run, with leadership going to and fro.", begin: (*cell).standBy, at: does(func(c *cell, _ int) { c.takeOver() }), heal: (*cell).endTakeOver},
	}
}

// forgets reports whether what the run sends lies with the nodes unseen, to land after
// the database that knew of it is gone: at every second step.
func (c *cell) forgets() bool { return c.fault.forgets && c.kind.other != nil && c.n > 0 && c.n%2 == 0 }

// hide lets what is sent lie unseen, and little time pass.
func (c *cell) hide() {
	if c.forgets() {
		c.wires.Drop(true)
		c.slots = 1
	}
}

// unhide ends that, and returns what lies unseen.
func (c *cell) unhide() [][]byte {
	if !c.forgets() {
		return nil
	}
	c.slots, c.absent = arenaDepth+1, false
	c.wires.Drop(false)
	return c.wires.Dropped()
}

// payOtherwise pays in another way what forgotten transactions carry, on other lanes,
// and then lets those land if they can, before they expire. They could, but for the
// fence: the vault can pay twice.
func (c *cell) payOtherwise(forgotten [][]byte) {
	if len(forgotten) == 0 {
		return
	}
	c.goOn("the lanes are fenced", c.view.isReady)
	c.kind.other(c)
	for _, tx := range forgotten {
		if result, err := c.clean.Simulate(c.t.Context(), tx, 0); err != nil || result.Err != nil && result.Err.Name == "BlockhashNotFound" {
			c.t.Errorf("what was forgotten can't land whatever was done about it: %v, %v", result, err)
		}
		if err := c.clean.Send(c.t.Context(), tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
			c.t.Errorf("forgotten transaction: %v", err)
		}
	}
	c.advance(c.slots)
}

// endSessions ends all sessions of the database, as its restart does: what was
// not committed is gone.
func (c *cell) endSessions() {
	_, err := c.direct().Exec(c.t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		c.t.Error(err)
	}
}

// restore goes on with another copy of the database, in a new process.
func (c *cell) restore(copy string) {
	c.shut()
	c.putTo(copy)
	c.start()
}

// standBy opens a second instance.
func (c *cell) standBy() {
	c.otherWires = &wires{}
	c.other = c.launchProcess(c.otherWires, map[string]string{"lock_timeout": "20ms"}, c.node.URL())
}

// takeOver lets a second instance find the lease expired, and do what it can, while
// the first one stands still before its step, perhaps with rows locked.
func (c *cell) takeOver() {
	c.outlast()
	for range 12 {
		if err := c.other.Settle(context.WithoutCancel(c.t.Context())); err != nil && strings.Contains(err.Error(), "lock timeout") {
			return // the first one holds the lease's row
		}
		c.advance(arenaDepth + 1)
	}
}

// endTakeOver lets both run side by side, with leadership going to and fro, until
// the second one dies.
func (c *cell) endTakeOver() {
	for n := range 12 {
		c.settleOnce()
		c.other.Settle(c.t.Context())
		c.advance(c.slots)
		if n%4 == 3 {
			c.outlast()
		}
	}
	c.otherWires.Cut()
	c.outlast()
}
