package localnet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/gagliardetto/solana-go"
)

// Chaos is a script without end, made by chance from a seed: the same seed strikes the
// same slots. Every fault ends by itself.
type Chaos struct {
	Seed uint64 `json:"seed"`
	// Every is how many slots lie between two faults on average; 40 when 0.
	Every int `json:"every,omitempty"`
	// Longest is how many slots one lasts at most; 60 when 0.
	Longest int `json:"longest,omitempty"`
	// Only names the kinds of faults, see ChaosKinds; all when empty.
	Only []string `json:"only,omitempty"`
}

const (
	chaosEvery   = 40
	chaosLongest = 60
)

func (c *Chaos) check() error {
	if c.Every < 0 || c.Longest < 0 {
		return fmt.Errorf("chaos: every is %d and longest %d, expected slots, or 0 for %d and %d", c.Every, c.Longest, chaosEvery, chaosLongest)
	}
	for _, k := range c.Only {
		if !slices.Contains(ChaosKinds(), k) {
			return fmt.Errorf("chaos: unknown kind %q, expected some of %s", k, strings.Join(ChaosKinds(), ", "))
		}
	}
	return nil
}

// SetChaos begins with faults by chance, or goes on with others.
func (n *Node) SetChaos(c Chaos) error {
	if err := c.check(); err != nil {
		return err
	}
	s, err := newSeed(c.Seed)
	if err != nil {
		return err
	}
	c.Every, c.Longest = orElse(c.Every, chaosEvery), orElse(c.Longest, chaosLongest)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.chaos = &chaos{Chaos: c, dice: s.dice("chaos")}
	return nil
}

// Calm ends the chaos and the script, heals every front and lands what is held back.
func (n *Node) Calm() error {
	n.mu.Lock()
	n.chaos, n.steps = nil, nil
	n.mu.Unlock()
	for _, f := range n.Fronts() {
		if err := f.Heal(); err != nil {
			return err
		}
	}
	return n.Release()
}

// chaos is a Chaos at work.
type chaos struct {
	Chaos
	mu   sync.Mutex
	dice *rand.Rand
}

// chaosKind makes the commands of one fault that lasts for some slots.
type chaosKind struct {
	name string
	make func(d *draw) []Step
}

// draw is what a kind makes a fault of.
type draw struct {
	*rand.Rand
	n      *Node
	front  int
	last   uint64 // slots that it lasts
	fronts []*Front
}

// strike adds a fault with a chance of one in Every.
func (c *chaos) strike(n *Node, slot uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dice.IntN(c.Every) != 0 {
		return
	}
	fronts := n.Fronts()
	d := &draw{Rand: c.dice, n: n, front: fronts[c.dice.IntN(len(fronts))].index, last: 1 + c.dice.Uint64N(uint64(c.Longest)), fronts: fronts}
	kinds := chaosKinds
	if len(c.Only) > 0 {
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(k chaosKind) bool { return !slices.Contains(c.Only, k.name) })
	}
	kind := kinds[c.dice.IntN(len(kinds))]
	n.log.Info("strike by chance", "kind", kind.name, "slot", slot, "front", d.front, "slots", d.last)
	if err := n.RunScript(kind.make(d)); err != nil {
		n.log.Warn("strike by chance", "kind", kind.name, "err", err)
	}
}

// ChaosKinds are the names of the faults that a Chaos chooses from.
func ChaosKinds() []string {
	var names []string
	for _, k := range chaosKinds {
		names = append(names, k.name)
	}
	return names
}

var chaosKinds = []chaosKind{
	{"429", func(d *draw) []Step {
		return d.fault(Fault{Answer: TooMany, RetryAfter: d.IntN(2), Percent: d.percent()})
	}},
	{"status", func(d *draw) []Step {
		return d.fault(Fault{Answer: Status, Status: 500 + d.IntN(5), Percent: d.percent()})
	}},
	{"html", func(d *draw) []Step { return d.fault(Fault{Answer: HTML, Percent: d.percent()}) }},
	{"cut", func(d *draw) []Step { return d.fault(Fault{Answer: Cut, Percent: d.percent()}) }},
	{"hang", func(d *draw) []Step { return d.fault(Fault{Answer: Hang, Do: d.maybeRun(), Count: 1 + d.IntN(3)}) }},
	{"reset", func(d *draw) []Step { return d.fault(Fault{Answer: Reset, Percent: d.percent()}) }},
	{"lost", func(d *draw) []Step { return d.fault(Fault{Answer: Lost, Percent: d.percent()}) }},
	{"behind", func(d *draw) []Step {
		return d.fault(Fault{Answer: ErrorAnswer, Code: -32005, Message: "Node is behind by 42 slots", Percent: d.percent()})
	}},
	{"delay", func(d *draw) []Step { return d.fault(Fault{DelayMS: 1 + d.IntN(300), Percent: d.percent()}) }},
	{"down", (*draw).down},
	{"lag", func(d *draw) []Step { return d.view(View{Lags: []uint64{d.lag()}}) }},
	{"jump", func(d *draw) []Step { return d.view(View{Lags: []uint64{0, d.lag(), d.lag()}}) }},
	{"frozen", func(d *draw) []Step { return d.view(View{Frozen: true}) }},
	{"no-history", func(d *draw) []Step { return d.view(View{NoHistory: true}) }},
	{"no-status", func(d *draw) []Step { return d.view(View{StatusSlots: new(uint64)}) }},
	{"lie", (*draw).lie},
	{"drop", func(d *draw) []Step { return d.sends(Fault{Do: Drop, Count: 1 + d.IntN(4)}) }},
	{"hold", func(d *draw) []Step {
		return d.sends(Fault{Do: Hold, After: 1 + d.Uint64N(d.last), Answer: d.maybeLost(), Count: 1 + d.IntN(4)})
	}},
	{"hold-last", func(d *draw) []Step { return d.sends(Fault{Do: HoldLast, Answer: d.maybeLost(), Count: 1 + d.IntN(4)}) }},
	{"fail", func(d *draw) []Step { return d.sends(Fault{Do: Fail, Count: 1}) }},
	{"stale", func(d *draw) []Step { return d.sends(Fault{Do: Stale, Count: 1 + d.IntN(3)}) }},
	{"broke", func(d *draw) []Step { return d.sends(Fault{Do: Broke, Count: 1}) }},
	{"twice", func(d *draw) []Step { return d.sends(Fault{Do: Twice, Count: 1 + d.IntN(4)}) }},
	{"fork", (*draw).fork},
	{"notices", func(d *draw) []Step {
		end := Command{Do: "notices", Notices: &Notices{}}
		return d.while(Command{Do: "notices", Notices: &Notices{Lose: d.IntN(60), Double: d.IntN(60), Late: d.IntN(60), CutAfter: d.IntN(40)}}, end)
	}},
}

func (d *draw) percent() int { return 20 + d.IntN(81) }

func (d *draw) lag() uint64 { return d.Uint64N(d.n.bank.keep + 1) }

func (d *draw) maybeRun() Deed { return []Deed{Default, Run}[d.IntN(2)] }

func (d *draw) maybeLost() Answer { return []Answer{Truth, Lost, TooMany, Status}[d.IntN(4)] }

// next is the first slot in which a step of this fault can run.
func (d *draw) next(c Command) Step {
	c.Front = d.front
	return Step{AfterSlots: 1, Command: c}
}

func (d *draw) fault(x Fault) []Step {
	x.Slots = d.last
	return []Step{d.next(Command{Do: "fault", Fault: &x})}
}

func (d *draw) sends(x Fault) []Step {
	x.Methods = []string{"sendTransaction"}
	return d.fault(x)
}

// while does one thing now and undoes it when the fault is over.
func (d *draw) while(begin, end Command) []Step {
	last := d.next(end)
	last.AfterSlots += d.last
	return []Step{d.next(begin), last}
}

func (d *draw) view(w View) []Step {
	return d.while(Command{Do: "view", View: &w}, Command{Do: "view", View: &View{}})
}

// down refuses connections. The node's own front only resets them: it has the admin
// interface, which must be there to end the storm.
func (d *draw) down() []Step {
	if d.front == 0 {
		return d.fault(Fault{Answer: Reset})
	}
	return d.while(Command{Do: "down"}, Command{Do: "up"})
}

// fork abandons slots that are not final, with any fate of their transactions.
func (d *draw) fork() []Step {
	fates := []Afterwards{Forgotten, Again, Never, Turned}
	p := Fork{Slots: 1 + d.IntN(max(1, int(d.n.bank.depth)-2)), Then: fates[d.IntN(4)], After: d.Uint64N(10)}
	return []Step{{AfterSlots: 1, Command: Command{Do: "fork", Fork: &p}}}
}

// lie denies or turns one of the newest transactions and perhaps shows what it wrote as
// it was before. Only the last front lies; where there is no other it freezes instead.
func (d *draw) lie() []Step {
	b := d.n.bank
	b.mu.RLock()
	defer b.mu.RUnlock()
	var newest *record
	for s := b.open(); s > b.root && newest == nil; s-- {
		if txs := b.blocks[s].txs; len(txs) > 0 {
			newest = txs[d.IntN(len(txs))]
		}
	}
	if newest == nil || len(d.fronts) < 2 {
		return d.view(View{Frozen: true})
	}
	d.front = d.fronts[len(d.fronts)-1].index
	lies := Lies{Signatures: map[solana.Signature]Fate{newest.tx.id(): []Fate{Failed, Succeeded, Absent}[d.IntN(3)]}}
	if d.IntN(2) == 0 {
		lies.Accounts = map[solana.PublicKey]*Account{}
		for i, k := range newest.tx.keys {
			if newest.tx.writable(i) {
				lies.Accounts[k] = b.account(k, newest.slot-1)
			}
		}
	}
	return d.view(View{Lies: lies})
}
